//! Counters of the hub (signaling.md §10): plain numbers, read by whoever draws metrics.

use crate::signal::names::{Ask, Carrier, ResumeResult, Tell, Undelivered};

/// What the hub has done since its start, and what it holds.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Connections closed with 4001.
    pub slow_closed: u64,
    /// Messages refused for their rate or their bytes.
    pub rate_limited: u64,
    /// Offers that met another.
    pub glare: u64,
    /// ICE servers pushed before the old ones expired.
    pub ice_refresh: u64,
    /// Sessions now.
    pub sessions: u64,
    /// Rooms now.
    pub rooms: u64,
    /// Bytes in all rings now.
    pub ring_bytes: u64,
    connections: [u64; Carrier::ALL.len()],
    asked: [u64; Ask::ALL.len()],
    told: [u64; Tell::ALL.len()],
    resumes: [u64; ResumeResult::ALL.len()],
    undelivered: [u64; Undelivered::ALL.len()],
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            slow_closed: 0,
            rate_limited: 0,
            glare: 0,
            ice_refresh: 0,
            sessions: 0,
            rooms: 0,
            ring_bytes: 0,
            connections: [0; Carrier::ALL.len()],
            asked: [0; Ask::ALL.len()],
            told: [0; Tell::ALL.len()],
            resumes: [0; ResumeResult::ALL.len()],
            undelivered: [0; Undelivered::ALL.len()],
        }
    }
}

impl Stats {
    /// Returns how many connections of a kind are open.
    #[must_use]
    pub fn connections(&self, carrier: Carrier) -> u64 {
        self.connections[carrier as usize]
    }

    /// Returns how many messages of a type came in.
    #[must_use]
    pub fn asked(&self, ask: Ask) -> u64 {
        self.asked[ask as usize]
    }

    /// Returns how many messages of a type went out, each copy counted.
    #[must_use]
    pub fn told(&self, tell: Tell) -> u64 {
        self.told[tell as usize]
    }

    /// Returns how many `hello`s with `resume` came to a result.
    #[must_use]
    pub fn resumes(&self, result: ResumeResult) -> u64 {
        self.resumes[result as usize]
    }

    /// Returns how many signals did not reach their peer for a reason.
    #[must_use]
    pub fn undelivered(&self, reason: Undelivered) -> u64 {
        self.undelivered[reason as usize]
    }

    pub(super) fn connection_opened(&mut self, carrier: Carrier) {
        self.connections[carrier as usize] += 1;
    }

    pub(super) fn connection_closed(&mut self, carrier: Carrier) {
        self.connections[carrier as usize] -= 1;
    }

    pub(super) fn count_ask(&mut self, ask: Ask) {
        self.asked[ask as usize] += 1;
    }

    pub(super) fn count_tell(&mut self, tell: Tell) {
        self.told[tell as usize] += 1;
    }

    pub(super) fn count_resume(&mut self, result: ResumeResult) {
        self.resumes[result as usize] += 1;
    }

    pub(super) fn count_undelivered(&mut self, reason: Undelivered) {
        self.undelivered[reason as usize] += 1;
    }
}
