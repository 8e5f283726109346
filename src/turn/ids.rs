//! Names of things that cross the border between core and shell.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// One of the process's media threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub u8);

/// A relay socket of a shard: a slot and the generation of its tenant, so that a stale name matches nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelayId {
    /// Slot of the shard's table, below 2^24.
    pub slot: u32,
    /// Grows with each tenant of the slot; never zero.
    pub generation: u32,
}

impl fmt::Debug for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}.{}", self.slot, self.generation)
    }
}

/// An allocation of a shard. It shares slot and generation with its relay socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AllocationId(pub RelayId);

/// The shell's name of what carries a client path: a listener socket of the shard, or one stream.
///
/// Streams and sockets never share a number, and the shell reports `Event::ClientClosed` before it uses a
/// stream's number again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkId(pub u32);

/// Transport between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// Datagrams, with an unproven source.
    Udp,
    /// A plain stream.
    Tcp,
    /// A stream inside TLS.
    Tls,
}

impl Transport {
    /// Returns whether messages are framed on a stream, so that ChannelData is padded (RFC 8656 §12.5).
    #[must_use]
    pub fn is_stream(self) -> bool {
        self != Transport::Udp
    }
}

/// The 5-tuple of a client (RFC 8656 §2), with the shell's handle for answering on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClientPath {
    /// Address of the client as this server sees it.
    pub remote: SocketAddr,
    /// Address that the client sent to; answers leave from it.
    pub local: SocketAddr,
    /// Socket or stream that carries the path.
    pub link: LinkId,
    /// Transport of the path.
    pub transport: Transport,
}

impl Hash for ClientPath {
    // Remote address and link tell paths apart well enough; equality compares all of it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_addr(&self.remote, state);
        state.write_u32(self.link.0);
    }
}

/// Transport address of a peer. Relays of this server are named by their advertised address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerAddr(pub SocketAddr);

impl PeerAddr {
    /// Returns the address without its port: what a permission names (RFC 8656 §9).
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0.ip()
    }
}

impl Hash for PeerAddr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_addr(&self.0, state);
    }
}

/// A relayed transport address: where the socket is bound, and what the world is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelayAddr {
    /// Address that the relay socket binds.
    pub local: SocketAddr,
    /// Address in XOR-RELAYED-ADDRESS; differs from `local` behind a 1:1 NAT.
    pub advertised: SocketAddr,
}

/// Address family of a relay (RFC 8656 §18.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4, value 0x01.
    V4,
    /// IPv6, value 0x02.
    V6,
}

impl Family {
    /// Returns the family of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Family {
        match ip {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Returns the family that a protocol value names.
    #[must_use]
    pub fn from_wire(value: u8) -> Option<Family> {
        match value {
            0x01 => Some(Family::V4),
            0x02 => Some(Family::V6),
            _ => None,
        }
    }
}

fn hash_addr<H: Hasher>(addr: &SocketAddr, state: &mut H) {
    match addr {
        SocketAddr::V4(v4) => {
            state.write_u64((u64::from(u32::from(*v4.ip())) << 16) | u64::from(v4.port()));
        }
        SocketAddr::V6(v6) => {
            state.write_u128(u128::from(*v6.ip()));
            state.write_u16(v6.port());
        }
    }
}
