//! Certificates of the running daemon.

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::Signal;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use support::Daemon;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Writes a new certificate and key for `localhost` and returns the certificate.
fn write_certificate(cert: &Path, key: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    fs::write(key, made.signing_key.serialize_pem()).expect("the key is written");
    fs::write(cert, made.cert.pem()).expect("the certificate is written");
    made.cert.der().clone()
}

/// Whether a TLS client that trusts only `certificate` is served.
async fn is_served(daemon: &Daemon, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("the certificate can be trusted");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(daemon.addr("tls")).await.expect("the daemon listens");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_ok()
}

#[tokio::test]
async fn hang_up_serves_the_new_certificate_and_a_broken_one_changes_nothing() {
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
    assert!(is_served(&daemon, &first).await);

    let second = write_certificate(&cert, &key);
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("the configuration was read again");
    assert!(is_served(&daemon, &second).await);
    assert!(!is_served(&daemon, &first).await);

    fs::write(&cert, "nonsense").expect("the certificate is overwritten");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("the configuration stays as it was");
    assert!(is_served(&daemon, &second).await);
}
