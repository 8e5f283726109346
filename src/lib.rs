//! Turnpike: STUN, TURN and WebRTC signaling in one daemon.

#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod telemetry;
