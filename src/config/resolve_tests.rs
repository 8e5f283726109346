use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::auth::Scope;

use super::facts::Facts;
use super::flags::{FLAGS, Fallback};
use super::mistake::Origin;
use super::raw::{Layer, RawValue};
use super::*;

fn facts() -> Facts {
    Facts {
        host_name: Some("box".into()),
        cores: 4,
        user_state_home: Some("/home/u/.local/state".into()),
        ..Facts::default()
    }
}

fn typed(flags: &[(&'static str, &str)], file: &str) -> Typed {
    let mut layer = Layer::default();
    for (name, text) in flags {
        let value = RawValue::new(*text, Origin::Flag(name.to_string()));
        layer.0.entry(name).or_default().push(value);
    }
    let (file, mistakes) = file::layer(Path::new("t.toml"), file);
    Typed { raw: Raw(vec![layer, file]), mistakes, warnings: Vec::new() }
}

fn loaded(flags: &[(&'static str, &str)]) -> Loaded {
    resolve_all(typed(flags, ""), &facts()).unwrap()
}

fn mistakes(flags: &[(&'static str, &str)]) -> Vec<String> {
    let mistakes = resolve_all(typed(flags, ""), &facts()).unwrap_err();
    mistakes.0.iter().map(ToString::to_string).collect()
}

fn one_mistake(flags: &[(&'static str, &str)]) -> String {
    let mut mistakes = mistakes(flags);
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    mistakes.remove(0)
}

#[test]
fn nothing_given_is_the_table_of_defaults() {
    let Loaded { config, warnings } = loaded(&[]);
    assert!(warnings.is_empty());
    assert_eq!(config.listen.len(), 1);
    assert!(config.listen[0].is_default);
    assert_eq!(config.listen[0].to_string(), "[::]:3478");
    assert!(config.listen_tls.is_empty());
    assert_eq!(config.realm.as_str(), "box");
    assert_eq!(config.relay_ports.to_string(), "49152-65535");
    assert_eq!(config.credential_ttl, Duration::from_secs(3600));
    assert_eq!(config.max_credential_ttl, Some(Duration::from_secs(86400)));
    assert_eq!(config.expiry_grace, Duration::from_secs(86400));
    assert_eq!(config.max_lifetime, Duration::from_secs(3600));
    assert_eq!(config.default_lifetime, Duration::from_secs(600));
    assert_eq!(config.workers, 4);
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("/home/u/.local/state/turnpike")));
    assert_eq!(config.limits.allocations, None);
    assert_eq!(config.limits.allocations_per_user.unwrap().get(), 128);
    assert_eq!(config.limits.allocations_per_ip.unwrap().get(), 1024);
    assert_eq!(config.limits.permissions.unwrap().get(), 256);
    assert_eq!(config.limits.channels.unwrap().get(), 256);
    assert_eq!(config.limits.unauthenticated_rate.unwrap().get(), 50);
    assert_eq!(config.limits.connections_per_ip.unwrap().get(), 1000);
    assert_eq!(config.limits.bitrate, None);
    assert!(!config.signal_open && !config.demo && !config.demo_public && !config.token_in_url);
    assert_eq!(config.signal.resume_grace, Duration::from_secs(30));
    assert_eq!(config.signal.max_message.unwrap().get(), 64 << 10);
    assert!(config.token_jwks.is_none() && config.allow_peers.is_empty() && config.deny_peers.is_empty());
}

#[test]
fn the_defaults_of_the_table_are_the_resolved_ones() {
    let spelled: Vec<_> = FLAGS
        .iter()
        .filter_map(|flag| match flag.fallback {
            Fallback::Value(value) => Some((flag.name, value)),
            Fallback::Described(_) | Fallback::Nothing => None,
        })
        .collect();
    let mut explicit = loaded(&spelled).config;
    explicit.listen[0].is_default = true;
    explicit.http = explicit.http.map(|http| Listen { is_default: true, ..http });
    assert_eq!(format!("{explicit:?}"), format!("{:?}", loaded(&[]).config));
}

#[test]
fn a_higher_layer_replaces_a_list_as_a_whole() {
    let file = "listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nrealm = \"file\"\nworkers = 2\n";
    let flags = [("listen", "127.0.0.1:3"), ("realm", "flag")];
    let config = resolve_all(typed(&flags, file), &facts()).unwrap().config;
    assert_eq!(config.listen.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:3"]);
    assert_eq!(config.realm.as_str(), "flag");
    assert_eq!(config.workers, 2);
}

#[test]
fn a_mistake_that_a_higher_layer_hides_is_reported_too() {
    let result = resolve_all(typed(&[("realm", "good")], "\nrealm = \"\"\n"), &facts());
    assert!(result.unwrap_err().to_string().contains("t.toml, line 2, realm: \"\": the realm is empty"));
}

#[test]
fn zero_is_unlimited_for_every_limit() {
    let is_limit = |name: &&str| {
        name.starts_with("max-") || name.contains("-rate") || ["ring-memory", "signal-bytes"].contains(name)
    };
    let limits = FLAGS.iter().map(|flag| flag.name).filter(is_limit);
    let zeros: Vec<_> = limits.map(|name| (name, "0")).collect();
    let config = loaded(&zeros).config;
    assert_eq!(
        config.limits,
        Limits {
            allocations: None,
            allocations_per_user: None,
            allocations_per_ip: None,
            permissions: None,
            channels: None,
            bitrate: None,
            bitrate_per_user: None,
            bitrate_per_allocation: None,
            unauthenticated_rate: None,
            connections_per_ip: None,
        }
    );
    assert_eq!(
        config.signal,
        SignalLimits {
            ring_memory: None,
            messages: None,
            messages_per_ip: None,
            bytes: None,
            max_message: None,
            max_meta: None,
            rooms_per_session: None,
            peers_per_room: None,
            ..config.signal
        }
    );
    assert_eq!(config.max_credential_ttl, None);
    assert_eq!(config.max_lifetime.as_secs(), u64::from(u32::MAX));
}

#[test]
fn values_that_contradict_each_other_are_one_mistake_each() {
    let cases: &[(&[(&'static str, &str)], &str)] = &[
        (&[("max-lifetime", "5m"), ("default-lifetime", "6m")], "longer than --max-lifetime"),
        (&[("credential-ttl", "2h"), ("max-credential-ttl", "1h")], "longer than --max-credential-ttl"),
        (&[("relay-address", "192.0.2.1"), ("relay-address", "192.0.2.2")], "second address of its family"),
        (&[("external-address", "192.0.2.1"), ("external-address", "192.0.2.2")], "second external address"),
        (
            &[("relay-address", "192.0.2.1"), ("external-address", "192.0.2.9=10.0.0.1")],
            "10.0.0.1 is not a relay",
        ),
        (
            &[("relay-address", "192.0.2.1"), ("external-address", "2001:db8::1")],
            "no relay address of the family",
        ),
        (&[("listen", "127.0.0.1:1"), ("listen", "udp:127.0.0.1:1")], "collides"),
        (&[("listen-tls", "[::]:3478"), ("tls-self-signed", "true")], "collides"),
        (&[("listen-tls", "[::]:5349")], "there is no certificate"),
        (&[("listen-tls", "udp:[::]:5349"), ("tls-self-signed", "true")], "DTLS is not available"),
        (&[("user", "a:b"), ("user", "a:c")], "two users \"a\""),
        (&[("credential-ttl", "0")], "zero is too short"),
        (&[("default-lifetime", "0")], "zero is too short"),
        (&[("auth-secret", "")], "the secret is empty"),
        (&[("workers", "0")], "number of workers"),
        (&[("workers", "256")], "number of workers"),
        (&[("signal-auth", "closed")], "write token or open"),
        (&[("signal-auth", "token"), ("demo", "true")], "the demo page has no tokens"),
        (&[("signal-rate", "50")], "the burst is missing"),
        (&[("signal-bytes", "4m/0")], "nothing ever passes"),
        (&[("max-message", "2m")], "write at most 1m"),
        (&[("resume-grace", "0")], "zero is too short"),
        (&[("ping-interval", "soon")], "200ms"),
        (&[("ring-memory", "1t")], "not a size"),
        (&[("token-jwks", "http://a.example/")], "an https URL"),
        (&[("http", "0.0.0.0:8080"), ("demo", "true")], "--demo-public"),
        (&[("http", "off"), ("demo-public", "true")], "the demo page needs HTTP"),
        (&[("listen", "0.0.0.0:8080"), ("demo", "true")], "collides"),
        (&[("log-level", "loud")], "error, warn, info, debug, trace"),
        (&[("users-file", "/nonexistent")], "cannot be read"),
        (&[("auth-secret-file", "/nonexistent")], "cannot be read"),
    ];
    for (flags, problem) in cases {
        let mistake = one_mistake(flags);
        assert!(mistake.contains(problem), "{flags:?}: {mistake}");
    }
}

#[test]
fn a_mistake_does_not_drag_others_behind_it() {
    one_mistake(&[("max-credential-ttl", "nonsense"), ("credential-ttl", "48h")]);
    one_mistake(&[("max-lifetime", "nonsense"), ("default-lifetime", "48h")]);
    one_mistake(&[("relay-address", "nonsense"), ("external-address", "192.0.2.1=10.0.0.1")]);
    one_mistake(&[("tls-self-signed", "perhaps"), ("listen-tls", "[::]:1")]);
}

#[test]
fn a_lower_maximum_lowers_the_default() {
    let config = loaded(&[("max-lifetime", "5m"), ("max-credential-ttl", "30m")]).config;
    assert_eq!(config.default_lifetime, Duration::from_secs(300));
    assert_eq!(config.credential_ttl, Duration::from_secs(1800));
}

#[test]
fn a_fifth_url_is_too_many() {
    let urls = ["stun:a", "stun:b", "stun:c", "stun:d", "stun:e"].map(|url| ("ice-url", url));
    assert!(one_mistake(&urls).contains("5 URLs are too many"));
    assert_eq!(loaded(&urls[..4]).config.ice_urls.len(), 4);
}

#[test]
fn mistakes_never_show_a_secret() {
    let all = mistakes(&[("user", "hunter2"), ("auth-secret", " "), ("user", "al\u{7}:hunter2")]).join("\n");
    assert!(!all.contains("hunter2"), "{all}");
}

#[test]
fn users_and_secrets_come_from_flags_and_files() {
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users");
    let secrets = directory.path().join("secrets");
    fs::write(&users, "# users\n\nbob:two\n").unwrap();
    fs::write(&secrets, "second\nthird\n").unwrap();
    let (users_path, secrets_path) = (users.to_str().unwrap(), secrets.to_str().unwrap());
    let flags = [
        ("user", "alice:one"),
        ("users-file", users_path),
        ("auth-secret", "first"),
        ("auth-secret-file", secrets_path),
    ];
    let Loaded { config, warnings } = loaded(&flags);
    assert_eq!(config.users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
    assert_eq!(
        config.auth_secrets.iter().map(Secret::expose).collect::<Vec<_>>(),
        ["first", "second", "third"]
    );
    assert_eq!(warnings.len(), 2, "both files are open to others: {warnings:?}");

    fs::write(&users, "bob:two\nalice:three\nnobody\n").unwrap();
    let all = mistakes(&flags).join("\n");
    assert!(all.contains("users, line 2: there are two users \"alice\""), "{all}");
    assert!(all.contains("users, line 3: there is no colon"), "{all}");
}

#[test]
fn certificate_and_key_belong_together() {
    let directory = tempfile::tempdir().unwrap();
    let pem = directory.path().join("self-signed.pem");
    let names = ["*.example.org".to_owned(), "turn.example.org".to_owned()];
    certificate::read_or_make_self_signed(directory.path(), &names, 1_790_000_000).unwrap();
    let pem = pem.to_str().unwrap();
    let config = loaded(&[("tls-cert", pem), ("tls-key", pem)]).config;
    assert_eq!(config.listen_tls[0].to_string(), "tcp:[::]:5349");
    assert!(config.listen_tls[0].is_default);
    assert_eq!(config.public_host(&[]).to_string(), "turn.example.org");

    assert!(one_mistake(&[("tls-cert", pem)]).contains("give --tls-key too"));
    assert!(one_mistake(&[("tls-key", pem)]).contains("give --tls-cert too"));
    let both = [("tls-cert", pem), ("tls-key", pem), ("tls-self-signed", "true")];
    assert!(one_mistake(&both).contains("there is a certificate already"));
    let missing = mistakes(&[("tls-cert", "/nonexistent"), ("tls-key", "/nonexistent")]);
    assert_eq!(missing.len(), 2, "{missing:?}");
}

#[test]
fn the_default_tls_listener_gives_way_to_a_plain_one() {
    let config = loaded(&[("tls-self-signed", "true"), ("listen", "[::]:5349")]).config;
    assert!(config.listen_tls.is_empty());
}

#[test]
fn a_self_signed_certificate_names_hosts_and_addresses() {
    let flags =
        [("tls-self-signed", "true"), ("public-host", "Turn.Example.org"), ("listen", "192.0.2.1:3478")];
    let Tls::SelfSigned { names } = loaded(&flags).config.tls else { panic!("not self-signed") };
    assert_eq!(names, ["turn.example.org", "box", "localhost", "192.0.2.1", "127.0.0.1", "::1"]);
}

#[test]
fn prepare_makes_secret_and_certificate_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let flags = [("tls-self-signed", "true"), ("state-dir", path.to_str().unwrap())];
    let mut first = loaded(&flags).config;
    assert_eq!(prepare(&mut first, 1_790_000_000).unwrap().made.len(), 4);
    let mut second = loaded(&flags).config;
    assert_eq!(prepare(&mut second, 1_790_000_000).unwrap().made, [""; 0]);
    assert_eq!(first.auth_secrets[0].expose(), second.auth_secrets[0].expose());
    assert_eq!(first.api_keys[0].secret.expose(), second.api_keys[0].secret.expose());
    assert_eq!(first.token_secrets[0].secret.expose(), second.token_secrets[0].secret.expose());
    assert!(second.certificate.is_some());
}

#[test]
fn a_kept_secret_that_others_may_read_is_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    let flags = [("state-dir", directory.path().to_str().unwrap())];
    let warnings = || prepare(&mut loaded(&flags).config, 1_790_000_000).unwrap().warnings;
    assert_eq!(warnings(), [""; 0]);
    let path = directory.path().join("auth-secret");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(warnings()[0].contains("open to other users"), "{:?}", warnings());
}

#[test]
fn without_http_no_secret_of_it_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let flags = [("http", "off"), ("state-dir", directory.path().to_str().unwrap())];
    let mut config = loaded(&flags).config;
    assert_eq!(prepare(&mut config, 0).unwrap().made.len(), 1);
    assert!(config.http.is_none() && config.api_keys.is_empty());
}

#[test]
fn a_default_of_http_whose_secrets_cannot_be_kept_is_left_out() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().join("state");
    let flags = [("auth-secret", "s"), ("state-dir", path.to_str().unwrap())];
    let mut config = loaded(&flags).config;
    let said = prepare(&mut config, 0).unwrap().warnings;
    assert!(config.http.is_none() && said[0].starts_with("no HTTP"), "{said:?}");
    let mut config = loaded(&[flags.as_slice(), &[("http", "127.0.0.1:0")]].concat()).config;
    assert!(prepare(&mut config, 0).is_err());
}

#[test]
fn a_default_of_http_gives_way_and_a_given_address_does_not() {
    assert!(loaded(&[("listen", "0.0.0.0:8080")]).config.http.is_none());
    assert!(one_mistake(&[("listen", "[::]:8080"), ("http", "127.0.0.1:8080")]).contains("collides"));
    let both = [("tls-self-signed", "true"), ("https", "127.0.0.1:443"), ("http", "127.0.0.1:443")];
    assert!(one_mistake(&both).contains("collides"));
}

#[test]
fn https_needs_a_certificate() {
    let message = one_mistake(&[("https", "[::]:443")]);
    assert!(message.contains("--https") && message.contains("there is no certificate"), "{message}");
    assert!(one_mistake(&[("http", "8080")]).contains("127.0.0.1:8080"));
}

#[test]
fn api_keys_come_from_flags_and_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    fs::write(&path, "read@second\n\nthird\n").unwrap();
    let flags = [("api-key", "first"), ("api-key-file", path.to_str().unwrap())];
    let keys = loaded(&flags).config.api_keys;
    assert_eq!(keys.iter().map(|key| key.secret.expose()).collect::<Vec<_>>(), ["first", "second", "third"]);
    assert!(keys[1].scopes.allow(Scope::Read) && !keys[1].scopes.allow(Scope::Mint));
    fs::write(&path, "good\nred@key\n").unwrap();
    let message = one_mistake(&[("api-key-file", path.to_str().unwrap())]);
    assert!(message.contains("line 2") && !message.contains("red@key"), "{message}");
}

#[test]
fn token_secrets_have_names_of_their_own_and_some_length() {
    let long = "x".repeat(32);
    let (a, b) = (format!("a:{long}"), format!("b:{long}"));
    assert_eq!(loaded(&[("token-secret", &a), ("token-secret", &b)]).config.token_secrets.len(), 2);
    let message = one_mistake(&[("token-secret", &a), ("token-secret", &a)]);
    assert!(message.contains("two secrets of this name") && !message.contains(&long), "{message}");
    assert!(loaded(&[("token-secret", "short")]).warnings[0].contains("32 bytes"));
}

#[test]
fn a_file_of_public_keys_is_read_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let flags = [("token-jwks", path.to_str().unwrap())];
    assert!(one_mistake(&flags).contains("cannot be read"));
    for (text, problem) in
        [("{", "no JSON"), ("{}", "\"keys\""), (r#"{"keys":[{"kty":"oct","k":"AA"}]}"#, "secret")]
    {
        fs::write(&path, text).unwrap();
        let mistake = one_mistake(&flags);
        assert!(mistake.contains("--token-jwks") && mistake.contains(problem), "{mistake}");
    }
    let good = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    fs::write(&path, format!(r#"{{"keys":[{good},{{"kty":"oct"}}]}}"#)).unwrap();
    let Loaded { config, warnings } = loaded(&flags);
    assert_eq!(config.token_jwks, Some(JwksSource::File(path.clone())));
    assert!(warnings.len() == 1 && warnings[0].contains("key 2"), "{warnings:?}");
}

#[test]
fn the_demo_is_open_to_this_host_and_its_networks_alone() {
    let Loaded { config, warnings } = loaded(&[("demo", "true"), ("deny-peer", "10.1.0.0/16")]);
    assert!(config.demo && config.signal_open && !config.demo_public);
    assert!(warnings.iter().any(|warning| warning.contains("10 minutes") && warning.contains("8 Mbit/s")));
    for peer in
        ["127.0.0.1", "10.2.3.4", "172.16.0.1", "192.168.1.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"]
    {
        let peer: std::net::IpAddr = peer.parse().unwrap();
        assert!(config.allow_peers.iter().any(|network| network.contains(&peer)), "{peer}");
    }
    assert!(
        !config
            .allow_peers
            .iter()
            .any(|network| network.contains(&"192.0.2.1".parse::<std::net::IpAddr>().unwrap()))
    );
    let denied: Vec<_> = config.deny_peers.iter().map(ToString::to_string).collect();
    assert_eq!(denied, ["10.1.0.0/16", "169.254.169.254/32", "fd00:ec2::254/128"]);
    assert!(!config.http.unwrap().is_default, "a demo without its port is none");
    let both = [("demo", "true"), ("http", "0.0.0.0:1"), ("https", "[::]:2"), ("tls-self-signed", "true")];
    let found = mistakes(&both);
    assert!(found.len() == 2 && found.iter().all(|mistake| mistake.contains("--demo-public")), "{found:?}");
}

#[test]
fn the_public_demo_is_served_everywhere_and_allows_no_peer_more() {
    for flags in [&[("demo-public", "true")][..], &[("demo-public", "true"), ("demo", "true")]] {
        let flags = [flags, &[("http", "0.0.0.0:8080")]].concat();
        let Loaded { config, warnings } = loaded(&flags);
        assert!(config.demo && config.demo_public && config.signal_open);
        assert!(config.allow_peers.is_empty() && config.deny_peers.is_empty());
        assert!(warnings.iter().any(|warning| warning.contains("signaling is open")));
    }
    assert!(loaded(&[("signal-auth", "open")]).config.signal_open);
}

#[test]
fn signaling_is_limited_as_told() {
    let file = "resume-grace = \"200ms\"\nping-interval = 5\nsignal-rate = \"1/2\"\nsignal-bytes = \"1k/1m\"\ntoken-in-url = true\n";
    let config = resolve_all(typed(&[("max-meta", "8k")], file), &facts()).unwrap().config;
    assert_eq!(config.signal.resume_grace, Duration::from_millis(200));
    assert_eq!(config.signal.ping_interval, Duration::from_secs(5));
    assert_eq!(config.signal.messages, Some(Rate { per_second: 1, burst: 2 }));
    assert_eq!(config.signal.bytes, Some(Rate { per_second: 1024, burst: 1 << 20 }));
    assert_eq!(config.signal.max_meta.unwrap().get(), 8192);
    assert!(config.token_in_url);
    assert!(loaded(&[("signal-bytes", "1k/2k")]).warnings[0].contains("never sent"));
}

#[test]
fn where_state_is_kept_follows_systemd_then_root_then_the_user() {
    let mut facts = facts();
    let directory = |facts: &Facts| state::default_directory(facts).unwrap().display().to_string();
    assert_eq!(directory(&facts), "/home/u/.local/state/turnpike");
    facts.root = true;
    assert_eq!(directory(&facts), "/var/lib/turnpike");
    facts.state_directory = Some("/run/s".into());
    assert_eq!(directory(&facts), "/run/s");
}

#[test]
fn a_start_without_any_place_for_state_needs_a_secret() {
    let nowhere = Facts { user_state_home: None, ..facts() };
    let error = resolve_all(typed(&[], ""), &nowhere).unwrap_err();
    assert!(error.to_string().contains("no place to keep the generated secret"), "{error}");
    assert!(resolve_all(typed(&[("auth-secret", "s")], ""), &nowhere).is_ok());
}

#[test]
fn the_public_host_is_given_or_certified_or_external_or_relayed() {
    let relay = ["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
    let host = |flags: &[(&'static str, &str)]| loaded(flags).config.public_host(&relay).to_string();
    assert_eq!(host(&[("public-host", "a.example"), ("external-address", "192.0.2.9")]), "a.example");
    assert_eq!(host(&[("external-address", "192.0.2.9")]), "192.0.2.9");
    assert_eq!(host(&[]), "192.0.2.1");
    assert_eq!(host(&[("listen", "[2001:db8::1]:3478")]), "[2001:db8::1]");
    assert_eq!(host(&[("listen", "127.0.0.1:0")]), "127.0.0.1");
}

#[test]
fn a_private_relay_address_is_worth_a_warning() {
    let warnings = |flags: &[(&'static str, &str)]| loaded(flags).warnings.len();
    assert_eq!(warnings(&[("relay-address", "10.0.0.5")]), 1);
    assert_eq!(warnings(&[("relay-address", "10.0.0.5"), ("external-address", "192.0.2.1")]), 0);
    assert_eq!(warnings(&[("relay-address", "192.0.2.1")]), 0);
}

#[test]
fn logs_are_json_under_the_journal_unless_said_otherwise() {
    let journal = Facts { journal: true, ..facts() };
    let format =
        |flags: &[(&'static str, &str)]| resolve_all(typed(flags, ""), &journal).unwrap().config.log.format;
    assert_eq!(format(&[]), crate::telemetry::LogFormat::Json);
    assert_eq!(format(&[("log-format", "text")]), crate::telemetry::LogFormat::Text);
}

#[test]
fn a_configuration_shows_no_secret_in_debug_output() {
    let config = loaded(&[("user", "alice:hunter2"), ("auth-secret", "hunter3")]).config;
    let text = format!("{config:?}");
    assert!(text.contains("alice") && !text.contains("hunter"), "{text}");
}
