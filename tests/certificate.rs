//! Certificates of the running daemon.

mod support;

use std::fs;

use nix::sys::signal::Signal;
use support::Daemon;
use support::tls::{is_served, write_certificate};

#[test]
fn hang_up_serves_the_new_certificate_and_a_broken_one_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let first = write_certificate(&cert, &key);
    let [cert_flag, key_flag] =
        [("--tls-cert", &cert), ("--tls-key", &key)].map(|(flag, path)| format!("{flag}={}", path.display()));
    let daemon = Daemon::start(&[
        "--listen=127.0.0.1:0",
        "--listen-tls=127.0.0.1:0",
        "--relay-address=127.0.0.1",
        &cert_flag,
        &key_flag,
    ]);
    let addr = daemon.addr("tls");
    assert!(is_served(addr, &first));

    let second = write_certificate(&cert, &key);
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("the configuration was read again");
    assert!(is_served(addr, &second));
    assert!(!is_served(addr, &first));

    fs::write(&cert, "nonsense").expect("the certificate is overwritten");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("the configuration stays as it was");
    assert!(is_served(addr, &second));
}
