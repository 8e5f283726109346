//! The HTTP API of the running daemon.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};
use support::http::{Answer, Call, curl, exchange, request};
use support::{Daemon, turn_client};
use tokio::net::UdpSocket;
use turnpike::auth::LongTermKey;
use turnpike::http::TokenKeys;
use turnpike::net::clock;
use turnpike::stun::{Attribute, AttributeType, Builder, Class, Message, Method, TransactionId};
use webrtc_util::Conn;

const FLAGS: &[&str] = &[
    "--listen=127.0.0.1:0",
    "--http=127.0.0.1:0",
    "--relay-address=127.0.0.1",
    "--allow-peer=127.0.0.0/8",
    "--realm=test",
    "--user=ann:secret",
    "--unauthenticated-rate=0",
    "--api-key=usual-key",
    "--api-key=mint@mint-key",
    "--token-secret=2026:0123456789abcdef0123456789abcdef",
    "--allow-origin=https://app.example",
];

fn ask(daemon: &Daemon, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(daemon.addr("http")).unwrap();
    exchange(&mut stream, &request(line, headers, body))
}

const KEY: (&str, &str) = ("Authorization", "Bearer usual-key");
const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn health_and_readiness_need_no_key() {
    let daemon = Daemon::start(FLAGS);
    for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let answer = ask(&daemon, &format!("GET {path}"), &[], "");
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
        assert_eq!(ask(&daemon, &format!("HEAD {path}"), &[], "").status, 200);
    }
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn every_refusal_is_a_problem_document() {
    let daemon = Daemon::start(FLAGS);
    let mint = "POST /v1/credentials";
    let missing = ask(&daemon, mint, &[JSON], "{}");
    missing.assert_problem(401, "unauthorized");
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    ask(&daemon, mint, &[("Authorization", "Bearer other"), JSON], "{}").assert_problem(401, "unauthorized");
    ask(&daemon, mint, &[("Authorization", "Basic usual-key"), JSON], "{}")
        .assert_problem(401, "unauthorized");
    ask(&daemon, "POST /v1/tokens", &[("Authorization", "Bearer mint-key"), JSON], "{}")
        .assert_problem(403, "forbidden");
    ask(&daemon, "GET /nothing", &[], "").assert_problem(404, "not_found");
    ask(&daemon, "POST /v1/nothing", &[KEY, JSON], "{}").assert_problem(404, "not_found");
    for (line, allow) in [("GET /v1/credentials", "POST"), ("DELETE /healthz", "GET, HEAD")] {
        let answer = ask(&daemon, line, &[KEY], "");
        answer.assert_problem(405, "unsupported");
        assert_eq!(answer.header("allow"), Some(allow));
    }
    for len in [65_525, 4 << 20] {
        let large = format!("{{\"subject\":\"{}\"}}", "x".repeat(len));
        ask(&daemon, mint, &[KEY, JSON], &large).assert_problem(413, "too_large");
    }
    let largest = format!("{{\"later\":\"{}\"}}", "x".repeat(65_524));
    assert_eq!((largest.len(), ask(&daemon, mint, &[KEY, JSON], &largest).status), (65_536, 200));
    ask(&daemon, mint, &[KEY, ("Content-Type", "text/plain")], "{}").assert_problem(415, "unsupported");
    ask(&daemon, mint, &[KEY], "{}").assert_problem(415, "unsupported");
    for body in [
        "{",
        "[]",
        "{\"ttl\":0}",
        "{\"ttl\":-1}",
        "{\"ttl\":1.5}",
        "{\"ttl\":\"60\"}",
        "{\"ttl\":1,\"ttl\":2}",
        "{\"subject\":\"a:b\"}",
        "{\"subject\":\"s~session~ann\"}",
        "{\"subject\":\"\"}",
        "{\"subject\":\"a\\u0000\"}",
        "{\"subject\":7}",
        "{\"policy\":\"none\"}",
    ] {
        ask(&daemon, mint, &[KEY, JSON], body).assert_problem(400, "bad_request");
    }
    let long = format!("{{\"subject\":\"{}\"}}", "x".repeat(129));
    ask(&daemon, mint, &[KEY, JSON], &long).assert_problem(400, "bad_request");
    for body in ["{\"room\":7}", "{\"sub\":null}", "{\"meta\":[]}", "{\"ice\":{\"policy\":\"none\"}}"] {
        ask(&daemon, "POST /v1/tokens", &[KEY, JSON], body).assert_problem(400, "bad_request");
    }
}

#[test]
fn a_key_has_a_budget_and_is_told_when_to_come_back() {
    let daemon = Daemon::start(FLAGS);
    let mut stream = TcpStream::connect(daemon.addr("http")).unwrap();
    let one = b"POST /v1/credentials HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer mint-key\r\n\r\n";
    let mut last = request("POST /v1/credentials", &[("Authorization", "Bearer mint-key")], "");
    let mut all = one.repeat(2000);
    all.append(&mut last);
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&all).unwrap());
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    writing.join().unwrap();
    let fine = text.matches("HTTP/1.1 200 OK").count();
    let refused = text.matches("HTTP/1.1 429 Too Many Requests").count();
    assert_eq!(fine + refused, 2001);
    assert!(fine >= 200 && refused > 0, "{fine} {refused}");
    assert_eq!(text.matches("retry-after: 1\r\n").count(), refused);
    assert_eq!(text.matches("\"code\":\"rate_limited\"").count(), refused);
    assert_eq!(ask(&daemon, "POST /v1/credentials", &[KEY], "").status, 200);
}

#[test]
fn pages_of_allowed_origins_alone_may_call() {
    let daemon = Daemon::start(FLAGS);
    let mint = "POST /v1/credentials";
    for good in ["https://app.example", "https://turn.example"] {
        let answer = ask(&daemon, mint, &[KEY, ("Origin", good)], "");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(good));
        assert_eq!(answer.header("vary"), Some("Origin"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        let refused = ask(&daemon, mint, &[("Origin", good)], "");
        refused.assert_problem(401, "unauthorized");
        assert_eq!(refused.header("access-control-allow-origin"), Some(good));
        let preflight = [("Origin", good), ("Access-Control-Request-Method", "POST")];
        let answer = ask(&daemon, "OPTIONS /v1/credentials", &preflight, "");
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        assert_eq!(answer.header("access-control-allow-origin"), Some(good));
        let allowed = answer.header("access-control-allow-headers");
        assert_eq!(allowed, Some("Authorization, Content-Type, Last-Event-ID"));
    }
    for foreign in ["https://evil.example", "null", "http://app.example", "https://turn.example:8443"] {
        let answer = ask(&daemon, mint, &[KEY, ("Origin", foreign)], "");
        answer.assert_problem(403, "forbidden");
        assert_eq!(answer.header("access-control-allow-origin"), None);
        let preflight = [("Origin", foreign), ("Access-Control-Request-Method", "POST")];
        ask(&daemon, "OPTIONS /v1/credentials", &preflight, "").assert_problem(403, "forbidden");
    }
}

#[test]
fn credentials_come_in_both_shapes_and_are_not_cached() {
    // T-REST-2.2-01, T-REST-2.2-02
    let daemon = Daemon::start(FLAGS);
    let body = r#"{"subject":"bob","ttl":60,"policy":"relay","later":true}"#;
    let before = clock::unix_now();
    let answer = ask(&daemon, "POST /v1/credentials", &[KEY, JSON], body);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let minted = answer.json();
    let expires_at = minted["expires_at"].as_u64().unwrap();
    assert!((before + 60..=clock::unix_now() + 60).contains(&expires_at));
    assert_eq!((&minted["ttl"], &minted["policy"]), (&json!(60), &json!("relay")));
    assert_eq!(minted["username"], json!(format!("{expires_at}:bob")));
    let port = daemon.addr("udp").port();
    let urls = json!([
        format!("stun:127.0.0.1:{port}"),
        format!("turn:127.0.0.1:{port}?transport=udp"),
        format!("turn:127.0.0.1:{port}?transport=tcp"),
    ]);
    assert_eq!(minted["uris"], urls);
    let server = json!({"urls": urls, "username": minted["username"], "credential": minted["password"]});
    assert_eq!(minted["iceServers"], json!([server]));

    let capped = ask(&daemon, "POST /v1/credentials", &[KEY, JSON], r#"{"ttl":99999999999}"#).json();
    assert_eq!(capped["ttl"], json!(86_400));
    let usual = ask(&daemon, "POST /v1/credentials", &[KEY], "").json();
    assert_eq!((&usual["ttl"], &usual["policy"]), (&json!(3600), &Value::Null));
    assert_ne!(usual["username"], ask(&daemon, "POST /v1/credentials", &[KEY], "").json()["username"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minted_credential_makes_an_allocation() {
    let daemon = Daemon::start(FLAGS);
    let minted = ask(&daemon, "POST /v1/credentials", &[KEY, JSON], r#"{"subject":"bob"}"#).json();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let [username, password] = ["username", "password"].map(|name| minted[name].as_str().unwrap());
    let client = turn_client(daemon.addr("udp"), socket, username, password).await;
    let relay = client.allocate().await.unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    relay.send_to(b"through", peer.local_addr().unwrap()).await.unwrap();
    let mut buffer = [0; 100];
    let (len, from) = peer.recv_from(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..len], from), (b"through".as_slice(), relay.local_addr().unwrap()));
    client.close().await.unwrap();
}

#[test]
fn a_minted_token_verifies_and_says_what_was_asked() {
    let daemon = Daemon::start(FLAGS);
    let body = r#"{"sub":"ann","room":["tea","lab-*"],"perm":["join"],"meta":{"name":"Ann"},"max_peers":2,
        "ice":{"policy":"relay","ttl":60},"ttl":120,"exp":1}"#;
    let answer = ask(&daemon, "POST /v1/tokens", &[KEY, JSON], body);
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    let answer = answer.json();
    let keys = TokenKeys::new([(Some("2026"), b"0123456789abcdef0123456789abcdef".as_slice())]);
    let token = keys.verify(answer["token"].as_str().unwrap(), clock::unix_now()).unwrap();
    assert_eq!(json!(token.exp), answer["expires_at"]);
    assert!(token.opens("lab-1") && token.perm.join && !token.perm.send);
    assert_eq!((token.sub.as_deref(), token.meta.as_str()), (Some("ann"), r#"{"name":"Ann"}"#));
    assert_eq!((token.max_peers, token.ice.ttl), (Some(2), Some(60)));
}

#[test]
fn keys_made_on_first_start_open_everything() {
    let flags =
        ["--listen=127.0.0.1:0", "--http=127.0.0.1:0", "--relay-address=127.0.0.1", "--log-level=trace"];
    let daemon = Daemon::start(&flags);
    let key = fs::read_to_string(daemon.state().join("api-key")).unwrap();
    let bearer = format!("Bearer {}", key.trim());
    for path in ["/v1/credentials", "/v1/tokens"] {
        let answer = ask(&daemon, &format!("POST {path}"), &[("Authorization", &bearer)], "");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let secret = fs::read_to_string(daemon.state().join("token-secret")).unwrap();
    let (_, log) = daemon.stop();
    assert!(!log.contains(key.trim()) && !log.contains(secret.trim()), "{log}");
}

#[test]
fn every_documented_path_answers() {
    let daemon = Daemon::start(FLAGS);
    let document = ask(&daemon, "GET /openapi.json", &[], "");
    assert_eq!(document.header("content-type"), Some("application/json"));
    for (path, item) in document.json()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            let line = format!(
                "{} {}",
                method.to_uppercase(),
                path.replace("{room}", "tea").replace("{file}", "demo.js")
            );
            let status = ask(&daemon, &line, &[], "").status;
            let expected = match line.as_str() {
                "GET /client.d.ts" | "GET /client.js" | "GET /healthz" | "GET /openapi.json"
                | "GET /readyz" => 200,
                "GET /demo" | "GET /demo/" | "GET /demo/demo.js" => 404,
                "GET /favicon.ico" => 204,
                "GET /v1/ws" => 426,
                "POST /v1/session" => 400,
                _ => 401,
            };
            assert_eq!(status, expected, "{line}");
            assert!(operation["responses"][status.to_string()].is_object(), "{line}");
        }
    }
}

#[test]
fn the_demo_is_served_where_it_is_asked_for() {
    let plain = Daemon::start(FLAGS);
    for path in ["/demo", "/demo/", "/demo/demo.css"] {
        ask(&plain, &format!("GET {path}"), &[], "").assert_problem(404, "not_found");
        ask(&plain, &format!("POST {path}"), &[], "").assert_problem(404, "not_found");
    }
    let demo = Daemon::start(DEMO);
    demo.wait_for_log("signaling is open");
    let page = ask_local(&demo, "GET /demo/", &[]);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.body.starts_with("<!doctype html>") && page.header("content-security-policy").is_some());
    let head = ask_local(&demo, "HEAD /demo/", &[]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), page.header("content-length"));
    let tag = page.header("etag").unwrap();
    let known = ask_local(&demo, "GET /demo/", &[("If-None-Match", tag)]);
    assert_eq!((known.status, known.body.as_str(), known.header("etag")), (304, "", Some(tag)));
    let way = ask_local(&demo, "GET /demo", &[]);
    assert_eq!((way.status, way.header("location")), (307, Some("demo/")));
    ask_local(&demo, "GET /demo/nothing", &[]).assert_problem(404, "not_found");
    let refused = ask_local(&demo, "POST /demo/", &[]);
    refused.assert_problem(405, "unsupported");
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    let library = ask_local(&demo, "GET /client.js", &[("Origin", "https://other.example")]);
    assert_eq!((library.status, library.header("access-control-allow-origin")), (200, Some("*")));
}

const DEMO: &[&str] = &["--listen=127.0.0.1:0", "--http=127.0.0.1:0", "--relay-address=127.0.0.1", "--demo"];

/// Asks as a browser on this host does.
fn ask_local(daemon: &Daemon, line: &str, headers: &[(&str, &str)]) -> Answer {
    let request = String::from_utf8(request(line, headers, "")).unwrap();
    let mut stream = TcpStream::connect(daemon.addr("http")).unwrap();
    exchange(&mut stream, request.replace("turn.example", "localhost:8080").as_bytes())
}

#[test]
fn a_demo_on_this_host_answers_no_name_that_somebody_else_may_point_here() {
    let demo = Daemon::start(DEMO);
    for path in ["/demo/", "/v1/ws", "/healthz"] {
        let own = [("Origin", "http://turn.example")];
        ask(&demo, &format!("GET {path}"), &own, "").assert_problem(403, "forbidden");
    }
    assert_eq!(ask_local(&demo, "GET /healthz", &[]).status, 200);
    let public = Daemon::start(&[&DEMO[..3], &["--demo-public"]].concat());
    assert_eq!(ask(&public, "GET /demo/", &[], "").status, 200);
}

/// The bytes of one HTTP/2 frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
    bytes.extend_from_slice(payload);
    bytes
}

/// Asks for `/healthz` over HTTP/2 and returns the first byte of the answer's header block.
fn ask_h2(stream: &mut (impl Read + Write)) -> u8 {
    let mut block = vec![0x82, 0x86, 0x04, 8];
    block.extend_from_slice(b"/healthz");
    block.extend_from_slice(&[0x01, 1, b'a']);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(0x4, 0, 0, &[]));
    bytes.extend(frame(0x1, 0x5, 1, &block));
    stream.write_all(&bytes).unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).unwrap();
        if head[3] == 0x1 {
            return payload[0];
        }
    }
}

/// Index of `:status: 200` in the static table (RFC 7541 appendix A).
const STATUS_200: u8 = 0x88;

#[test]
fn http_2_is_spoken_with_prior_knowledge() {
    let daemon = Daemon::start(FLAGS);
    let mut stream = TcpStream::connect(daemon.addr("http")).unwrap();
    assert_eq!(ask_h2(&mut stream), STATUS_200);
}

fn tls(daemon: &Daemon, protocols: &[&str]) -> StreamOwned<ClientConnection, TcpStream> {
    let pem = CertificateDer::pem_file_iter(daemon.state().join("self-signed.pem")).unwrap();
    support::tls::connect(daemon.addr("https"), pem.map(Result::unwrap), protocols)
}

#[test]
fn one_tls_port_serves_http_of_both_versions_and_turn() {
    let daemon = Daemon::start(&[FLAGS, &["--https=127.0.0.1:0", "--tls-self-signed"]].concat());
    for protocols in [&["http/1.1"][..], &[]] {
        let answer = exchange(&mut tls(&daemon, protocols), &request("GET /healthz", &[], ""));
        assert_eq!(answer.status, 200);
    }
    let mut stream = tls(&daemon, &["h2", "http/1.1"]);
    assert_eq!(ask_h2(&mut stream), STATUS_200);
    assert_eq!(stream.conn.alpn_protocol(), Some(b"h2".as_slice()));
    for protocols in [&["stun.turn"][..], &["stun.nat-discovery"], &[]] {
        let mut stream = tls(&daemon, protocols);
        stream.write_all(&message(Class::Request, Method::BINDING, &[], None)).unwrap();
        let mut head = [0; 20];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[..2], [0x01, 0x01], "{protocols:?}");
    }
    let minted = ask(&daemon, "POST /v1/credentials", &[KEY], "").json();
    let turns = format!("turns:127.0.0.1:{}?transport=tcp", daemon.addr("https").port());
    assert!(minted["uris"].as_array().unwrap().contains(&json!(turns)), "{minted}");
}

#[test]
fn plain_http_is_served_on_no_other_port() {
    let daemon = Daemon::start(FLAGS);
    for (address, bytes) in [
        (daemon.addr("tcp"), request("GET /healthz", &[], "")),
        (daemon.addr("http"), message(Class::Request, Method::BINDING, &[], None)),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        // A connection that is closed with bytes unread ends with a reset.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty());
    }
}

fn message(class: Class, method: Method, attributes: &[Attribute<'_>], nonce: Option<&[u8]>) -> Vec<u8> {
    let mut buffer = vec![0; 1500];
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let id = TransactionId([NEXT.fetch_add(1, Ordering::Relaxed); 12]);
    let mut builder = Builder::new(&mut buffer, class, method, id);
    for attribute in attributes {
        builder.attribute(attribute);
    }
    if let Some(nonce) = nonce {
        let key = LongTermKey::derive("ann", "test", "secret").unwrap();
        builder
            .attribute(&Attribute::Username(b"ann"))
            .attribute(&Attribute::Realm(b"test"))
            .attribute(&Attribute::Nonce(nonce))
            .integrity(key.as_bytes());
    }
    let len = builder.finish().unwrap();
    buffer.truncate(len);
    buffer
}

#[test]
fn no_relay_reaches_the_port_of_http() {
    let daemon = Daemon::start(FLAGS);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(daemon.addr("udp")).unwrap();
    let exchange = |bytes: &[u8]| {
        socket.send(bytes).unwrap();
        let mut buffer = vec![0; 1500];
        let len = socket.recv(&mut buffer).unwrap();
        buffer.truncate(len);
        buffer
    };
    let transport = [Attribute::RequestedTransport(17)];
    let challenge = exchange(&message(Class::Request, Method::ALLOCATE, &transport, None));
    let nonce = Message::parse(&challenge).unwrap().value(AttributeType::NONCE).unwrap().to_vec();
    let allocated = exchange(&message(Class::Request, Method::ALLOCATE, &transport, Some(&nonce)));
    assert_eq!(Message::parse(&allocated).unwrap().class(), Class::Success);
    let bind = |peer: SocketAddr| {
        let wanted = [Attribute::ChannelNumber(0x4000), Attribute::XorPeerAddress(peer)];
        let answer = exchange(&message(Class::Request, Method::CHANNEL_BIND, &wanted, Some(&nonce)));
        let answer = Message::parse(&answer).unwrap();
        (answer.class(), answer.value(AttributeType::ERROR_CODE).map(|code| (code[2], code[3])))
    };
    assert_eq!(bind(daemon.addr("http")), (Class::Error, Some((4, 3))));
    let free = SocketAddr::new(daemon.addr("http").ip(), 9);
    assert_eq!(bind(free).0, Class::Success);
}

fn send(daemon: &Daemon, call: &Call) -> Answer {
    let headers: Vec<_> = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    ask(daemon, &call.line, &headers, &call.body)
}

/// Replaces what differs from run to run, so that two documents can be compared.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(_) => json!(0),
        Value::String(_) => json!(""),
    }
}

#[test]
fn the_examples_of_the_document_answer_as_it_says() {
    let daemon = Daemon::start(FLAGS);
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md")).unwrap();
    let mut examples = text.split("\n```sh\n").skip(1).peekable();
    assert!(examples.peek().is_some());
    for example in examples {
        let (command, after) = example.split_once("\n```\n").unwrap();
        let answer = send(&daemon, &curl(command, &[("KEY", "usual-key")]));
        let shown = after.trim_start().strip_prefix("```json\n").and_then(|rest| rest.split_once("\n```"));
        match shown {
            Some((shown, _)) => {
                let shown: Value = serde_json::from_str(shown).unwrap();
                assert_eq!(shape(&answer.json()), shape(&shown), "{command}");
                assert_eq!(u64::from(answer.status), shown["status"].as_u64().unwrap_or(200), "{command}");
            }
            None => assert!(after.contains(&format!("`{}`", answer.body.trim())), "{command}"),
        }
    }
    for code in ["400", "401", "403", "404", "405", "408", "413", "415", "429", "503"] {
        assert!(text.contains(&format!("| {code} | `")), "{code}");
    }
}
