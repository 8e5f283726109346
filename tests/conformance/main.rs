//! The checklist of the STUN and TURN RFCs, shown on the relay core with a clock that is moved by hand.
//!
//! A comment `T-…` above a test names the lines of `docs/conformance.md` that it shows.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by it")]

#[path = "../script/mod.rs"]
mod script;

mod allocate;
mod allocate_ports;
mod authentication;
mod budgets;
mod channels;
mod data;
mod fallbacks;
mod handover;
mod message;
mod permissions;
mod receiving;
mod refresh;
mod rest;
