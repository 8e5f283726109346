//! One request as the routes see it.

use std::sync::Arc;

use http::HeaderMap;
use hyper::upgrade::OnUpgrade;
use percent_encoding::percent_decode_str;
use tokio::sync::Notify;

use crate::http::api::{Api, Place};
use crate::http::peer::Peer;
use crate::http::problem::Problem;

/// A request without its body.
pub(crate) struct Call {
    pub(crate) headers: HeaderMap,
    pub(crate) hangup: Hangup,
    pub(crate) peer: Peer,
    /// Place of a client behind a proxy.
    pub(crate) place: Option<Place>,
    /// What follows the `?`, as it came.
    pub(crate) query: String,
    pub(crate) upgrade: Option<OnUpgrade>,
}

/// Ends the stream that a request came on.
#[derive(Clone, Default)]
pub(crate) struct Hangup(pub(crate) Arc<Notify>);

impl Call {
    /// Returns a parameter of the query, decoded; none if it is absent or no UTF-8.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
        percent_decode_str(value).decode_utf8().ok().map(|value| value.into_owned())
    }

    /// Returns the join token of the URL, where the operator allows one there.
    pub(crate) fn token_in_url(&self, api: &Api) -> Option<String> {
        self.parameter("token").filter(|_| api.settings().token_in_url)
    }
}

/// Decodes a segment of a path.
pub(crate) fn segment(raw: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(raw).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| Problem::BadRequest("the path is no UTF-8".into()))
}
