//! What addresses this host has, and word of their change.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use crate::net::engine::netlink::AddressFeed;
use crate::turn::Family;

const IF_INET6: &str = "/proc/net/if_inet6";
const FIB_TRIE: &str = "/proc/net/fib_trie";
const IPV6_ROUTE: &str = "/proc/net/ipv6_route";
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
    /// Ranges beside those addresses whose packets end here too: routes of the type local, which load balancers
    /// use, and the anycast addresses of a router.
    pub routed: Vec<IpNet>,
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
    let mut routed = Vec::new();
    if let Ok(table) = File::open(FIB_TRIE) {
        routed.extend(local_v4_routes(BufReader::new(table).lines().map_while(Result::ok)));
    }
    if let Ok(table) = File::open(IPV6_ROUTE) {
        routed.extend(local_v6_routes(BufReader::new(table).lines().map_while(Result::ok)));
    }
    let is_known =
        |net: &IpNet| net.prefix_len() == net.max_prefix_len() && found.local.contains(&net.addr());
    routed.retain(|net| !net.addr().is_loopback() && !is_known(net));
    routed.sort_unstable();
    routed.dedup();
    found.routed = routed;
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

/// Finds the routes of the type local in the kernel's view of its IPv4 tables.
fn local_v4_routes(lines: impl Iterator<Item = String>) -> Vec<IpNet> {
    let mut found = Vec::new();
    let mut leaf = None;
    for line in lines {
        let line = line.trim_start();
        if let Some(ip) = line.strip_prefix("|-- ") {
            leaf = ip.parse::<Ipv4Addr>().ok();
        } else if let (Some(ip), Some(len)) =
            (leaf, line.strip_suffix(" LOCAL").and_then(|line| line.strip_prefix('/')))
        {
            let len = len.split(' ').next().and_then(|len| len.parse().ok());
            found.extend(len.and_then(|len| Ipv4Net::new(ip, len).ok()).map(IpNet::from));
        }
    }
    found
}

/// Finds the routes of IPv6 that end on this host.
fn local_v6_routes(lines: impl Iterator<Item = String>) -> Vec<IpNet> {
    const ANYCAST: u32 = 0x0010_0000;
    const LOCAL: u32 = 0x8000_0000;
    let route = |line: String| {
        let mut words = line.split_whitespace();
        let ip = Ipv6Addr::from(u128::from_str_radix(words.next()?, 16).ok()?);
        let len = u8::from_str_radix(words.next()?, 16).ok()?;
        let flags = u32::from_str_radix(words.nth(6)?, 16).ok()?;
        let net = Ipv6Net::new(ip, len).ok()?;
        (flags & (ANYCAST | LOCAL) != 0).then(|| IpNet::from(net))
    };
    lines.filter_map(route).collect()
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
    fn routes_that_end_here_are_found_and_others_are_not() {
        let trie = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 11.0.0.0/24 2 0 2
        |-- 11.0.0.0
           /24 link UNICAST
        |-- 11.0.0.255
           /32 link BROADCAST
Local:
     |-- 11.77.0.0
        /16 host LOCAL
     |-- 35.1.2.3
        /32 link UNICAST
        /32 host LOCAL
";
        let routes = "\
26000011000000000000000000000000 40 00 00 00 00000100 00000001 00000000 00000001     atv0
26000011000000000000000000000000 80 00 00 00 00000000 00000003 00000000 00300001     atv0
26000077000000000000000000000000 40 00 00 00 00000400 00000001 00000000 80000001       lo
";
        let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect::<Vec<IpNet>>();
        let lines = |text: &'static str| text.lines().map(str::to_owned);
        assert_eq!(local_v4_routes(lines(trie)), nets(&["11.77.0.0/16", "35.1.2.3/32"]));
        assert_eq!(local_v6_routes(lines(routes)), nets(&["2600:11::/128", "2600:77::/64"]));
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
