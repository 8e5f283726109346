//! Names and numbers of what the shell drops and closes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::words::words;

words! {
    /// Why a packet was lost between the kernel and the core.
    NetDrop {
        /// The ring to the other shard is full.
        HairpinFull = "hairpin_full",
        /// Reading a socket failed with an error that concerns one packet.
        ReceiveFailed = "receive_failed",
        /// The relay socket is closed already.
        RelayGone = "relay_gone",
        /// The kernel refused to send: no route, too large, forbidden.
        SendFailed = "send_failed",
        /// A stream client reads too slowly; its oldest data gave way.
        SlowClientData = "slow_client_data",
        /// The socket's send buffer is full.
        SocketFull = "socket_full",
        /// The client's stream is closed already.
        StreamGone = "stream_gone",
        /// A datagram larger than a receive buffer.
        Truncated = "truncated",
    }
}

words! {
    /// Why a stream was closed.
    Close {
        /// The source address holds as many connections as it may.
        AddressConnections = "address_connections",
        /// Messages that make no sense came one after another.
        BadMessages = "bad_messages",
        /// The client closed it.
        Client = "client",
        /// The beginning, up to the end of a TLS handshake, took too long.
        HandshakeTimeout = "handshake_timeout",
        /// No whole message for too long, and no allocation.
        Idle = "idle",
        /// Reading or writing failed: reset, timed out.
        Io = "io",
        /// Neither STUN nor anything else that is served here, by its first byte.
        NotTurn = "not_turn",
        /// The bytes are in step with no STUN or ChannelData message.
        OutOfStep = "out_of_step",
        /// A listener for TLS only was sent something else.
        PlaintextRefused = "plaintext_refused",
        /// A PROXY header was required and is missing or malformed.
        ProxyHeader = "proxy_header",
        /// The shard has as many new streams waiting as it may.
        ShardFull = "shard_full",
        /// The server stops.
        Shutdown = "shutdown",
        /// Answers alone fill the queue of a client that does not read.
        SlowClient = "slow_client",
        /// TLS failed, in the handshake or after it.
        Tls = "tls",
        /// A message larger than what is kept for a client without an allocation.
        TooLarge = "too_large",
        /// As many connections as may be are at their beginning, in all or from one source.
        TooManyHandshakes = "too_many_handshakes",
        /// As many connections as the process may hold are open.
        TotalConnections = "total_connections",
    }
}

/// What a shard lost and closed since its start.
#[derive(Clone, Debug)]
pub struct NetStats {
    /// Datagrams read from sockets.
    pub received: u64,
    /// Datagrams given to the kernel.
    pub sent: u64,
    /// Streams taken over from the lobby.
    pub streams_opened: u64,
    /// Packets handed to other shards.
    pub hairpin_out: u64,
    /// Packets taken from other shards.
    pub hairpin_in: u64,
    drops: [u64; NetDrop::ALL.len()],
    closes: [u64; Close::ALL.len()],
}

impl Default for NetStats {
    fn default() -> NetStats {
        NetStats {
            received: 0,
            sent: 0,
            streams_opened: 0,
            hairpin_out: 0,
            hairpin_in: 0,
            drops: [0; NetDrop::ALL.len()],
            closes: [0; Close::ALL.len()],
        }
    }
}

impl NetStats {
    /// Returns how many packets were lost for a reason.
    #[must_use]
    pub fn dropped(&self, reason: NetDrop) -> u64 {
        self.drops[reason as usize]
    }

    /// Returns how many streams were closed for a reason.
    #[must_use]
    pub fn closed(&self, reason: Close) -> u64 {
        self.closes[reason as usize]
    }

    pub(crate) fn count_drop(&mut self, reason: NetDrop) {
        self.drops[reason as usize] += 1;
    }

    pub(crate) fn count_close(&mut self, reason: Close) {
        self.closes[reason as usize] += 1;
    }
}

/// What the lobby accepted and closed since its start.
#[derive(Debug, Default)]
pub struct LobbyStats {
    accepted: AtomicU64,
    accept_errors: AtomicU64,
    closes: [AtomicU64; Close::ALL.len()],
}

impl LobbyStats {
    /// Returns how many TCP connections were accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Returns how often accepting failed, for want of descriptors as a rule.
    #[must_use]
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// Returns how many connections were closed for a reason before they reached a shard.
    #[must_use]
    pub fn closed(&self, reason: Close) -> u64 {
        self.closes[reason as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_close(&self, reason: Close) {
        self.closes[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_in_order() {
        let drops: Vec<_> = NetDrop::ALL.iter().map(|reason| reason.label()).collect();
        let closes: Vec<_> = Close::ALL.iter().map(|reason| reason.label()).collect();
        for labels in [drops, closes] {
            assert!(labels.is_sorted_by(|a, b| a < b), "{labels:?}");
        }
    }
}
