//! Join tokens under the public keys of somebody else, from a file and from a URL.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use nix::sys::signal::Signal;
use rcgen::KeyPair;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use support::Daemon;
use support::http::{exchange, request};
use turnpike::net::clock;

const FLAGS: &[&str] = &["--listen=127.0.0.1:0", "--http=127.0.0.1:0", "--relay-address=127.0.0.1"];

/// Somebody who signs join tokens.
struct Signer {
    kid: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
    public: String,
}

impl Signer {
    fn ed25519(kid: &'static str) -> Signer {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        let public = format!(r#"{{"kid":"{kid}","kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
        let key = EncodingKey::from_ed_der(&pair.serialize_der());
        Signer { kid, algorithm: Algorithm::EdDSA, key, public }
    }

    fn p256(kid: &'static str) -> Signer {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let [x, y] = [1..33, 33..65].map(|part| BASE64_URL_SAFE_NO_PAD.encode(&pair.public_key_raw()[part]));
        let public = format!(r#"{{"kid":"{kid}","kty":"EC","crv":"P-256","x":"{x}","y":"{y}","use":"sig"}}"#);
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        Signer { kid, algorithm: Algorithm::ES256, key, public }
    }

    fn token(&self) -> String {
        let header = format!(r#"{{"alg":"{:?}","kid":"{}"}}"#, self.algorithm, self.kid);
        let claims = format!(r#"{{"sub":"ann","room":"tea","exp":{}}}"#, clock::unix_now() + 60);
        let message =
            format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

fn set(signers: &[&Signer]) -> String {
    let keys: Vec<&str> = signers.iter().map(|signer| signer.public.as_str()).collect();
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

/// Says hello with a token, and returns the status.
fn hello(daemon: &Daemon, signer: &Signer) -> u16 {
    let body = format!(r#"{{"t":"hello","token":"{}"}}"#, signer.token());
    let mut stream = TcpStream::connect(daemon.addr("http")).unwrap();
    exchange(&mut stream, &request("POST /v1/session", &[("Content-Type", "application/json")], &body)).status
}

#[test]
fn keys_of_a_file_are_taken_and_replaced_as_the_file_changes() {
    let (a, b, c) = (Signer::ed25519("a"), Signer::p256("b"), Signer::p256("c"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    // A new file in the place of the old one, as a careful writer does it.
    let write = |text: &str| {
        let new = directory.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &path).unwrap();
    };
    write(&set(&[&a, &b]));
    let flag = format!("--token-jwks={}", path.display());
    let daemon = Daemon::start(&[FLAGS, &[&flag]].concat());
    assert_eq!([&a, &b, &c].map(|signer| hello(&daemon, signer)), [201, 201, 401]);

    write(&set(&[&b, &c, &Signer::ed25519("d")]));
    daemon.wait_for_log("keys=3");
    assert_eq!([&a, &b, &c].map(|signer| hello(&daemon, signer)), [401, 201, 201]);

    write("{");
    daemon.wait_for_log("stay as they were");
    assert_eq!([&a, &b, &c].map(|signer| hello(&daemon, signer)), [401, 201, 201]);

    write(&set(&[&a]));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("keys=1");
    assert_eq!([&a, &b, &c].map(|signer| hello(&daemon, signer)), [201, 401, 401]);
    assert_eq!(daemon.stop().0, Some(0));
}

/// A server whose set may be changed; with a certificate it speaks TLS.
struct Server {
    url: String,
    body: Arc<Mutex<Option<String>>>,
}

impl Server {
    fn start(tls: Option<Arc<ServerConfig>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}/jwks.json", listener.local_addr().unwrap().port());
        let body = Arc::new(Mutex::new(None::<String>));
        let shared = Arc::clone(&body);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                match &tls {
                    Some(config) => {
                        let session = ServerConnection::new(Arc::clone(config)).unwrap();
                        answer(StreamOwned::new(session, stream), &shared);
                    }
                    None => answer(stream, &shared),
                }
            }
        });
        Server { url, body }
    }

    fn serve(&self, text: &str) {
        *self.body.lock().unwrap() = Some(text.to_owned());
    }
}

/// Answers one request; without a set there is a failure.
fn answer(mut stream: impl Read + Write, body: &Mutex<Option<String>>) {
    let mut buffer = [0; 4096];
    if !stream.read(&mut buffer).is_ok_and(|len| len > 0) {
        return;
    }
    let body = body.lock().unwrap().clone();
    let (status, body) = body.map_or(("503 Service Unavailable", String::new()), |body| ("200 OK", body));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // A client that does not trust the certificate is gone.
    let _ = stream.write_all((head + &body).as_bytes());
    let _ = stream.flush();
}

#[test]
fn keys_of_a_url_come_when_its_server_does_and_stay_when_it_goes() {
    let (a, b) = (Signer::ed25519("a"), Signer::p256("b"));
    let server = Server::start(None);
    let daemon = Daemon::start(&[FLAGS, &[&format!("--token-jwks={}", server.url)]].concat());
    daemon.wait_for_log("the server answers 503");
    assert_eq!(hello(&daemon, &a), 401);

    server.serve(&set(&[&a]));
    daemon.wait_for_log("keys=1");
    assert_eq!([&a, &b].map(|signer| hello(&daemon, signer)), [201, 401]);

    server.serve("<html>");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("no JSON object");
    assert_eq!([&a, &b].map(|signer| hello(&daemon, signer)), [201, 401]);

    server.serve(&set(&[&b, &Signer::ed25519("c")]));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("keys=2");
    assert_eq!([&a, &b].map(|signer| hello(&daemon, signer)), [401, 201]);
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_url_is_fetched_over_tls_that_this_host_trusts() {
    let a = Signer::ed25519("a");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let server = Server::start(Some(Arc::new(config)));
    server.serve(&set(&[&a]));
    let directory = tempfile::tempdir().unwrap();
    let flag = format!("--token-jwks={}", server.url);
    let start = |pem: &str| {
        let roots = directory.path().join("roots.pem");
        fs::write(&roots, pem).unwrap();
        Daemon::start_with(&[FLAGS, &[&flag]].concat(), &[("SSL_CERT_FILE", roots.to_str().unwrap())])
    };
    let trusting = start(&certified.cert.pem());
    trusting.wait_for_log("keys=1");
    assert_eq!(hello(&trusting, &a), 201);

    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let wary = start(&other.cert.pem());
    wary.wait_for_log("invalid peer certificate");
    assert_eq!(hello(&wary, &a), 401);
}
