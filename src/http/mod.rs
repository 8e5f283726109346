//! HTTP: one stream served at a time, its routes on one screen, and what they ask of the daemon.
//!
//! `Http::serve` takes a stream from whoever accepted it; `Backend` is how the answers reach the relay.

#![warn(missing_docs)]

mod api;
mod credentials;
mod openapi;
mod origin;
mod peer;
mod problem;
mod routes;
mod serve;
mod token;
mod tokens;

pub use api::{Backend, Settings};
pub use peer::{Peer, TrustedProxies};
pub use serve::Http;
pub use token::{PublicKeys, TokenKeys, claims};
pub use tokens::{LIFETIME as TOKEN_LIFETIME, LONGEST_LIFETIME as LONGEST_TOKEN_LIFETIME};
