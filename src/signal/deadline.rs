//! One queue of everything that falls due.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::FixedState;

use crate::signal::ids::{AddressKey, ConnId, RoomKey, SessionKey};
use crate::time::Mono;

/// What falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Due {
    /// An address has been quiet long enough to be forgotten.
    Address(AddressKey),
    /// The oldest ban.
    Ban,
    /// The server stops.
    Drain,
    /// The log of a feed without readers.
    Feed(RoomKey),
    /// A session's client has not come back.
    Grace(SessionKey),
    /// A connection has not said `hello`.
    Hello(ConnId),
    /// A session's ICE servers are to be renewed.
    Ice(SessionKey),
    /// The token of a membership expires, or is about to.
    Member(RoomKey, SessionKey),
    /// A connection's heartbeat is to be looked at.
    Ping(ConnId),
    /// A token that opened a feed expires.
    Reader(ConnId),
    /// A key of a room's state expires.
    State(RoomKey),
    /// A session's token expires, or is about to.
    Token(SessionKey),
    /// A waiting signal expires.
    Ttl(SessionKey, u64),
}

/// Deadlines in order, at most one for each thing.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    queue: BTreeSet<(Mono, Due)>,
    by_due: HashMap<Due, Mono, FixedState>,
}

impl Deadlines {
    /// Sets the deadline of something, in place of the one that it had.
    pub(super) fn set(&mut self, due: Due, at: Mono) {
        if let Some(before) = self.by_due.insert(due, at) {
            self.queue.remove(&(before, due));
        }
        self.queue.insert((at, due));
    }

    pub(super) fn clear(&mut self, due: Due) {
        if let Some(at) = self.by_due.remove(&due) {
            self.queue.remove(&(at, due));
        }
    }

    pub(super) fn is_set(&self, due: Due) -> bool {
        self.by_due.contains_key(&due)
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes out the first entry that is due.
    pub(super) fn pop(&mut self, now: Mono) -> Option<Due> {
        self.next().filter(|at| *at <= now)?;
        let (_, due) = self.queue.pop_first()?;
        self.by_due.remove(&due);
        Some(due)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}
