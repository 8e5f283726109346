//! Addresses as typed: listeners, networks, relay and external addresses.

use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use crate::config::mistake::Fault;
use crate::config::types::{ExternalAddress, Listen, Transports};

/// Reads `[udp:|tcp:]ADDR:PORT`.
pub fn listen(text: &str) -> Result<Listen, Fault> {
    let (transports, address) = match text.split_once(':') {
        Some(("udp", rest)) => (Transports::Udp, rest),
        Some(("tcp", rest)) => (Transports::Tcp, rest),
        _ => (Transports::Both, text),
    };
    match address.parse::<SocketAddr>() {
        Ok(address) => Ok(Listen { transports, address, is_default: false }),
        Err(_) => Err(Fault::new("this is not an address with a port", listen_advice(address))),
    }
}

/// Reads `[tcp:]ADDR:PORT` of a listener for TLS.
pub fn listen_tls(text: &str) -> Result<Listen, Fault> {
    let listen = listen(text)?;
    if listen.transports == Transports::Udp {
        return Err(Fault::new("TURN over DTLS is not available", "leave out udp: for TLS over TCP"));
    }
    Ok(Listen { transports: Transports::Tcp, ..listen })
}

/// Reads `ADDR:PORT` of a listener for HTTP; `off` is none.
pub fn http(text: &str) -> Result<Option<Listen>, Fault> {
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) => Ok(Some(Listen { transports: Transports::Tcp, address, is_default: false })),
        Err(_) => Err(Fault::new(
            "this is not an address with a port",
            "write one like 127.0.0.1:8080 or [::]:443, or off",
        )),
    }
}

/// Tells whether two listeners would fight for the same sockets.
pub fn collide(a: &Listen, b: &Listen) -> bool {
    let shares_transport =
        (a.transports.udp() && b.transports.udp()) || (a.transports.tcp() && b.transports.tcp());
    let same_port = a.address.port() == b.address.port() && a.address.port() != 0;
    shares_transport && same_port && (a.covers(b.address.ip()) || b.covers(a.address.ip()))
}

/// Reads a network or a single address; a range in the style `a-b` is answered with its networks.
pub fn network(text: &str) -> Result<IpNet, Fault> {
    if let Ok(network) = text.parse::<IpNet>() {
        return match network.trunc() {
            whole if whole == network => Ok(whole),
            whole => Err(Fault::new("the address has bits beyond the prefix", format!("write {whole}"))),
        };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let ends = text.split_once('-').map(|(first, last)| (first.trim().parse(), last.trim().parse()));
    let networks = match ends {
        Some((Ok(IpAddr::V4(first)), Ok(IpAddr::V4(last)))) if first <= last => {
            join(Ipv4Subnets::new(first, last, 0))
        }
        Some((Ok(IpAddr::V6(first)), Ok(IpAddr::V6(last)))) if first <= last => {
            join(Ipv6Subnets::new(first, last, 0))
        }
        Some((Ok(IpAddr::V4(_)), Ok(IpAddr::V4(_))) | (Ok(IpAddr::V6(_)), Ok(IpAddr::V6(_)))) => {
            return Err(Fault::new("the first address is above the last", "write networks like 10.0.0.0/8"));
        }
        _ => return Err(Fault::new("this is not a network", "write one like 10.0.0.0/8 or fd00::/8")),
    };
    Err(Fault::new("a range is not accepted", format!("write these networks instead: {networks}")))
}

/// Reads a local address for relay sockets.
pub fn relay_address(text: &str) -> Result<IpAddr, Fault> {
    let address = text
        .parse::<IpAddr>()
        .map_err(|_| Fault::new("this is not an IP address", "write one like 192.0.2.1 or 2001:db8::1"))?;
    usable(address).map(|()| address)
}

/// Reads `PUBLIC[=LOCAL]`, both of one family.
pub fn external_address(text: &str) -> Result<ExternalAddress, Fault> {
    let (public, local) = match text.split_once('=') {
        Some((public, local)) => (public, Some(local)),
        None => (text, None),
    };
    let public = relay_address(public)?;
    let local = local.map(relay_address).transpose()?;
    if local.is_some_and(|local| local.is_ipv4() != public.is_ipv4()) {
        return Err(Fault::new("the two addresses are of different families", "write two of one family"));
    }
    Ok(ExternalAddress { public, local })
}

fn usable(address: IpAddr) -> Result<(), Fault> {
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || mapped || broadcast {
        return Err(Fault::new("this is not the address of one host", "write one that packets can go to"));
    }
    Ok(())
}

fn listen_advice(address: &str) -> String {
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    match (bare.parse::<IpAddr>(), address.strip_prefix(':').unwrap_or(address).parse::<u16>()) {
        (Ok(ip), _) => format!("add the port: {}", SocketAddr::new(ip, 3478)),
        (Err(_), Ok(port)) => format!("add the address: [::]:{port}"),
        (Err(_), Err(_)) => "write one like 192.0.2.1:3478, [::]:3478 or udp:0.0.0.0:3478".to_owned(),
    }
}

fn join(networks: impl Iterator<Item = impl ToString>) -> String {
    networks.map(|network| network.to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_name_transport_address_and_port() {
        let both = listen("[::]:3478").unwrap();
        assert_eq!((both.transports, both.address.port()), (Transports::Both, 3478));
        assert_eq!(listen("udp:127.0.0.1:0").unwrap().transports, Transports::Udp);
        assert_eq!(listen("tcp:[::1]:1").unwrap().to_string(), "tcp:[::1]:1");
    }

    #[test]
    fn advice_completes_half_an_address() {
        let advice = |text| listen(text).unwrap_err().advice;
        assert_eq!(advice("0.0.0.0"), "add the port: 0.0.0.0:3478");
        assert_eq!(advice("::1"), "add the port: [::1]:3478");
        assert_eq!(advice(":3478"), "add the address: [::]:3478");
        assert!(advice("nonsense").contains("[::]:3478"));
    }

    #[test]
    fn listeners_collide_on_shared_transport_and_address() {
        let pair = |a: &str, b: &str| collide(&listen(a).unwrap(), &listen(b).unwrap());
        assert!(pair("127.0.0.1:1", "udp:127.0.0.1:1"));
        assert!(pair("[::]:1", "0.0.0.0:1"));
        assert!(pair("127.0.0.1:1", "[::]:1"));
        assert!(!pair("[::1]:1", "0.0.0.0:1"));
        assert!(!pair("tcp:127.0.0.1:1", "udp:127.0.0.1:1"));
        assert!(!pair("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!pair("127.0.0.1:1", "127.0.0.2:1"));
    }

    #[test]
    fn a_range_is_answered_with_its_networks() {
        assert_eq!(
            network("10.0.0.1-10.0.0.6").unwrap_err().advice,
            "write these networks instead: 10.0.0.1/32 10.0.0.2/31 10.0.0.4/31 10.0.0.6/32"
        );
        assert_eq!(
            network("fd00::-fd00::ffff").unwrap_err().advice,
            "write these networks instead: fd00::/112"
        );
        assert!(network("10.0.0.6-10.0.0.1").unwrap_err().problem.contains("above"));
    }

    #[test]
    fn networks_are_whole_and_addresses_count_as_networks() {
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("10.0.0.7").unwrap().to_string(), "10.0.0.7/32");
        assert_eq!(network("10.0.0.7/8").unwrap_err().advice, "write 10.0.0.0/8");
        assert!(network("10.0.0.0/33").is_err());
    }

    #[test]
    fn external_addresses_pair_one_family() {
        let pair = external_address("192.0.2.1=10.0.0.1").unwrap();
        assert_eq!(pair.local, Some("10.0.0.1".parse().unwrap()));
        for bad in ["192.0.2.1=::1", "0.0.0.0", "x", "192.0.2.1=", "ff02::1", "::ffff:192.0.2.1"] {
            assert!(external_address(bad).is_err(), "{bad}");
        }
    }
}
