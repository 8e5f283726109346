//! Addresses of clients and peers in logs, as `--log-addresses` says.
//!
//! The daemon's own listeners and relay addresses are no secret and are logged as they are.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::telemetry::settings::{AddressPolicy, LogLevel};

/// The address of a client, for a log field.
#[derive(Clone, Copy)]
pub struct ClientAddr(pub SocketAddr);

/// The address of a peer, for a log field; shown from level debug on.
#[derive(Clone, Copy)]
pub struct PeerAddrLog(pub SocketAddr);

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render(policy(), self.0))
    }
}

impl fmt::Display for PeerAddrLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render(peer_policy(policy(), PEERS_ARE_SHOWN.load(Ordering::Relaxed)), self.0))
    }
}

impl fmt::Debug for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PeerAddrLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Renders an address under a policy.
pub fn render(policy: AddressPolicy, address: SocketAddr) -> String {
    match policy {
        AddressPolicy::Full => SocketAddr::new(address.ip().to_canonical(), address.port()).to_string(),
        AddressPolicy::Prefix => prefix(address.ip().to_canonical()),
        AddressPolicy::None => "hidden".to_owned(),
    }
}

pub(in crate::telemetry) fn set_policy(policy: AddressPolicy, level: LogLevel) {
    POLICY.store(encode(policy), Ordering::Relaxed);
    PEERS_ARE_SHOWN.store(level >= LogLevel::Debug, Ordering::Relaxed);
}

static POLICY: AtomicU8 = AtomicU8::new(encode(AddressPolicy::Prefix));
static PEERS_ARE_SHOWN: AtomicBool = AtomicBool::new(false);

const fn encode(policy: AddressPolicy) -> u8 {
    match policy {
        AddressPolicy::Full => 0,
        AddressPolicy::Prefix => 1,
        AddressPolicy::None => 2,
    }
}

fn policy() -> AddressPolicy {
    match POLICY.load(Ordering::Relaxed) {
        0 => AddressPolicy::Full,
        1 => AddressPolicy::Prefix,
        _ => AddressPolicy::None,
    }
}

fn peer_policy(policy: AddressPolicy, are_shown: bool) -> AddressPolicy {
    if are_shown { policy } else { AddressPolicy::None }
}

fn prefix(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{}/24", Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(v6) => {
            // A 6to4 network holds a whole IPv4 address in bits 16 to 48.
            let length = if v6.segments()[0] == 0x2002 { 40 } else { 48 };
            let kept = v6.to_bits() & (u128::MAX << (128 - length));
            format!("{}/{length}", Ipv6Addr::from(kept))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(policy: AddressPolicy, address: &str) -> String {
        render(policy, address.parse().unwrap())
    }

    #[test]
    fn full_addresses_keep_their_port() {
        assert_eq!(shown(AddressPolicy::Full, "198.51.100.7:5000"), "198.51.100.7:5000");
        assert_eq!(shown(AddressPolicy::Full, "[2001:db8:1:2::3]:5000"), "[2001:db8:1:2::3]:5000");
    }

    #[test]
    fn prefixes_hide_host_and_port() {
        assert_eq!(shown(AddressPolicy::Prefix, "198.51.100.7:5000"), "198.51.100.0/24");
        assert_eq!(shown(AddressPolicy::Prefix, "[2001:db8:1:2::3]:5000"), "2001:db8:1::/48");
    }

    #[test]
    fn an_ipv4_address_inside_ipv6_is_hidden_like_one() {
        assert_eq!(shown(AddressPolicy::Prefix, "[::ffff:198.51.100.7]:5000"), "198.51.100.0/24");
        assert_eq!(shown(AddressPolicy::Prefix, "[2002:c633:6407::1]:5000"), "2002:c633:6400::/40");
        assert_eq!(shown(AddressPolicy::Prefix, "[64:ff9b::198.51.100.7]:5000"), "64:ff9b::/48");
    }

    #[test]
    fn none_shows_nothing() {
        assert_eq!(shown(AddressPolicy::None, "198.51.100.7:5000"), "hidden");
    }

    #[test]
    fn peers_are_hidden_below_debug() {
        assert_eq!(peer_policy(AddressPolicy::Full, false), AddressPolicy::None);
        assert_eq!(peer_policy(AddressPolicy::Prefix, true), AddressPolicy::Prefix);
    }
}
