//! The server: see design.
#![allow(unused_variables, dead_code, missing_docs)]
use crate::auth::*;
use crate::turn::*;
use std::sync::Arc;

/// Source of randomness; injected, so that the same seed gives the same output.
pub trait Rng {
    /// Fills `bytes` with random ones, fit for ports, tokens and transaction ids.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// What an observer may see of an allocation.
pub struct AllocationView<'s> {
    pub id: AllocationId,
    pub client: ClientPath,
    pub relay: RelayAddr,
    pub subject: &'s str,
    pub expires: Mono,
    pub relayed: (u64, u64),
}

/// One shard's TURN server.
pub struct Server<S: Shared, R> {
    s: S,
    r: R,
}

impl<S: Shared, R: Rng> Server<S, R> {
    pub fn new(
        settings: Settings,
        limits: Limits,
        policy: Arc<Policy>,
        credentials: Arc<Credentials>,
        shared: S,
        rng: R,
    ) -> Self {
        unimplemented!()
    }
    /// One datagram, or one framed message of a stream.
    pub fn handle_client<'b>(&mut self, now: Now, from: ClientPath, bytes: &'b [u8]) -> Verdict<'b> {
        unimplemented!()
    }
    /// One datagram on a relay socket, or from another relay of this server (`from`: its advertised address).
    pub fn handle_peer<'b>(
        &mut self,
        now: Now,
        on: RelayId,
        from: PeerAddr,
        payload: &'b [u8],
    ) -> Verdict<'b> {
        unimplemented!()
    }
    pub fn handle(&mut self, now: Now, event: Event) {
        unimplemented!()
    }
    pub fn handle_timeout(&mut self, now: Now) {
        unimplemented!()
    }
    pub fn poll_action(&mut self) -> Option<Action<'_>> {
        unimplemented!()
    }
    pub fn poll_timeout(&self) -> Option<Mono> {
        unimplemented!()
    }
    pub fn poll_change(&mut self) -> Option<Change> {
        unimplemented!()
    }
    pub fn subscribe(&mut self, on: bool) {
        unimplemented!()
    }
    pub fn allocations(&self) -> impl Iterator<Item = AllocationView<'_>> {
        std::iter::empty()
    }
    pub fn export(&self, id: AllocationId) -> Option<AllocationState> {
        unimplemented!()
    }
    pub fn stats(&self) -> &Stats {
        unimplemented!()
    }
    /// Whether this path owns an allocation (the shell keeps such streams open while idle).
    pub fn has_allocation(&self, client: &ClientPath) -> bool {
        unimplemented!()
    }
}
