//! What addresses this host has, and word of their change.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use crate::net::engine::netlink::AddressFeed;
use crate::turn::Family;

const IF_INET6: &str = "/proc/net/if_inet6";
const TEMPORARY: u32 = 0x01;
const TENTATIVE: u32 = 0x40;
const DUPLICATE: u32 = 0x08;

/// Changes come in swarms; this long after the first of one they are told.
const SWARM: Duration = Duration::from_millis(500);

/// The addresses of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// All addresses of all interfaces, each once.
    pub local: Vec<IpAddr>,
    /// Directed broadcast addresses of the local subnets.
    pub broadcast: Vec<Ipv4Addr>,
}

/// Reads the addresses of this host.
pub fn host_addresses() -> io::Result<HostAddresses> {
    let mut found = HostAddresses::default();
    for interface in getifaddrs()? {
        found.local.extend(interface.address.as_ref().and_then(ip_of));
        match interface.broadcast.as_ref().and_then(ip_of) {
            Some(IpAddr::V4(broadcast)) => found.broadcast.push(broadcast),
            Some(IpAddr::V6(_)) | None => {}
        }
    }
    found.local.sort_unstable();
    found.local.dedup();
    found.broadcast.sort_unstable();
    found.broadcast.dedup();
    Ok(found)
}

/// Returns the address that packets to the world leave from, never a temporary one (RFC 8981).
///
/// None if there is no route, or it leads to this host only.
#[must_use]
pub fn default_source(family: Family) -> Option<IpAddr> {
    // Connecting a UDP socket asks for a route and sends nothing.
    let (any, world): (IpAddr, IpAddr) = match family {
        Family::V4 => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(1, 1, 1, 1).into()),
        Family::V6 => {
            (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111).into())
        }
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(world, 53)).ok()?;
    let source = socket.local_addr().ok()?.ip();
    match source {
        ip if ip.is_unspecified() || ip.is_loopback() => None,
        IpAddr::V4(_) => Some(source),
        IpAddr::V6(ip) => {
            let list = fs::read_to_string(IF_INET6).unwrap_or_default();
            Some(lasting(ip, &parse_if_inet6(&list)).into())
        }
    }
}

/// Calls `changed` after each swarm of changes to the host's addresses; runs until it is dropped.
pub async fn watch_addresses(mut changed: impl FnMut()) -> io::Result<()> {
    let feed = AddressFeed::open()?;
    loop {
        feed.wait().await?;
        tokio::time::sleep(SWARM).await;
        feed.empty();
        changed();
    }
}

fn ip_of(addr: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = addr.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| addr.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inet6 {
    ip: Ipv6Addr,
    flags: u32,
    interface: String,
}

fn parse_if_inet6(list: &str) -> Vec<Inet6> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let ip = Ipv6Addr::from(u128::from_str_radix(words.next()?, 16).ok()?);
        let flags = u32::from_str_radix(words.nth(3)?, 16).ok()?;
        Some(Inet6 { ip, flags, interface: words.next()?.to_owned() })
    };
    list.lines().filter_map(line).collect()
}

/// Returns an address of the same interface, and best of the same prefix, that stays, if this one does not.
fn lasting(source: Ipv6Addr, all: &[Inet6]) -> Ipv6Addr {
    let Some(entry) = all.iter().find(|entry| entry.ip == source && entry.flags & TEMPORARY != 0) else {
        return source;
    };
    let stays = |other: &&Inet6| {
        other.flags & (TEMPORARY | TENTATIVE | DUPLICATE) == 0
            && other.interface == entry.interface
            && !other.ip.is_unicast_link_local()
    };
    let shared = |other: &&Inet6| (u128::from(other.ip) ^ u128::from(source)).leading_zeros();
    all.iter().filter(stays).max_by_key(shared).map_or(source, |other| other.ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
fe800000000000000000000000000001 02 40 20 80     eth0
20010db8000000010000000000000abc 02 40 00 00     eth0
20010db800000001deadbeefdeadbeef 02 40 00 01     eth0
20010db8000000020000000000000abc 02 40 00 00     eth0
20010db8000000010000000000000fff 03 40 00 00     eth1
00000000000000000000000000000001 01 80 10 80       lo
";

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn a_temporary_source_gives_way_to_a_lasting_one_of_its_prefix() {
        let all = parse_if_inet6(LIST);
        assert_eq!(all.len(), 6);
        assert_eq!(lasting(ip("2001:db8:0:1:dead:beef:dead:beef"), &all), ip("2001:db8:0:1::abc"));
        assert_eq!(lasting(ip("2001:db8:0:2::abc"), &all), ip("2001:db8:0:2::abc"));
        assert_eq!(lasting(ip("2001:db8:9::1"), &all), ip("2001:db8:9::1"));
    }

    #[test]
    fn loopback_is_an_own_address_and_no_default_source() {
        let found = host_addresses().unwrap();
        assert!(found.local.contains(&Ipv4Addr::LOCALHOST.into()));
        for family in [Family::V4, Family::V6] {
            if let Some(source) = default_source(family) {
                assert!(found.local.contains(&source) && !source.is_loopback());
            }
        }
    }
}
