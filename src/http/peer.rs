//! Who is at the other end of a request, through the proxies that are trusted to say so.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::FORWARDED;
use ipnet::IpNet;

/// The client of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address; the port is 0 where a proxy names none.
    pub addr: SocketAddr,
}

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Proxies whose headers are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// Returns the client behind a connection.
    ///
    /// Names are believed from the right, each as long as the one that gave it is trusted. Two headers that
    /// disagree are both disbelieved: the proxy sets one, and the client may have sent the other.
    pub(crate) fn client(&self, remote: SocketAddr, headers: &HeaderMap) -> Peer {
        if !self.trust(remote.ip()) {
            return Peer { addr: remote };
        }
        let forwarded = values(headers, FORWARDED.as_str()).map(|hops| hops.map(forwarded_for).collect());
        let listed = values(headers, FORWARDED_FOR).map(|hops| hops.map(address).collect());
        let follow = |hops: Option<Vec<_>>| hops.map(|hops| self.follow(remote, hops));
        let addr = match (follow(forwarded), follow(listed)) {
            (Some(one), Some(other)) if one.ip() != other.ip() => remote,
            (Some(addr), _) | (None, Some(addr)) => addr,
            (None, None) => remote,
        };
        Peer { addr }
    }

    /// Returns the host that the client asked for, as a trusted proxy names it.
    pub(crate) fn host<'a>(&self, remote: SocketAddr, headers: &'a HeaderMap) -> Option<&'a str> {
        let mut hosts = headers.get_all("x-forwarded-host").iter();
        match (self.trust(remote.ip()), hosts.next(), hosts.next()) {
            (true, Some(host), None) => host.to_str().ok().filter(|host| !host.contains(',')),
            _ => None,
        }
    }

    pub(crate) fn trust(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&ip))
    }

    fn follow(&self, remote: SocketAddr, hops: Vec<Option<SocketAddr>>) -> SocketAddr {
        let mut at = remote;
        for hop in hops.into_iter().rev() {
            match hop {
                Some(named) if self.trust(at.ip()) => at = named,
                Some(_) | None => break,
            }
        }
        at
    }
}

/// Returns the comma separated parts of a header in all its lines; none where it is absent.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> Option<impl Iterator<Item = &'a str>> {
    let lines = headers.get_all(name);
    lines.iter().next()?;
    let lines: Vec<&str> = lines.iter().map(|line| line.to_str().unwrap_or_default()).collect();
    Some(lines.into_iter().flat_map(|line| line.split(',')))
}

/// Reads the `for` of one hop (RFC 7239 §4); obfuscated and unknown ones are none.
fn forwarded_for(hop: &str) -> Option<SocketAddr> {
    let pair = hop.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pair.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address(value.trim().trim_matches('"'))
}

fn address(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let addr = text.parse().ok().or_else(|| bare().map(|ip| SocketAddr::new(ip, 0)))?;
    Some(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(remote: &str, headers: &[(&'static str, &str)]) -> String {
        let trusted = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        trusted.client(SocketAddr::new(remote.parse().unwrap(), 7), &map).addr.ip().to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(client("9.9.9.9", &[("x-forwarded-for", "1.1.1.1")]), "9.9.9.9");
    }

    #[test]
    fn trusted_hops_are_followed_from_the_right_to_the_first_stranger() {
        let listed = "6.6.6.6, 1.1.1.1, 10.0.0.2";
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", listed)]), "1.1.1.1");
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.1.1.1,10.0.0.2")];
        assert_eq!(client("10.0.0.1", &lines), "1.1.1.1");
    }

    #[test]
    fn forwarded_is_read_with_quotes_ports_and_brackets() {
        let forwarded = r#"for=6.6.6.6, For="[2001:db8::7]:4711";proto=https;by=10.0.0.1"#;
        assert_eq!(client("10.0.0.1", &[("forwarded", forwarded)]), "2001:db8::7");
    }

    #[test]
    fn what_cannot_be_read_ends_the_way() {
        assert_eq!(client("10.0.0.1", &[("forwarded", "for=1.1.1.1, for=_hidden")]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "unknown")]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn headers_that_disagree_are_both_disbelieved() {
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "1.1.1.1")];
        assert_eq!(client("10.0.0.1", &both), "10.0.0.1");
        let agreed = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "1.1.1.1")];
        assert_eq!(client("10.0.0.1", &agreed), "1.1.1.1");
    }
}
