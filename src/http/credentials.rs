//! `POST /v1/credentials`: TURN credentials for a client, in the shape that `RTCPeerConnection` takes.

use serde::Serialize;
use warp::Reply;
use warp::reply::Response;

use crate::auth;
use crate::http::api::Api;
use crate::http::problem::Problem;
use crate::json;

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "iceServers")]
    ice_servers: [IceServer<'a>; 1],
    username: &'a str,
    password: &'a str,
    ttl: u64,
    uris: &'a [String],
    expires_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'static str>,
}

#[derive(Serialize)]
struct IceServer<'a> {
    urls: &'a [String],
    username: &'a str,
    credential: &'a str,
}

/// Answers a request whose key is good.
pub(crate) fn mint(api: &Api, body: &str) -> Result<Response, Problem> {
    let mut subject = None;
    let mut ttl = api.settings().credential_ttl.as_secs();
    let mut policy = None;
    for member in read(body)? {
        match member.key.as_ref() {
            "subject" => subject = Some(member.value.string().ok_or_else(|| wrong("subject is a string"))?),
            "ttl" => ttl = seconds(member.value)?,
            "policy" => policy = Some(read_policy(member.value)?),
            _ => {}
        }
    }
    let subject = match subject {
        Some(subject) if auth::is_subject(&subject) => subject.into_owned(),
        Some(_) => {
            return Err(wrong("subject has 1 to 128 bytes without colon and control characters"));
        }
        None => api.backend.fresh_subject(),
    };
    let ttl = api.settings().max_credential_ttl.map_or(ttl, |max| ttl.min(max.as_secs()));
    let expires_at = api.backend.now().unix.saturating_add(ttl);
    let minted = api.backend.mint(&subject, expires_at);
    let urls = api.backend.ice_urls();
    let (username, password) = (minted.username.as_str(), minted.password.as_str());
    let ice_servers = [IceServer { urls: &urls, username, credential: password }];
    let answer = Answer { ice_servers, username, password, ttl, uris: &urls, expires_at, policy };
    Ok(warp::reply::json(&answer).into_response())
}

/// Reads the members of a body; none at all is an empty object.
pub(crate) fn read(body: &str) -> Result<Vec<json::Member<'_>>, Problem> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    json::members(body).map_err(|fault| {
        wrong(match fault {
            json::Fault::Depth => "the body is nested too deep",
            json::Fault::Kind => "the body is no object",
            json::Fault::RepeatedKey => "the body has a key twice",
            json::Fault::Syntax => "the body is no JSON",
        })
    })
}

/// Reads a lifetime: whole seconds from 1.
pub(crate) fn seconds(value: json::Value<'_>) -> Result<u64, Problem> {
    let is_number = value.unsigned().filter(|seconds| *seconds > 0);
    is_number.ok_or_else(|| wrong("ttl is a whole number of seconds from 1"))
}

pub(crate) fn wrong(detail: &str) -> Problem {
    Problem::BadRequest(detail.to_owned())
}

fn read_policy(value: json::Value<'_>) -> Result<&'static str, Problem> {
    match value.string().as_deref() {
        Some("all") => Ok("all"),
        Some("relay") => Ok("relay"),
        Some(_) | None => Err(wrong("policy is all or relay")),
    }
}
