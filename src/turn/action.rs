//! What goes into the relay core besides packets, and what comes out of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::auth::{Credentials, SessionId};
use crate::time::Mono;
use crate::turn::drop_reason::DropReason;
use crate::turn::ids::{AllocationId, ClientPath, PeerAddr, RelayAddr, RelayId, ShardId};
use crate::turn::limits::Limits;
use crate::turn::peer_policy::Policy;
use crate::turn::state::AllocationState;

/// What becomes of one packet. It borrows the payload from the input, never from the server, so that a
/// shell may hold a batch of verdicts while it calls on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'b> {
    /// Send `payload` from the relay socket to the peer.
    ToPeer {
        /// Relay socket to send from.
        relay: RelayId,
        /// Destination.
        peer: PeerAddr,
        /// Datagram to send, possibly empty.
        payload: &'b [u8],
        /// Set the Don't Fragment bit (RFC 8656 §11.2); only ever true for IPv4.
        df: bool,
    },
    /// Send `head`, `payload` and the head's padding to the client, as one datagram or stream frame.
    ToClient {
        /// Path of the client.
        client: ClientPath,
        /// ChannelData header, or all of a Data indication but its payload.
        head: Head,
        /// Application data.
        payload: &'b [u8],
    },
    /// Hand `payload` to another shard, which judges it with `handle_peer`.
    ToShard {
        /// Shard that owns the destination.
        shard: ShardId,
        /// Relay there.
        relay: RelayId,
        /// Advertised relayed address that the payload comes from.
        from: PeerAddr,
        /// Application data.
        payload: &'b [u8],
    },
    /// Actions wait: drain `poll_action` before the next input.
    Queued,
    /// Nothing leaves.
    Dropped(DropReason),
}

/// The bytes in front of a payload on its way to a client, and the padding behind it.
///
/// ```text
/// ChannelData     | number | length | payload .. | 0..3 zero bytes on streams
/// Data indication | STUN header | XOR-PEER-ADDRESS | DATA type, length | payload .. | 0..3 zero bytes
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; Head::MAX],
    len: u8,
    padding: u8,
}

impl Head {
    /// Largest head: a Data indication with an IPv6 peer.
    pub const MAX: usize = 20 + 4 + 20 + 4;

    pub(crate) fn new(bytes: [u8; Head::MAX], len: usize, padding: usize) -> Head {
        debug_assert!(len <= Head::MAX && padding < 4);
        Head { bytes, len: len as u8, padding: padding as u8 }
    }

    /// Returns the bytes that precede the payload.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Returns the zero bytes that follow the payload.
    #[must_use]
    pub fn padding(&self) -> &'static [u8] {
        &[0; 3][..usize::from(self.padding)]
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Head({:02x?} +{})", self.as_bytes(), self.padding)
    }
}

/// What the shell has to do, in this order, before it feeds the next input.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'s> {
    /// Send a STUN message to a client. The bytes live until the server is called again.
    Answer {
        /// Path to answer on.
        to: ClientPath,
        /// Whole message.
        bytes: &'s [u8],
    },
    /// Open a relay socket and report `Event::RelayOpened`.
    OpenRelay {
        /// Name of the socket from now on.
        relay: RelayId,
        /// Address to bind.
        addr: RelayAddr,
        /// Where the socket comes from.
        source: RelaySource,
    },
    /// Close a relay socket, if it could be opened.
    CloseRelay {
        /// Socket to close.
        relay: RelayId,
    },
    /// Close a parked socket whose reservation has ended, if it could be opened.
    CloseReserved {
        /// Address that it is bound to.
        addr: RelayAddr,
    },
}

/// Where a relay socket comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelaySource {
    /// Bind a new one.
    Bind,
    /// Bind a new one, and the address beside it too, which is parked process-wide (EVEN-PORT with R).
    BindAndPark {
        /// The odd address to park.
        odd: RelayAddr,
    },
    /// Take the socket that was parked under the address (RESERVATION-TOKEN).
    Unpark,
}

/// Why a relay socket could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The address is taken by another process: another port may do.
    InUse,
    /// No descriptor, memory or address: no port will do now.
    Exhausted,
}

/// Inputs that are no packets.
#[derive(Debug)]
pub enum Event {
    /// Answers `Action::OpenRelay`.
    RelayOpened {
        /// Socket that was asked for.
        relay: RelayId,
        /// How it went.
        result: Result<(), OpenError>,
    },
    /// A send on a relay socket failed, or an ICMP error came back: one packet is lost, nothing else.
    PeerError {
        /// Relay socket concerned.
        relay: RelayId,
    },
    /// A stream client is gone; its allocation ends.
    ClientClosed(ClientPath),
    /// A new peer policy; permissions and channels are judged again by their next packet.
    Policy(Arc<Policy>),
    /// New limits.
    Limits(Limits),
    /// New users and secrets; live allocations keep theirs.
    Credentials(Arc<Credentials>),
    /// Refuse new allocations (508) from now on.
    Drain,
    /// A signaling session was kicked: its allocations end.
    End(SessionId),
    /// Take over an allocation that another server exported.
    Import(Box<AllocationState>),
}

/// One line of the feed that admin events, usage log, fast-path maps and checkpoints read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// An allocation was made.
    Allocated {
        /// Which one.
        id: AllocationId,
        /// Client's path.
        client: ClientPath,
        /// Relayed transport address.
        relay: RelayAddr,
        /// Who made it.
        subject: String,
    },
    /// An allocation ended.
    Ended {
        /// Which one.
        id: AllocationId,
        /// Why.
        reason: EndReason,
        /// Payload bytes to peers and to the client.
        relayed: (u64, u64),
    },
    /// A channel or permission was made.
    RouteBound {
        /// Allocation that holds it.
        id: AllocationId,
        /// Which route.
        route: Route,
        /// When it expires.
        expires: Mono,
    },
    /// A channel, permission or allocation lives longer (or, for Refresh, ends at another time).
    Extended {
        /// Allocation concerned.
        id: AllocationId,
        /// Route, or none for the allocation itself.
        route: Option<Route>,
        /// New deadline.
        expires: Mono,
    },
    /// A channel or permission is gone.
    RouteGone {
        /// Allocation that held it.
        id: AllocationId,
        /// Which route.
        route: Route,
    },
}

/// A way for packets through an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Route {
    /// Any port of this address (RFC 8656 §9).
    Permission(std::net::IpAddr),
    /// A channel (RFC 8656 §12).
    Channel {
        /// Channel number, 0x4000 to 0x7FFF.
        number: u16,
        /// Peer that it is bound to.
        peer: PeerAddr,
    },
}

/// Why an allocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The client's stream was closed.
    ClientClosed,
    /// Its lifetime ran out.
    Expired,
    /// Its signaling session was kicked.
    Kicked,
    /// It was imported, and its relayed address could not be had.
    RelayLost,
    /// The client asked for it (Refresh with LIFETIME 0).
    Released,
}

impl EndReason {
    /// Returns the word that logs, metrics and tests use.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            EndReason::ClientClosed => "client_closed",
            EndReason::Expired => "expired",
            EndReason::Kicked => "kicked",
            EndReason::RelayLost => "relay_lost",
            EndReason::Released => "released",
        }
    }
}
