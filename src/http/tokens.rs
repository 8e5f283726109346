//! `POST /v1/tokens`: join tokens for clients of the signaling half.

use serde::Serialize;
use warp::Reply;
use warp::reply::Response;

use crate::http::api::Api;
use crate::http::credentials::{read, seconds, wrong};
use crate::http::problem::Problem;
use crate::http::token::claims;

/// Seconds that a token lives which is asked for without a time.
pub const LIFETIME: u64 = 3600;
/// Seconds that one lives at most; more is capped.
pub const LONGEST_LIFETIME: u64 = 365 * 86_400;

#[derive(Serialize)]
struct Answer {
    token: String,
    expires_at: u64,
}

/// Answers a request whose key is good.
pub(crate) fn mint(api: &Api, body: &str) -> Result<Response, Problem> {
    let members = read(body)?;
    let ttl = members.iter().find(|member| member.key == "ttl").map(|member| seconds(member.value));
    let ttl = ttl.transpose()?.unwrap_or(LIFETIME).min(LONGEST_LIFETIME);
    let expires_at = api.backend.now().unix.saturating_add(ttl);
    let claims =
        claims(&members, expires_at).map_err(|_| wrong("a claim is of the wrong type or too long"))?;
    let token = api.settings().tokens.sign(&claims).ok_or(Problem::Internal)?;
    Ok(warp::reply::json(&Answer { token, expires_at }).into_response())
}
