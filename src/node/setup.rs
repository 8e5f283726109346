//! From the configuration to what the cores and the sockets take.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;

use crate::auth::Credentials;
use crate::config::{self, Config, ExternalAddress};
use crate::net::interfaces::HostAddresses;
use crate::net::{BindSpec, Carrier, Listen};
use crate::signal;
use crate::turn::{Family, Limits, OwnAddresses, Policy, Quotas, RelayIp, RelayRange, SharedTable};

/// Name of the only node.
const NODE_NAME: &str = "n1";

/// Returns the relay addresses: the given ones or the detected, each with what the world sees of it.
///
/// Loopback is the last resort of a machine without any route.
pub(super) fn relay_ips(config: &Config, detected: &[IpAddr]) -> Vec<RelayIp> {
    let locals = if config.relay_addresses.is_empty() { detected } else { &config.relay_addresses };
    locals.iter().map(|local| RelayIp { local: *local, advertised: advertised(config, *local) }).collect()
}

/// Returns the local addresses that external ones are given for and no relay uses.
pub(super) fn unused_locals(config: &Config, relays: &[RelayIp]) -> impl Iterator<Item = IpAddr> {
    let named = config.external_addresses.iter().filter_map(|external| external.local);
    named.filter(|local| relays.iter().all(|relay| relay.local != *local))
}

fn advertised(config: &Config, local: IpAddr) -> IpAddr {
    let is_for = |external: &&ExternalAddress| match external.local {
        Some(named) => named == local,
        None => Family::of(external.public) == Family::of(local),
    };
    config.external_addresses.iter().find(is_for).map_or(local, |external| external.public)
}

/// Returns what to bind.
pub(super) fn bind_spec(config: &Config) -> BindSpec {
    let plain = config.listen.iter().map(|listen| (listen, Carrier::Tcp));
    let tls = config.listen_tls.iter().map(|listen| (listen, Carrier::Tls));
    let http = config.http.iter().map(|listen| (listen, Carrier::Http));
    let https = config.https.iter().map(|listen| (listen, Carrier::Https));
    let listeners = plain
        .chain(tls)
        .chain(http)
        .chain(https)
        .map(|(listen, stream)| Listen {
            addr: listen.address,
            udp: listen.transports.udp(),
            tcp: listen.transports.tcp(),
            stream,
            may_fall_back: listen.is_default,
            may_be_missing: listen.is_default && stream == Carrier::Http,
        })
        .collect();
    BindSpec { listeners, workers: config.workers }
}

/// Makes the table that the shards share.
pub(super) fn shared_table(config: &Config, relays: &[RelayIp]) -> SharedTable {
    let ports = config.relay_ports;
    let ranges: Vec<RelayRange> =
        relays.iter().map(|ip| RelayRange { ip: *ip, first: ports.min, last: ports.max }).collect();
    SharedTable::new(&ranges, quotas(config))
}

pub(super) fn quotas(config: &Config) -> Quotas {
    let limits = config.limits;
    Quotas {
        allocations: count(limits.allocations),
        allocations_per_user: count(limits.allocations_per_user),
        allocations_per_address: count(limits.allocations_per_ip),
        bitrate: rate(limits.bitrate),
        bitrate_per_user: rate(limits.bitrate_per_user),
    }
}

pub(super) fn limits(config: &Config) -> Limits {
    let limits = config.limits;
    Limits {
        default_lifetime: seconds(config.default_lifetime),
        max_lifetime: seconds(config.max_lifetime),
        max_permissions: count(limits.permissions),
        max_channels: count(limits.channels),
        unauthenticated_rate: count(limits.unauthenticated_rate),
        bitrate_per_allocation: rate(limits.bitrate_per_allocation),
        expiry_grace: config.expiry_grace,
        max_credential_ttl: config.max_credential_ttl.unwrap_or(Duration::MAX),
    }
}

/// Returns what the signaling hub allows.
pub(super) fn signal_limits(config: &Config) -> signal::Limits {
    let limits = &config.signal;
    let message_rate = |rate: Option<config::Rate>| {
        let unlimited = signal::Rate { per_second: 0, burst: 0 };
        rate.map_or(unlimited, |rate| signal::Rate { per_second: rate.per_second, burst: rate.burst })
    };
    let size = |size: Option<NonZeroU64>| usize::try_from(rate(size)).unwrap_or(usize::MAX);
    signal::Limits {
        resume_grace: limits.resume_grace,
        ping_interval: limits.ping_interval,
        ring_memory: size(limits.ring_memory),
        messages: message_rate(limits.messages),
        messages_per_address: message_rate(limits.messages_per_ip),
        bytes: message_rate(limits.bytes),
        max_message: size(limits.max_message),
        max_meta: size(limits.max_meta),
        // One that reloads its page leaves a session behind for the grace.
        max_sessions_per_address: 4 * count(config.limits.connections_per_ip) as usize,
        max_rooms: count(limits.rooms_per_session) as usize,
        max_peers: count(limits.peers_per_room) as usize,
    }
}

pub(super) fn credentials(config: &Config) -> Arc<Credentials> {
    let users = config.users.iter().map(|user| (user.name.as_str(), user.password.expose()));
    let secrets = config.auth_secrets.iter().map(|secret| secret.as_bytes());
    Arc::new(Credentials::new(config.realm.as_str(), users, secrets))
}

pub(super) fn policy(
    config: &Config,
    relays: &[RelayIp],
    host: &HostAddresses,
    endpoints: &[SocketAddr],
) -> Arc<Policy> {
    let own = OwnAddresses {
        relays: relays.to_vec(),
        local: host.local.clone(),
        broadcast: host.broadcast.clone(),
        routed: host.routed.clone(),
        endpoints: endpoints.to_vec(),
    };
    Arc::new(Policy::new(&config.allow_peers, &config.deny_peers, own))
}

pub(super) fn count(limit: Option<NonZeroU32>) -> u32 {
    limit.map_or(0, NonZeroU32::get)
}

fn rate(limit: Option<NonZeroU64>) -> u64 {
    limit.map_or(0, NonZeroU64::get)
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

/// Returns how long a credential may still make allocations after it was minted.
pub(super) fn longest_credential(config: &Config) -> Duration {
    config.max_credential_ttl.unwrap_or(Duration::from_secs(u32::MAX.into()))
}

/// Returns what the hub is told once.
pub(super) fn signal_settings(config: &Config) -> signal::Settings {
    let epoch = rand::rng().random_range(0..1 << 48);
    signal::Settings { node: NODE_NAME.to_owned(), epoch, open: config.signal_open }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::facts::Facts;
    use crate::config::mistake::Origin;
    use crate::config::raw::{Layer, RawValue};

    fn config(flags: &[(&'static str, &str)]) -> Config {
        let mut layer = Layer::default();
        for (name, text) in flags.iter().chain(&[("auth-secret", "s")]) {
            layer.0.insert(name, vec![RawValue::new(*text, Origin::Flag(name.to_string()))]);
        }
        let typed = config::collect((layer, Vec::new()), &[], &Facts::default());
        config::resolve_all(typed, &Facts::default()).unwrap().config
    }

    #[test]
    fn the_defaults_of_the_flags_are_those_of_the_hub() {
        assert_eq!(signal_limits(&config(&[])), signal::Limits::default());
    }

    #[test]
    fn what_is_unlimited_is_zero_to_the_hub() {
        let flags = ["ring-memory", "signal-rate", "signal-bytes", "max-message", "max-rooms-per-session"];
        let limits = signal_limits(&config(&flags.map(|name| (name, "0"))));
        assert_eq!((limits.ring_memory, limits.max_message, limits.max_rooms), (0, 0, 0));
        assert_eq!((limits.messages.per_second, limits.bytes.per_second), (0, 0));
    }
}
