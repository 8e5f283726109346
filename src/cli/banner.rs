//! What the daemon prints once, for a person, when it is ready.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use crate::auth::Minted;
use crate::config::ice_urls::{self, Ports};
use crate::config::{Config, Host, IceUrl, PortRange};

/// Lifetime of the credential in the banner.
pub const CREDENTIAL_TTL: Duration = Duration::from_secs(3600);
/// Who the credential in the banner is for.
pub const SUBJECT: &str = "console";

/// How a listener is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Udp,
    Tcp,
    /// TLS over TCP.
    Tls,
    /// HTTP without TLS.
    Http,
    /// HTTP and TURN over TLS.
    Https,
}

/// A bound socket with its real port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    pub protocol: Protocol,
    pub address: SocketAddr,
}

/// A relay address in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayOn {
    pub local: IpAddr,
    /// What clients are told; the local address where nothing translates.
    pub advertised: IpAddr,
}

/// An `RTCConfiguration` in the making.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pasteable {
    ice_servers: [IceServer; 1],
    #[serde(skip)]
    ttl: Duration,
}

#[derive(Debug, Serialize)]
struct IceServer {
    urls: Vec<String>,
    username: String,
    credential: String,
}

/// Everything that the banner shows.
#[derive(Debug)]
pub struct BannerFacts {
    pub listening: Vec<Listening>,
    pub relays: Vec<RelayOn>,
    pub relay_ports: PortRange,
    /// URL of the demo page.
    pub demo: Option<String>,
    /// `None` where standard output is no place for a credential.
    pub pasteable: Option<Pasteable>,
}

/// Returns the URLs that clients of this daemon are told.
pub fn urls(config: &Config, listening: &[Listening], relays: &[RelayOn]) -> Vec<IceUrl> {
    let advertised: Vec<IpAddr> = relays.iter().map(|relay| relay.advertised).collect();
    let port = |protocol| listening.iter().find(|bound| bound.protocol == protocol).map(|b| b.address.port());
    let ports = Ports {
        udp: port(Protocol::Udp),
        tcp: port(Protocol::Tcp),
        tls: port(Protocol::Https).or_else(|| port(Protocol::Tls)),
    };
    ice_urls::told(config, ports, &advertised)
}

/// Returns the URL of the demo page, where it is served.
pub fn demo_url(config: &Config, listening: &[Listening], relays: &[RelayOn]) -> Option<String> {
    let on = |protocol| listening.iter().find(|bound| bound.protocol == protocol).filter(|_| config.demo);
    let (plain, tls) = (on(Protocol::Http), on(Protocol::Https));
    let advertised: Vec<IpAddr> = relays.iter().map(|relay| relay.advertised).collect();
    let (scheme, host, port, usual) = match (plain, tls) {
        (_, Some(tls)) if config.demo_public => {
            ("https", config.tls_host(&advertised), tls.address.port(), 443)
        }
        (Some(plain), _) => ("http", local_host(plain.address.ip()), plain.address.port(), 80),
        (None, Some(tls)) => ("https", local_host(tls.address.ip()), tls.address.port(), 443),
        (None, None) => return None,
    };
    let port = if port == usual { String::new() } else { format!(":{port}") };
    Some(format!("{scheme}://{host}{port}/demo/"))
}

/// Names a listener as a browser on this host does: microphones are lent to `localhost` without TLS.
fn local_host(bound: IpAddr) -> Host {
    let is_usual = bound == Ipv4Addr::LOCALHOST || bound == Ipv6Addr::LOCALHOST || bound.is_unspecified();
    if is_usual { Host::Name("localhost".to_owned()) } else { Host::Address(bound) }
}

/// Joins URLs and a credential to what a page passes to `RTCPeerConnection`.
pub fn pasteable(urls: &[IceUrl], minted: Minted, ttl: Duration) -> Pasteable {
    let urls = urls.iter().map(ToString::to_string).collect();
    Pasteable {
        ice_servers: [IceServer { urls, username: minted.username, credential: minted.password }],
        ttl,
    }
}

/// Renders the banner.
pub fn render(facts: &BannerFacts) -> String {
    let mut text = format!("Turnpike {} is ready\n\n", env!("CARGO_PKG_VERSION"));
    for (address, protocols) in by_address(&facts.listening) {
        let _ = writeln!(text, "  listening on  {address} ({protocols})");
    }
    for relay in &facts.relays {
        let family = if relay.advertised.is_ipv4() { "IPv4" } else { "IPv6" };
        let _ = write!(text, "  relay {family}    {}, ports {}", relay.advertised, facts.relay_ports);
        if relay.local != relay.advertised {
            let _ = write!(text, " (bound to {})", relay.local);
        }
        text.push('\n');
    }
    if let Some(demo) = &facts.demo {
        let _ = writeln!(text, "  demo page     {demo}");
    }
    if let Some(pasteable) = &facts.pasteable {
        let minutes = pasteable.ttl.as_secs() / 60;
        let json = serde_json::to_string_pretty(pasteable).expect("strings always serialize");
        let _ = write!(text, "\nFor new RTCPeerConnection(...), valid for {minutes} minutes:\n\n{json}\n");
    }
    text
}

fn by_address(listening: &[Listening]) -> Vec<(SocketAddr, String)> {
    let mut lines: Vec<(SocketAddr, String)> = Vec::new();
    for bound in listening {
        let name = match bound.protocol {
            Protocol::Udp => "UDP",
            Protocol::Tcp => "TCP",
            Protocol::Tls => "TLS",
            Protocol::Http => "HTTP",
            Protocol::Https => "HTTPS",
        };
        match lines.iter_mut().find(|(address, _)| *address == bound.address) {
            Some((_, protocols)) => {
                let _ = write!(protocols, ", {name}");
            }
            None => lines.push((bound.address, name.to_owned())),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> BannerFacts {
        let listening = |protocol, address: &str| Listening { protocol, address: address.parse().unwrap() };
        BannerFacts {
            listening: vec![
                listening(Protocol::Udp, "[::]:3478"),
                listening(Protocol::Tcp, "[::]:3478"),
                listening(Protocol::Tls, "[::]:5349"),
            ],
            relays: vec![
                RelayOn { local: "10.0.0.5".parse().unwrap(), advertised: "192.0.2.1".parse().unwrap() },
                RelayOn { local: "2001:db8::1".parse().unwrap(), advertised: "2001:db8::1".parse().unwrap() },
            ],
            relay_ports: PortRange { min: 49152, max: 65535 },
            demo: None,
            pasteable: None,
        }
    }

    #[test]
    fn the_banner_names_listeners_and_relays() {
        let text = render(&facts());
        assert!(text.contains("  listening on  [::]:3478 (UDP, TCP)\n"), "{text}");
        assert!(text.contains("  listening on  [::]:5349 (TLS)\n"), "{text}");
        assert!(
            text.contains("  relay IPv4    192.0.2.1, ports 49152-65535 (bound to 10.0.0.5)\n"),
            "{text}"
        );
        assert!(text.contains("  relay IPv6    2001:db8::1, ports 49152-65535\n"), "{text}");
        assert!(!text.contains('{'), "{text}");
    }

    #[test]
    fn the_pasteable_object_is_an_rtc_configuration() {
        let minted = Minted { username: "1:console".into(), password: "secret".into() };
        let urls = [ice_urls::parse("turn:a?transport=udp").unwrap()];
        let text =
            render(&BannerFacts { pasteable: Some(pasteable(&urls, minted, CREDENTIAL_TTL)), ..facts() });
        let object: serde_json::Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
        let expected = serde_json::json!({"iceServers": [
            {"urls": ["turn:a?transport=udp"], "username": "1:console", "credential": "secret"}
        ]});
        assert_eq!(object, expected);
    }
}
