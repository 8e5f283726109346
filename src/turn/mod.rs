//! The TURN server (RFC 8656) as a state machine: packets and events in, verdicts and actions out.

#![warn(missing_docs)]

mod action;
mod allocate;
mod allocation;
mod answer;
mod authenticate;
mod core;
mod deadline;
mod drop_reason;
mod gate;
mod ids;
mod limits;
mod nonce;
mod peer_policy;
mod ports;
mod relay;
mod request;
mod server;
mod shared;
mod state;
mod stats;
mod table;

pub use action::{Action, Change, EndReason, Event, Head, OpenError, RelaySource, Route, Verdict};
pub use core::Rng;
pub use drop_reason::{DropReason, Refusal};
pub use ids::{AllocationId, ClientPath, Family, LinkId, PeerAddr, RelayAddr, RelayId, ShardId, Transport};
pub use limits::{Limits, Settings};
pub use peer_policy::{OwnAddresses, Ownership, PeerRefusal, Policy, RelayIp};
pub use server::{AllocationView, Server};
pub use shared::{
    Claim, PortError, PortWish, QuotaError, ReservationToken, Reserve, SessionLease, Shared, Taken,
};
pub use state::{AllocationState, Origin};
pub use stats::{Stats, Traffic};
pub use table::{QuotaGuard, Quotas, RelayRange, SharedTable};

pub use crate::time::{Mono, Now};
