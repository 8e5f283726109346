//! The TURN server (RFC 8656) as a state machine: packets and events in, verdicts and actions out.

mod action;
mod drop_reason;
mod ids;
mod limits;
mod peer_policy;
mod server;
mod shared;
mod state;
mod stats;

pub use action::{Action, Change, EndReason, Event, Head, OpenError, RelaySource, Route, Verdict};
pub use drop_reason::{DropReason, Refusal};
pub use ids::{AllocationId, ClientPath, Family, LinkId, PeerAddr, RelayAddr, RelayId, ShardId, Transport};
pub use limits::{Limits, Settings};
pub use peer_policy::{OwnAddresses, Ownership, PeerRefusal, Policy, RelayIp};
pub use server::{AllocationView, Rng, Server};
pub use shared::{
    Claim, PortError, PortWish, QuotaError, ReservationToken, Reserve, SessionLease, Shared, Taken,
};
pub use state::{AllocationState, Origin};
pub use stats::Stats;

pub use crate::time::{Mono, Now};
