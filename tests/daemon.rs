//! How the daemon ends, and that it takes nobody else's port.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{Daemon, ended};

const BINDING: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

#[test]
fn sigterm_and_sigint_end_it_cleanly_with_a_connection_open() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let daemon = Daemon::start(&["--listen=127.0.0.1:0"]);
        let mut stream = TcpStream::connect(daemon.addr("tcp")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&BINDING).unwrap();
        stream.read_exact(&mut [0; 32]).unwrap();
        let (code, log) = daemon.stop_by(signal);
        assert_eq!(code, Some(0), "{signal}:\n{log}");
        assert!(log.contains(signal.as_str()), "{signal}:\n{log}");
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "the connection is closed in order");
    }
}

#[test]
fn a_second_daemon_on_a_port_fails_and_names_the_address() {
    for kind in ["", "udp:", "tcp:"] {
        let first = Daemon::start(&[&format!("--listen={kind}127.0.0.1:0")]);
        let addr = first.addr(if kind == "udp:" { "udp" } else { "tcp" });
        let state = tempfile::tempdir().unwrap();
        let mut second = Command::new(env!("CARGO_BIN_EXE_turnpike"))
            .args(["serve", "--state-dir", state.path().to_str().unwrap()])
            .arg(format!("--listen={kind}{addr}"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let status = ended(&mut second);
        let _ = second.kill();
        let mut log = String::new();
        second.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(1), "{kind}:\n{log}");
        let told = log.lines().any(|line| line.contains("ERROR") && line.contains(&addr.to_string()));
        assert!(told, "{kind}: {addr} is not named in\n{log}");

        // The first one still gets everything.
        if kind == "udp:" {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            socket.send_to(&BINDING, addr).unwrap();
            socket.recv(&mut [0; 100]).unwrap();
        }
        assert_eq!(first.stop().0, Some(0));
    }
}
