//! HTTP: one stream served at a time, its routes on one screen, and what they ask of the daemon.
//!
//! `Http::serve` takes a stream from whoever accepted it; `Backend` is how the answers reach the relay.

#![warn(missing_docs)]

mod admin;
mod api;
mod bodies;
mod call;
mod changes;
mod credentials;
mod events;
mod feed;
mod feed_ticket;
mod line;
mod openapi;
mod origin;
mod pages;
mod peer;
mod problem;
mod routes;
mod serve;
mod session;
mod signaling;
mod socket;
mod stream;
mod token;
mod tokens;

pub use api::{Backend, Place, Settings};
pub use changes::{Answer, Changes, Reloaded};
pub use line::{Line, Order};
pub use peer::{Peer, TrustedProxies};
pub use serve::Http;
pub use signaling::{Connection, Input, Reader, Signaling};
pub use token::{PublicKeys, TokenKeys, claims};
pub use tokens::{LIFETIME as TOKEN_LIFETIME, LONGEST_LIFETIME as LONGEST_TOKEN_LIFETIME};
