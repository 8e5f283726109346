//! An allocation as plain data: checkpoint, upgrade, move to another shard.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::auth::{Grant, LongTermKey};
use crate::stun::TransactionId;
use crate::time::Mono;
use crate::turn::ids::{AllocationId, ClientPath, PeerAddr, RelayAddr};
use crate::turn::shared::ReservationToken;

/// Everything that an allocation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationState {
    /// Name on the exporting server; kept by the importing one if it is free there.
    pub id: AllocationId,
    /// The client's 5-tuple.
    pub client: ClientPath,
    /// Relayed transport address.
    pub relay: RelayAddr,
    /// Credential that made it.
    pub grant: Grant,
    /// Key of that credential.
    pub key: LongTermKey,
    /// When it ends.
    pub expires: Mono,
    /// The request that made it, so that its retransmissions are known.
    pub origin: Origin,
    /// Permissions in order of their address.
    pub permissions: Vec<(IpAddr, Mono)>,
    /// Channels in order of their number.
    pub channels: Vec<(u16, PeerAddr, Mono)>,
    /// Bits a second that it may carry, where the session says so; 0: as the limits say.
    pub session_bitrate: u64,
    /// Payload bytes relayed to peers and to the client.
    pub relayed: (u64, u64),
}

/// The Allocate request that made an allocation, as far as its retransmissions need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its transaction id.
    pub transaction: TransactionId,
    /// Start of its integrity tag, which covers the rest of it.
    pub tag: [u8; 8],
    /// Lifetime that was granted, in seconds.
    pub lifetime: u32,
    /// Token that was given out.
    pub reserved: Option<ReservationToken>,
    /// The answer names IPv6 as a family that was asked for and not had.
    pub no_second_family: bool,
}
