//! Turnpike: a STUN and TURN server for WebRTC in one daemon.
//!
//! The pure half knows no socket, clock or task; the shell half, behind the feature `daemon`, does I/O and
//! nothing else. `ARCHITECTURE.md` walks through both.

/// TURN credentials, join tokens, origins, and what they grant.
pub mod auth;
/// Token bucket.
pub mod bucket;
/// Strict JSON, scanned once and never re-written.
pub mod json;
/// Randomness as an argument.
pub mod rng;
/// The signaling hub's state machine.
pub mod signal;
/// STUN on the wire.
pub mod stun;
/// Moments as plain data.
pub mod time;
/// The TURN server's state machine.
pub mod turn;
mod words;

/// The commands and what they print.
#[cfg(feature = "daemon")]
pub mod cli;
/// From what was typed to checked values.
#[cfg(feature = "daemon")]
pub mod config;
/// HTTP: routes, keys and join tokens.
#[cfg(feature = "daemon")]
pub mod http;
/// Sockets, threads and streams.
#[cfg(feature = "daemon")]
pub mod net;
/// The running daemon.
#[cfg(feature = "daemon")]
pub mod node;
/// Logs with redaction.
#[cfg(feature = "daemon")]
pub mod telemetry;
