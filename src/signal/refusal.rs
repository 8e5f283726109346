//! An error on its way to a client.

use std::time::Duration;

use crate::auth::TokenError;
use crate::signal::frame::{push_number, push_text};
use crate::signal::names::ErrorCode;

/// Why a request is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    message: &'static str,
    detail: Detail,
}

/// What a program needs to know besides the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    None,
    RetryMs(u64),
    Expected(u64),
    Ver(u64),
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: &'static str) -> Refusal {
        Refusal { code, message, detail: Detail::None }
    }

    pub(super) fn rate_limited(message: &'static str, wait: Duration) -> Refusal {
        Refusal { detail: retry(wait), ..Refusal::new(ErrorCode::RateLimited, message) }
    }

    pub(super) fn banned(wait: Duration) -> Refusal {
        Refusal { detail: retry(wait), ..Refusal::new(ErrorCode::Forbidden, "banned from this room") }
    }

    pub(super) fn hole(expected: u64) -> Refusal {
        let detail = Detail::Expected(expected);
        Refusal { detail, ..Refusal::new(ErrorCode::Conflict, "a request is missing before this one") }
    }

    pub(super) fn version(ver: u64) -> Refusal {
        Refusal { detail: Detail::Ver(ver), ..Refusal::new(ErrorCode::Conflict, "the key has changed") }
    }

    pub(super) fn token(error: TokenError) -> Refusal {
        if error == TokenError::Expired {
            Refusal::new(ErrorCode::TokenExpired, "the token is past its expiry")
        } else {
            Refusal::new(ErrorCode::Unauthorized, "the token is worth nothing here")
        }
    }

    /// Writes the body of the error; `re` is the request that it answers, 0 for none.
    pub(super) fn body(&self, re: u64) -> String {
        let mut out = String::with_capacity(96);
        if re != 0 {
            push_number(&mut out, "\"re\":", re);
            out.push(',');
        }
        push_text(&mut out, "\"code\":", self.code.label());
        push_text(&mut out, ",\"msg\":", self.message);
        match self.detail {
            Detail::None => {}
            Detail::RetryMs(ms) => push_number(&mut out, ",\"retry_ms\":", ms),
            Detail::Expected(id) => push_number(&mut out, ",\"expected\":", id),
            Detail::Ver(ver) => push_number(&mut out, ",\"ver\":", ver),
        }
        out
    }
}

fn retry(wait: Duration) -> Detail {
    Detail::RetryMs(millis(wait).max(1))
}

/// Returns whole milliseconds, rounded up.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
