//! One queue of everything that falls due.

use std::collections::BTreeSet;

use crate::time::Mono;
use crate::turn::shared::ReservationToken;

/// What falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Something of the allocation in a slot: itself, a permission or a channel.
    Allocation(u32),
    /// A reservation that this server made.
    Reservation(ReservationToken),
}

/// Deadlines in order, one entry for each thing that has one.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Mono, Due)>);

impl Deadlines {
    pub(super) fn insert(&mut self, at: Mono, due: Due) {
        self.0.insert((at, due));
    }

    pub(super) fn remove(&mut self, at: Mono, due: Due) {
        self.0.remove(&(at, due));
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes out the first entry that is due.
    pub(super) fn pop(&mut self, now: Mono) -> Option<Due> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop_first().map(|(_, due)| due)
    }
}
