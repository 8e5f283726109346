//! The resolved configuration: plain values that every other room can take.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::auth::Scopes;
use crate::telemetry::settings::LogConfig;

/// Everything that `serve` was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Plain listeners.
    pub listen: Vec<Listen>,
    /// TLS listeners; empty without a certificate.
    pub listen_tls: Vec<Listen>,
    pub proxy_protocol: Vec<IpNet>,
    pub tls: Tls,
    /// Loaded by `resolve` for `Tls::Files`, by `prepare` for `Tls::SelfSigned`.
    pub certificate: Option<Certificate>,
    /// Only what `--public-host` says; see `Config::public_host` for what holds.
    pub public_host_given: Option<Host>,
    /// Only what `--ice-url` says; empty = generated.
    pub ice_urls: Vec<IceUrl>,
    pub realm: Realm,
    /// At most one a family; empty = detected.
    pub relay_addresses: Vec<IpAddr>,
    /// At most one a family.
    pub external_addresses: Vec<ExternalAddress>,
    pub relay_ports: PortRange,
    pub users: Vec<StaticUser>,
    /// The first mints, all verify; never empty after `prepare`.
    pub auth_secrets: Vec<Secret>,
    /// Plain HTTP; none = off.
    pub http: Option<Listen>,
    /// HTTP and TURN over TLS; none = off.
    pub https: Option<Listen>,
    /// Of the HTTP API; empty after `prepare` only where there is no state directory.
    pub api_keys: Vec<ApiKey>,
    /// The first signs, all verify; empty after `prepare` only where there is no state directory.
    pub token_secrets: Vec<TokenSecret>,
    /// Where the public keys of join tokens are.
    pub token_jwks: Option<JwksSource>,
    /// Whether `?token=` is taken.
    pub token_in_url: bool,
    pub allow_origins: Vec<String>,
    pub trusted_proxies: Vec<IpNet>,
    pub credential_ttl: Duration,
    /// `None` = unlimited.
    pub max_credential_ttl: Option<Duration>,
    pub expiry_grace: Duration,
    pub allow_peers: Vec<IpNet>,
    pub deny_peers: Vec<IpNet>,
    pub limits: Limits,
    /// Whether signaling takes clients without a token.
    pub signal_open: bool,
    pub signal: SignalLimits,
    /// Whether the demo page is served; signaling is open then.
    pub demo: bool,
    /// Whether it is served on every address, and private peers stay refused.
    pub demo_public: bool,
    /// At most `u32::MAX` seconds, which also stands for unlimited.
    pub max_lifetime: Duration,
    pub default_lifetime: Duration,
    /// Shards, 1 to 255.
    pub workers: u8,
    /// `None` only where nothing needs one.
    pub state_dir: Option<PathBuf>,
    /// `None` = off.
    pub admin_socket: Option<AdminSocketPath>,
    pub log: LogConfig,
}

impl Config {
    /// Returns the host for the URLs that are handed out.
    ///
    /// `relay` lists the relay addresses as advertised; IPv4 is preferred. The names of a
    /// self-signed certificate do not count: they were taken from the host in the first place.
    pub fn public_host(&self, relay: &[IpAddr]) -> Host {
        let given = self.public_host_given.clone();
        given.or_else(|| self.certificate_host()).unwrap_or_else(|| Host::Address(self.public_address(relay)))
    }

    /// Returns the address for URLs: external, else a relay address that is listened on, else a listener's.
    fn public_address(&self, relay: &[IpAddr]) -> IpAddr {
        let listeners = || self.listen.iter().chain(&self.listen_tls).chain(&self.https);
        let is_reachable = |address: &IpAddr| listeners().any(|listen| listen.covers(*address));
        let external = self.external_addresses.iter().map(|external| external.public);
        let reached = relay.iter().copied().filter(is_reachable);
        let bound = listeners().map(|listen| listen.address.ip()).filter(|ip| !ip.is_unspecified());
        let preferred = |addresses: Vec<IpAddr>| addresses.into_iter().min_by_key(IpAddr::is_ipv6);
        preferred(external.collect())
            .or_else(|| preferred(reached.collect()))
            .or_else(|| preferred(bound.collect()))
            .or_else(|| preferred(relay.to_vec()))
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Returns the host for `turns:` URLs, a name wherever one is known: Firefox wants no address there.
    pub fn tls_host(&self, relay: &[IpAddr]) -> Host {
        match self.public_host(relay) {
            name @ Host::Name(_) => name,
            address @ Host::Address(_) => self.certificate_host().unwrap_or(address),
        }
    }

    fn certificate_host(&self) -> Option<Host> {
        let certificate = self.certificate.as_ref().filter(|_| matches!(self.tls, Tls::Files { .. }))?;
        certificate.dns_names.iter().find(|name| !name.starts_with("*.")).cloned().map(Host::Name)
    }
}

/// Where the admin socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSocketPath {
    pub path: PathBuf,
    /// Whether nobody asked for it: it may then be left out.
    pub is_default: bool,
}

/// Transports of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transports {
    Udp,
    Tcp,
    Both,
}

impl Transports {
    pub fn udp(self) -> bool {
        matches!(self, Transports::Udp | Transports::Both)
    }

    pub fn tcp(self) -> bool {
        matches!(self, Transports::Tcp | Transports::Both)
    }
}

/// One address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    pub transports: Transports,
    pub address: SocketAddr,
    /// Whether nobody asked for it: `[::]` may then fall back to `0.0.0.0`.
    pub is_default: bool,
}

impl Listen {
    /// Tells whether packets to an address arrive here; `[::]` takes IPv4 too.
    pub fn covers(&self, address: IpAddr) -> bool {
        let ip = self.address.ip();
        ip == address || (ip.is_unspecified() && (ip.is_ipv6() || address.is_ipv4()))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transports {
            Transports::Udp => write!(f, "udp:{}", self.address),
            Transports::Tcp => write!(f, "tcp:{}", self.address),
            Transports::Both => write!(f, "{}", self.address),
        }
    }
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    Off,
    /// PEM files of the user, reloaded on demand.
    Files {
        cert: PathBuf,
        key: PathBuf,
    },
    /// A certificate of the daemon's own, for these names and addresses, kept in the state directory.
    SelfSigned {
        names: Vec<String>,
    },
}

/// A certificate chain with its key, ready for rustls.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub certified_key: Arc<CertifiedKey>,
    /// DNS names of the leaf in their order, wildcards included.
    pub dns_names: Vec<String>,
}

/// A host in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

impl fmt::Display for Host {
    /// Writes the host as it stands in a URL: IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// A checked `stun:`, `stuns:`, `turn:` or `turns:` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceUrl(pub(in crate::config) String);

impl IceUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A realm that can stand in a STUN message: OpaqueString, 1 to 127 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm(pub(in crate::config) String);

impl Realm {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A public address in place of a local one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalAddress {
    pub public: IpAddr,
    /// `None`: the relay address of the same family.
    pub local: Option<IpAddr>,
}

/// Inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub min: u16,
    pub max: u16,
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

/// A long-term user, name and password after the OpaqueString profile (RFC 8265 §4.2).
#[derive(Clone, Debug)]
pub struct StaticUser {
    pub name: String,
    pub password: Secret,
}

/// A key of the HTTP API.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub scopes: Scopes,
    pub secret: Secret,
}

/// A shared secret that signs join tokens.
#[derive(Clone, Debug)]
pub struct TokenSecret {
    /// How tokens name it.
    pub kid: Option<String>,
    pub secret: Secret,
}

/// Where a JWK set comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    File(PathBuf),
    /// `https:`, or `http:` on this host.
    Url(http::Uri),
}

/// A steady rate and the burst over it, both above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u64,
    pub burst: u64,
}

/// Limits of signaling; `None` = unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalLimits {
    pub resume_grace: Duration,
    pub ping_interval: Duration,
    /// Bytes.
    pub ring_memory: Option<NonZeroU64>,
    /// Messages from a session.
    pub messages: Option<Rate>,
    /// Messages from an address.
    pub messages_per_ip: Option<Rate>,
    /// Bytes sent out on behalf of a session.
    pub bytes: Option<Rate>,
    /// Bytes, at most 1 MiB.
    pub max_message: Option<NonZeroU64>,
    /// Bytes.
    pub max_meta: Option<NonZeroU64>,
    pub rooms_per_session: Option<NonZeroU32>,
    pub peers_per_room: Option<NonZeroU32>,
}

/// Limits on what clients may hold; `None` = unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub allocations: Option<NonZeroU32>,
    pub allocations_per_user: Option<NonZeroU32>,
    pub allocations_per_ip: Option<NonZeroU32>,
    /// Of one allocation.
    pub permissions: Option<NonZeroU32>,
    /// Of one allocation.
    pub channels: Option<NonZeroU32>,
    /// Bits a second.
    pub bitrate: Option<NonZeroU64>,
    /// Bits a second.
    pub bitrate_per_user: Option<NonZeroU64>,
    /// Bits a second.
    pub bitrate_per_allocation: Option<NonZeroU64>,
    /// Answers a second to one unauthenticated UDP source.
    pub unauthenticated_rate: Option<NonZeroU32>,
    /// TCP connections.
    pub connections_per_ip: Option<NonZeroU32>,
}

/// Text that is wiped when dropped and never shown; it has no `==`, which would take a telling time.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Tells whether the internet cannot reach an address: private, CGNAT, link-local, ULA or loopback.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6 == Ipv6Addr::LOCALHOST || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_in_no_debug_output() {
        let user = StaticUser { name: "alice".into(), password: Secret::new("hunter2") };
        assert!(!format!("{user:?}").contains("hunter2"));
    }

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for private in ["10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in ["100.128.0.1", "192.0.2.1", "2001:db8::1"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }
}
