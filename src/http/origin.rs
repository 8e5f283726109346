//! Which pages may call `/v1/` from a browser, and what they are told (CORS).

use std::net::IpAddr;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, request};
use warp::Reply;
use warp::reply::Response;

use crate::auth::Origins;
use crate::http::problem::Problem;

/// What becomes of a request before any route sees it.
pub(crate) enum Judgment {
    /// It goes on; the answer is marked for this origin.
    Pass(Option<HeaderValue>),
    /// It is answered already.
    Answered(Response),
}

/// Judges a request under `/v1/`; `host` is what a trusted proxy says that the client asked for.
pub(crate) fn judge(origins: &Origins, head: &request::Parts, host: Option<&str>) -> Judgment {
    let mut lines = head.headers.get_all(ORIGIN).iter();
    let (origin, more) = (lines.next(), lines.next());
    let Some(origin) = origin else { return Judgment::Pass(None) };
    let host = host.or_else(|| asked_host(head));
    let is_let_in = more.is_none() && origin.to_str().is_ok_and(|origin| origins.admit(Some(origin), host));
    if !is_let_in {
        let mut refused = Problem::Forbidden("the page's origin is not allowed").response();
        vary(refused.headers_mut());
        return Judgment::Answered(refused);
    }
    if head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        let mut allowed = StatusCode::NO_CONTENT.into_response();
        mark(allowed.headers_mut(), origin.clone());
        let fixed = [
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, Last-Event-ID"),
            (ACCESS_CONTROL_MAX_AGE, "600"),
        ];
        allowed.headers_mut().extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
        return Judgment::Answered(allowed);
    }
    Judgment::Pass(Some(origin.clone()))
}

/// Tells whether a client asks for this host by a name that no other host can take.
///
/// A page of elsewhere can point its own name at a loopback address, and is then of the same origin (DNS rebinding).
pub(crate) fn is_local(head: &request::Parts, host: Option<&str>) -> bool {
    let Some(host) = host.or_else(|| asked_host(head)) else { return true };
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn asked_host(head: &request::Parts) -> Option<&str> {
    let line = || head.headers.get(HOST).and_then(|host| host.to_str().ok());
    head.uri.authority().map(Authority::as_str).or_else(line)
}

/// Lets the page read an answer.
pub(crate) fn mark(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    vary(headers);
}

/// Tells caches that the answer depends on the page.
pub(crate) fn vary(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_host_alone_are_local() {
        let local = |host: &str, forwarded: Option<&str>| {
            let request = http::Request::builder().header(HOST, host).body(()).unwrap();
            is_local(&request.into_parts().0, forwarded)
        };
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080"] {
            assert!(local(host, None), "{host}");
        }
        for host in ["a.example", "localhost.a.example:8080", "192.168.1.1", "[fe80::1]", "", "::1"] {
            assert!(!local(host, None), "{host}");
        }
        assert!(!local("localhost", Some("a.example")));
        assert!(is_local(&http::Request::new(()).into_parts().0, None));
    }
}
