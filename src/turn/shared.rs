//! What the shards of a process share: rare things, behind a lock that no relayed packet takes.

use crate::auth::SessionId;
use crate::time::Mono;
use crate::turn::ids::{Family, PeerAddr, RelayAddr, RelayId, ShardId};
use crate::turn::peer_policy::RelayIp;

/// Who asks for an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Name that user quotas count by.
    pub user: &'a str,
    /// Address of the client.
    pub client: std::net::IpAddr,
    /// Whether it is for a session without a token, whose address gets fewer.
    pub is_open: bool,
}

/// Quota that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaError {
    /// The address has as many allocations as it may (486).
    Address,
    /// The server has as many allocations as it may (508).
    Total,
    /// The user has as many allocations as they may (486).
    User,
}

/// Port that an Allocate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortWish {
    /// Any free port.
    Any,
    /// An even port (EVEN-PORT, RFC 8656 §18.5).
    Even,
    /// An even port whose odd neighbor is kept for a later Allocate (R bit).
    EvenAndReserve,
}

/// Why no relayed transport address was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortError {
    /// The family has no relay address here (440).
    NoFamily,
    /// No port is free, or no pair (508).
    NoneFree,
    /// The token is unknown, used, run out, or another user's (508).
    NoReservation,
}

/// A relayed transport address that was taken for a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The address.
    pub addr: RelayAddr,
    /// Its odd neighbor with the token that claims it, where one was reserved.
    pub reserved: Option<(RelayAddr, ReservationToken)>,
}

/// Value of RESERVATION-TOKEN (RFC 8656 §18.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ReservationToken(pub [u8; 8]);

/// How the signaling session behind a credential stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionLease {
    /// It lives, and so may its allocations.
    Live {
        /// Bits a second that each of its allocations may carry; 0: as the limits say.
        bitrate: u64,
    },
    /// It is gone or was never heard of: the credential counts as any other.
    Gone,
    /// It was kicked or banned.
    Kicked,
}

/// The handle that each shard's server holds. Cloning it shares the same tables.
pub trait Shared: Clone {
    /// An admitted allocation; dropping it gives the quota back.
    type Guard: 'static;

    /// Admits one more allocation, or says which quota is used up. Never exceeded by parallel calls.
    fn admit(&self, claim: Claim<'_>) -> Result<Self::Guard, QuotaError>;

    /// Admits an imported allocation, whatever the quotas say.
    fn readmit(&self, claim: Claim<'_>) -> Self::Guard;

    /// Says how the relay addresses are advertised from now on, by the newest name first: what has an older one keeps
    /// it.
    fn rename(&mut self, names: &[RelayIp]);

    /// Says whether relays of a family can be had at all.
    fn has_family(&self, family: Family) -> bool;

    /// Takes a port at random for `relay`. `random` is the caller's generator.
    fn take_port(
        &self,
        family: Family,
        wish: PortWish,
        owner: (ShardId, RelayId),
        reserve: Reserve<'_>,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Taken, PortError>;

    /// Claims the address that a token reserves.
    fn claim_reservation(
        &self,
        now: Mono,
        token: ReservationToken,
        user: &str,
        owner: (ShardId, RelayId),
    ) -> Result<RelayAddr, PortError>;

    /// Ends a reservation that nobody claimed and returns its address, whose socket is to be closed.
    fn expire_reservation(&self, token: ReservationToken) -> Option<RelayAddr>;

    /// Takes a certain address for an imported allocation; false if another owns it.
    fn retake_port(&self, addr: RelayAddr, owner: (ShardId, RelayId)) -> bool;

    /// Gives a port back.
    fn release_port(&self, addr: RelayAddr);

    /// Says whose relayed address, as advertised, this is. A plain load, no lock.
    fn owner(&self, addr: PeerAddr) -> Option<(ShardId, RelayId)>;

    /// Says how a signaling session stands.
    fn session(&self, id: &SessionId) -> SessionLease;

    /// Leases up to `want` bytes from the budgets of a user and of the server for this moment.
    ///
    /// Returns how many were had: zero means that nothing may be relayed until a little later.
    fn lease_bytes(&self, now: Mono, user: &str, want: u64) -> u64;

    /// Says whether any budget is set, so that packets need not ask.
    fn has_budgets(&self) -> bool;
}

/// Terms of a reservation made together with an even port.
#[derive(Clone, Copy, Debug)]
pub struct Reserve<'a> {
    /// User that may claim it.
    pub user: &'a str,
    /// When it ends.
    pub until: Mono,
}
