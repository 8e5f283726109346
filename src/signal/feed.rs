//! The one-way feed of a room: its readers, and what those that come back have missed.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::signal::frame::cost;
use crate::signal::ids::ConnId;
use crate::signal::limits::FEED_EVENTS;
use crate::signal::names::Tell;

/// Events of a room, kept while somebody reads and for the grace after.
#[derive(Default)]
pub(super) struct Feed {
    pub(super) readers: BTreeSet<ConnId>,
    log: VecDeque<(Tell, Arc<str>)>,
    /// Number of the event before the oldest.
    base: u64,
    bytes: usize,
    kept: bool,
    /// The room as a reader first sees it, at a version of its roster and one of its state: readers that come at the
    /// same time share it.
    pub(super) view: Option<((u64, u64), Arc<str>)>,
}

impl Feed {
    pub(super) fn has_readers(&self) -> bool {
        !self.readers.is_empty()
    }

    /// Begins to keep events.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    /// Forgets the events; the count goes on.
    pub(super) fn forget(&mut self) {
        self.base = self.last();
        self.log = VecDeque::new();
        self.view = None;
        self.bytes = 0;
        self.kept = false;
    }

    /// Takes an event, if events are kept.
    pub(super) fn push(&mut self, tell: Tell, body: &Arc<str>, most_bytes: usize) {
        if !self.kept {
            return;
        }
        self.bytes += cost(body);
        self.log.push_back((tell, body.clone()));
        while self.log.len() > FEED_EVENTS || (self.bytes > most_bytes && self.log.len() > 1) {
            let Some((_, dropped)) = self.log.pop_front() else { return };
            self.bytes -= cost(&dropped);
            self.base += 1;
        }
    }

    /// Returns what its events cost together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of the newest event.
    pub(super) fn last(&self) -> u64 {
        self.base + self.log.len() as u64
    }

    /// Returns an event.
    pub(super) fn get(&self, number: u64) -> Option<(Tell, Arc<str>)> {
        let index = usize::try_from(number.checked_sub(self.base + 1)?).ok()?;
        self.log.get(index).cloned()
    }

    /// Returns whether a reader that has seen an event can go on after it.
    pub(super) fn continues(&self, number: u64) -> bool {
        self.kept && (self.base..=self.last()).contains(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_keeps_its_last_events_while_it_is_read() {
        let mut feed = Feed::default();
        let body: Arc<str> = "x".into();
        feed.push(Tell::Message, &body, 1000);
        assert_eq!(feed.last(), 0);
        feed.keep();
        for _ in 0..FEED_EVENTS + 10 {
            feed.push(Tell::Message, &body, 1 << 20);
        }
        assert!(feed.continues(10) && feed.continues(feed.last()));
        assert!(!feed.continues(9) && !feed.continues(feed.last() + 1));
        assert!(feed.get(10).is_none() && feed.get(11).is_some());
        feed.push(Tell::Message, &body, 100);
        assert!(feed.bytes() <= 100 && feed.continues(feed.last() - 1));
        feed.forget();
        assert!(!feed.continues(feed.last()));
    }
}
