//! Real shards and a real lobby on loopback, spoken to over UDP, TCP and TLS.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;
mod connections;
mod hairpin;
mod host;
mod relay;
mod streams;
