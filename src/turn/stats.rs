//! Counters of one server: plain numbers, read by whoever draws metrics.

use crate::turn::drop_reason::{DropReason, Refusal};

/// What a server has done since its start.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Packets and payload bytes relayed to peers.
    pub to_peers: Traffic,
    /// Packets and payload bytes relayed to clients.
    pub to_clients: Traffic,
    /// Packets and payload bytes handed to other shards.
    pub to_shards: Traffic,
    /// Successful answers to Binding requests.
    pub bindings: u64,
    /// Successful answers to authenticated requests.
    pub granted: u64,
    /// Allocations made.
    pub allocated: u64,
    /// Allocations ended.
    pub ended: u64,
    /// Failed sends and ICMP errors that the shell reported.
    pub peer_errors: u64,
    drops: [u64; DropReason::ALL.len()],
    refusals: [u64; Refusal::ALL.len()],
}

/// Packets and their payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of application data.
    pub bytes: u64,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            to_peers: Traffic::default(),
            to_clients: Traffic::default(),
            to_shards: Traffic::default(),
            bindings: 0,
            granted: 0,
            allocated: 0,
            ended: 0,
            peer_errors: 0,
            drops: [0; DropReason::ALL.len()],
            refusals: [0; Refusal::ALL.len()],
        }
    }
}

impl Traffic {
    pub(super) fn count(&mut self, payload: usize) {
        self.packets += 1;
        self.bytes += payload as u64;
    }
}

impl Stats {
    /// Returns how many packets were dropped for a reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// Returns how many requests were refused for a reason.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refusals[refusal as usize]
    }

    pub(super) fn count_drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    pub(super) fn count_refusal(&mut self, refusal: Refusal) {
        self.refusals[refusal as usize] += 1;
    }
}
