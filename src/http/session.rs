//! A session over server-sent events and POST (signaling.md §8).

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use warp::Reply;
use warp::reply::Response;

use crate::http::api::{Api, bearer};
use crate::http::call::Call;
use crate::http::events;
use crate::http::problem::Problem;
use crate::http::signaling::Input;
use crate::signal::{AddressKey, CloseCode, EventsRefusal, Frame, Posted};

/// What a browser sends when it opens a stream of events again (HTML §9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";
/// When a client may try again that was too fast.
const RETRY: Duration = Duration::from_secs(1);

/// Answers `POST /v1/session`.
pub(crate) async fn create(api: Arc<Api>, call: Call, hello: String) -> Result<Response, Problem> {
    let address = AddressKey::of(call.peer.addr.ip());
    let bearer = bearer(&call.headers).map(str::to_owned).or_else(|| call.token_in_url(&api));
    let hub = api.backend.signaling();
    let created = hub.ask(|answer| Input::Create { address, bearer, hello, answer }).await?;
    let created = created.map_err(refused)?;
    let url = format!("/v1/session/events?ticket={}", created.ticket);
    let body = format!("{{\"welcome\":{},\"events_url\":\"{url}\"}}", created.welcome.text());
    Ok(json(StatusCode::CREATED, body))
}

fn refused(code: CloseCode) -> Problem {
    match code {
        CloseCode::BadRequest => Problem::BadRequest("the body is no good hello".into()),
        CloseCode::BackplaneLost | CloseCode::Draining => Problem::NotReady,
        CloseCode::Banned | CloseCode::Kicked => Problem::Forbidden("this session was ended"),
        CloseCode::Limit | CloseCode::RateLimited => Problem::RateLimited(RETRY),
        CloseCode::TokenExpired => Problem::TokenExpired,
        CloseCode::TooBig => Problem::TooLarge,
        CloseCode::Unauthorized => Problem::Unauthorized,
        CloseCode::BadUtf8
        | CloseCode::Bye
        | CloseCode::HeartbeatTimeout
        | CloseCode::HelloTimeout
        | CloseCode::Internal
        | CloseCode::ProtocolError
        | CloseCode::Replaced
        | CloseCode::SlowConsumer => Problem::Internal,
    }
}

/// Answers `GET /v1/session/events`.
pub(crate) async fn read(api: Arc<Api>, call: Call) -> Result<Response, Problem> {
    let ticket = call.parameter("ticket").ok_or(Problem::Unauthorized)?;
    let last_event_id = match last_event_id(&call.headers) {
        None => None,
        Some(id) => {
            let seq = id.parse().map_err(|_| Problem::BadRequest("Last-Event-ID is no number".into()))?;
            Some(seq)
        }
    };
    let address = AddressKey::of(call.peer.addr.ip());
    let hub = api.backend.signaling();
    let conn = hub.connection();
    // Made first, so that the hub hears of its end however early that comes.
    let response = events::response(&api, conn.clone(), call.hangup, call.place);
    let opened = hub.ask(|answer| Input::Events { address, conn, ticket, last_event_id, answer }).await?;
    match opened {
        Ok(()) => Ok(response),
        Err(EventsRefusal::Gap) => Err(Problem::Conflict("the ring does not hold what follows: say hello")),
        Err(EventsRefusal::Gone) => Err(Problem::Gone),
        Err(EventsRefusal::RateLimited(wait)) => Err(Problem::RateLimited(wait)),
        Err(EventsRefusal::Unauthorized) => Err(Problem::Unauthorized),
    }
}

/// Answers `POST /v1/session/messages`.
pub(crate) async fn post(api: Arc<Api>, call: Call, body: String) -> Result<Response, Problem> {
    let bearer = bearer(&call.headers).ok_or(Problem::Unauthorized)?.to_owned();
    let address = AddressKey::of(call.peer.addr.ip());
    let hub = api.backend.signaling();
    match hub.ask(|answer| Input::Post { address, bearer, body, answer }).await? {
        Posted::Replies(replies) => Ok(json(StatusCode::OK, array(&replies))),
        Posted::Bad => Err(Problem::BadRequest("the body is no object and no array of objects".into())),
        Posted::Gone => Err(Problem::Gone),
        Posted::Hole { expected, replies } => Err(Problem::Hole { expected, replies: array(&replies) }),
        Posted::RateLimited { .. } => Err(Problem::RateLimited(RETRY)),
        Posted::TooLarge => Err(Problem::TooLarge),
        Posted::Unauthorized => Err(Problem::Unauthorized),
    }
}

/// Returns the `Last-Event-ID` of a request; an empty one is none.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(LAST_EVENT_ID)?;
    // One that is no text is no id of ours either.
    Some(id.to_str().unwrap_or("?")).filter(|id| !id.is_empty())
}

fn array(frames: &[Frame]) -> String {
    let mut out = String::from("[");
    for frame in frames {
        if out.len() > 1 {
            out.push(',');
        }
        frame.write(&mut out);
    }
    out.push(']');
    out
}

/// Makes an answer of what is JSON already.
pub(crate) fn json(status: StatusCode, body: String) -> Response {
    let mut response = body.into_response();
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
