//! What differs between two configurations, and what of that can be put in force without a restart.

use std::fmt::Debug;

use sha2::{Digest, Sha256};

use crate::config::types::{Config, Limits, Secret, Tls};
use crate::telemetry::settings::LogConfig;

/// What became of a configuration that was read again, by the names of its flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What can be put in force at once.
    pub live: Vec<&'static str>,
    /// What waits for a restart.
    pub restart: Vec<&'static str>,
}

impl Difference {
    /// Compares what two configurations amount to.
    #[must_use]
    pub fn between(old: &Config, new: &Config) -> Difference {
        let mut difference = Difference::default();
        // A first certificate, or none any more, changes the listeners.
        let has_files = [old, new].map(|config| matches!(config.tls, Tls::Files { .. }));
        for (old, new) in facets(old).into_iter().zip(facets(new)) {
            if old.value == new.value {
                continue;
            }
            match new.effect {
                Effect::LiveBetweenFiles if has_files != [true, true] => difference.restart.push(new.flag),
                Effect::Live | Effect::LiveBetweenFiles => difference.live.push(new.flag),
                Effect::Restart => difference.restart.push(new.flag),
            }
        }
        difference
    }

    /// Tells whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }
}

/// Puts the live part of a configuration into the one that is in force.
#[must_use]
pub fn adopt(old: &Config, new: Config) -> Config {
    let between_files = matches!((&old.tls, &new.tls), (Tls::Files { .. }, Tls::Files { .. }));
    let (tls, certificate) =
        if between_files { (new.tls, new.certificate) } else { (old.tls.clone(), old.certificate.clone()) };
    Config {
        tls,
        certificate,
        listen: old.listen.clone(),
        listen_tls: old.listen_tls.clone(),
        proxy_protocol: old.proxy_protocol.clone(),
        http: old.http,
        https: old.https,
        token_jwks: old.token_jwks.clone(),
        trusted_proxies: old.trusted_proxies.clone(),
        signal_open: old.signal_open,
        demo: old.demo,
        demo_public: old.demo_public,
        realm: old.realm.clone(),
        relay_addresses: old.relay_addresses.clone(),
        relay_ports: old.relay_ports,
        workers: old.workers,
        state_dir: old.state_dir.clone(),
        admin_socket: old.admin_socket.clone(),
        limits: Limits { connections_per_ip: old.limits.connections_per_ip, ..new.limits },
        log: LogConfig { format: old.log.format, ..new.log },
        ..new
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Live,
    LiveBetweenFiles,
    Restart,
}

struct Facet {
    flag: &'static str,
    effect: Effect,
    /// As text, secrets as a digest.
    value: String,
}

/// Flags whose values are part of another's: files that hold what it takes, or the place of the whole.
#[cfg(test)]
const PARTS_OF_OTHERS: [&str; 4] = ["api-key-file", "auth-secret-file", "config", "users-file"];

/// Takes a configuration apart, in the order of the flags.
fn facets(config: &Config) -> Vec<Facet> {
    let live = |flag, value: &dyn Debug| Facet { flag, effect: Effect::Live, value: format!("{value:?}") };
    let fixed =
        |flag, value: &dyn Debug| Facet { flag, effect: Effect::Restart, value: format!("{value:?}") };
    let (cert, key) = match &config.tls {
        Tls::Files { cert, key } => (Some(cert), Some(key)),
        Tls::Off | Tls::SelfSigned { .. } => (None, None),
    };
    let chain = config.certificate.as_ref().filter(|_| cert.is_some());
    let chain = chain.map(|certificate| &certificate.certified_key.cert);
    let is_self_signed = matches!(config.tls, Tls::SelfSigned { .. });
    let tls = |flag, value: &dyn Debug| {
        let value = format!("{value:?}");
        Facet { flag, effect: Effect::LiveBetweenFiles, value }
    };
    let api_keys = config.api_keys.iter().map(|key| (format!("{:?}", key.scopes), digest(&key.secret)));
    let token_secrets = config.token_secrets.iter().map(|key| (key.kid.clone(), digest(&key.secret)));
    let users = config.users.iter().map(|user| (user.name.clone(), digest(&user.password)));
    let (limits, signal) = (&config.limits, &config.signal);
    vec![
        fixed("listen", &config.listen),
        fixed("listen-tls", &config.listen_tls),
        fixed("proxy-protocol", &config.proxy_protocol),
        fixed("max-connections-per-ip", &limits.connections_per_ip),
        tls("tls-cert", &(cert, chain)),
        tls("tls-key", &key),
        fixed("tls-self-signed", &is_self_signed),
        fixed("http", &config.http),
        fixed("https", &config.https),
        live("api-key", &api_keys.collect::<Vec<_>>()),
        live("token-secret", &token_secrets.collect::<Vec<_>>()),
        fixed("token-jwks", &config.token_jwks),
        live("token-in-url", &config.token_in_url),
        live("allow-origin", &config.allow_origins),
        fixed("trusted-proxy", &config.trusted_proxies),
        fixed("signal-auth", &(config.signal_open, config.demo || config.demo_public)),
        live("resume-grace", &signal.resume_grace),
        live("ping-interval", &signal.ping_interval),
        live("ring-memory", &signal.ring_memory),
        live("signal-rate", &signal.messages),
        live("signal-rate-per-ip", &signal.messages_per_ip),
        live("signal-bytes", &signal.bytes),
        live("max-message", &signal.max_message),
        live("max-meta", &signal.max_meta),
        live("max-rooms-per-session", &signal.rooms_per_session),
        live("max-peers-per-room", &signal.peers_per_room),
        fixed("demo", &config.demo),
        fixed("demo-public", &config.demo_public),
        live("public-host", &config.public_host_given),
        live("ice-url", &config.ice_urls),
        fixed("realm", &config.realm),
        fixed("relay-address", &config.relay_addresses),
        live("external-address", &config.external_addresses),
        fixed("relay-ports", &config.relay_ports),
        live("user", &users.collect::<Vec<_>>()),
        live("auth-secret", &config.auth_secrets.iter().map(digest).collect::<Vec<_>>()),
        live("credential-ttl", &config.credential_ttl),
        live("max-credential-ttl", &config.max_credential_ttl),
        live("expiry-grace", &config.expiry_grace),
        live("allow-peer", &config.allow_peers),
        live("deny-peer", &config.deny_peers),
        live("max-allocations", &limits.allocations),
        live("max-allocations-per-user", &limits.allocations_per_user),
        live("max-allocations-per-ip", &limits.allocations_per_ip),
        live("max-permissions", &limits.permissions),
        live("max-channels", &limits.channels),
        live("max-bitrate", &limits.bitrate),
        live("max-bitrate-per-user", &limits.bitrate_per_user),
        live("max-bitrate-per-allocation", &limits.bitrate_per_allocation),
        live("max-lifetime", &config.max_lifetime),
        live("default-lifetime", &config.default_lifetime),
        live("unauthenticated-rate", &limits.unauthenticated_rate),
        fixed("workers", &config.workers),
        fixed("state-dir", &config.state_dir),
        fixed("admin-socket", &config.admin_socket),
        fixed("log-format", &config.log.format),
        live("log-level", &config.log.level),
        live("log-addresses", &config.log.addresses),
    ]
}

/// Stands for a secret where it is compared.
fn digest(secret: &Secret) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::facts::Facts;
    use crate::config::flags::FLAGS;
    use crate::config::mistake::Origin;
    use crate::config::raw::{Layer, RawValue};
    use crate::config::{self};

    fn config(flags: &[(&'static str, &[&str])]) -> Config {
        let mut layer = Layer::default();
        for (name, texts) in flags.iter().chain(&[("state-dir", ["/nowhere"].as_slice())]) {
            let values = texts.iter().map(|text| RawValue::new(*text, Origin::Flag(name.to_string())));
            layer.0.insert(name, values.collect());
        }
        let typed = config::collect((layer, Vec::new()), &[], &Facts::default());
        config::resolve_all(typed, &Facts::default()).unwrap().config
    }

    fn difference(old: &[(&'static str, &[&str])], new: &[(&'static str, &[&str])]) -> Difference {
        Difference::between(&config(old), &config(new))
    }

    #[test]
    fn every_flag_has_its_place() {
        let placed: Vec<_> = facets(&config(&[])).iter().map(|facet| facet.flag).collect();
        let names = FLAGS.iter().map(|flag| flag.name);
        assert_eq!(placed, names.filter(|name| !PARTS_OF_OTHERS.contains(name)).collect::<Vec<_>>());
    }

    #[test]
    fn secrets_users_and_limits_are_live_and_listeners_are_not() {
        let live = difference(
            &[("auth-secret", &["one"]), ("user", &["ann:old"]), ("max-allocations", &["5"])],
            &[("auth-secret", &["one", "two"]), ("user", &["ann:new"]), ("max-allocations", &["6"])],
        );
        assert_eq!(
            live,
            Difference { live: vec!["user", "auth-secret", "max-allocations"], restart: vec![] }
        );
        let fixed = difference(&[("listen", &["127.0.0.1:1"])], &[("listen", &["127.0.0.1:2"])]);
        assert_eq!(fixed, Difference { live: vec![], restart: vec!["listen"] });
    }

    #[test]
    fn what_was_adopted_differs_in_what_waits_for_a_restart_alone() {
        let old =
            config(&[("listen", &["127.0.0.1:1"]), ("realm", &["one"]), ("max-connections-per-ip", &["5"])]);
        let new: &[(&'static str, &[&str])] = &[
            ("listen", &["127.0.0.1:2"]),
            ("realm", &["two"]),
            ("max-connections-per-ip", &["6"]),
            ("max-allocations", &["7"]),
            ("log-level", &["debug"]),
            ("log-format", &["json"]),
            ("relay-ports", &["50000-50100"]),
            ("workers", &["9"]),
            ("http", &["127.0.0.1:7777"]),
            ("allow-origin", &["*"]),
        ];
        let first = Difference::between(&old, &config(new));
        assert_eq!(first.live, ["allow-origin", "max-allocations", "log-level"]);
        let again = Difference::between(&adopt(&old, config(new)), &config(new));
        assert_eq!(again, Difference { live: vec![], restart: first.restart });
    }

    #[test]
    fn the_same_twice_differs_in_nothing_and_no_secret_is_shown() {
        let flags: &[(&'static str, &[&str])] =
            &[("auth-secret", &["hunter2"]), ("api-key", &["hunter2-key"]), ("user", &["ann:hunter2"])];
        assert!(difference(flags, flags).is_empty());
        assert!(facets(&config(flags)).iter().all(|facet| !facet.value.contains("hunter2")));
    }
}
