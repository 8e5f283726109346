//! Stand-in until the merge: addresses in log lines.

use std::fmt;
use std::net::SocketAddr;

/// The address of a client, for a log field.
#[derive(Clone, Copy)]
pub struct ClientAddr(pub SocketAddr);

/// The address of a peer, for a log field.
#[derive(Clone, Copy)]
pub struct PeerAddrLog(pub SocketAddr);

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for PeerAddrLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
