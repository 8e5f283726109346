//! Turnpike: STUN, TURN and WebRTC signaling in one daemon.
//!
//! The pure half knows no socket, clock or task; the shell half, behind the feature `daemon`, does I/O and
//! nothing else. `ARCHITECTURE.md` walks through both.

#![warn(missing_docs)]

/// TURN credentials and what they grant.
pub mod auth;
/// Token bucket.
pub mod bucket;
/// STUN on the wire.
pub mod stun;
/// Moments as plain data.
pub mod time;
/// The TURN server's state machine.
pub mod turn;

/// Sockets, threads and streams.
#[cfg(feature = "daemon")]
pub mod net;
/// Logs.
#[cfg(feature = "daemon")]
pub mod telemetry;
