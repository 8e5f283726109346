//! What an operator allows (signaling.md §5 and §7).

use std::time::Duration;

/// A steady rate and the burst over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second; 0: unlimited.
    pub per_second: u64,
    /// Tokens at once.
    pub burst: u64,
}

/// Limits that may change while the hub runs. Zero means unlimited where it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a session waits for its client (`--resume-grace`).
    pub resume_grace: Duration,
    /// Silence after which the client is pinged; twice that closes (`--ping-interval`).
    pub ping_interval: Duration,
    /// Bytes of all sessions' rings together (`--ring-memory`); 0: unlimited.
    pub ring_memory: usize,
    /// Messages from a session (`--signal-rate`).
    pub messages: Rate,
    /// Messages from an address (`--signal-rate-per-ip`).
    pub messages_per_address: Rate,
    /// Bytes sent out on a session's behalf (`--signal-bytes`).
    pub bytes: Rate,
    /// Bytes of a message (`--max-message`); 0: unlimited.
    pub max_message: usize,
    /// Bytes of a `meta` and of a state value (`--max-meta`); 0: unlimited.
    pub max_meta: usize,
    /// Rooms of a session (`--max-rooms-per-session`); 0: unlimited.
    pub max_rooms: usize,
    /// Sessions of an address, absent ones included; 0: unlimited.
    pub max_sessions_per_address: usize,
    /// Peers of a room, and observers as many (`--max-peers-per-room`); 0: unlimited.
    pub max_peers: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            resume_grace: Duration::from_secs(30),
            ping_interval: Duration::from_secs(15),
            ring_memory: 256 << 20,
            messages: Rate { per_second: 50, burst: 200 },
            messages_per_address: Rate { per_second: 1000, burst: 2000 },
            bytes: Rate { per_second: 512 << 10, burst: 4 << 20 },
            max_message: 64 << 10,
            max_meta: 4 << 10,
            max_rooms: 64,
            max_sessions_per_address: 4000,
            max_peers: 500,
        }
    }
}

/// What a hub is told once, at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of this node, without control characters.
    pub node: String,
    /// Number of this boot: another one each time the process starts.
    pub epoch: u64,
    /// Whether a client without a token is let in (`--signal-auth open`).
    pub open: bool,
}

/// Returns whether `size` is over a limit of which 0 means none.
pub(super) fn over(size: usize, limit: usize) -> bool {
    limit != 0 && size > limit
}

/// How long a connection may take to say `hello`.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long ahead the expiry of a token is announced.
pub(super) const EXPIRY_NOTICE_SECS: u64 = 60;
/// Frames that a ring holds, besides those not yet sent to a live connection.
pub(super) const RING_FRAMES: u64 = 256;
/// Bytes that a ring holds; the newest frame always fits.
pub(super) const RING_BYTES: usize = 1 << 20;
/// Bytes beyond which a ring is one of a client that does not acknowledge as it should, or is long absent.
pub(super) const HEAVY_RING: usize = 256 << 10;
/// Signals dropped from a ring whose fate is still open.
pub(super) const MAX_LOST: usize = 1024;
/// Bytes handed to the shell for a connection and not yet written.
pub(super) const WINDOW: usize = 64 << 10;
/// Bytes of a room's state.
pub(super) const STATE_BYTES: usize = 64 << 10;
/// Keys of a room's state.
pub(super) const STATE_KEYS: usize = 256;
/// Events that a feed keeps for a reader that comes back.
pub(super) const FEED_EVENTS: usize = 256;
/// Bytes of those events.
pub(super) const FEED_BYTES: usize = 1 << 20;
/// Bytes of them where all feeds together hold a quarter of what rings may.
pub(super) const LEAN_FEED_BYTES: usize = 64 << 10;
/// Bytes of a roster that count as one more message of the address that opens a feed.
pub(super) const FEED_MESSAGE: usize = 4 << 10;
/// Unanswered offers of a session that glare is judged by.
pub(super) const MAX_OFFERS: usize = 1024;
/// Bans in force at once.
pub(super) const MAX_BANS: usize = 1 << 16;
