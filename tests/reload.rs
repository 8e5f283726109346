//! A daemon that reads its configuration again: what is in force at once, what waits, and what a mistake does.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![allow(clippy::disallowed_methods, reason = "a test has real time limits")]

mod support;

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::http::{Answer, exchange, request};
use support::socket::Socket;
use support::tls::{self, is_served, write_certificate};
use support::{Daemon, turn_client};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use turn::client::Client;
use webrtc_util::Conn;

const BASE: &str = r#"
listen = ["127.0.0.1:0"]
http = "127.0.0.1:0"
relay-address = ["127.0.0.1"]
realm = "test"
unauthenticated-rate = 0
signal-auth = "open"
"#;
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing has to come for it to be certain that nothing does.
const SILENCE: Duration = Duration::from_millis(500);

/// A daemon with a configuration file.
struct Configured {
    daemon: Daemon,
    directory: tempfile::TempDir,
}

impl Configured {
    fn start(more: &str) -> Configured {
        let directory = tempfile::tempdir().unwrap();
        let file = write(directory.path(), more);
        let daemon = Daemon::start(&["--config", file.to_str().unwrap()]);
        Configured { daemon, directory }
    }

    fn write(&self, more: &str) {
        write(self.directory.path(), more);
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        let mut program = Command::new(env!("CARGO_BIN_EXE_turnpike"));
        let state = self.daemon.state().to_str().unwrap();
        program.env_clear().args([command, "--state-dir", state]).args(arguments).output().unwrap()
    }

    /// Writes the file and reloads; returns what the command prints.
    fn reload(&self, more: &str) -> String {
        self.write(more);
        let output = self.run("reload", &[]);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
        printed
    }

    async fn client(&self, user: &str, password: &str) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        turn_client(self.daemon.addr("udp"), socket, user, password).await
    }

    fn ask(&self, line: &str, headers: &[(&str, &str)]) -> Answer {
        let mut stream = TcpStream::connect(self.daemon.addr("http")).unwrap();
        exchange(&mut stream, &request(line, headers, ""))
    }
}

fn write(directory: &Path, more: &str) -> PathBuf {
    let file = directory.join("turnpike.toml");
    fs::write(&file, format!("{BASE}{more}")).unwrap();
    file
}

async fn there_and_back(relay: &impl Conn, peer: &UdpSocket) {
    let mut buffer = [0; 100];
    relay.send_to(b"there", peer.local_addr().unwrap()).await.unwrap();
    let (len, from) = timeout(PATIENCE, peer.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer[..len], b"there");
    peer.send_to(b"back", from).await.unwrap();
    let (len, _) = timeout(PATIENCE, relay.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer[..len], b"back");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_secrets_and_quotas_are_in_force_at_the_next_allocate_and_calls_go_on() {
    let allow = "allow-peer = [\"127.0.0.0/8\"]\n";
    let turnpike = Configured::start(&format!("{allow}user = [\"ann:one\"]\n"));
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let ann = turnpike.client("ann", "one").await;
    let relay = ann.allocate().await.unwrap();
    there_and_back(&relay, &peer).await;
    let (mut session, _) = Socket::hello(&turnpike.daemon, json!({}));
    session.join("tea");

    let printed = turnpike.reload(&format!("{allow}user = [\"bo:two\"]\nmax-allocations-per-user = 1\n"));
    assert_eq!(printed, "in force now: user, max-allocations-per-user\n");
    there_and_back(&relay, &peer).await;
    assert_eq!(session.ask(json!({"t": "leave", "room": "tea"}))["t"], "ok");
    assert!(turnpike.client("ann", "one").await.allocate().await.is_err(), "a removed user");
    let bo = turnpike.client("bo", "two").await;
    let _held = bo.allocate().await.unwrap();
    assert!(turnpike.client("bo", "two").await.allocate().await.is_err(), "over the quota");
    assert_eq!(
        turnpike.reload(&format!("{allow}user = [\"bo:two\"]\nmax-allocations-per-user = 1\n")),
        "nothing differs\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_peer_policy_bites_at_the_next_packet() {
    let user = "user = [\"ann:one\"]\n";
    let turnpike = Configured::start(&format!("{user}allow-peer = [\"127.0.0.0/8\"]\n"));
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let ann = turnpike.client("ann", "one").await;
    let relay = ann.allocate().await.unwrap();
    there_and_back(&relay, &peer).await;
    assert_eq!(turnpike.reload(user), "in force now: allow-peer\n");
    relay.send_to(b"there", peer.local_addr().unwrap()).await.unwrap();
    assert!(timeout(SILENCE, peer.recv_from(&mut [0; 100])).await.is_err());
    assert_eq!(
        turnpike.reload(&format!("{user}allow-peer = [\"127.0.0.0/8\"]\n")),
        "in force now: allow-peer\n"
    );
    there_and_back(&relay, &peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_external_address_is_told_to_new_allocations_and_old_ones_go_on() {
    let more = |address: &str| {
        format!("user = [\"ann:one\"]\nallow-peer = [\"127.0.0.0/8\"]\nexternal-address = [\"{address}\"]\n")
    };
    let turnpike = Configured::start(&more("198.51.100.1"));
    let old = turnpike.client("ann", "one").await;
    let old_relay = old.allocate().await.unwrap();
    // Not at the relay's own address, which goes by another name.
    let peer = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    there_and_back(&old_relay, &peer).await;
    assert_eq!(turnpike.reload(&more("198.51.100.2")), "in force now: external-address\n");
    there_and_back(&old_relay, &peer).await;
    let new = turnpike.client("ann", "one").await;
    let new_relay = new.allocate().await.unwrap();
    let of = |conn: std::net::SocketAddr| conn.ip().to_string();
    assert_eq!(of(old_relay.local_addr().unwrap()), "198.51.100.1");
    assert_eq!(of(new_relay.local_addr().unwrap()), "198.51.100.2");
    // The two meet under the names that they were told, the old one included.
    let mut buffer = [0; 100];
    new_relay.send_to(b"open", old_relay.local_addr().unwrap()).await.unwrap();
    old_relay.send_to(b"hello", new_relay.local_addr().unwrap()).await.unwrap();
    let (len, from) = timeout(PATIENCE, new_relay.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!((&buffer[..len], from), (b"hello".as_slice(), old_relay.local_addr().unwrap()));
    let unknown = "user = [\"ann:one\"]\nexternal-address = [\"198.51.100.3=10.9.9.9\"]\n";
    turnpike.write(unknown);
    let refused = turnpike.run("reload", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("10.9.9.9"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_changes_nothing_and_every_one_is_named() {
    let turnpike = Configured::start("user = [\"ann:one\"]\n");
    turnpike.write("user = [\"bo:two\"]\nmax-allocations = \"many\"\nrealn = \"x\"\n");
    let output = turnpike.run("reload", &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("max-allocations") && said.contains("realn"), "{said}");
    assert!(turnpike.client("ann", "one").await.allocate().await.is_ok());
    assert!(turnpike.client("bo", "two").await.allocate().await.is_err());
    turnpike.daemon.wait_for_log("the configuration stays as it was");
}

#[test]
fn what_needs_a_restart_is_said_until_there_was_one() {
    let turnpike = Configured::start("");
    for _ in 0..2 {
        assert_eq!(turnpike.reload("workers = 7\n"), "waits for a restart: workers\n");
    }
    let both = turnpike.reload("workers = 7\nallow-origin = [\"https://app.example\"]\n");
    assert_eq!(both, "in force now: allow-origin\nwaits for a restart: workers\n");
    assert_eq!(turnpike.reload(""), "in force now: allow-origin\n");
}

#[test]
fn keys_origins_and_log_levels_follow_the_file() {
    let turnpike = Configured::start("api-key = [\"admin@old-key\"]\n");
    let status = |key: &str| {
        turnpike.ask("GET /v1/admin/status", &[("Authorization", &format!("Bearer {key}"))]).status
    };
    assert_eq!((status("old-key"), status("new-key")), (403, 401), "the key has not the scope read");
    turnpike.reload("api-key = [\"read,admin@new-key\"]\nallow-origin = [\"https://app.example\"]\nlog-level = \"debug\"\n");
    assert_eq!((status("old-key"), status("new-key")), (401, 200));
    let origin = ("Origin", "https://app.example");
    assert_eq!(
        turnpike.ask("GET /v1/credentials", &[origin]).header("access-control-allow-origin"),
        Some(origin.1)
    );
    turnpike.daemon.wait_for_log("HTTP request refused");
    let foreign = turnpike.ask("GET /v1/admin/status", &[origin, ("Authorization", "Bearer new-key")]);
    assert_eq!(foreign.status, 403, "no page of elsewhere is the operator's");
    let over_http = turnpike.ask("POST /v1/admin/reload", &[("Authorization", "Bearer new-key")]);
    assert_eq!((over_http.status, over_http.json()), (200, json!({"changed": [], "restart": []})));
    turnpike.write("log-level = \"loud\"\n");
    let refused = turnpike.ask("POST /v1/admin/reload", &[("Authorization", "Bearer new-key")]);
    refused.assert_problem(422, "bad_request");
    assert!(refused.json()["mistakes"][0].as_str().unwrap().contains("log-level"));
}

#[test]
fn sighup_reloads_too() {
    let turnpike = Configured::start("api-key = [\"read@old-key\"]\n");
    turnpike.write("api-key = [\"read@new-key\"]\n");
    turnpike.daemon.signal(Signal::SIGHUP);
    turnpike.daemon.wait_for_log("the configuration was read again");
    let answer = turnpike.ask("GET /v1/admin/status", &[("Authorization", "Bearer new-key")]);
    assert_eq!(answer.status, 200);
}

#[test]
fn status_says_what_there_is() {
    let turnpike = Configured::start("");
    let (mut session, _) = Socket::hello(&turnpike.daemon, json!({}));
    session.join("tea");
    let output = turnpike.run("status", &["--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&status["healthy"], &status["sessions"], &status["rooms"]),
        (&json!(true), &json!(1), &json!(1))
    );
    assert_eq!((&status["websockets"], &status["allocations"]), (&json!(1), &json!(0)));
    let udp = json!({"protocol": "udp", "address": turnpike.daemon.addr("udp").to_string()});
    assert!(status["listeners"].as_array().unwrap().contains(&udp), "{status}");
    let text = String::from_utf8(turnpike.run("status", &[]).stdout).unwrap();
    assert!(text.contains("every part answers") && text.contains("1         signaling sessions"), "{text}");
    let socket = turnpike.daemon.state().join("admin.sock");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let state = turnpike.daemon.state().to_owned();
    let gone = turnpike.daemon.stop();
    assert_eq!(gone.0, Some(0));
    assert!(!socket.exists());
    let output = Command::new(env!("CARGO_BIN_EXE_turnpike"))
        .env_clear()
        .args(["status", "--admin-socket", state.join("admin.sock").to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no daemon answers"), "{output:?}");
}

#[test]
fn certificates_change_with_a_reload_and_without_one() {
    let directory = tempfile::tempdir().unwrap();
    let certify = || write_certificate(&directory.path().join("cert.pem"), &directory.path().join("key.pem"));
    let first = certify();
    let more = |name: &str| {
        let path = |file: &str| directory.path().join(file).to_str().unwrap().to_owned();
        format!(
            "listen-tls = [\"127.0.0.1:0\"]\ntls-cert = \"{}\"\ntls-key = \"{}\"\n{name}",
            path("cert.pem"),
            path("key.pem")
        )
    };
    let turnpike = Configured::start(&more(""));
    let addr = turnpike.daemon.addr("tls");
    let shows = |certificate| is_served(addr, certificate);
    assert!(shows(&first));
    let mut kept = tls::connect(addr, [first.clone()], &[]);
    kept.conn.complete_io(&mut kept.sock).unwrap();

    // Without a reload, once the files have changed.
    let second = certify();
    turnpike.daemon.wait_for_log("the certificate was read again");
    assert!(shows(&second) && !shows(&first));

    // With one, at once; a broken file changes nothing and says why.
    fs::write(directory.path().join("cert.pem"), "no PEM").unwrap();
    let refused = turnpike.run("reload", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("tls-cert"), "{refused:?}");
    assert!(shows(&second));
    let third = certify();
    let reloaded = turnpike.run("reload", &[]);
    assert!(reloaded.status.success(), "{reloaded:?}");
    assert!(shows(&third));

    // A connection of before goes on: a Binding request is answered.
    use std::io::{Read, Write};
    let binding = [0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    kept.write_all(&binding).unwrap();
    let mut answer = [0; 20];
    kept.read_exact(&mut answer).unwrap();
    assert_eq!((&answer[..2], &answer[8..]), ([0x01, 0x01].as_slice(), &binding[8..]));
}

#[test]
fn the_service_manager_is_told_of_the_start_the_beats_and_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let flags = ["--listen=127.0.0.1:0", "--http=127.0.0.1:0", "--relay-address=127.0.0.1"];
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "300000")];
    let daemon = Daemon::start_with(&flags, &variables);
    let hear = || {
        let mut buffer = [0; 1000];
        let len = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    };
    assert_eq!(hear(), "READY=1\n");
    for _ in 0..3 {
        let beat = hear();
        assert!(beat.contains("WATCHDOG=1\n") && beat.contains("STATUS=0 allocations"), "{beat}");
    }
    assert_eq!(daemon.stop().0, Some(0));
    while !hear().contains("STOPPING=1") {}
}
