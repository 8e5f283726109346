//! What the hub asks of the shell in the middle of a step: tokens verified, credentials minted.

use crate::auth::{IceTerms, JoinToken, SessionId, TokenError};
use crate::signal::ids::AddressKey;
use crate::time::Now;

/// Verifies join tokens and mints ICE credentials. Nothing in it waits.
pub trait Authority {
    /// Verifies a token and says what it grants at this moment.
    fn verify(&mut self, now: Now, token: &str) -> Result<JoinToken, TokenError>;

    /// Mints the ICE servers of a session.
    fn ice_servers(&mut self, now: Now, holder: &Holder<'_>) -> IceServers;
}

/// Whom ICE servers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder<'h> {
    /// Session that holds the credential.
    pub session: &'h SessionId,
    /// The application's own identity.
    pub uid: Option<&'h str>,
    /// Address of the client.
    pub address: AddressKey,
    /// Terms of its token.
    pub terms: IceTerms,
    /// Whether the session has no token (open signaling), so that the credential is bound.
    pub open: bool,
}

/// What `iceServers` of a client becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServers {
    /// Servers in order.
    pub servers: Vec<IceServer>,
    /// Unix second from which the credentials open nothing new.
    pub expires_at: u64,
}

/// One RTCIceServer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// Its URLs.
    pub urls: Vec<String>,
    /// Username and credential; none for STUN alone.
    pub login: Option<(String, String)>,
}
