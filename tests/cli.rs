//! Runs the real binary: mistakes, layers, secrets, credentials, help.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use sha1::{Digest, Sha1};
use turnpike::config::flags::FLAGS;

struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new() -> Sandbox {
        Sandbox(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnpike"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.0.path())
            .env("STATE_DIRECTORY", self.path("state"));
        command.envs(variables.iter().copied());
        command
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        self.command(arguments, variables).output().unwrap()
    }

    /// Starts the daemon and ends it as soon as it listens.
    fn start_once(&self) {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0", "--workers", "1"], &[]);
        let mut daemon = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(daemon.stderr.take().unwrap()).lines();
        let _ = lines.map_while(Result::ok).any(|line| line.contains("listening"));
        let _ = daemon.kill();
        daemon.wait().unwrap();
    }

    /// Runs a command that has to end with exit code 2, and returns what it says.
    fn refused(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.run(arguments, variables);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Runs a command that has to succeed, and returns what it prints.
    fn fine(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.run(arguments, variables);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn assert_names_all(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in:\n{message}");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn every_mistake_of_the_command_line_is_named() {
    let message = Sandbox::new()
        .refused(&["serve", "--relay-ports", "60000-50000", "--realm", "", "--listen", "nonsense"], &[]);
    assert_names_all(
        &message,
        &[
            "3 mistakes",
            "--relay-ports: \"60000-50000\"",
            "write 50000-60000",
            "--realm: \"\"",
            "the realm is empty",
            "--listen: \"nonsense\"",
        ],
    );
}

#[test]
fn every_mistake_of_a_file_is_named_with_its_line() {
    let sandbox = Sandbox::new();
    let file = sandbox
        .write("t.toml", "relay-prots = \"50000-60000\"\nworkers = 1000\n\ncredential-ttl = \"soon\"\n");
    for command in ["serve", "check-config"] {
        let message = sandbox.refused(&[command, "--config", &file], &[]);
        assert_names_all(
            &message,
            &[
                "3 mistakes",
                "t.toml, line 1, relay-prots: there is no such key; did you mean relay-ports?",
                "t.toml, line 2, workers: \"1000\"",
                "t.toml, line 4, credential-ttl: \"soon\"",
            ],
        );
    }
}

#[test]
fn mistakes_of_all_three_places_are_reported_together() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("t.toml", "lisen = \"x\"\nmax-channels = -1\n");
    let message = sandbox.refused(
        &["serve", "--config", &file, "--relm", "x", "--workers", "0", "--user"],
        &[("TURNPIKE_RELAY_PORT", "1"), ("TURNPIKE_LOG_LEVEL", "loud"), ("TURNPIKE_FLAGS", "--realm a")],
    );
    assert_names_all(
        &message,
        &[
            "7 mistakes",
            "--relm: there is no such flag; did you mean --realm?",
            "--workers: \"0\"",
            "--user: the value is missing",
            "TURNPIKE_RELAY_PORT: there is no such setting; did you mean TURNPIKE_RELAY_PORTS?",
            "TURNPIKE_LOG_LEVEL: \"loud\"",
            "line 1, lisen: there is no such key; did you mean listen?",
            "line 2, max-channels: \"-1\"",
        ],
    );
}

#[test]
fn flags_of_features_that_are_not_built_are_refused() {
    let message = Sandbox::new().refused(&["serve", "--mobility", "--dtls"], &[]);
    assert_names_all(
        &message,
        &["2 mistakes", "--mobility: there is no such flag", "--dtls: there is no such flag"],
    );
}

#[test]
fn a_join_token_is_signed_with_the_given_secret() {
    let sandbox = Sandbox::new();
    let secret = "k:0123456789abcdef0123456789abcdef";
    let command =
        ["token", "--token-secret", secret, "--room", "tea", "--sub", "alice", "--ttl", "1h", "--json"];
    let answer: serde_json::Value = serde_json::from_str(&sandbox.fine(&command, &[])).unwrap();
    let keys = turnpike::http::TokenKeys::new([(Some("k"), &secret.as_bytes()[2..])]);
    let expires_at = answer["expires_at"].as_u64().unwrap();
    let token = keys.verify(answer["token"].as_str().unwrap(), expires_at - 3600).unwrap();
    assert!(token.opens("tea") && token.sub.as_deref() == Some("alice"));
    let message = sandbox.refused(&["token", "--rom", "tea", "--ttl", "x", "--perm", "fly"], &[]);
    assert_names_all(&message, &["3 mistakes", "did you mean --room?", "--ttl: \"x\"", "--perm: \"fly\""]);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("t.toml", "auth-secret = \"file\"\ncredential-ttl = \"10m\"\n");
    let config = ["credential", "--config", &file, "--json", "alice"];
    let password = |arguments: &[&str], variables: &[(&str, &str)]| {
        let text = sandbox.fine(arguments, variables);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        (
            json["username"].as_str().unwrap().to_owned(),
            json["password"].as_str().unwrap().to_owned(),
            json["ttl"].clone(),
        )
    };
    let (username, from_file, ttl) = password(&config, &[]);
    assert_eq!(from_file, hmac_sha1("file", &username));
    assert_eq!(ttl, 600);
    let environment = [("TURNPIKE_AUTH_SECRET", "environment\nolder")];
    let (username, from_environment, _) = password(&config, &environment);
    assert_eq!(from_environment, hmac_sha1("environment", &username));
    let with_flag = [&config[..], &["--auth-secret", "flag"]].concat();
    let (username, from_flag, _) = password(&with_flag, &environment);
    assert_eq!(from_flag, hmac_sha1("flag", &username));
}

#[test]
fn the_generated_secret_is_private_and_reused() {
    let sandbox = Sandbox::new();
    let state = sandbox.path("state");
    sandbox.start_once();
    let secret = fs::read_to_string(state.join("auth-secret")).unwrap();
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(secret.trim()).unwrap().len(), 32);
    assert_eq!(mode(&state.join("auth-secret")), 0o600);
    assert_eq!(mode(&state), 0o700);
    sandbox.start_once();
    assert_eq!(fs::read_to_string(state.join("auth-secret")).unwrap(), secret);

    let text = sandbox.fine(&["credential", "--ttl", "1h", "alice"], &[]);
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    let username = field("username: ");
    assert!(username.ends_with(":alice"));
    assert_eq!(field("password: "), hmac_sha1(secret.trim(), &username));
}

#[test]
fn without_any_secret_there_is_no_credential() {
    let output = Sandbox::new().run(&["credential", "alice"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no secret yet"));
}

#[test]
fn impossible_credentials_are_refused() {
    let sandbox = Sandbox::new();
    let secret = ["--auth-secret", "s"];
    for (arguments, problem) in [
        (&["credential", "a:b"][..], "colon"),
        (&["credential", ""], "0 bytes"),
        (&["credential"], "SUBJECT"),
        (&["credential", "--ttl", "0", "alice"], "zero is too short"),
        (&["credential", "--ttl", "25h", "alice"], "90000 s are longer than --max-credential-ttl, 86400 s"),
        (&["credential", "--tll", "1h", "alice"], "did you mean --ttl?"),
    ] {
        let message = sandbox.refused(&[arguments, &secret].concat(), &[]);
        assert!(message.contains(problem), "{message}");
    }
}

#[test]
fn check_config_says_what_serve_would_and_makes_nothing() {
    let sandbox = Sandbox::new();
    let text = sandbox.fine(&["check-config", "--relay-address", "10.1.2.3"], &[]);
    assert!(text.ends_with("configuration is fine\n"), "{text}");
    assert!(text.contains("warning: relay address 10.1.2.3 is private"), "{text}");
    assert!(!sandbox.path("state").exists());
    let readable = sandbox.write("secret", "s\n");
    fs::set_permissions(&readable, fs::Permissions::from_mode(0o644)).unwrap();
    let text = sandbox.fine(&["check-config", "--auth-secret-file", &readable], &[]);
    assert!(text.contains("is open to other users"), "{text}");
}

#[test]
fn help_names_every_flag_with_its_default() {
    let help = Sandbox::new().fine(&["serve", "--help"], &[]);
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut flags = 0;
    for line in help.lines().filter(|line| line.trim_start().starts_with("--")) {
        let name = line.trim_start().trim_start_matches("--").split([' ', '[', '=']).next().unwrap();
        assert!(FLAGS.iter().any(|flag| flag.name == name), "--{name} is not in the table");
        flags += 1;
    }
    assert_eq!(flags, FLAGS.len());
    for flag in &FLAGS {
        assert_names_all(&words, &[flag.help, flag.section]);
        if let Some(text) = flag.fallback.text() {
            assert_names_all(&words, &[&format!("[default: {text}]")]);
        }
    }
}

#[test]
fn the_demo_stays_on_this_host_and_its_port_is_not_left_out() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("t.toml", "demo = true\nhttp = \"0.0.0.0:8080\"\nsignal-rate = \"many\"\n");
    let message = sandbox.refused(&["check-config", "--config", &file], &[("TURNPIKE_MAX_MESSAGE", "2m")]);
    assert_names_all(
        &message,
        &[
            "3 mistakes",
            "line 2, http: \"0.0.0.0:8080\"",
            "--demo-public",
            "line 3, signal-rate: \"many\"",
            "TURNPIKE_MAX_MESSAGE: \"2m\"",
        ],
    );
    let text = sandbox.fine(&["check-config", "--demo"], &[]);
    assert_names_all(&text, &["warning: signaling is open", "64 allocations", "8 Mbit/s", "10 minutes"]);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http = format!("--http={}", taken.local_addr().unwrap());
    let output = sandbox.run(&["serve", "--listen", "127.0.0.1:0", "--demo", &http], &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("another program has the port"), "{stderr}");
}

#[test]
fn the_demo_prints_its_url_with_the_real_port() {
    let sandbox = Sandbox::new();
    let arguments = ["serve", "--listen=127.0.0.1:0", "--http=127.0.0.1:0", "--workers=1", "--demo"];
    let mut daemon =
        sandbox.command(&arguments, &[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("demo page"));
    let _ = daemon.kill();
    daemon.wait().unwrap();
    let line = line.unwrap();
    let port = line.trim_end().strip_suffix("/demo/").and_then(|rest| rest.rsplit_once(':')).unwrap().1;
    assert!(line.contains("http://localhost:") && port.parse::<u16>().is_ok_and(|port| port > 0), "{line}");
}

#[test]
fn version_and_help_are_fine_and_an_unknown_command_is_not() {
    let sandbox = Sandbox::new();
    assert!(sandbox.fine(&["--version"], &[]).starts_with("turnpike "));
    assert!(sandbox.fine(&["--help"], &[]).contains("check-config"));
    assert!(sandbox.fine(&["credential", "--help"], &[]).contains("--ttl"));
    assert!(sandbox.refused(&["sevre"], &[]).contains("serve"));
    sandbox.refused(&[], &[]);
}

/// HMAC (RFC 2104) written out, to check the daemon's against.
fn hmac_sha1(secret: &str, username: &str) -> String {
    let mut key = [0u8; 64];
    match secret.len() {
        0..=64 => key[..secret.len()].copy_from_slice(secret.as_bytes()),
        _ => key[..20].copy_from_slice(&Sha1::digest(secret)),
    }
    let inner = Sha1::new().chain_update(key.map(|byte| byte ^ 0x36)).chain_update(username).finalize();
    let outer = Sha1::new().chain_update(key.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize();
    BASE64_STANDARD.encode(outer)
}
