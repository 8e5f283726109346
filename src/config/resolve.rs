//! Raw values to the resolved configuration; every mistake is collected, none stops the search.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::config::addresses;
use crate::config::admin;
use crate::config::certificate;
use crate::config::credentials;
use crate::config::facts::Facts;
use crate::config::ice_urls;
use crate::config::mistake::{Fault, Mistakes, Origin};
use crate::config::names;
use crate::config::reader::{self, Reader};
use crate::config::signaling::{self, Access};
use crate::config::types::{
    Certificate, Config, ExternalAddress, Host, IceUrl, Limits, Listen, Realm, Tls, Transports, is_private,
};
use crate::config::units;
use crate::telemetry::settings::{AddressPolicy, LogConfig, LogFormat, LogLevel};

/// A configuration without mistakes, and what the user should hear all the same.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<String>,
}

/// Resolves every flag; opens files that the flags name, but no socket.
pub fn resolve(mut reader: Reader<'_>, facts: &Facts) -> Result<Loaded, Mistakes> {
    let r = &mut reader;
    let (relay_addresses, external_addresses) = relay(r, facts);
    let public_host_given = r.single("public-host", names::host);
    let listen = r.list("listen", addresses::listen);
    let (mut tls, certificate) = tls(r);
    let (listen, listen_tls) = listeners(r, listen, tls != Tls::Off);
    let access = signaling::access(r);
    let http = http(r, &listen, &listen_tls, tls != Tls::Off, access);
    if let Tls::SelfSigned { names } = &mut tls {
        let bound = listen.iter().chain(&listen_tls).chain(&http.1);
        *names = self_signed_names(
            public_host_given.as_ref(),
            &relay_addresses,
            &external_addresses,
            bound,
            facts,
        );
    }
    let users = credentials::users(r);
    let minting = credentials::minting(r, facts);
    if minting.state_dir.is_none() && matches!(tls, Tls::SelfSigned { .. }) {
        r.blame("tls-self-signed", "there is no place to keep the certificate", "give --state-dir");
    }
    let (max_lifetime, default_lifetime) = lifetimes(r);
    let mut allow_peers = values(r.list("allow-peer", addresses::network));
    let mut deny_peers = values(r.list("deny-peer", addresses::network));
    let (allowed, denied) = signaling::demo_peers(access, &allow_peers);
    allow_peers.extend(allowed);
    deny_peers.extend(denied);
    let config = Config {
        listen,
        listen_tls,
        proxy_protocol: values(r.list("proxy-protocol", addresses::network)),
        tls,
        certificate,
        public_host_given,
        ice_urls: given_urls(r),
        realm: realm(r, facts),
        relay_addresses,
        external_addresses,
        relay_ports: r.value("relay-ports", units::port_range),
        users,
        auth_secrets: minting.auth_secrets,
        http: http.0,
        https: http.1,
        api_keys: credentials::api_keys(r),
        token_secrets: credentials::token_secrets(r),
        token_jwks: credentials::jwks(r),
        token_in_url: r.single("token-in-url", units::switch).unwrap_or(false),
        allow_origins: values(r.list("allow-origin", names::origin)),
        trusted_proxies: values(r.list("trusted-proxy", addresses::network)),
        credential_ttl: minting.credential_ttl,
        max_credential_ttl: minting.max_credential_ttl,
        expiry_grace: r.value("expiry-grace", units::duration),
        allow_peers,
        deny_peers,
        limits: limits(r),
        signal_open: access.is_open,
        signal: signaling::limits(r),
        demo: access.demo,
        demo_public: access.demo_public,
        max_lifetime,
        default_lifetime,
        workers: r.single("workers", units::workers).unwrap_or_else(|| default_workers(facts)),
        admin_socket: admin::socket(r, facts, minting.state_dir.as_deref()),
        state_dir: minting.state_dir,
        log: log(r, facts),
    };
    let Reader { mistakes, warnings, .. } = reader;
    if mistakes.is_empty() { Ok(Loaded { config, warnings }) } else { Err(Mistakes(mistakes)) }
}

fn relay(r: &mut Reader<'_>, facts: &Facts) -> (Vec<IpAddr>, Vec<ExternalAddress>) {
    let relay = r.list("relay-address", addresses::relay_address).unwrap_or_default();
    let external = r.list("external-address", addresses::external_address).unwrap_or_default();
    for (index, (address, origin)) in relay.iter().enumerate() {
        if relay[..index].iter().any(|(earlier, _)| earlier.is_ipv4() == address.is_ipv4()) {
            let problem = format!("{address} is the second address of its family");
            r.blame_at(origin.clone(), problem, "give one IPv4 and one IPv6 address at most");
        }
    }
    for (index, (pair, origin)) in external.iter().enumerate() {
        let public = pair.public;
        if external[..index].iter().any(|(earlier, _)| earlier.public.is_ipv4() == public.is_ipv4()) {
            let problem = format!("{public} is the second external address of its family");
            r.blame_at(origin.clone(), problem, "give one a family");
        }
        if relay.is_empty() || !r.are_good(&["relay-address"]) {
            continue;
        }
        let known = match pair.local {
            Some(local) => relay.iter().any(|(address, _)| *address == local),
            None => relay.iter().any(|(address, _)| address.is_ipv4() == public.is_ipv4()),
        };
        if !known {
            let problem = match pair.local {
                Some(local) => format!("{local} is not a relay address"),
                None => format!("there is no relay address of the family of {public}"),
            };
            r.blame_at(origin.clone(), problem, "name it with --relay-address too");
        }
    }
    let relay: Vec<IpAddr> = relay.into_iter().map(|(address, _)| address).collect();
    let external: Vec<ExternalAddress> = external.into_iter().map(|(pair, _)| pair).collect();
    for address in &relay {
        if !facts.addresses.is_empty() && !facts.addresses.contains(address) && !address.is_loopback() {
            r.warnings.push(format!("relay address {address} is not an address of this machine"));
        }
        r.warnings.extend(private_relay_warning(*address, &external));
    }
    (relay, external)
}

/// Returns the warning that a relay address deserves which the internet cannot reach.
pub fn private_relay_warning(relay: IpAddr, external: &[ExternalAddress]) -> Option<String> {
    let translated = external.iter().any(|pair| match pair.local {
        Some(local) => local == relay,
        None => pair.public.is_ipv4() == relay.is_ipv4(),
    });
    (is_private(relay) && !translated).then(|| {
        format!(
            "relay address {relay} is private: clients elsewhere cannot reach it; give --external-address"
        )
    })
}

fn tls(r: &mut Reader<'_>) -> (Tls, Option<Certificate>) {
    let cert = r.single("tls-cert", reader::path);
    let key = r.single("tls-key", reader::path);
    let self_signed = r.single("tls-self-signed", units::switch).unwrap_or(false);
    let (has_cert, has_key) = (r.is_given("tls-cert"), r.is_given("tls-key"));
    if has_cert && !has_key {
        r.blame("tls-cert", "there is no key for the certificate", "give --tls-key too");
    }
    if has_key && !has_cert {
        r.blame("tls-key", "there is no certificate for the key", "give --tls-cert too");
    }
    if self_signed && (has_cert || has_key) {
        r.blame("tls-self-signed", "there is a certificate already", "give either this or --tls-cert");
    }
    let chain = cert.as_deref().and_then(|path| blamed(r, "tls-cert", certificate::read_chain(path)));
    let private = key.as_deref().and_then(|path| blamed(r, "tls-key", certificate::read_key(path)));
    if let Some(path) = &key {
        r.warn_if_open(path);
    }
    let certificate = match (chain, private) {
        (Some(chain), Some(private)) => blamed(r, "tls-key", certificate::join(chain, private)),
        _ => None,
    };
    let tls = match (cert, key) {
        (Some(cert), Some(key)) => Tls::Files { cert, key },
        _ if self_signed => Tls::SelfSigned { names: Vec::new() },
        _ => Tls::Off,
    };
    (tls, certificate)
}

fn blamed<T>(r: &mut Reader<'_>, name: &'static str, result: Result<T, Fault>) -> Option<T> {
    result.map_err(|fault| r.blame(name, fault.problem, fault.advice)).ok()
}

fn listeners(
    r: &mut Reader<'_>,
    plain: Option<Vec<(Listen, Origin)>>,
    has_tls: bool,
) -> (Vec<Listen>, Vec<Listen>) {
    let default = |port, name, transports| {
        let address = (Ipv6Addr::UNSPECIFIED, port).into();
        let listen = Listen { transports, address, is_default: true };
        vec![(listen, Origin::Unset(name))]
    };
    let given_tls = r.list("listen-tls", addresses::listen_tls);
    let tls_flags = ["tls-cert", "tls-key", "tls-self-signed"];
    if given_tls.as_ref().is_some_and(|list| !list.is_empty()) && !has_tls && r.are_good(&tls_flags) {
        r.blame(
            "listen-tls",
            "there is no certificate",
            "give --tls-cert and --tls-key, or --tls-self-signed",
        );
    }
    let mut all = plain.unwrap_or_else(|| default(3478, "listen", Transports::Both));
    let plain_count = all.len();
    let by_default = given_tls.is_none() && has_tls;
    let tls = given_tls
        .unwrap_or_else(|| if has_tls { default(5349, "listen-tls", Transports::Tcp) } else { Vec::new() });
    // A plain listener recognizes TLS as well, so it may take the default port of TLS.
    let taken =
        by_default && tls.iter().any(|(tls, _)| all.iter().any(|(plain, _)| addresses::collide(plain, tls)));
    all.extend(tls.into_iter().filter(|_| !taken));
    for (index, (listen, origin)) in all.iter().enumerate() {
        if let Some((earlier, _)) =
            all[..index].iter().find(|(earlier, _)| addresses::collide(earlier, listen))
        {
            let problem = format!("{listen} collides with {earlier}");
            r.blame_at(origin.clone(), problem, "give each listener an address and port of its own");
        }
    }
    if all.is_empty() && r.are_good(&["listen", "listen-tls"]) {
        r.blame("listen", "there is nothing to listen on", "give --listen or --listen-tls");
    }
    let mut plain: Vec<Listen> = all.into_iter().map(|(listen, _)| listen).collect();
    let tls = plain.split_off(plain_count.min(plain.len()));
    (plain, tls)
}

/// Resolves the listeners of HTTP, plain and over TLS, beside those of TURN.
fn http(
    r: &mut Reader<'_>,
    listen: &[Listen],
    listen_tls: &[Listen],
    has_tls: bool,
    access: Access,
) -> (Option<Listen>, Option<Listen>) {
    // Whoever asks for the demo asks for its port.
    let is_default = !r.is_given("http") && !access.demo;
    let http = r.value("http", addresses::http).map(|listen| Listen { is_default, ..listen });
    let https = r.single("https", addresses::http).flatten();
    if https.is_some() && !has_tls && r.are_good(&["tls-cert", "tls-key", "tls-self-signed"]) {
        r.blame("https", "there is no certificate", "give --tls-cert and --tls-key, or --tls-self-signed");
    }
    let mut taken: Vec<Listen> = listen.iter().chain(listen_tls).copied().collect();
    let collides =
        |taken: &[Listen], one: &Listen| taken.iter().find(|other| addresses::collide(other, one)).copied();
    for (name, one) in [("https", https), ("http", http.filter(|_| !is_default))] {
        let Some(one) = one else { continue };
        if let Some(other) = collides(&taken, &one) {
            let problem = format!("it collides with {other}");
            r.blame(name, problem, "give each listener an address and port of its own");
        }
        taken.push(one);
    }
    signaling::demo_listeners(r, access, http, https);
    // A default gives way to what was asked for.
    (http.filter(|http| !is_default || collides(&taken, http).is_none()), https)
}

fn self_signed_names<'a>(
    public_host: Option<&Host>,
    relay: &[IpAddr],
    external: &[ExternalAddress],
    bound: impl Iterator<Item = &'a Listen>,
    facts: &Facts,
) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    match public_host {
        Some(Host::Name(name)) => names.push(name.clone()),
        Some(Host::Address(address)) => names.push(address.to_string()),
        None => {}
    }
    names.extend(facts.host_name.clone().filter(|name| names::is_host_name(name)));
    names.push("localhost".to_owned());
    let mut addresses: Vec<IpAddr> =
        external.iter().map(|pair| pair.public).chain(relay.iter().copied()).collect();
    for listen in bound {
        match listen.address.ip() {
            ip if ip.is_unspecified() => {
                addresses.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
                addresses.extend(&facts.addresses);
            }
            ip => addresses.push(ip),
        }
    }
    names.extend(addresses.iter().map(IpAddr::to_string));
    let mut unique = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}

fn given_urls(r: &mut Reader<'_>) -> Vec<IceUrl> {
    let urls = r.list("ice-url", ice_urls::parse).unwrap_or_default();
    if let Some((_, origin)) = urls.get(ice_urls::MOST_URLS) {
        let problem = format!("{} URLs are too many", urls.len());
        r.blame_at(origin.clone(), problem, format!("give at most {}", ice_urls::MOST_URLS));
    }
    values(Some(urls))
}

fn realm(r: &mut Reader<'_>, facts: &Facts) -> Realm {
    let host_name = facts.host_name.as_deref().and_then(|name| names::realm(name).ok());
    let realm = r.single("realm", names::realm).or(host_name).unwrap_or_else(|| Realm("turnpike".to_owned()));
    if realm.as_str().len() > names::LEAN_REALM {
        r.warnings.push(format!(
            "the realm has {} bytes: above {} the answer to an unproven source is over three times its request",
            realm.as_str().len(),
            names::LEAN_REALM
        ));
    }
    realm
}

fn limits(r: &mut Reader<'_>) -> Limits {
    Limits {
        allocations: r.single("max-allocations", units::count).flatten(),
        allocations_per_user: r.value("max-allocations-per-user", units::count),
        allocations_per_ip: r.value("max-allocations-per-ip", units::count),
        permissions: r.value("max-permissions", units::count),
        channels: r.value("max-channels", units::count),
        bitrate: r.value("max-bitrate", units::bitrate),
        bitrate_per_user: r.value("max-bitrate-per-user", units::bitrate),
        bitrate_per_allocation: r.value("max-bitrate-per-allocation", units::bitrate),
        unauthenticated_rate: r.value("unauthenticated-rate", units::count),
        connections_per_ip: r.value("max-connections-per-ip", units::count),
    }
}

fn lifetimes(r: &mut Reader<'_>) -> (Duration, Duration) {
    let max = r.value("max-lifetime", units::limiting_duration);
    let max = max.unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
    let mut default = r.value("default-lifetime", units::positive_duration);
    if default > max {
        if !r.is_given("default-lifetime") {
            default = max;
        } else if r.are_good(&["max-lifetime", "default-lifetime"]) {
            let problem = format!("longer than --max-lifetime, {} s", max.as_secs());
            r.blame("default-lifetime", problem, "lower it, or raise --max-lifetime");
        }
    }
    (max, default)
}

fn log(r: &mut Reader<'_>, facts: &Facts) -> LogConfig {
    let by_place = if facts.journal { LogFormat::Json } else { LogFormat::Text };
    LogConfig {
        format: r.single("log-format", log_format).unwrap_or(by_place),
        level: r.value("log-level", log_level),
        addresses: r.value("log-addresses", address_policy),
    }
}

fn log_format(text: &str) -> Result<LogFormat, Fault> {
    one_of(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}

fn log_level(text: &str) -> Result<LogLevel, Fault> {
    let choices = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    one_of(text, &choices)
}

fn address_policy(text: &str) -> Result<AddressPolicy, Fault> {
    let choices =
        [("full", AddressPolicy::Full), ("prefix", AddressPolicy::Prefix), ("none", AddressPolicy::None)];
    one_of(text, &choices)
}

fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Fault> {
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
    found.ok_or_else(|| Fault::new("this is not a choice", format!("write one of {}", names.join(", "))))
}

fn default_workers(facts: &Facts) -> u8 {
    u8::try_from(facts.cores.max(1)).unwrap_or(u8::MAX)
}

fn values<T>(list: Option<Vec<(T, Origin)>>) -> Vec<T> {
    list.unwrap_or_default().into_iter().map(|(value, _)| value).collect()
}
