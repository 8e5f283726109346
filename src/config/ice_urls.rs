//! The URLs of `iceServers` (RFC 7064, RFC 7065): generated ones, and checks of those given.

use std::net::{IpAddr, Ipv6Addr};

use crate::config::mistake::Fault;
use crate::config::names;
use crate::config::types::{Config, Host, IceUrl};

/// Browsers slow down and warn from the fifth server on.
pub const MOST_URLS: usize = 4;

const STUN_PORT: u16 = 3478;
const TLS_PORT: u16 = 5349;

/// What there is to reach: ports of the listeners, `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reachable {
    pub host: Host,
    /// Host of `turns:` URLs, by name where possible: Firefox takes no address there.
    pub tls_host: Host,
    pub udp: Option<u16>,
    pub tcp: Option<u16>,
    /// Port of TLS over TCP.
    pub tls: Option<u16>,
}

/// Ports of the listeners, `None` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub udp: Option<u16>,
    pub tcp: Option<u16>,
    /// Port of TURN over TLS; of HTTPS where there is one.
    pub tls: Option<u16>,
}

/// Returns the URLs that clients of a daemon are told: the given ones, else generated ones.
///
/// `advertised` lists the relay addresses as the world sees them.
pub fn told(config: &Config, ports: Ports, advertised: &[IpAddr]) -> Vec<IceUrl> {
    if !config.ice_urls.is_empty() {
        return config.ice_urls.clone();
    }
    let Ports { udp, tcp, tls } = ports;
    let (host, tls_host) = (config.public_host(advertised), config.tls_host(advertised));
    generate(&Reachable { host, tls_host, udp, tcp, tls })
}

/// Generates URLs for what can be reached.
pub fn generate(reachable: &Reachable) -> Vec<IceUrl> {
    let Reachable { host, tls_host, udp, tcp, tls } = reachable;
    let stun = udp.map(|port| format!("stun:{host}{}", suffix(port, STUN_PORT)));
    let turn_udp = udp.map(|port| format!("turn:{host}{}?transport=udp", suffix(port, STUN_PORT)));
    let turn_tcp = tcp.map(|port| format!("turn:{host}{}?transport=tcp", suffix(port, STUN_PORT)));
    let turns = tls.map(|port| format!("turns:{tls_host}{}?transport=tcp", suffix(port, TLS_PORT)));
    [stun, turn_udp, turn_tcp, turns].into_iter().flatten().map(IceUrl).collect()
}

/// Reads a `stun:`, `stuns:`, `turn:` or `turns:` URL (RFC 7064 §3.1, RFC 7065 §3.1).
pub fn parse(text: &str) -> Result<IceUrl, Fault> {
    const ADVICE: &str = "write one like stun:HOST, turn:HOST:3478?transport=udp or turns:HOST?transport=tcp";
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(Fault::new("this is not a URL", ADVICE));
    };
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "stun" | "stuns" | "turn" | "turns") {
        return Err(Fault::new("the scheme is neither of STUN nor of TURN", ADVICE));
    }
    if let Some(without) = rest.strip_prefix("//") {
        return Err(Fault::new("slashes do not belong here", format!("write {scheme}:{without}")));
    }
    let (authority, query) = match rest.split_once('?') {
        Some((authority, query)) => (authority, Some(query)),
        None => (rest, None),
    };
    match query {
        Some(_) if scheme.starts_with("stun") => {
            return Err(Fault::new("a STUN URL carries no transport", format!("write {scheme}:{authority}")));
        }
        None | Some("transport=udp" | "transport=tcp") => {}
        Some(_) => {
            return Err(Fault::new("the transport is unknown", "write transport=udp or transport=tcp"));
        }
    }
    if !is_authority(authority) {
        return Err(Fault::new("host or port cannot be read", ADVICE));
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(IceUrl(format!("{scheme}:{authority}{query}")))
}

fn suffix(port: u16, default: u16) -> String {
    if port == default { String::new() } else { format!(":{port}") }
}

fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => (None, port),
            _ => return false,
        },
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (Some(&text[..end]), &text[end..])
        }
    };
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0);
    let good_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    good_port && host.is_none_or(|host| !host.is_empty() && names::host(host).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reachable(host: &str) -> Reachable {
        let host = names::host(host).unwrap();
        Reachable { tls_host: host.clone(), host, udp: Some(3478), tcp: Some(3478), tls: Some(5349) }
    }

    fn texts(reachable: &Reachable) -> Vec<String> {
        generate(reachable).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn t_7065_3_1_01_default_ports_are_omitted() {
        assert_eq!(
            texts(&reachable("turn.example.org")),
            [
                "stun:turn.example.org",
                "turn:turn.example.org?transport=udp",
                "turn:turn.example.org?transport=tcp",
                "turns:turn.example.org?transport=tcp",
            ]
        );
    }

    #[test]
    fn t_7065_3_1_01_other_ports_are_named_and_ipv6_stands_in_brackets() {
        let reachable =
            Reachable { udp: Some(5000), tcp: Some(5001), tls: Some(3478), ..reachable("2001:db8::1") };
        assert_eq!(
            texts(&reachable),
            [
                "stun:[2001:db8::1]:5000",
                "turn:[2001:db8::1]:5000?transport=udp",
                "turn:[2001:db8::1]:5001?transport=tcp",
                "turns:[2001:db8::1]:3478?transport=tcp",
            ]
        );
    }

    #[test]
    fn t_7064_3_1_01_stun_urls_carry_no_transport() {
        assert!(texts(&reachable("a")).iter().all(|url| !url.starts_with("stun") || !url.contains('?')));
        assert_eq!(parse("stun:a?transport=udp").unwrap_err().advice, "write stun:a");
        assert!(parse("stuns:a?transport=tcp").is_err());
    }

    #[test]
    fn t_7065_3_1_01_what_is_generated_parses() {
        for host in ["turn.example.org", "192.0.2.1", "2001:db8::1"] {
            for url in generate(&reachable(host)) {
                assert_eq!(parse(url.as_str()), Ok(url));
            }
        }
    }

    #[test]
    fn turns_urls_name_the_certificate_where_the_host_is_an_address() {
        let reachable = Reachable { tls_host: Host::Name("a.example".into()), ..reachable("192.0.2.1") };
        assert_eq!(texts(&reachable)[3], "turns:a.example?transport=tcp");
    }

    #[test]
    fn without_a_listener_there_is_no_url() {
        let reachable = Reachable { udp: None, tls: None, ..reachable("a") };
        assert_eq!(texts(&reachable), ["turn:a?transport=tcp"]);
    }

    #[test]
    fn urls_of_both_rfcs_are_accepted_and_others_refused() {
        for good in [
            "stun:a",
            "STUN:a",
            "stuns:a:5349",
            "turn:a:1?transport=tcp",
            "turns:[::1]:443?transport=udp",
            "turn:192.0.2.1",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "http://a",
            "turn:",
            "turn://a",
            "turn:a:0",
            "turn:a:x",
            "turn:a:65536",
            "turn:::1",
            "turn:u@a",
            "turn:a?transport=sctp",
            "turn:a?x=y",
            "turn:[::1",
            "turn:a:",
            "turn:a/b",
            "turn:[1.2.3.4]",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
