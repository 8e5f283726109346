//! What hangs on a signaling session in the relay: the leases of its credentials, and its allocations after a kick.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::auth::SessionId;
use crate::net::{Command, ShardHandle};
use crate::node::shards::tell_all;
use crate::signal::{SessionEnd, SessionTerms};
use crate::time::{Mono, Now};
use crate::turn::{SessionLease, SharedTable};

/// Bits in a kilobit.
const KILOBIT: u64 = 1000;

/// The registry from a session to its lease in the relay.
pub(super) struct Leases {
    shared: SharedTable,
    /// Sessions that were kicked, until no credential of theirs makes an allocation any more.
    kicked: VecDeque<(Mono, SessionId)>,
    longest_credential: Duration,
    /// Sessions whose allocations end; as many as there were sessions, and each once.
    enders: mpsc::UnboundedSender<SessionId>,
}

impl Leases {
    /// Makes the registry, and starts what ends allocations on the shards.
    pub(super) fn new(shared: SharedTable, longest_credential: Duration, shards: Vec<ShardHandle>) -> Leases {
        let (enders, mut kicked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(session) = kicked.recv().await {
                tell_all(&shards, || Command::End(SessionId::clone(&session))).await;
            }
        });
        Leases { shared, kicked: VecDeque::new(), longest_credential, enders }
    }

    /// Says how long a credential minted from now on may make allocations.
    pub(super) fn set_longest_credential(&mut self, longest: Duration) {
        // Older ones may live as long as was allowed when they were minted.
        self.longest_credential = self.longest_credential.max(longest);
    }

    /// Lets credentials of a session live as long as it does.
    pub(super) fn begin(&self, session: SessionId, terms: &SessionTerms) {
        let bitrate = terms.ice.kbps.map_or(0, |kbps| u64::from(kbps) * KILOBIT);
        self.shared.set_session(session, SessionLease::Live { bitrate });
    }

    /// Ends the lease; after a kick the allocations end too.
    pub(super) fn end(&mut self, now: Now, session: SessionId, end: SessionEnd) {
        match end {
            SessionEnd::Banned | SessionEnd::Kicked => {
                self.shared.set_session(session.clone(), SessionLease::Kicked);
                self.kicked.push_back((now.mono.after(self.longest_credential), session.clone()));
                // The receiver lives as long as the runtime.
                let _ = self.enders.send(session);
            }
            SessionEnd::Bye | SessionEnd::Timeout | SessionEnd::TokenExpired => {
                self.shared.set_session(session, SessionLease::Gone);
            }
        }
    }

    /// Forgets kicked sessions whose credentials have all expired.
    pub(super) fn handle_timeout(&mut self, now: Now) {
        while self.kicked.front().is_some_and(|(until, _)| *until <= now.mono) {
            if let Some((_, session)) = self.kicked.pop_front() {
                self.shared.set_session(session, SessionLease::Gone);
            }
        }
    }
}
