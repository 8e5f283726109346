//! What hostile and broken clients get, while a call on the same server goes on.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![allow(clippy::disallowed_methods, reason = "a test has real time limits")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use support::http::{exchange, request};
use support::socket::{Socket, connect, try_open, upgrade};
use support::token::{sign, token};
use support::{Daemon, turn_client};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use turnpike::net::clock;
use webrtc_util::Conn;

const FLAGS: &[&str] = &[
    "--listen=127.0.0.1:0",
    "--http=127.0.0.1:0",
    "--relay-address=127.0.0.1",
    "--allow-peer=127.0.0.0/8",
    "--realm=test",
    "--user=static:secret",
    "--token-secret=0123456789abcdef0123456789abcdef",
];
const JSON: (&str, &str) = ("Content-Type", "application/json");
/// Where the call comes from: attackers elsewhere take nothing from its budgets.
const CALLERS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);
/// Between two rounds of the call, within the usual rate of a session.
const PACE: Duration = Duration::from_millis(40);
/// No round of a call that goes on takes longer, on a machine however busy.
const PATIENCE: Duration = Duration::from_secs(5);

fn start(more: &[&str]) -> (Daemon, Call) {
    let daemon = Daemon::start(&[FLAGS, more].concat());
    let call = Call::start(&daemon);
    (daemon, call)
}

fn enter(daemon: &Daemon, room: &str) -> Socket {
    let (mut socket, _) = Socket::hello(daemon, json!({"token": token(json!({}))}));
    socket.join(room);
    socket
}

/// Two sessions that signal to each other, and a relayed stream between a client and a peer.
struct Call {
    progress: Arc<Progress>,
    threads: [JoinHandle<()>; 2],
}

/// How far a call has come.
#[derive(Default)]
struct Progress {
    is_over: AtomicBool,
    signals: AtomicUsize,
    packets: AtomicUsize,
}

impl Call {
    fn start(daemon: &Daemon) -> Call {
        let [mut ann, mut bo] = [(); 2].map(|()| {
            let mut socket = Socket::open_on(daemon, connect(daemon, CALLERS, None));
            let welcome = socket.greet(json!({"token": token(json!({}))}));
            socket.join("call");
            (socket, welcome["peer"].clone())
        });
        let progress = Arc::new(Progress::default());
        let signals = thread::spawn({
            let progress = Arc::clone(&progress);
            move || {
                while !progress.is_over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let round = progress.signals.load(Ordering::Relaxed);
                    signal(&mut ann.0, &mut bo, round);
                    signal(&mut bo.0, &mut ann, round);
                    assert!(begun.elapsed() < PATIENCE, "round {round} took {:?}", begun.elapsed());
                    progress.signals.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(PACE);
                }
            }
        });
        let server = daemon.addr("udp");
        let relay = thread::spawn({
            let progress = Arc::clone(&progress);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            move || runtime.block_on(relay(server, &progress))
        });
        let call = Call { progress, threads: [signals, relay] };
        call.wait_for_rounds(1);
        call
    }

    /// Ends the call, which has noticed nothing and goes on still.
    fn went_on(self) {
        self.wait_for_rounds(2);
        self.progress.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn wait_for_rounds(&self, rounds: usize) {
        let done = || [&self.progress.signals, &self.progress.packets].map(|one| one.load(Ordering::Relaxed));
        let before = done();
        while done().iter().zip(before).any(|(now, before)| *now < before + rounds) {
            assert!(!self.threads.iter().any(JoinHandle::is_finished), "the call broke off");
            thread::sleep(PACE);
        }
    }
}

fn signal(from: &mut Socket, to: &mut (Socket, Value), round: usize) {
    let reply = from.ask(json!({"t": "signal", "room": "call", "to": to.1, "kind": "custom", "pc": "p",
        "gen": 1, "data": round}));
    assert_eq!((&reply["t"], &reply["delivered"]), (&json!("ok"), &json!(true)), "{reply}");
    assert_eq!(to.0.hear_of("signal")["data"], json!(round));
}

async fn relay(server: SocketAddr, progress: &Progress) {
    let socket = UdpSocket::bind((CALLERS, 0)).await.unwrap();
    let client = turn_client(server, socket, "static", "secret").await;
    let conn = client.allocate().await.unwrap();
    let relayed = conn.local_addr().unwrap();
    let peer = UdpSocket::bind((CALLERS, 0)).await.unwrap();
    let mut buffer = [0; 1500];
    while !progress.is_over.load(Ordering::Relaxed) {
        let round = progress.packets.load(Ordering::Relaxed);
        let payload = format!("packet {round}");
        let there_and_back = async {
            conn.send_to(payload.as_bytes(), peer.local_addr().unwrap()).await.unwrap();
            let (len, from) = peer.recv_from(&mut buffer).await.unwrap();
            assert_eq!((&buffer[..len], from), (payload.as_bytes(), relayed));
            peer.send_to(payload.as_bytes(), relayed).await.unwrap();
            let (len, _) = conn.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..len], payload.as_bytes());
        };
        timeout(PATIENCE, there_and_back).await.unwrap();
        progress.packets.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PACE).await;
    }
    client.close().await.unwrap();
}

#[test]
fn a_stalled_reader_is_closed_with_4001_and_memory_stays_flat() {
    let (daemon, call) = start(&["--signal-rate=0", "--signal-rate-per-ip=0", "--signal-bytes=0"]);
    let mut sender = enter(&daemon, "busy");
    let mut stalled = Socket::open_on(&daemon, connect(&daemon, Ipv4Addr::new(127, 0, 0, 2), Some(4 << 10)));
    let welcome = stalled.greet(json!({"token": token(json!({}))}));
    stalled.join("busy");
    let before = daemon.resident();
    let data = "x".repeat(60_000);
    let mut is_away = false;
    let mut speak = |times: usize| {
        for _ in 0..times {
            let id = sender.request(json!({"t": "send", "room": "busy", "data": data}));
            loop {
                let message = sender.hear();
                is_away |= message["t"] == "peer-status" && message["online"] == json!(false);
                if message["re"] == json!(id) {
                    break;
                }
            }
            if is_away {
                return true;
            }
        }
        false
    };
    assert!(speak(2000));
    speak(500);
    let (code, bye) = stalled.closed();
    assert_eq!((code, &bye.unwrap()["reason"]), (4001, &json!("slow_consumer")));
    let grown = daemon.resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    // The session waits, and is told that it missed something.
    let hello = json!({"resume": welcome["resume"], "last_seq": 1});
    let (_stalled, again) = Socket::hello(&daemon, hello);
    assert_eq!((&again["resumed"], &again["gap"]), (&json!(true), &json!(true)), "{again}");
    call.went_on();
}

#[test]
fn a_frame_of_a_mebibyte_is_too_big() {
    let (daemon, call) = start(&[]);
    for _ in 0..20 {
        let mut socket = enter(&daemon, "big");
        socket.ws.send(Message::text("x".repeat(1 << 20))).unwrap();
        assert_eq!(socket.closed().0, 1009);
    }
    call.went_on();
}

#[test]
fn a_flood_of_fragments_is_too_big() {
    let (daemon, call) = start(&[]);
    let mut socket = enter(&daemon, "fragments");
    for sent in 0..70_000 {
        let kind = if sent == 0 { Data::Text } else { Data::Continue };
        socket.ws.write(Message::Frame(Frame::message("x", OpCode::Data(kind), false))).unwrap();
    }
    socket.ws.flush().unwrap();
    assert_eq!(socket.closed().0, 1009);
    call.went_on();
}

#[test]
fn fragments_without_a_byte_are_no_sign_of_life() {
    let (daemon, call) = start(&["--ping-interval=500ms"]);
    let mut socket = enter(&daemon, "fragments");
    socket.ws.send(Message::Frame(Frame::message("x", OpCode::Data(Data::Text), false))).unwrap();
    let mut stream = socket.ws.get_ref().try_clone().unwrap();
    let flood = thread::spawn(move || {
        let frames = [0x00, 0x80, 1, 2, 3, 4].repeat(1000);
        while stream.write_all(&frames).is_ok() {}
    });
    assert_eq!(socket.closed().0, 4002);
    flood.join().unwrap();
    call.went_on();
}

#[test]
fn text_that_is_not_utf_8_is_refused_in_one_frame_and_in_two() {
    let (daemon, call) = start(&[]);
    let text = |bytes: &'static [u8], kind, is_final| {
        Message::Frame(Frame::message(bytes, OpCode::Data(kind), is_final))
    };
    let mut socket = enter(&daemon, "utf-8");
    socket.ws.send(text(b"{\"t\":\"\xff\"}", Data::Text, true)).unwrap();
    assert_eq!(socket.closed().0, 1007);
    let mut socket = enter(&daemon, "utf-8");
    socket.ws.send(text(b"{\"t\":\"\xc3", Data::Text, false)).unwrap();
    socket.ws.send(text(b"\"}", Data::Continue, true)).unwrap();
    assert_eq!(socket.closed().0, 1007);
    call.went_on();
}

#[test]
fn what_is_no_request_is_answered_without_re_and_changes_nothing() {
    let (daemon, call) = start(&[]);
    let mut socket = enter(&daemon, "misuse");
    let nested = |depth: usize| {
        format!(r#"{{"t":"send","id":2,"room":"misuse","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))
    };
    let refused = [
        ("bad_request", nested(64)),
        ("bad_request", nested(30_000)),
        ("bad_request", format!(r#"{{"t":{}"#, "[".repeat(30_000))),
        ("bad_request", r#"{"t":"leave","id":2,"room":"misuse","room":"misuse"}"#.to_owned()),
        ("bad_request", r#"{"t":"hello"}"#.to_owned()),
        ("bad_request", r#"{"t":"leave","room":"misuse"}"#.to_owned()),
        ("bad_request", r#"{"t":"leave","id":2.5,"room":"misuse"}"#.to_owned()),
        ("bad_request", r#"["leave"]"#.to_owned()),
        ("bad_request", "not JSON".to_owned()),
        ("conflict", r#"{"t":"leave","id":4,"room":"misuse"}"#.to_owned()),
        ("conflict", format!(r#"{{"t":"leave","id":{},"room":"misuse"}}"#, u64::MAX)),
    ];
    for (code, text) in refused {
        socket.ws.send(Message::text(text.clone())).unwrap();
        let error = socket.hear();
        assert_eq!((&error["t"], &error["code"]), (&json!("error"), &json!(code)), "{text:.80}");
        assert!(error.get("re").is_none(), "{error}");
    }
    socket.ws.send(Message::binary(vec![0; 1000])).unwrap();
    assert_eq!(socket.hear()["code"], "unsupported");
    assert_eq!(socket.ask(json!({"t": "leave", "room": "misuse"}))["t"], "ok");
    call.went_on();
}

#[test]
fn ten_thousand_joins_and_leaves_at_once_are_limited_and_then_closed() {
    let (daemon, call) = start(&[]);
    let mut socket = enter(&daemon, "joins");
    let begun = Instant::now();
    for n in 0..5000 {
        for t in ["join", "leave"] {
            let id = 2 * n + if t == "join" { 2 } else { 3 };
            let text = json!({"t": t, "id": id, "room": "flood"}).to_string();
            // The server hangs up in the midst of it.
            let _ = socket.ws.write(Message::text(text));
        }
    }
    let _ = socket.ws.flush();
    let (mut applied, mut limited) = (0, 0);
    let code = loop {
        match socket.ws.read().unwrap() {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                let is_limited = message["code"] == "rate_limited";
                assert!(!is_limited || message["retry_ms"].as_u64() > Some(0), "{message}");
                limited += usize::from(is_limited);
                applied += usize::from(message["t"] == "joined" || message["t"] == "ok");
            }
            Message::Close(frame) => break u16::from(frame.unwrap().code),
            Message::Binary(_) | Message::Frame(_) | Message::Ping(_) | Message::Pong(_) => {}
        }
    };
    assert_eq!(code, 4004);
    let most = 200 + 50 * (begun.elapsed().as_secs() as usize + 1);
    assert!(applied >= 100 && applied <= most, "{applied} of at most {most}");
    assert!(limited >= 100 && limited <= most, "{limited} of at most {most}");
    call.went_on();
}

#[test]
fn a_flood_of_pings_is_closed() {
    let (daemon, call) = start(&[]);
    let mut socket = enter(&daemon, "pings");
    for _ in 0..1000 {
        let _ = socket.ws.write(Message::Ping(vec![0; 125].into()));
    }
    let _ = socket.ws.flush();
    assert_eq!(socket.closed().0, 4004);
    call.went_on();
}

#[test]
fn a_session_is_in_64_rooms_and_no_more() {
    let (daemon, call) = start(&[]);
    let mut socket = enter(&daemon, "0");
    for room in 1..64 {
        socket.join(&room.to_string());
    }
    assert_eq!(socket.ask(json!({"t": "join", "room": "64"}))["code"], "limit_reached");
    assert_eq!(socket.ask(json!({"t": "leave", "room": "0"}))["t"], "ok");
    socket.join("64");
    call.went_on();
}

#[test]
fn a_foreign_origin_is_forbidden_before_the_upgrade() {
    let (daemon, call) = start(&[]);
    let host = daemon.addr("http");
    for (origin, status) in [
        ("https://evil.example".to_owned(), Some(403)),
        ("null".to_owned(), Some(403)),
        (format!("http://{host}.evil.example"), Some(403)),
        (format!("http://{host}"), None),
    ] {
        let mut request = upgrade(&daemon, "/v1/ws", "signal.v1.json");
        request.headers_mut().insert("origin", origin.parse().unwrap());
        assert_eq!(try_open(&daemon, request).err(), status, "{origin}");
    }
    call.went_on();
}

#[test]
fn expired_forged_and_unsigned_tokens_are_refused_on_both_carriers() {
    let (daemon, call) = start(&[]);
    let good = token(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let header = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let admin = BASE64_URL_SAFE_NO_PAD.encode(json!({"sub": "root", "exp": u32::MAX}).to_string());
    let none = header(r#"{"alg":"none","typ":"JWT"}"#);
    let refused = [
        ("token_expired", 4502, token(json!({"exp": clock::unix_now() - 1}))),
        ("unauthorized", 4501, sign("another secret of thirty-two byte", json!({}))),
        ("unauthorized", 4501, format!("{none}.{}.", parts[1])),
        ("unauthorized", 4501, format!("{none}.{}.{}", parts[1], parts[2])),
        ("unauthorized", 4501, format!("{}.{}.{}", header(r#"{"alg":"RS256"}"#), parts[1], parts[2])),
        ("unauthorized", 4501, format!("{}.{admin}.{}", parts[0], parts[2])),
        ("unauthorized", 4501, format!("{}.{}", parts[0], parts[1])),
        ("unauthorized", 4501, "x".repeat(5000)),
    ];
    for (code, close, bad) in &refused {
        let mut socket = Socket::open(&daemon);
        socket.say(&json!({"t": "hello", "token": bad}));
        let (closed, bye) = socket.closed();
        assert_eq!((closed, &bye.unwrap()["reason"]), (*close, &json!(code)), "{bad:.60}");
        let hello = json!({"t": "hello", "token": bad}).to_string();
        let mut stream = TcpStream::connect(daemon.addr("http")).unwrap();
        exchange(&mut stream, &request("POST /v1/session", &[JSON], &hello)).assert_problem(401, code);
        let mut socket = enter(&daemon, "tea");
        assert_eq!(socket.ask(json!({"t": "join", "room": "milk", "token": bad}))["code"], **code);
        assert_eq!(socket.ask(json!({"t": "refresh", "token": bad}))["code"], **code);
        socket.join("coffee");
    }
    let mut socket = Socket::open(&daemon);
    socket.say(&json!({"t": "hello"}));
    assert_eq!(socket.closed().0, 4501);
    call.went_on();
}

#[test]
fn half_of_a_head_half_of_a_body_and_silence_end_in_time() {
    let (daemon, call) = start(&[]);
    let attacker = Ipv4Addr::new(127, 0, 0, 3);
    let half = |text: &str| {
        let mut stream = connect(&daemon, attacker, None);
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let heads: Vec<TcpStream> =
        (0..200).map(|_| half("GET /v1/ws HTTP/1.1\r\nHost: turn.example\r\nUpgrade: webso")).collect();
    let post = "POST /v1/session HTTP/1.1\r\nHost: turn.example\r\nContent-Type: application/json\r\n";
    let known = half(&format!("{post}Content-Length: 1000\r\n\r\n{{\"t\":"));
    let chunked = half(&format!("{post}Transfer-Encoding: chunked\r\n\r\n5\r\n{{\"t\":\r\n"));
    let silent = Socket::open_on(&daemon, connect(&daemon, attacker, None));
    // A client that comes while all these are open is served.
    enter(&daemon, "tea");
    assert_eq!(silent.closed().0, 4503);
    for mut head in heads {
        let mut answer = Vec::new();
        head.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    for mut body in [known, chunked] {
        exchange(&mut body, b"").assert_problem(408, "timeout");
    }
    call.went_on();
}

#[test]
fn a_body_over_the_limit_is_refused_whether_or_not_its_length_is_told() {
    let (daemon, call) = start(&[]);
    let hello = format!(r#"{{"t":"hello","sdk":"{}"}}"#, "x".repeat(70_000));
    let mut stream = connect(&daemon, Ipv4Addr::LOCALHOST, None);
    exchange(&mut stream, &request("POST /v1/session", &[JSON], &hello)).assert_problem(413, "too_large");
    let head = "POST /v1/session HTTP/1.1\r\nHost: turn.example\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut text = head.to_owned();
    for _ in 0..70 {
        text.push_str(&format!("3e8\r\n{}\r\n", "x".repeat(1000)));
    }
    let mut stream = connect(&daemon, Ipv4Addr::LOCALHOST, None);
    exchange(&mut stream, text.as_bytes()).assert_problem(413, "too_large");
    call.went_on();
}
