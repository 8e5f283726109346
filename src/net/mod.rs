//! Sockets, threads and streams.
//!
//! `Bound::new` binds every listener, `Bound::start` starts the shards and the lobby on them.

#![warn(missing_docs)]

mod admission;
mod bind;
pub mod clock;
mod counters;
mod engine;
pub mod interfaces;
mod journal;
mod lobby;
mod mailbox;
mod outbound;
mod relay;
mod ring;
mod shard;
mod start;
mod stream;
mod tls;
mod token;

pub use admission::{ClientPlace, Clients};
pub use bind::{BindError, BindSpec, Bound, BoundListener, Carrier, Listen};
pub use counters::{Close, LobbyStats, NetDrop, NetStats};
pub use engine::process::{lower_priority, raise_nofile};
pub use lobby::http::{HttpBytes, HttpEntry, HttpPlaces, HttpStream};
pub use mailbox::{Command, PATIENCE, ShardBusy, ShardHandle, Snapshot};
pub(crate) use shard::Seeded;
pub use start::{ConnectionLimits, Ending, Running, ShardEnd, StartSpec};
pub use tls::TlsService;
