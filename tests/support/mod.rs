//! Runs the real daemon for tests that speak to it over sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::disallowed_methods, reason = "a test has real time limits")]
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

pub mod events;
pub mod http;
pub mod signal_client;
pub mod socket;
pub mod tls;
pub mod token;
pub mod wire;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::net::UdpSocket;
use turn::client::{Client, ClientConfig};

/// A running daemon with a state directory of its own; stopped when dropped.
pub struct Daemon {
    child: Child,
    state: tempfile::TempDir,
    listening: Vec<(String, SocketAddr)>,
    log: Arc<(Mutex<String>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Starts `turnpike serve` with `flags` and waits until it is ready.
    pub fn start(flags: &[&str]) -> Daemon {
        Daemon::start_with(flags, &[])
    }

    /// Starts it with environment variables, and none but these.
    pub fn start_with(flags: &[&str], variables: &[(&str, &str)]) -> Daemon {
        let state = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_turnpike"))
            .arg("serve")
            .args(["--state-dir", state.path().to_str().unwrap()])
            .args(flags)
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        let mut listening = Vec::new();
        loop {
            let from = text.len();
            assert!(lines.read_line(&mut text).unwrap() > 0, "the daemon ended:\n{text}");
            let line = &text[from..];
            if let Some((_, rest)) = line.split_once("listening ") {
                let mut words = rest.split_whitespace();
                let (protocol, addr) = (words.next().unwrap(), words.next().unwrap());
                listening.push((protocol.to_owned(), addr.trim_matches('"').parse().unwrap()));
            }
            if line.trim_end().ends_with(" ready") {
                break;
            }
        }
        let log = Arc::new((Mutex::new(text), Condvar::new()));
        let reader = std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                    log.0.lock().unwrap().push_str(&line);
                    log.1.notify_all();
                    line.clear();
                }
            }
        });
        Daemon { child, state, listening, log, reader: Some(reader) }
    }

    /// The first address that is listened on with a protocol (`udp`, `tcp`, `tls`).
    pub fn addr(&self, protocol: &str) -> SocketAddr {
        let found = self.listening.iter().find(|(name, _)| name == protocol);
        found.unwrap_or_else(|| panic!("no {protocol} among {:?}", self.listening)).1
    }

    /// The directory with its secrets.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Its resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
    }

    /// Waits until the log holds a text.
    pub fn wait_for_log(&self, text: &str) {
        let log = self.log.0.lock().unwrap();
        let held = self.log.1.wait_timeout_while(log, Duration::from_secs(20), |log| !log.contains(text));
        let (log, waited) = held.unwrap();
        assert!(!waited.timed_out(), "no {text} in\n{log}");
    }

    /// Asks it to stop as systemd does; returns its exit code and the whole log.
    pub fn stop(self) -> (Option<i32>, String) {
        self.stop_by(Signal::SIGTERM)
    }

    /// Asks it to stop by a signal; returns its exit code, none if a signal ended it, and the whole log.
    pub fn stop_by(mut self, signal: Signal) -> (Option<i32>, String) {
        self.signal(signal);
        let code = ended(&mut self.child).unwrap_or_else(|| panic!("{signal} did not end it")).code();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let log = self.log.0.lock().unwrap().clone();
        (code, log)
    }
}

/// Waits for the end of a process; none if it goes on.
pub fn ended(child: &mut Child) -> Option<ExitStatus> {
    let limit = Instant::now() + Duration::from_secs(20);
    while Instant::now() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A failure means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts webrtc-rs' TURN client on a socket, in the realm `test`.
pub async fn turn_client(server: SocketAddr, socket: UdpSocket, username: &str, password: &str) -> Client {
    let client = Client::new(ClientConfig {
        stun_serv_addr: server.to_string(),
        turn_serv_addr: server.to_string(),
        username: username.to_owned(),
        password: password.to_owned(),
        realm: "test".to_owned(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(socket),
        vnet: None,
    })
    .await
    .unwrap();
    client.listen().await.unwrap();
    client
}
