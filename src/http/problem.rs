//! Refusals as RFC 9457 problem documents.

use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, SEC_WEBSOCKET_VERSION, WWW_AUTHENTICATE,
};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use warp::Reply;
use warp::reply::Response;

/// Why a request is refused; the codes are those of signaling.md §6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// What the client sent cannot be taken.
    BadRequest(String),
    /// The client's view of the session is not the server's.
    Conflict(&'static str),
    /// The client may not do this.
    Forbidden(&'static str),
    /// The session is gone.
    Gone,
    /// A request is missing before one that came.
    Hole {
        /// Id of the missing one.
        expected: u64,
        /// Replies to what was applied before, as an array of JSON.
        replies: String,
    },
    /// A bug of ours.
    Internal,
    /// The path is served, but not with this method.
    MethodNotAllowed(&'static [&'static str]),
    /// The configuration has mistakes; each is said as on the command line.
    Mistakes(Vec<String>),
    /// Nothing is served at this path.
    NotFound,
    /// The daemon does not take clients now.
    NotReady,
    /// Too much, too fast.
    RateLimited(Duration),
    /// The room takes no more readers.
    RoomFull,
    /// The body did not come in time.
    Timeout,
    /// The join token is past its expiry.
    TokenExpired,
    /// The body is too large.
    TooLarge,
    /// The client has as many connections as it may.
    TooManyConnections,
    /// There is no key, token or secret, or one that is worth nothing.
    Unauthorized,
    /// The body is of another type.
    UnsupportedType,
    /// The path is a WebSocket's.
    UpgradeRequired,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replies: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mistakes: Option<&'a [String]>,
}

impl Problem {
    fn parts(&self) -> (StatusCode, &'static str, &str) {
        match self {
            Problem::BadRequest(detail) => (StatusCode::BAD_REQUEST, "bad_request", detail),
            Problem::Conflict(detail) => (StatusCode::CONFLICT, "conflict", detail),
            Problem::Forbidden(detail) => (StatusCode::FORBIDDEN, "forbidden", detail),
            Problem::Gone => (StatusCode::GONE, "not_found", "the session is gone: say hello"),
            Problem::Hole { .. } => {
                (StatusCode::CONFLICT, "conflict", "a request is missing before this one")
            }
            Problem::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "this is a bug of the server")
            }
            Problem::MethodNotAllowed(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "unsupported", "this path takes other methods, see Allow")
            }
            Problem::Mistakes(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad_request",
                "the configuration has mistakes; nothing was changed",
            ),
            Problem::NotFound => (StatusCode::NOT_FOUND, "not_found", "nothing is served at this path"),
            Problem::NotReady => {
                (StatusCode::SERVICE_UNAVAILABLE, "backend_unavailable", "clients are not taken now")
            }
            Problem::RateLimited(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too much, too fast"),
            Problem::RoomFull => {
                (StatusCode::TOO_MANY_REQUESTS, "room_full", "the room takes no more readers")
            }
            Problem::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come in time"),
            Problem::TokenExpired => {
                (StatusCode::UNAUTHORIZED, "token_expired", "the join token is past its expiry")
            }
            Problem::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "a body has at most 65536 bytes, and each message in it as many as --max-message says",
            ),
            Problem::TooManyConnections => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many connections from this address")
            }
            Problem::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "send a valid key, token or secret as Authorization: Bearer",
            ),
            Problem::UnsupportedType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", "a body is application/json")
            }
            Problem::UpgradeRequired => (
                StatusCode::UPGRADE_REQUIRED,
                "unsupported",
                "this path takes WebSockets of version 13 over HTTP/1.1",
            ),
        }
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Problem::MethodNotAllowed(methods) => {
                HeaderValue::from_str(&methods.join(", ")).ok().map(|methods| (ALLOW, methods))
            }
            Problem::RateLimited(wait) => {
                let seconds = wait.as_nanos().div_ceil(1_000_000_000).max(1);
                Some((RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX))))
            }
            Problem::RoomFull | Problem::TooManyConnections => {
                Some((RETRY_AFTER, HeaderValue::from_static("5")))
            }
            Problem::UpgradeRequired => Some((SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))),
            Problem::TokenExpired | Problem::Unauthorized => {
                Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            Problem::BadRequest(_)
            | Problem::Conflict(_)
            | Problem::Forbidden(_)
            | Problem::Gone
            | Problem::Hole { .. }
            | Problem::Internal
            | Problem::Mistakes(_)
            | Problem::NotFound
            | Problem::NotReady
            | Problem::Timeout
            | Problem::TooLarge
            | Problem::UnsupportedType => None,
        }
    }

    /// Renders the problem.
    pub(crate) fn response(&self) -> Response {
        let (status, code, detail) = self.parts();
        let title = status.canonical_reason().unwrap_or_default();
        let (expected, replies) = if let Problem::Hole { expected, replies } = self {
            (Some(*expected), serde_json::from_str(replies).ok())
        } else {
            (None, None)
        };
        let mistakes = if let Problem::Mistakes(mistakes) = self { Some(mistakes.as_slice()) } else { None };
        let document = Document {
            r#type: "about:blank",
            title,
            status: status.as_u16(),
            detail,
            code,
            expected,
            replies,
            mistakes,
        };
        let mut response = warp::reply::json(&document).into_response();
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.header());
        response
    }
}

/// Renders whichever of the two it is.
pub(crate) fn respond(outcome: Result<Response, Problem>) -> Response {
    outcome.unwrap_or_else(|problem| problem.response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_a_time_names_whole_seconds_and_at_least_one() {
        let seconds = |millis| {
            let response = Problem::RateLimited(Duration::from_millis(millis)).response();
            response.headers()[RETRY_AFTER].to_str().unwrap().to_owned()
        };
        assert_eq!([0, 10, 1000, 1001].map(seconds), ["1", "1", "1", "2"]);
    }
}
