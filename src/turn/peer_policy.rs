//! Which peers a relay may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::turn::ids::PeerAddr;

/// Why a peer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRefusal {
    /// Its address is in a refused range.
    Forbidden,
    /// It is an endpoint of this server.
    OwnEndpoint,
}

/// What an address is to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// An address of another host.
    Foreign,
    /// An address of this host that no relay uses.
    Local,
    /// The address of relays of this server.
    Relay,
}

/// An address that relays of this server have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayIp {
    /// Address that the sockets bind.
    pub local: IpAddr,
    /// Address that the world sees.
    pub advertised: IpAddr,
}

/// The addresses of this host, as its shell last read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// Relay addresses, by the newest name first.
    pub relays: Vec<RelayIp>,
    /// All addresses of all interfaces.
    pub local: Vec<IpAddr>,
    /// Ranges beside those whose packets end on this host.
    pub routed: Vec<IpNet>,
    /// Directed broadcast addresses of the local subnets.
    pub broadcast: Vec<Ipv4Addr>,
    /// Listeners of any kind of this daemon, and what else it speaks to (backplane); an unspecified address
    /// stands for every own one.
    pub endpoints: Vec<SocketAddr>,
}

/// Ranges refused unless an operator allows them by name.
const BUILT_IN: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/8",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    BuiltIn,
    Allowed,
    Denied,
}

/// The peer policy: the built-in list, the operator's rules over it, and the host's own addresses.
///
/// The longest prefix decides; at equal length a denial, then a permission, then the built-in list.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<(IpNet, Source)>,
    own: OwnAddresses,
}

impl Policy {
    /// Makes a policy from the ranges that an operator allows and denies.
    #[must_use]
    pub fn new(allow: &[IpNet], deny: &[IpNet], own: OwnAddresses) -> Policy {
        let built_in = BUILT_IN.iter().map(|net| net.parse().expect("the built-in list holds valid ranges"));
        let broadcast = own.broadcast.iter().map(|ip| IpNet::from(IpAddr::V4(*ip)));
        let mut rules: Vec<_> = built_in.chain(broadcast).map(|net| (net, Source::BuiltIn)).collect();
        rules.extend(allow.iter().map(|net| (net.trunc(), Source::Allowed)));
        rules.extend(deny.iter().map(|net| (net.trunc(), Source::Denied)));
        rules.sort_by_key(|(net, source)| (std::cmp::Reverse(net.prefix_len()), std::cmp::Reverse(*source)));
        Policy { rules, own }
    }

    /// Judges an address without a port, as a permission names it (RFC 8656 §10.2).
    ///
    /// An own relay address is let through: which of its ports may be reached is judged by [`Self::judge`].
    pub fn judge_ip(&self, ip: IpAddr) -> Result<(), PeerRefusal> {
        match self.ownership(ip) {
            Ownership::Relay => Ok(()),
            Ownership::Local if self.explicitly_allowed(ip) => Ok(()),
            Ownership::Local => Err(PeerRefusal::Forbidden),
            Ownership::Foreign => self.judge_ranges(ip),
        }
    }

    /// Judges a transport address; `live` says that it is a relayed address of this server now.
    pub fn judge(&self, peer: PeerAddr, live: bool) -> Result<(), PeerRefusal> {
        if peer.0.port() == 0 {
            return Err(PeerRefusal::Forbidden);
        }
        match self.ownership(peer.ip()) {
            Ownership::Relay if live => Ok(()),
            Ownership::Relay if self.is_endpoint(peer) || self.judge_ranges(peer.ip()).is_err() => {
                Err(PeerRefusal::OwnEndpoint)
            }
            Ownership::Relay => Ok(()),
            Ownership::Local | Ownership::Foreign => {
                self.judge_ip(peer.ip())?;
                if self.is_endpoint(peer) { Err(PeerRefusal::OwnEndpoint) } else { Ok(()) }
            }
        }
    }

    /// Returns the own relay addresses, by the newest name first.
    #[must_use]
    pub fn relays(&self) -> &[RelayIp] {
        &self.own.relays
    }

    /// Returns what an address is to this host.
    #[must_use]
    pub fn ownership(&self, ip: IpAddr) -> Ownership {
        if self.own.relays.iter().any(|relay| relay.advertised == ip || relay.local == ip) {
            Ownership::Relay
        } else if self.is_local(ip) || embedded_v4(ip).is_some_and(|v4| self.is_local(IpAddr::V4(v4))) {
            Ownership::Local
        } else {
            Ownership::Foreign
        }
    }

    /// Names an own relay by its advertised address, anything else as it is.
    #[must_use]
    pub fn canonical(&self, peer: PeerAddr) -> PeerAddr {
        PeerAddr(SocketAddr::new(self.canonical_ip(peer.ip()), peer.0.port()))
    }

    /// Names an own relay's address by the advertised one, anything else as it is.
    #[must_use]
    pub fn canonical_ip(&self, ip: IpAddr) -> IpAddr {
        self.own.relays.iter().find(|relay| relay.local == ip).map_or(ip, |relay| relay.advertised)
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        // The unspecified address is this host too, to the kernel.
        ip.is_loopback()
            || ip.is_unspecified()
            || self.own.local.contains(&ip)
            || self.own.routed.iter().any(|net| net.contains(&ip))
    }

    /// Returns whether a transport address is an endpoint that no relay may reach.
    #[must_use]
    pub fn is_endpoint(&self, peer: PeerAddr) -> bool {
        let inner = embedded_v4(peer.ip()).map(IpAddr::V4);
        [Some(peer.ip()), inner].into_iter().flatten().any(|ip| {
            self.own.endpoints.iter().any(|endpoint| {
                endpoint.port() == peer.0.port()
                    && (self.canonical_ip(endpoint.ip()) == ip
                        || endpoint.ip() == ip
                        || (endpoint.ip().is_unspecified() && self.ownership(ip) != Ownership::Foreign))
            })
        })
    }

    fn judge_ranges(&self, ip: IpAddr) -> Result<(), PeerRefusal> {
        let allowed = |ip| !matches!(self.rule(ip), Some(Source::BuiltIn | Source::Denied));
        if allowed(ip) && embedded_v4(ip).is_none_or(|v4| allowed(IpAddr::V4(v4))) {
            Ok(())
        } else {
            Err(PeerRefusal::Forbidden)
        }
    }

    fn explicitly_allowed(&self, ip: IpAddr) -> bool {
        let allowed = |ip| self.rule(ip) == Some(Source::Allowed);
        allowed(ip) && embedded_v4(ip).is_none_or(|v4| allowed(IpAddr::V4(v4)))
    }

    fn rule(&self, ip: IpAddr) -> Option<Source> {
        self.rules.iter().find(|(net, _)| net.contains(&ip)).map(|(_, source)| *source)
    }
}

/// Returns the IPv4 address inside a mapped, compatible, SIIT, NAT64, 6to4 or Teredo address.
fn embedded_v4(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let octets = ip.octets();
    let at = |i: usize| Ipv4Addr::new(octets[i], octets[i + 1], octets[i + 2], octets[i + 3]);
    let segments = ip.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, ..] if ip != Ipv6Addr::UNSPECIFIED && ip != Ipv6Addr::LOCALHOST => Some(at(12)),
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Some(at(12)),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => Some(at(12)),
        [0x2002, ..] => Some(at(2)),
        [0x2001, 0, ..] => {
            let [a, b, c, d] = at(12).octets();
            Some(Ipv4Addr::new(!a, !b, !c, !d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn policy(allow: &[&str], deny: &[&str]) -> Policy {
        let own = OwnAddresses {
            relays: vec![RelayIp {
                local: "10.1.1.5".parse().unwrap(),
                advertised: "9.9.9.9".parse().unwrap(),
            }],
            local: ["10.1.1.5", "8.8.4.4", "127.0.0.1", "::1"].map(|ip| ip.parse().unwrap()).to_vec(),
            broadcast: vec!["11.1.1.255".parse().unwrap()],
            routed: nets(&["11.77.0.0/16", "2600:77::/64"]),
            endpoints: vec!["[::]:3478".parse().unwrap(), "10.1.1.5:8080".parse().unwrap()],
        };
        Policy::new(&nets(allow), &nets(deny), own)
    }

    fn ip(policy: &Policy, ip: &str) -> Result<(), PeerRefusal> {
        policy.judge_ip(ip.parse().unwrap())
    }

    fn addr(policy: &Policy, addr: &str, live: bool) -> Result<(), PeerRefusal> {
        policy.judge(policy.canonical(PeerAddr(addr.parse().unwrap())), live)
    }

    #[test]
    fn private_special_and_embedding_addresses_are_refused_by_default() {
        // T-8656-10.2-05, T-8656-21.4-01
        let policy = policy(&[], &[]);
        for refused in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "11.1.1.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert_eq!(ip(&policy, refused), Err(PeerRefusal::Forbidden), "{refused}");
        }
        for allowed in ["1.1.1.1", "11.1.1.1", "168.63.129.17", "2600::1", "2a00:1450::1"] {
            assert_eq!(ip(&policy, allowed), Ok(()), "{allowed}");
        }
    }

    #[test]
    fn longest_prefix_wins_then_denial_then_permission() {
        let policy = policy(&["10.0.0.0/8", "10.2.0.0/16", "1.2.3.0/24"], &["10.2.0.0/16", "1.2.0.0/16"]);
        assert_eq!(ip(&policy, "10.3.0.1"), Ok(()));
        assert_eq!(ip(&policy, "10.2.0.1"), Err(PeerRefusal::Forbidden));
        assert_eq!(ip(&policy, "1.2.3.4"), Ok(()));
        assert_eq!(ip(&policy, "1.2.4.4"), Err(PeerRefusal::Forbidden));
    }

    #[test]
    fn an_embedded_address_needs_both_blocks_allowed() {
        let nat64_only = policy(&["64:ff9b::/96"], &[]);
        assert_eq!(ip(&nat64_only, "64:ff9b::808:808"), Ok(()));
        assert_eq!(ip(&nat64_only, "64:ff9b::a00:1"), Err(PeerRefusal::Forbidden));
        let both = policy(&["64:ff9b::/96", "10.0.0.0/8"], &[]);
        assert_eq!(ip(&both, "64:ff9b::a00:1"), Ok(()));
        let teredo = policy(&["2001::/32"], &[]);
        assert_eq!(ip(&teredo, "2001::80ff:fffe"), Err(PeerRefusal::Forbidden));
    }

    #[test]
    fn own_relay_address_may_be_permitted_and_its_live_relays_reached() {
        let policy = policy(&[], &[]);
        for own in ["9.9.9.9", "10.1.1.5"] {
            assert_eq!(ip(&policy, own), Ok(()));
            assert_eq!(addr(&policy, &format!("{own}:50000"), true), Ok(()));
        }
    }

    #[test]
    fn own_listeners_are_never_reached() {
        let policy = policy(&["127.0.0.0/8", "::1/128", "8.8.4.4/32", "10.1.1.5/32"], &[]);
        for endpoint in ["9.9.9.9:3478", "10.1.1.5:3478", "9.9.9.9:8080", "127.0.0.1:3478", "127.8.8.8:3478"]
        {
            assert_eq!(addr(&policy, endpoint, false), Err(PeerRefusal::OwnEndpoint), "{endpoint}");
        }
        assert_eq!(addr(&policy, "[::1]:3478", false), Err(PeerRefusal::OwnEndpoint));
        assert_eq!(addr(&policy, "8.8.4.4:3478", false), Err(PeerRefusal::OwnEndpoint));
        assert_eq!(addr(&policy, "127.0.0.1:8080", false), Ok(()));
    }

    #[test]
    fn unspecified_address_is_this_host_where_it_is_allowed() {
        let policy = policy(&["0.0.0.0/8", "::/128"], &[]);
        for endpoint in ["0.0.0.0:3478", "[::]:3478"] {
            assert_eq!(addr(&policy, endpoint, false), Err(PeerRefusal::OwnEndpoint), "{endpoint}");
        }
        assert_eq!(addr(&policy, "0.0.0.0:9", false), Ok(()));
    }

    #[test]
    fn other_ports_of_an_own_relay_address_need_it_public_or_named() {
        assert_eq!(addr(&policy(&[], &[]), "9.9.9.9:5000", false), Ok(()));
        let denied = policy(&[], &["9.9.9.9/32"]);
        assert_eq!(addr(&denied, "9.9.9.9:5000", false), Err(PeerRefusal::OwnEndpoint));
        assert_eq!(addr(&denied, "9.9.9.9:5000", true), Ok(()));
    }

    #[test]
    fn other_own_addresses_need_to_be_named() {
        assert_eq!(ip(&policy(&[], &[]), "8.8.4.4"), Err(PeerRefusal::Forbidden));
        assert_eq!(ip(&policy(&["8.8.0.0/16"], &[]), "8.8.4.4"), Ok(()));
    }

    #[test]
    fn what_is_routed_to_this_host_is_an_own_address() {
        for own in ["11.77.0.5", "2600:77::5"] {
            assert_eq!(ip(&policy(&[], &[]), own), Err(PeerRefusal::Forbidden));
        }
        let named = policy(&["11.77.0.0/16"], &[]);
        assert_eq!(addr(&named, "11.77.0.5:3478", false), Err(PeerRefusal::OwnEndpoint));
        assert_eq!(addr(&named, "11.77.0.5:5000", false), Ok(()));
    }

    #[test]
    fn port_zero_is_no_destination() {
        assert_eq!(addr(&policy(&[], &[]), "1.1.1.1:0", false), Err(PeerRefusal::Forbidden));
    }
}
