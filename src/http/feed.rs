//! The one-way feed of a room, and what an application's server says into one (signaling.md §8 and §13).

use std::sync::Arc;

use http::StatusCode;
use warp::reply::Response;

use crate::auth::{Scope, TokenError};
use crate::http::api::{Api, bearer};
use crate::http::call::{Call, segment};
use crate::http::events;
use crate::http::problem::Problem;
use crate::http::session::{json, last_event_id};
use crate::http::signaling::{Input, Reader};
use crate::signal::{AddressKey, FeedRefusal};

/// Seconds that a ticket is good for, made for an API key: as long as a dashboard stays open.
const KEY_TICKET: u64 = 86_400;

/// Answers `GET /v1/rooms/{room}/events`.
pub(crate) async fn read(api: Arc<Api>, call: Call, room: String) -> Result<Response, Problem> {
    let room = segment(&room)?;
    let reader = match call.parameter("ticket") {
        Some(ticket) => {
            let until = api.tickets.open(&ticket, &room, api.backend.now().unix);
            Reader::Ticket(until.ok_or(Problem::Unauthorized)?)
        }
        None => reader(&api, &call)?,
    };
    let address = AddressKey::of(call.peer.addr.ip());
    let last_event_id = last_event_id(&call.headers).map(str::to_owned);
    let hub = api.backend.signaling();
    let conn = hub.connection();
    // Made first, so that the hub hears of its end however early that comes.
    let response = events::response(&api, conn.clone(), call.hangup, call.place);
    let opened = hub.ask(|answer| Input::Feed { address, conn, room, reader, last_event_id, answer }).await?;
    opened.map(|()| response).map_err(refused)
}

/// Answers `POST /v1/rooms/{room}/events`: a ticket for those who cannot send headers with the request for events.
pub(crate) async fn ticket(api: Arc<Api>, call: Call, room: String) -> Result<Response, Problem> {
    let name = segment(&room)?;
    let now = api.backend.now().unix;
    let until = match reader(&api, &call)? {
        Reader::Token(token) if !token.perm.observe || !token.opens(&name) => {
            return Err(refused(FeedRefusal::Forbidden));
        }
        Reader::Token(token) => token.exp,
        Reader::Open if !api.settings().open => return Err(Problem::Unauthorized),
        Reader::Key | Reader::Open | Reader::Ticket(_) => now.saturating_add(KEY_TICKET),
    };
    let url = format!("/v1/rooms/{room}/events?ticket={}", api.tickets.seal(&name, until));
    Ok(json(StatusCode::CREATED, format!("{{\"events_url\":{}}}", serde_json::Value::String(url))))
}

/// Returns who asks for a feed: the holder of a join token or of an API key, or anyone.
fn reader(api: &Api, call: &Call) -> Result<Reader, Problem> {
    let url_token = call.token_in_url(api);
    let shown = bearer(&call.headers).or(url_token.as_deref());
    let Some(shown) = shown else { return Ok(Reader::Open) };
    if api.settings().keys.find(shown.as_bytes()).is_some() {
        return api.authorize(&call.headers, Scope::Read).map(|()| Reader::Key);
    }
    match api.settings().tokens.verify(shown, api.backend.now().unix) {
        Ok(token) => Ok(Reader::Token(Box::new(token))),
        Err(TokenError::Expired) => Err(Problem::TokenExpired),
        Err(_) => Err(Problem::Unauthorized),
    }
}

fn refused(refusal: FeedRefusal) -> Problem {
    match refusal {
        FeedRefusal::BadRequest => Problem::BadRequest("that is no name of a room".into()),
        FeedRefusal::Draining => Problem::NotReady,
        FeedRefusal::Forbidden => Problem::Forbidden("the token does not permit to observe this room"),
        FeedRefusal::RateLimited(wait) => Problem::RateLimited(wait),
        FeedRefusal::RoomFull => Problem::RoomFull,
        FeedRefusal::Unauthorized => Problem::Unauthorized,
        FeedRefusal::TokenExpired => Problem::TokenExpired,
    }
}

/// Answers `POST /v1/rooms/{room}/messages`.
pub(crate) async fn publish(api: Arc<Api>, room: String, body: String) -> Result<Response, Problem> {
    let room = segment(&room)?;
    let hub = api.backend.signaling();
    let copies = hub.ask(|answer| Input::Publish { room, body, answer }).await?;
    let copies = copies.map_err(|wrong| Problem::BadRequest(wrong.to_owned()))?;
    Ok(json(StatusCode::OK, format!("{{\"n\":{copies}}}")))
}
