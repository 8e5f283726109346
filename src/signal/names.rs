//! The words of the protocol: message types, errors, closes and reasons.

use crate::words::words;

words! {
    /// Type of a message from a client (signaling.md §2).
    Ask {
        /// Releases the session.
        Bye = "bye",
        /// Opens or resumes a session.
        Hello = "hello",
        /// Asks for ICE servers.
        Ice = "ice",
        /// Enters a room.
        Join = "join",
        /// Removes a peer.
        Kick = "kick",
        /// Leaves a room.
        Leave = "leave",
        /// Answers a ping, or only acknowledges.
        Pong = "pong",
        /// Brings a new token.
        Refresh = "refresh",
        /// Sends a message.
        Send = "send",
        /// Negotiates with a peer.
        Signal = "signal",
        /// Changes the room's state.
        State = "state",
        /// Tells how a call goes.
        Stats = "stats",
        /// Any other word.
        Unknown = "unknown",
        /// Changes one's own meta.
        Update = "update",
    }
}

words! {
    /// Type of a message to a client (signaling.md §3).
    Tell {
        /// The connection is about to be closed.
        Bye = "bye",
        /// The server is about to stop.
        Drain = "drain",
        /// A request failed, or something was no request.
        Error = "error",
        /// Fresh ICE servers.
        Ice = "ice",
        /// The room that was entered.
        Joined = "joined",
        /// Something another member said.
        Message = "message",
        /// A request succeeded.
        Ok = "ok",
        /// A peer entered.
        PeerJoined = "peer-joined",
        /// A peer left.
        PeerLeft = "peer-left",
        /// A peer's connection was lost or came back.
        PeerStatus = "peer-status",
        /// A peer changed its meta.
        PeerUpdated = "peer-updated",
        /// Asks for a sign of life.
        Ping = "ping",
        /// A peer negotiates.
        Signal = "signal",
        /// A key of the room's state changed.
        State = "state",
        /// The token is about to expire.
        TokenExpiring = "token-expiring",
        /// A signal did not reach its peer.
        Undelivered = "undelivered",
        /// Nothing: stands for what was withdrawn.
        Void = "void",
        /// The session.
        Welcome = "welcome",
    }
}

words! {
    /// Why a request failed (signaling.md §6).
    ErrorCode {
        /// The room was joined before.
        AlreadyJoined = "already_joined",
        /// What stands behind this node does not answer.
        BackendUnavailable = "backend_unavailable",
        /// A field is missing, malformed or contradicts another.
        BadRequest = "bad_request",
        /// The state or the count of requests is not what the client thinks.
        Conflict = "conflict",
        /// The client lacks the permission.
        Forbidden = "forbidden",
        /// Something failed here.
        Internal = "internal",
        /// A bound of the session or the room is reached.
        LimitReached = "limit_reached",
        /// There is no such key.
        NotFound = "not_found",
        /// The client is not in that room.
        NotInRoom = "not_in_room",
        /// There is no such peer in the room.
        PeerNotFound = "peer_not_found",
        /// Too much, too fast.
        RateLimited = "rate_limited",
        /// The room takes nobody else.
        RoomFull = "room_full",
        /// Something took too long.
        Timeout = "timeout",
        /// The token is past its expiry.
        TokenExpired = "token_expired",
        /// A value is larger than it may be.
        TooLarge = "too_large",
        /// The token is worth nothing.
        Unauthorized = "unauthorized",
        /// There is no such request.
        UnknownType = "unknown_type",
        /// A binary message.
        Unsupported = "unsupported",
    }
}

words! {
    /// Why a connection is closed (signaling.md §6).
    CloseCode {
        /// The other nodes are out of reach (4005).
        BackplaneLost = "backplane_lost",
        /// The first message was no good `hello` (4500).
        BadRequest = "bad_request",
        /// Bad UTF-8 in a text message (1007).
        BadUtf8 = "bad_utf8",
        /// The session lost its last room by a kick with a ban (4505).
        Banned = "banned",
        /// The client asked for it (1000).
        Bye = "bye",
        /// The server stops (4000).
        Draining = "draining",
        /// Nothing was heard for too long (4002).
        HeartbeatTimeout = "heartbeat_timeout",
        /// No `hello` in time (4503).
        HelloTimeout = "hello_timeout",
        /// Something failed here (4003).
        Internal = "internal",
        /// The session lost its last room by a kick (4504).
        Kicked = "kicked",
        /// A bound is reached (4507).
        Limit = "limit",
        /// Frames that are no WebSocket's (1002).
        ProtocolError = "protocol_error",
        /// Too much, too fast, and on (4004).
        RateLimited = "rate_limited",
        /// The session goes on over another connection (4506).
        Replaced = "replaced",
        /// The client does not read what is sent (4001).
        SlowConsumer = "slow_consumer",
        /// The token is past its expiry (4502).
        TokenExpired = "token_expired",
        /// A message over the limit (1009).
        TooBig = "too_big",
        /// No token, or one that is worth nothing (4501).
        Unauthorized = "unauthorized",
    }
}

impl CloseCode {
    /// Returns the number in the close frame.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            CloseCode::Bye => 1000,
            CloseCode::ProtocolError => 1002,
            CloseCode::BadUtf8 => 1007,
            CloseCode::TooBig => 1009,
            CloseCode::Draining => 4000,
            CloseCode::SlowConsumer => 4001,
            CloseCode::HeartbeatTimeout => 4002,
            CloseCode::Internal => 4003,
            CloseCode::RateLimited => 4004,
            CloseCode::BackplaneLost => 4005,
            CloseCode::BadRequest => 4500,
            CloseCode::Unauthorized => 4501,
            CloseCode::TokenExpired => 4502,
            CloseCode::HelloTimeout => 4503,
            CloseCode::Kicked => 4504,
            CloseCode::Banned => 4505,
            CloseCode::Replaced => 4506,
            CloseCode::Limit => 4507,
        }
    }
}

words! {
    /// Why a signal did not reach its peer.
    Undelivered {
        /// Its `ttl_ms` ran out before the peer came back.
        Expired = "expired",
        /// The peer left before it came back.
        Left = "left",
        /// The peer's ring had no room for it.
        Overflow = "overflow",
        /// It was sent, but the peer's session ended before acknowledging it.
        Unconfirmed = "unconfirmed",
    }
}

words! {
    /// Why a peer left.
    LeftReason {
        /// It was removed.
        Kicked = "kicked",
        /// It went by itself.
        Leave = "leave",
        /// Its node went away.
        NodeLost = "node-lost",
        /// It did not come back within the grace.
        Timeout = "timeout",
        /// Its token expired.
        TokenExpired = "token-expired",
    }
}

words! {
    /// Why a session ended.
    SessionEnd {
        /// Kicked out of its last room, and banned from it.
        Banned = "banned",
        /// The client released it.
        Bye = "bye",
        /// Kicked out of its last room, or ended by the operator.
        Kicked = "kicked",
        /// It did not come back within the grace.
        Timeout = "timeout",
        /// Its token expired.
        TokenExpired = "token_expired",
    }
}

words! {
    /// What came of a `hello` with `resume`.
    ResumeResult {
        /// Resumed with frames missing.
        Gap = "gap",
        /// Unknown or expired: a new session.
        Lost = "lost",
        /// Resumed with nothing missing.
        Resumed = "resumed",
    }
}

words! {
    /// What carries a connection.
    Carrier {
        /// One-way feed of a room.
        Feed = "feed",
        /// Server-sent events, with POST the other way.
        Sse = "sse",
        /// WebSocket.
        WebSocket = "websocket",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_in_order() {
        fn check(labels: impl Iterator<Item = &'static str>) {
            let labels: Vec<_> = labels.collect();
            assert!(labels.is_sorted_by(|a, b| a < b), "{labels:?}");
        }
        check(Ask::ALL.iter().map(|word| word.label()));
        check(Tell::ALL.iter().map(|word| word.label()));
        check(ErrorCode::ALL.iter().map(|word| word.label()));
        check(CloseCode::ALL.iter().map(|word| word.label()));
        check(Undelivered::ALL.iter().map(|word| word.label()));
        check(LeftReason::ALL.iter().map(|word| word.label()));
        check(SessionEnd::ALL.iter().map(|word| word.label()));
        check(ResumeResult::ALL.iter().map(|word| word.label()));
        check(Carrier::ALL.iter().map(|word| word.label()));
    }

    #[test]
    fn close_codes_have_a_number_each() {
        let mut numbers: Vec<_> = CloseCode::ALL.iter().map(|code| code.number()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), CloseCode::ALL.len());
    }
}
