//! Every route on one screen.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, pin_mut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Buf, Filter, Reply};

use crate::auth::Scope;
use crate::http::api::Api;
use crate::http::problem::{Problem, respond};
use crate::http::{credentials, openapi, tokens};

/// Largest body in bytes.
const MAX_BODY: usize = 64 << 10;
/// Bytes of a body that is too large which are read all the same: a client that still sends when the answer comes may
/// never see it.
const MAX_DISCARDED: usize = 16 << 20;
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Paths and the methods that each takes; the routes below serve them.
pub(crate) const TABLE: &[(&str, &[&str])] = &[
    ("/healthz", &["GET", "HEAD"]),
    ("/openapi.json", &["GET", "HEAD"]),
    ("/readyz", &["GET", "HEAD"]),
    ("/v1/credentials", &["POST"]),
    ("/v1/tokens", &["POST"]),
];

/// Builds the whole tree. Its last branch takes what is left, so that no rejection of warp ever reaches a client.
pub(crate) fn routes(api: &Arc<Api>) -> BoxedFilter<(Response,)> {
    let served = [
        get(warp::path!("healthz").boxed(), api, |_| Ok(text("ok\n"))),
        get(warp::path!("readyz").boxed(), api, ready),
        get(warp::path!("openapi.json").boxed(), api, |_| Ok(openapi::document())),
        post(warp::path!("v1" / "credentials").boxed(), api, Scope::Mint, credentials::mint),
        post(warp::path!("v1" / "tokens").boxed(), api, Scope::Token, tokens::mint),
    ];
    let nothing = warp::method().and(warp::path::full()).map(unserved).boxed();
    served.into_iter().rev().fold(nothing, |rest, route| route.or(rest).unify().boxed())
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
    let reading = async {
        let (mut bytes, mut len) = (Vec::new(), 0);
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
        if len > MAX_BODY { Err(Problem::TooLarge) } else { Ok(bytes) }
    };
    let bytes = tokio::time::timeout(BODY_TIME, reading).await.unwrap_or(Err(Problem::Timeout))?;
    if !is_json && !bytes.is_empty() {
        return Err(Problem::UnsupportedType);
    }
    String::from_utf8(bytes).map_err(|_| Problem::BadRequest("the body is no UTF-8".to_owned()))
}

fn unserved(_method: Method, path: FullPath) -> Response {
    let row = TABLE.iter().find(|(served, _)| *served == path.as_str());
    row.map_or(Problem::NotFound, |(_, methods)| Problem::MethodNotAllowed(methods)).response()
}
