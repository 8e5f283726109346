//! The admin routes: reload and status, for the holder of a key or whoever reaches the admin socket.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use warp::reply::Response;

use crate::auth::Scope;
use crate::http::api::Api;
use crate::http::changes::Changes;
use crate::http::problem::Problem;
use crate::http::session::json;

/// Says that a request came by the admin socket, whose permissions are the key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdminSocket;

/// Answers `POST /v1/admin/reload`.
pub(crate) async fn reload(api: Arc<Api>) -> Result<Response, Problem> {
    match api.backend.reload().await.ok_or(Problem::NotReady)? {
        Ok(Changes { changed, restart }) => {
            let body = serde_json::json!({"changed": changed, "restart": restart});
            Ok(json(StatusCode::OK, body.to_string()))
        }
        Err(mistakes) => Err(Problem::Mistakes(mistakes)),
    }
}

/// Answers `GET /v1/admin/status`.
pub(crate) async fn status(api: Arc<Api>) -> Result<Response, Problem> {
    let status = api.backend.status().await.ok_or(Problem::NotReady)?;
    Ok(json(StatusCode::OK, status))
}

/// Lets a request pass that came by the admin socket, or whose key has the scope.
pub(crate) fn authorize(
    api: &Api,
    socket: Option<AdminSocket>,
    headers: &HeaderMap,
    scope: Scope,
) -> Result<(), Problem> {
    if socket.is_some() { Ok(()) } else { api.authorize(headers, scope) }
}
