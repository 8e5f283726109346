//! Why the daemon does not run.

use std::io;
use std::net::IpAddr;

use crate::net::BindError;
use crate::node::admin::AdminError;
use crate::node::jwks::JwksError;

/// Why the daemon did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate cannot be served.
    #[error("the certificate cannot be served: {0}")]
    Tls(#[from] rustls::Error),
    /// An external address is for a local one that no relay uses.
    #[error("--external-address names {0}, which is no relay address here: name it with --relay-address too")]
    External(IpAddr),
    /// The admin socket cannot be listened on.
    #[error("--admin-socket: {0}")]
    Admin(#[from] AdminError),
    /// The public keys of join tokens cannot be had.
    #[error("--token-jwks: {0}")]
    Jwks(#[from] JwksError),
    /// The signaling hub ended.
    #[error("the signaling hub ended unexpectedly: {0}")]
    Hub(String),
    /// A media thread ended.
    #[error("a media thread ended unexpectedly: {0}")]
    Shard(String),
}

impl RunError {
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
        move |source| RunError::System { what, source }
    }
}
