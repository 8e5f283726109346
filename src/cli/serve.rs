//! `turnpike serve` and `turnpike check-config`.

use std::sync::Arc;

use clap::Command;

use crate::auth;
use crate::cli::banner::{self, BannerFacts, Listening, Protocol, RelayOn};
use crate::cli::output;
use crate::config::arguments::{Known, clap_argument};
use crate::config::flags::FLAGS;
use crate::config::{self, Config, Loaded};
use crate::net::clock;
use crate::node::{self, Carrier};
use crate::telemetry;

/// Builds `serve`, or `check-config`, which takes the same flags.
pub fn command(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).args(FLAGS.iter().map(clap_argument)).after_help(
        "Every flag is also an environment variable (TURNPIKE_RELAY_PORTS) and a key of the file (relay-ports).",
    )
}

/// Returns the flags that both commands accept.
pub fn known_flags() -> Vec<Known> {
    FLAGS.iter().map(Known::from).collect()
}

/// Runs the daemon until it is told to stop; the error is logged already.
///
/// `read` reads the configuration again, as it is then.
pub fn serve(
    loaded: Loaded,
    read: impl Fn() -> Result<Loaded, Vec<String>> + Send + Sync + 'static,
    now_unix: u64,
) -> Result<(), Failed> {
    let Loaded { mut config, warnings } = loaded;
    let _logging = telemetry::init(&config.log);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let prepared = config::prepare(&mut config, now_unix).map_err(log_failure)?;
    for what in prepared.made {
        tracing::info!("{what}");
    }
    for warning in prepared.warnings {
        tracing::warn!("{warning}");
    }
    let read = move || {
        let Loaded { mut config, warnings } = read()?;
        let prepared =
            config::prepare(&mut config, clock::unix_now()).map_err(|error| vec![error.to_string()])?;
        for warning in warnings.iter().chain(&prepared.warnings) {
            tracing::warn!("{warning}");
        }
        Ok(config)
    };
    node::run(&config, Arc::new(read), |ready| {
        let listening = ready.listeners.iter().map(|bound| Listening {
            protocol: match bound.carrier {
                Carrier::Udp => Protocol::Udp,
                Carrier::Tcp => Protocol::Tcp,
                Carrier::Tls => Protocol::Tls,
                Carrier::Http => Protocol::Http,
                Carrier::Https => Protocol::Https,
            },
            address: bound.addr,
        });
        let relays =
            ready.relays.iter().map(|relay| RelayOn { local: relay.local, advertised: relay.advertised });
        announce(&config, listening.collect(), relays.collect(), now_unix);
    })
    .map_err(log_failure)
}

/// Whatever made the daemon stop is in the log.
#[derive(Debug)]
pub struct Failed;

fn log_failure(error: impl std::fmt::Display) -> Failed {
    tracing::error!("{error}");
    Failed
}

/// Prints the banner of a daemon that listens.
pub fn announce(config: &Config, listening: Vec<Listening>, relays: Vec<RelayOn>, now_unix: u64) {
    let facts = banner_facts(config, listening, relays, output::is_for_a_person(), now_unix);
    output::print(&banner::render(&facts));
}

/// Collects what the banner shows of a daemon that listens.
///
/// `with_credential` tells whether standard output is a place for one.
pub fn banner_facts(
    config: &Config,
    listening: Vec<Listening>,
    relays: Vec<RelayOn>,
    with_credential: bool,
    now_unix: u64,
) -> BannerFacts {
    let secret = config.auth_secrets.first().filter(|_| with_credential);
    let pasteable = secret.map(|secret| {
        let ttl = banner::CREDENTIAL_TTL.min(config.max_credential_ttl.unwrap_or(banner::CREDENTIAL_TTL));
        let minted = auth::mint(secret.as_bytes(), banner::SUBJECT, now_unix.saturating_add(ttl.as_secs()));
        banner::pasteable(&banner::urls(config, &listening, &relays), minted, ttl)
    });
    let demo = banner::demo_url(config, &listening, &relays);
    BannerFacts { listening, relays, relay_ports: config.relay_ports, demo, pasteable }
}

#[cfg(test)]
mod tests {
    use crate::config::facts::Facts;
    use crate::config::mistake::Origin;
    use crate::config::raw::{Layer, RawValue};

    use super::*;

    fn config(flags: &[(&'static str, &str)]) -> Config {
        let mut layer = Layer::default();
        for (name, text) in flags {
            layer.0.insert(name, vec![RawValue::new(*text, Origin::Flag(name.to_string()))]);
        }
        let typed = config::collect((layer, Vec::new()), &[], &Facts::default());
        config::resolve_all(typed, &Facts::default()).unwrap().config
    }

    fn banner(config: &Config, with_credential: bool) -> String {
        let listening = [Protocol::Udp, Protocol::Tcp];
        let listening =
            listening.map(|protocol| Listening { protocol, address: ([127, 0, 0, 1], 5000).into() });
        let local = "192.0.2.1".parse().unwrap();
        let relays = vec![RelayOn { local, advertised: local }];
        banner::render(&banner_facts(config, listening.to_vec(), relays, with_credential, 1000))
    }

    #[test]
    fn the_banner_mints_with_the_first_secret_and_names_real_ports() {
        let text = banner(&config(&[("auth-secret", "s"), ("public-host", "turn.example.org")]), true);
        let object: serde_json::Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
        let server = &object["iceServers"][0];
        let minted = auth::mint(b"s", "console", 4600);
        assert_eq!(server["username"], minted.username);
        assert_eq!(server["credential"], minted.password);
        let urls = [
            "stun:turn.example.org:5000",
            "turn:turn.example.org:5000?transport=udp",
            "turn:turn.example.org:5000?transport=tcp",
        ];
        assert_eq!(server["urls"], serde_json::json!(urls));
        assert!(text.contains("valid for 60 minutes"), "{text}");
    }

    #[test]
    fn the_banner_keeps_within_the_longest_lifetime_and_the_given_urls() {
        let flags =
            [("auth-secret", "s"), ("max-credential-ttl", "10m"), ("ice-url", "turn:a?transport=udp")];
        let text = banner(&config(&flags), true);
        assert!(text.contains("1600:console") && text.contains("valid for 10 minutes"), "{text}");
        assert!(text.contains("turn:a?transport=udp") && !text.contains("stun:"), "{text}");
    }

    #[test]
    fn the_banner_names_the_demo_page_with_its_real_port() {
        let url = |flags: &[(&'static str, &str)], http: &str, https: Option<&str>| {
            let http = Listening { protocol: Protocol::Http, address: http.parse().unwrap() };
            let https =
                https.map(|https| Listening { protocol: Protocol::Https, address: https.parse().unwrap() });
            let listening: Vec<Listening> = [http].into_iter().chain(https).collect();
            let flags = [flags, &[("auth-secret", "s"), ("public-host", "t.example")]].concat();
            banner::demo_url(&config(&flags), &listening, &[])
        };
        let local = "http://localhost:8081/demo/".to_owned();
        assert_eq!(url(&[("demo", "true")], "127.0.0.1:8081", None), Some(local.clone()));
        assert_eq!(url(&[("demo", "true")], "127.0.0.1:8081", Some("127.0.0.1:8443")), Some(local.clone()));
        assert_eq!(url(&[("demo-public", "true")], "0.0.0.0:8081", None), Some(local));
        let public = url(&[("demo-public", "true")], "127.0.0.1:8081", Some("[::]:443"));
        assert_eq!(public.as_deref(), Some("https://t.example/demo/"));
        assert_eq!(url(&[("demo", "true")], "127.0.0.2:80", None).as_deref(), Some("http://127.0.0.2/demo/"));
        assert_eq!(url(&[], "127.0.0.1:8081", None), None);
    }

    #[test]
    fn without_a_place_for_it_the_banner_holds_no_credential() {
        let text = banner(&config(&[("auth-secret", "s")]), false);
        assert!(!text.contains("credential") && !text.contains('{'), "{text}");
    }
}
