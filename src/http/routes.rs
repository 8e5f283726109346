//! Every route on one screen.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, pin_mut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Buf, Filter, Reply};

use crate::auth::Scope;
use crate::http::admin::AdminSocket;
use crate::http::api::{Api, Place};
use crate::http::call::{Call, Hangup};
use crate::http::peer::Peer;
use crate::http::problem::{Problem, respond};
use crate::http::{admin, credentials, feed, openapi, pages, session, socket, tokens};
use crate::signal::AddressKey;

/// Largest body in bytes.
const MAX_BODY: usize = 64 << 10;
/// Bytes of a body that is too large which are read all the same: a client that still sends when the answer comes may
/// never see it.
const MAX_DISCARDED: usize = 16 << 20;
/// When an address that sends too many bodies at once tries again.
const BODY_RETRY: Duration = Duration::from_secs(1);
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Paths and the methods that each takes; the routes below serve them.
pub(crate) const TABLE: &[(&str, &[&str])] = &[
    ("/client.d.ts", &["GET", "HEAD"]),
    ("/client.js", &["GET", "HEAD"]),
    ("/demo", &["GET", "HEAD"]),
    ("/demo/", &["GET", "HEAD"]),
    ("/demo/{file}", &["GET", "HEAD"]),
    ("/favicon.ico", &["GET", "HEAD"]),
    ("/healthz", &["GET", "HEAD"]),
    ("/openapi.json", &["GET", "HEAD"]),
    ("/readyz", &["GET", "HEAD"]),
    ("/v1/admin/reload", &["POST"]),
    ("/v1/admin/status", &["GET"]),
    ("/v1/credentials", &["POST"]),
    ("/v1/rooms/{room}/events", &["GET", "POST"]),
    ("/v1/rooms/{room}/messages", &["POST"]),
    ("/v1/session", &["POST"]),
    ("/v1/session/events", &["GET"]),
    ("/v1/session/messages", &["POST"]),
    ("/v1/tokens", &["POST"]),
    ("/v1/ws", &["GET"]),
];

/// Builds the whole tree. Its last branch takes what is left, so that no rejection of warp ever reaches a client.
pub(crate) fn routes(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let events = || warp::path!("v1" / "rooms" / String / "events").boxed();
    let messages = warp::path!("v1" / "rooms" / String / "messages").boxed();
    let session = warp::path!("v1" / "session").boxed();
    let session_events = warp::path!("v1" / "session" / "events").boxed();
    let session_messages = warp::path!("v1" / "session" / "messages").boxed();
    let served = [
        get(warp::path!("healthz").boxed(), api, |_| Ok(text("ok\n"))),
        get(warp::path!("readyz").boxed(), api, ready),
        get(warp::path!("openapi.json").boxed(), api, |_| Ok(openapi::document())),
        pages(api),
        admin(
            warp::path!("v1" / "admin" / "reload").and(warp::post()).boxed(),
            api,
            Scope::Admin,
            admin::reload,
        ),
        admin(
            warp::path!("v1" / "admin" / "status").and(warp::get()).boxed(),
            api,
            Scope::Read,
            admin::status,
        ),
        post(warp::path!("v1" / "credentials").boxed(), api, Scope::Mint, credentials::mint),
        post(warp::path!("v1" / "tokens").boxed(), api, Scope::Token, tokens::mint),
        open(no_room(warp::path!("v1" / "ws").boxed()), api, |api, call, _| socket::upgrade(api, call)),
        open(no_room(session_events), api, |api, call, _| session::read(api, call)),
        open(events(), api, feed::read),
        say(no_room(session), api, None, |api, call, _, body| session::create(api, call, body)),
        say(no_room(session_messages), api, None, |api, call, _, body| session::post(api, call, body)),
        say(events(), api, None, |api, call, room, _| feed::ticket(api, call, room)),
        say(messages, api, Some(Scope::Publish), |api, _, room, body| feed::publish(api, room, body)),
    ];
    let demo = api.settings().demo;
    let nothing = warp::path::full().map(move |path| unserved(path, demo)).boxed();
    served.into_iter().rev().fold(nothing, |rest, route| route.or(rest).unify().boxed())
}

/// The client library and the demo.
fn pages(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let demo = api.settings().demo;
    let page = warp::path::full().and_then(async |path: FullPath| {
        if pages::is_page(path.as_str()) { Ok(path) } else { Err(warp::reject::not_found()) }
    });
    page.and(warp::get().or(warp::head()).unify())
        .and(warp::header::headers_cloned())
        .map(move |path: FullPath, headers: HeaderMap| respond(pages::answer(path.as_str(), &headers, demo)))
        .boxed()
}

fn no_room(path: BoxedFilter<()>) -> BoxedFilter<(String,)> {
    path.map(String::new).boxed()
}

/// A route whose answer may live long: a WebSocket or a stream of events.
fn open<F, A>(path: BoxedFilter<(String,)>, api: &Arc<Api>, answer: F) -> BoxedFilter<(Response,)>
where
    F: Fn(Arc<Api>, Call, String) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Response, Problem>> + Send + 'static,
{
    let api = Arc::clone(api);
    path.and(warp::get().boxed())
        .and(call())
        .then(move |room, call| {
            let answer = answer(Arc::clone(&api), call, room);
            async move { respond(answer.await) }
        })
        .boxed()
}

/// A route of the signaling half that takes a body; with a scope, only from the holder of a key.
fn say<F, A>(
    path: BoxedFilter<(String,)>,
    api: &Arc<Api>,
    scope: Option<Scope>,
    answer: F,
) -> BoxedFilter<(Response,)>
where
    F: Fn(Arc<Api>, Call, String, String) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Response, Problem>> + Send + 'static,
{
    let api = Arc::clone(api);
    path.and(warp::post().boxed())
        .and(call())
        .and(warp::body::stream())
        .then(move |room, call: Call, body| {
            let (api, answer) = (Arc::clone(&api), answer.clone());
            async move {
                let answered = async {
                    if let Some(scope) = scope {
                        api.authorize(&call.headers, scope)?;
                    }
                    let on_its_way = api.bodies.begin(AddressKey::of(call.peer.addr.ip()));
                    let on_its_way = on_its_way.ok_or(Problem::RateLimited(BODY_RETRY))?;
                    let body = whole(&call.headers, body).await?;
                    drop(on_its_way);
                    answer(api, call, room, body).await
                };
                let mut response = respond(answered.await);
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
        })
        .boxed()
}

fn call() -> BoxedFilter<(Call,)> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::header::headers_cloned()
        .and(warp::ext::get::<Hangup>())
        .and(warp::ext::get::<Peer>())
        .and(warp::ext::optional::<Place>())
        .and(query)
        .and(warp::ext::optional::<OnUpgrade>())
        .map(|headers, hangup, peer, place, query, upgrade| Call {
            headers,
            hangup,
            peer,
            place,
            query,
            upgrade,
        })
        .boxed()
}

fn get(
    path: BoxedFilter<()>,
    api: &Arc<Api>,
    answer: fn(&Api) -> Result<Response, Problem>,
) -> BoxedFilter<(Response,)> {
    let api = Arc::clone(api);
    let method = warp::get().or(warp::head()).unify().boxed();
    path.and(method).map(move || respond(answer(&api))).boxed()
}

fn post(
    path: BoxedFilter<()>,
    api: &Arc<Api>,
    scope: Scope,
    answer: fn(&Api, &str) -> Result<Response, Problem>,
) -> BoxedFilter<(Response,)> {
    let api = Arc::clone(api);
    path.and(warp::post().boxed())
        .and(warp::header::headers_cloned())
        .boxed()
        .and(warp::body::stream())
        .then(move |headers: HeaderMap, body| {
            let api = Arc::clone(&api);
            async move {
                let answered = async {
                    api.authorize(&headers, scope)?;
                    let body = whole(&headers, body).await?;
                    let mut response = answer(&api, &body)?;
                    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                    Ok(response)
                };
                respond(answered.await)
            }
        })
        .boxed()
}

/// A route of the operator.
fn admin<F, A>(route: BoxedFilter<()>, api: &Arc<Api>, scope: Scope, answer: F) -> BoxedFilter<(Response,)>
where
    F: Fn(Arc<Api>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Response, Problem>> + Send + 'static,
{
    let api = Arc::clone(api);
    route
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<AdminSocket>())
        .then(move |headers: HeaderMap, socket| {
            let (api, answer) = (Arc::clone(&api), answer.clone());
            async move {
                let answered = async {
                    admin::authorize(&api, socket, &headers, scope)?;
                    answer(api).await
                };
                let mut response = respond(answered.await);
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
        })
        .boxed()
}

fn ready(api: &Api) -> Result<Response, Problem> {
    if api.backend.is_ready() { Ok(text("ready\n")) } else { Err(Problem::NotReady) }
}

fn text(text: &'static str) -> Response {
    let mut response = text.into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Reads a body of JSON; without any, its type does not matter.
async fn whole<B: Buf>(
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<String, Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json");
    if !is_json && headers.contains_key(CONTENT_TYPE) {
        return Err(Problem::UnsupportedType);
    }
    let mut len = 0;
    let reading = async {
        let mut bytes = Vec::new();
        pin_mut!(body);
        while let Some(chunk) = body.next().await {
            let mut chunk = chunk.map_err(|_| Problem::BadRequest("the body breaks off".to_owned()))?;
            len += chunk.remaining();
            if len > MAX_DISCARDED {
                break;
            }
            while chunk.has_remaining() && len <= MAX_BODY {
                let part = chunk.chunk();
                let part_len = part.len();
                bytes.extend_from_slice(part);
                chunk.advance(part_len);
            }
        }
        Ok(bytes)
    };
    let read = tokio::time::timeout(BODY_TIME, reading).await;
    if len > MAX_BODY {
        return Err(Problem::TooLarge);
    }
    let bytes = read.unwrap_or(Err(Problem::Timeout))?;
    if !is_json && !bytes.is_empty() {
        return Err(Problem::UnsupportedType);
    }
    String::from_utf8(bytes).map_err(|_| Problem::BadRequest("the body is no UTF-8".to_owned()))
}

fn unserved(path: FullPath, demo: bool) -> Response {
    let path = path.as_str();
    let is_served = !pages::is_demo(path) || (demo && pages::is_page(path));
    let row = TABLE.iter().find(|(served, _)| is_served && is_at(served, path));
    row.map_or(Problem::NotFound, |(_, methods)| Problem::MethodNotAllowed(methods)).response()
}

/// Tells whether a path is one of a row, in which braces stand for any segment.
fn is_at(row: &str, path: &str) -> bool {
    let (mut row, mut path) = (row.split('/'), path.split('/'));
    loop {
        match (row.next(), path.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other || (one.starts_with('{') && !other.is_empty()) => {}
            (_, _) => return false,
        }
    }
}
