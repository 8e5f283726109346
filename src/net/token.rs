//! What an epoll token stands for.
//!
//! ```text
//! | kind: 8 bits | slot: 24 bits | generation: 32 bits |
//! ```

use crate::turn::RelayId;

/// A waited-for descriptor by name. A stale name matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// The shard's bell.
    Bell,
    /// A UDP listener's socket.
    Listener(u32),
    /// A relay's socket.
    Relay(RelayId),
    /// A client's stream.
    Stream {
        /// Slot in the shard's table.
        slot: u32,
        /// Grows with each tenant of the slot.
        generation: u32,
    },
}

const SLOTS: u64 = 1 << 24;

impl Token {
    pub(crate) fn pack(self) -> u64 {
        let (kind, slot, generation) = match self {
            Token::Bell => (0, 0, 0),
            Token::Listener(index) => (1, index, 0),
            Token::Relay(relay) => (2, relay.slot, relay.generation),
            Token::Stream { slot, generation } => (3, slot, generation),
        };
        (kind << 56) | ((u64::from(slot) % SLOTS) << 32) | u64::from(generation)
    }

    pub(crate) fn unpack(token: u64) -> Token {
        let slot = ((token >> 32) % SLOTS) as u32;
        let generation = token as u32;
        match token >> 56 {
            1 => Token::Listener(slot),
            2 => Token::Relay(RelayId { slot, generation }),
            3 => Token::Stream { slot, generation },
            _ => Token::Bell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_way_through_the_kernel() {
        let relay = RelayId { slot: (1 << 24) - 1, generation: u32::MAX };
        for token in [
            Token::Bell,
            Token::Listener(3),
            Token::Relay(relay),
            Token::Stream { slot: 70_000, generation: 1 },
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
