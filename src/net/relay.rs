//! Relay sockets of a shard, and those that wait process-wide for a reservation to be claimed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use crate::net::engine::poll::{Interest, Poll};
use crate::net::engine::send::From;
use crate::net::engine::socket;
use crate::net::token::Token;
use crate::turn::{OpenError, PeerAddr, RelayAddr, RelayId, RelayIp, RelaySource};

/// Sockets of reserved ports. Only Allocate requests and the end of reservations touch it.
#[derive(Clone, Default)]
pub(crate) struct ParkingLot(Arc<Mutex<HashMap<SocketAddr, OwnedFd>>>);

impl ParkingLot {
    fn park(&self, addr: SocketAddr, socket: OwnedFd) {
        self.with(|parked| parked.insert(addr, socket));
    }

    fn take(&self, addr: SocketAddr) -> Option<OwnedFd> {
        self.with(|parked| parked.remove(&addr))
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<SocketAddr, OwnedFd>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The two names of own relay addresses: as bound here, and as the world sees them behind a 1:1 NAT.
///
/// The core only ever sees the second.
#[derive(Clone, Default)]
pub(crate) struct Translation {
    differing: Vec<RelayIp>,
}

impl Translation {
    pub(crate) fn new(relays: &[RelayIp]) -> Translation {
        Translation { differing: relays.iter().filter(|ip| ip.local != ip.advertised).copied().collect() }
    }

    /// Returns where a packet to a peer really goes.
    pub(crate) fn destination(&self, peer: PeerAddr) -> SocketAddr {
        self.rename(peer.0, |ip| (ip.advertised, ip.local))
    }

    /// Returns how the core knows the source of a packet.
    pub(crate) fn source(&self, addr: SocketAddr) -> PeerAddr {
        PeerAddr(self.rename(addr, |ip| (ip.local, ip.advertised)))
    }

    fn rename(&self, addr: SocketAddr, pair: impl Fn(&RelayIp) -> (IpAddr, IpAddr)) -> SocketAddr {
        let pairs = self.differing.iter().map(pair);
        let renamed = pairs.into_iter().find(|(from, _)| *from == addr.ip());
        renamed.map_or(addr, |(_, to)| SocketAddr::new(to, addr.port()))
    }
}

#[derive(Default)]
struct Slot {
    generation: u32,
    socket: Option<OwnedFd>,
    wide: bool,
}

/// Relay sockets of a shard by their slot.
pub(crate) struct Relays {
    slots: Vec<Slot>,
    parking: ParkingLot,
    /// The last socket could not be opened, and the log says so.
    is_failing: bool,
}

impl Relays {
    pub(crate) fn new(parking: ParkingLot) -> Relays {
        Relays { slots: Vec::new(), parking, is_failing: false }
    }

    /// Opens a relay socket and has it waited for.
    pub(crate) fn open(
        &mut self,
        poll: &Poll,
        relay: RelayId,
        addr: RelayAddr,
        source: RelaySource,
    ) -> Result<(), OpenError> {
        let opened = match source {
            RelaySource::Bind => socket::relay(addr.local),
            RelaySource::BindAndPark { odd } => self.open_pair(addr, odd),
            RelaySource::Unpark => {
                self.parking.take(addr.local).ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        };
        let added = opened.and_then(|socket| {
            let added = poll.add(&socket, Token::Relay(relay).pack(), Interest::READ);
            if let (Err(_), RelaySource::BindAndPark { odd }) = (&added, source) {
                // The core takes the reservation back and knows of no socket.
                drop(self.parking.take(odd.local));
            }
            added.map(|()| socket)
        });
        match added {
            Ok(socket) => {
                let at = relay.slot as usize;
                if self.slots.len() <= at {
                    self.slots.resize_with(at + 1, Slot::default);
                }
                let wide = addr.local.is_ipv6();
                self.slots[at] = Slot { generation: relay.generation, socket: Some(socket), wide };
                self.is_failing = false;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(OpenError::InUse),
            Err(error) => {
                // Once an episode: a client that asks on and on must not fill the log.
                if !self.is_failing {
                    tracing::warn!(%error, address = %addr.local, "no relay socket");
                }
                self.is_failing = true;
                Err(OpenError::Exhausted)
            }
        }
    }

    /// Returns a relay's socket; none if its name is stale.
    pub(crate) fn get(&self, relay: RelayId) -> Option<(&OwnedFd, From)> {
        let slot = self.slots.get(relay.slot as usize).filter(|slot| slot.generation == relay.generation)?;
        let socket = slot.socket.as_ref()?;
        Some((socket, From::new(socket.as_fd(), slot.wide)))
    }

    /// Closes a relay's socket.
    pub(crate) fn close(&mut self, relay: RelayId) {
        if let Some(slot) = self.slots.get_mut(relay.slot as usize)
            && slot.generation == relay.generation
        {
            slot.socket = None;
        }
    }

    /// Closes a parked socket that nobody claimed.
    pub(crate) fn close_reserved(&self, addr: RelayAddr) {
        drop(self.parking.take(addr.local));
    }

    /// Returns how many packets the kernel dropped at the sockets that are open now.
    pub(crate) fn kernel_drops(&self) -> u64 {
        let sockets = self.slots.iter().filter_map(|slot| slot.socket.as_ref());
        sockets.map(|socket| socket::kernel_drops(socket.as_fd())).sum()
    }

    fn open_pair(&self, even: RelayAddr, odd: RelayAddr) -> io::Result<OwnedFd> {
        let mine = socket::relay(even.local)?;
        self.parking.park(odd.local, socket::relay(odd.local)?);
        Ok(mine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(slot: u32, generation: u32) -> RelayId {
        RelayId { slot, generation }
    }

    fn addr(local: SocketAddr) -> RelayAddr {
        RelayAddr { local, advertised: local }
    }

    fn free_pair() -> (SocketAddr, SocketAddr) {
        loop {
            let probe = socket::relay("127.0.0.1:0".parse().unwrap()).unwrap();
            let even = socket::local_addr(probe.as_fd()).unwrap();
            let odd = SocketAddr::new(even.ip(), even.port() + 1);
            if even.port().is_multiple_of(2) && socket::relay(odd).is_ok() {
                return (even, odd);
            }
        }
    }

    #[test]
    fn a_reserved_socket_waits_for_another_shard_and_keeps_its_port() {
        let (even, odd) = free_pair();
        let (poll, parking) = (Poll::new().unwrap(), ParkingLot::default());
        let (mut first, mut second) = (Relays::new(parking.clone()), Relays::new(parking));
        first.open(&poll, relay(0, 1), addr(even), RelaySource::BindAndPark { odd: addr(odd) }).unwrap();
        let taken = second.open(&poll, relay(4, 9), addr(odd), RelaySource::Bind);
        assert_eq!(taken, Err(OpenError::InUse));
        second.open(&poll, relay(4, 9), addr(odd), RelaySource::Unpark).unwrap();
        let socket = second.get(relay(4, 9)).unwrap().0;
        assert_eq!(socket::local_addr(socket.as_fd()).unwrap(), odd);
        let again = second.open(&poll, relay(5, 1), addr(odd), RelaySource::Unpark);
        assert_eq!(again, Err(OpenError::Exhausted));
    }

    #[test]
    fn a_stale_name_matches_no_socket() {
        let poll = Poll::new().unwrap();
        let mut relays = Relays::new(ParkingLot::default());
        let any = addr("127.0.0.1:0".parse().unwrap());
        relays.open(&poll, relay(2, 1), any, RelaySource::Bind).unwrap();
        relays.close(relay(2, 1));
        relays.open(&poll, relay(2, 2), any, RelaySource::Bind).unwrap();
        relays.close(relay(2, 1));
        assert!(relays.get(relay(2, 1)).is_none() && relays.get(relay(7, 1)).is_none());
        assert!(relays.get(relay(2, 2)).is_some());
    }

    #[test]
    fn own_relay_addresses_are_renamed_both_ways() {
        let ip = RelayIp { local: "10.0.0.5".parse().unwrap(), advertised: "9.9.9.9".parse().unwrap() };
        let names = Translation::new(&[ip]);
        let (inside, outside) = ("10.0.0.5:50000".parse().unwrap(), "9.9.9.9:50000".parse().unwrap());
        assert_eq!(names.destination(PeerAddr(outside)), inside);
        assert_eq!(names.source(inside), PeerAddr(outside));
        let other = "1.1.1.1:50000".parse().unwrap();
        assert_eq!((names.destination(PeerAddr(other)), names.source(other)), (other, PeerAddr(other)));
    }
}
