//! Signaling over real sockets: both carriers, the feed, and what a session means to the relay.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::net::TcpStream;

use serde_json::{Value, json};
use support::events::Events;
use support::http::{Answer, exchange, request};
use support::socket::{Socket, try_open, upgrade};
use support::token::token;
use support::{Daemon, turn_client};
use tokio::net::UdpSocket;
use turnpike::net::clock;

const PROTOCOL: &str = "signal.v1.json";
const FLAGS: &[&str] = &[
    "--listen=127.0.0.1:0",
    "--http=127.0.0.1:0",
    "--relay-address=127.0.0.1",
    "--allow-peer=127.0.0.0/8",
    "--realm=test",
    "--user=static:secret",
    "--unauthenticated-rate=0",
    "--api-key=usual-key",
    "--api-key=mint@mint-key",
    "--token-secret=0123456789abcdef0123456789abcdef",
    "--allow-origin=https://app.example",
    "--workers=4",
];

fn start(more: &[&str]) -> Daemon {
    Daemon::start(&[FLAGS, more].concat())
}

fn enter(daemon: &Daemon, room: &str, claims: Value) -> (Socket, Value) {
    let (mut socket, welcome) = Socket::hello(daemon, json!({"token": token(claims)}));
    socket.join(room);
    (socket, welcome)
}

fn ask(daemon: &Daemon, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(daemon.addr("http")).unwrap();
    exchange(&mut stream, &request(line, headers, body))
}

const JSON: (&str, &str) = ("Content-Type", "application/json");
const KEY: (&str, &str) = ("Authorization", "Bearer usual-key");

#[test]
fn two_clients_meet_in_a_room_and_negotiate() {
    let daemon = start(&[]);
    let (mut ann, ann_welcome) = enter(&daemon, "tea", json!({"meta": {"name": "Ann"}}));
    let (mut bo, bo_welcome) = Socket::hello(&daemon, json!({"token": token(json!({"sub": "bo"}))}));
    let joined = bo.join("tea");
    let peer = json!({"peer": ann_welcome["peer"], "uid": "ann", "meta": {"$name": "Ann"}, "ord": 1,
        "polite": true, "initiate": true, "online": true});
    assert_eq!(joined["peers"], json!([peer]));
    assert_eq!(ann.hear_of("peer-joined")["peer"], bo_welcome["peer"]);
    let offer = json!({"t": "signal", "room": "tea", "to": ann_welcome["peer"], "kind": "offer", "pc": "p",
        "gen": 1, "data": {"sdp": "v=0"}});
    assert_eq!(bo.ask(offer)["delivered"], json!(true));
    let signal = ann.hear_of("signal");
    assert_eq!((&signal["from"], &signal["data"]["sdp"]), (&bo_welcome["peer"], &json!("v=0")));
    bo.ws.get_mut().shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(ann.hear_of("peer-status")["online"], json!(false));
}

#[test]
fn an_upgrade_is_refused_with_a_status_of_its_own() {
    let daemon = start(&[]);
    let refused = |protocols: &str, headers: &[(&'static str, &str)]| {
        let mut request = upgrade(&daemon, "/v1/ws", protocols);
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        try_open(&daemon, request).map(|_| ()).unwrap_err()
    };
    assert_eq!(refused("", &[]), 400);
    assert_eq!(refused("signal.v2.json, bearer.x", &[]), 400);
    assert_eq!(refused(PROTOCOL, &[("origin", "https://evil.example")]), 403);
    assert_eq!(refused(PROTOCOL, &[("origin", "null")]), 403);
    assert_eq!(refused(PROTOCOL, &[("sec-websocket-version", "12")]), 426);
    assert_eq!(refused(PROTOCOL, &[("sec-websocket-key", "c2hvcnQ=")]), 400);
    assert_eq!(ask(&daemon, "GET /v1/ws", &[], "").status, 426);
    assert_eq!(ask(&daemon, "POST /v1/ws", &[], "").status, 405);
}

#[test]
fn the_token_may_come_as_a_protocol_and_the_protocol_is_echoed_alone() {
    let daemon = start(&[]);
    let mut request = upgrade(&daemon, "/v1/ws", &format!("{PROTOCOL}, bearer.{}", token(json!({}))));
    request.headers_mut().insert("origin", "https://app.example".parse().unwrap());
    let (mut socket, response) = try_open(&daemon, request).unwrap_or_else(|status| panic!("{status}"));
    assert_eq!(response.headers()["sec-websocket-protocol"], PROTOCOL);
    assert!(response.headers().get("sec-websocket-extensions").is_none());
    socket.say(&json!({"t": "hello"}));
    assert_eq!(socket.hear()["uid"], "ann");
    let own = format!("http://{}", daemon.addr("http"));
    let mut request = upgrade(&daemon, &format!("/v1/ws?token={}", token(json!({}))), PROTOCOL);
    request.headers_mut().insert("origin", own.parse().unwrap());
    let (mut socket, _) = try_open(&daemon, request).unwrap_or_else(|status| panic!("{status}"));
    socket.say(&json!({"t": "hello"}));
    assert_eq!(socket.closed().0, 4501);
}

#[test]
fn a_session_moves_from_events_and_posts_to_a_socket_and_back() {
    let daemon = start(&[]);
    let (mut ann, ann_welcome) = enter(&daemon, "tea", json!({}));
    let hello = json!({"t": "hello", "token": token(json!({"sub": "bo"}))}).to_string();
    let created = ask(&daemon, "POST /v1/session", &[JSON], &hello);
    assert_eq!((created.status, created.header("cache-control")), (201, Some("no-store")));
    let created = created.json();
    let (welcome, url) = (&created["welcome"], created["events_url"].as_str().unwrap());
    let resume = welcome["resume"].as_str().unwrap();
    let bearer = format!("Bearer {resume}");
    let post = |body: Value| {
        ask(&daemon, "POST /v1/session/messages", &[JSON, ("Authorization", &bearer)], &body.to_string())
    };
    let replies = post(json!([{"t": "join", "id": 1, "room": "tea"},
        {"t": "send", "id": 2, "room": "tea", "data": 1}]));
    assert_eq!(replies.status, 200, "{}", replies.body);
    assert_eq!((&replies.json()[0]["t"], &replies.json()[1]["n"]), (&json!("joined"), &json!(1)));
    assert_eq!(ann.hear_of("message")["from"], welcome["peer"]);
    let mut events = Events::open(&daemon, url, &[]).unwrap_or_else(|answer| panic!("{}", answer.body));
    assert_eq!(events.next_of("joined").0.as_deref(), Some("1"));
    assert_eq!(events.next_of("ok").2["re"], json!(2));
    ann.ask(json!({"t": "send", "room": "tea", "to": welcome["peer"], "data": "live"}));
    let (id, _, message) = events.next_of("message");
    assert_eq!((id.as_deref(), &message["data"]), (Some("3"), &json!("live")));
    let hole = post(json!([{"t": "ice", "id": 3}, {"t": "ice", "id": 5}]));
    hole.assert_problem(409, "conflict");
    assert_eq!((&hole.json()["expected"], &hole.json()["replies"][0]["re"]), (&json!(4), &json!(3)));
    let retry = post(json!({"t": "ice", "id": 3}));
    assert_eq!((retry.status, &retry.json()[0]["re"]), (200, &json!(3)));
    for body in [json!(7), json!([7])] {
        post(body).assert_problem(400, "bad_request");
    }
    ask(&daemon, "POST /v1/session/messages", &[JSON], "{}").assert_problem(401, "unauthorized");
    let mut second = Events::open(&daemon, url, &[("Last-Event-ID", "2")]).unwrap_or_else(|_| panic!());
    assert_eq!(second.next().unwrap().0.as_deref(), Some("3"));
    assert_eq!(events.next_of("bye").2["reason"], "replaced");
    assert!(events.next().is_none());
    let gap = Events::open(&daemon, url, &[("Last-Event-ID", "99")]).map(|_| ()).unwrap_err();
    gap.assert_problem(409, "conflict");
    let (mut socket, resumed) = Socket::hello(&daemon, json!({"resume": resume, "last_seq": 4}));
    assert_eq!((&resumed["resumed"], &resumed["last_id"]), (&json!(true), &json!(3)));
    assert_eq!(second.next_of("bye").2["reason"], "replaced");
    let left = socket.ask(json!({"t": "bye"}));
    assert_eq!(left["t"], "ok");
    assert_eq!(socket.closed().0, 1000);
    post(json!({"t": "ice", "id": 4})).assert_problem(410, "not_found");
    assert_eq!(ann.hear_of("peer-left")["reason"], "leave");
    assert_ne!(ann_welcome["peer"], welcome["peer"]);
}

#[test]
fn refusals_of_a_session_are_those_of_a_hello() {
    let daemon = start(&[]);
    let open = |hello: Value| ask(&daemon, "POST /v1/session", &[JSON], &hello.to_string());
    open(json!({"t": "join"})).assert_problem(400, "bad_request");
    open(json!({"t": "hello"})).assert_problem(401, "unauthorized");
    open(json!({"t": "hello", "token": "a.b.c"})).assert_problem(401, "unauthorized");
    let expired = token(json!({"exp": 1000}));
    open(json!({"t": "hello", "token": expired})).assert_problem(401, "token_expired");
    ask(&daemon, "GET /v1/session/events?ticket=x", &[], "").assert_problem(401, "unauthorized");
    let foreign = [("Origin", "https://evil.example")];
    ask(&daemon, "POST /v1/session", &foreign, "{}").assert_problem(403, "forbidden");
}

#[test]
fn a_dashboard_reads_a_room_and_goes_on_where_it_was() {
    let daemon = start(&[]);
    let (mut ann, _) = enter(&daemon, "tea & cake", json!({}));
    ann.ask(json!({"t": "state", "room": "tea & cake", "op": "set", "key": "topic", "value": "milk"}));
    let path = "/v1/rooms/tea%20%26%20cake/events";
    let mut events = Events::open(&daemon, path, &[KEY]).unwrap_or_else(|answer| panic!("{}", answer.body));
    let joined = events.next_of("joined").2;
    assert_eq!(joined["state"]["topic"]["value"], "milk");
    assert_eq!((joined["peers"].as_array().unwrap().len(), &joined["you"]["as"]), (1, &json!("observer")));
    let speech = json!({"event": "price", "data": 7}).to_string();
    let publish = "POST /v1/rooms/tea%20%26%20cake/messages";
    let published = ask(&daemon, publish, &[KEY, JSON], &speech);
    assert_eq!((published.status, published.json()), (200, json!({"n": 1})));
    assert_eq!(ann.hear_of("message")["from"], "server");
    let (id, _, message) = events.next_of("message");
    assert_eq!((&message["event"], &message["data"]), (&json!("price"), &json!(7)));
    ask(&daemon, publish, &[("Authorization", "Bearer mint-key"), JSON], "{}")
        .assert_problem(403, "forbidden");
    ask(&daemon, publish, &[KEY, JSON], "{\"event\":7}").assert_problem(400, "bad_request");
    let nobody = ask(&daemon, "POST /v1/rooms/empty/messages", &[KEY, JSON], &speech);
    assert_eq!(nobody.json(), json!({"n": 0}));
    drop(events);
    ask(&daemon, publish, &[KEY, JSON], &speech);
    let ticket = ask(&daemon, &format!("POST {path}"), &[KEY], "");
    assert_eq!(ticket.status, 201);
    let ticket = ticket.json();
    let url = ticket["events_url"].as_str().unwrap();
    let mut events = Events::open(&daemon, url, &[("Last-Event-ID", &id.unwrap())])
        .unwrap_or_else(|answer| panic!("{}", answer.body));
    assert_eq!(events.next().unwrap().2["data"], json!(7));
}

#[test]
fn a_feed_wants_a_key_or_a_token_that_may_observe() {
    let daemon = start(&[]);
    let open = |headers: &[(&str, &str)]| Events::open(&daemon, "/v1/rooms/tea/events", headers);
    open(&[]).map(|_| ()).unwrap_err().assert_problem(401, "unauthorized");
    let bearer = |claims| format!("Bearer {}", token(claims));
    let join_only = bearer(json!({}));
    open(&[("Authorization", &join_only)]).map(|_| ()).unwrap_err().assert_problem(403, "forbidden");
    let expired = bearer(json!({"perm": ["observe"], "exp": 1000}));
    open(&[("Authorization", &expired)]).map(|_| ()).unwrap_err().assert_problem(401, "token_expired");
    open(&[("Authorization", "Bearer mint-key")]).map(|_| ()).unwrap_err().assert_problem(403, "forbidden");
    let good = bearer(json!({"perm": ["observe"], "exp": clock::unix_now() + 2}));
    let ticket = ask(&daemon, "POST /v1/rooms/tea/events", &[("Authorization", &good)], "");
    let url = ticket.json()["events_url"].as_str().unwrap().to_owned();
    let other = url.replace("/tea/", "/milk/");
    Events::open(&daemon, &other, &[]).map(|_| ()).unwrap_err().assert_problem(401, "unauthorized");
    let mut events = Events::open(&daemon, &url, &[]).unwrap_or_else(|answer| panic!("{}", answer.body));
    assert_eq!(events.next_of("joined").2["room"], "tea");
    assert_eq!(events.next_of("bye").2["reason"], "token_expired");
    assert!(events.next().is_none());
}

#[test]
fn fresh_ice_servers_are_pushed_before_the_old_expire() {
    let daemon = start(&["--credential-ttl=4s"]);
    let (mut ann, welcome) = Socket::hello(&daemon, json!({"token": token(json!({}))}));
    let first = &welcome["ice"];
    let pushed = ann.hear_of("ice");
    assert!(pushed["expires_at"].as_u64() > first["expires_at"].as_u64(), "{first} {pushed}");
    assert!(pushed["servers"][0]["credential"] != first["servers"][0]["credential"]);
}

/// Username and password of the relay in an `ice` object.
fn login(ice: &Value) -> (String, String) {
    let server = &ice["servers"][0];
    let text = |key: &str| server[key].as_str().unwrap().to_owned();
    (text("username"), text("credential"))
}

async fn allocate(daemon: &Daemon, username: &str, password: &str) -> Option<turn::client::Client> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = turn_client(daemon.addr("udp"), socket, username, password).await;
    client.allocate().await.ok().map(|_| client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kick_ends_the_calls_of_a_session_on_every_shard() {
    let daemon = start(&["--max-allocations=8"]);
    let (mut ann, _) = enter(&daemon, "tea", json!({"perm": ["join", "kick"]}));
    let (mut bo, bo_welcome) = enter(&daemon, "tea", json!({"sub": "bo"}));
    let (username, password) = login(&bo_welcome["ice"]);
    assert!(username.contains(bo_welcome["session"].as_str().unwrap()));
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(allocate(&daemon, &username, &password).await.unwrap());
    }
    assert!(allocate(&daemon, "static", "secret").await.is_none());
    let kicked = ann.ask(json!({"t": "kick", "room": "tea", "peer": bo_welcome["peer"]}));
    assert_eq!(kicked["t"], "ok");
    assert_eq!(bo.hear_of("peer-left")["reason"], "kicked");
    assert_eq!(bo.closed().0, 4504);
    let mut again = Vec::new();
    while again.len() < 8 {
        again.extend(allocate(&daemon, "static", "secret").await);
    }
    again.clear();
    drop(clients);
    assert!(allocate(&daemon, &username, &password).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_lives_as_long_as_its_session() {
    let daemon = start(&["--credential-ttl=1s", "--expiry-grace=0"]);
    let (mut ann, welcome) = enter(&daemon, "tea", json!({}));
    let (username, password) = login(&welcome["ice"]);
    while clock::unix_now() <= welcome["ice"]["expires_at"].as_u64().unwrap() {
        ann.hear_of("ice");
    }
    assert!(allocate(&daemon, &username, &password).await.is_some());
    ann.ask(json!({"t": "bye"}));
    assert_eq!(ann.closed().0, 1000);
    assert!(allocate(&daemon, &username, &password).await.is_none());
}

#[test]
fn the_stop_tells_every_client_and_ends_every_stream() {
    let daemon = start(&[]);
    let (ann, _) = enter(&daemon, "tea", json!({}));
    let mut events = Events::open(&daemon, "/v1/rooms/tea/events", &[KEY]).unwrap_or_else(|_| panic!());
    events.next_of("joined");
    let reading = std::thread::spawn(move || ann.closed());
    assert_eq!(daemon.stop().0, Some(0));
    let (code, last) = reading.join().unwrap();
    assert_eq!((code, &last.unwrap()["t"]), (4000, &json!("bye")));
    while events.next().is_some() {}
}

#[test]
fn an_address_with_too_many_connections_is_told_so() {
    let daemon = start(&["--max-connections-per-ip=2"]);
    let (first, _) = Socket::hello(&daemon, json!({"token": token(json!({}))}));
    let (_second, _) = Socket::hello(&daemon, json!({"token": token(json!({}))}));
    let refused = ask(&daemon, "GET /healthz", &[], "");
    refused.assert_problem(429, "rate_limited");
    assert!(refused.header("retry-after").is_some());
    drop(first);
    while ask(&daemon, "GET /healthz", &[], "").status == 429 {}
}

#[test]
fn behind_a_proxy_each_client_has_connections_of_its_own() {
    let daemon = start(&["--max-connections-per-ip=1", "--trusted-proxy=127.0.0.0/8"]);
    let open = |client: &str| {
        let mut request = upgrade(&daemon, "/v1/ws", PROTOCOL);
        request.headers_mut().insert("x-forwarded-for", client.parse().unwrap());
        try_open(&daemon, request)
    };
    let first = open("192.0.2.1").unwrap_or_else(|status| panic!("{status}"));
    assert_eq!(open("192.0.2.1").map(|_| ()).unwrap_err(), 429);
    let _other = open("192.0.2.2").unwrap_or_else(|status| panic!("{status}"));
    drop(first);
    while open("192.0.2.1").is_err() {}
}

#[test]
fn a_token_in_the_url_counts_only_where_it_is_allowed() {
    let daemon = start(&["--token-in-url"]);
    let path = format!("/v1/ws?token={}", token(json!({})));
    let (mut socket, _) = try_open(&daemon, upgrade(&daemon, &path, PROTOCOL)).unwrap_or_else(|_| panic!());
    socket.say(&json!({"t": "hello"}));
    assert_eq!(socket.hear()["uid"], "ann");
    let feed = format!("/v1/rooms/tea/events?token={}", token(json!({"perm": ["observe"]})));
    let mut events = Events::open(&daemon, &feed, &[]).unwrap_or_else(|answer| panic!("{}", answer.body));
    assert_eq!(events.next_of("joined").2["you"]["as"], "observer");
}

#[test]
fn the_largest_message_is_what_the_operator_says() {
    let daemon = start(&["--max-message=300k", "--max-rooms-per-session=1", "--signal-rate=5/10"]);
    let (mut ann, welcome) = enter(&daemon, "tea", json!({}));
    let (mut bo, _) = enter(&daemon, "tea", json!({"sub": "bo"}));
    let limits = &welcome["limits"];
    assert_eq!((&limits["msg"], &limits["rooms"]), (&json!(300 << 10), &json!(1)));
    let data = "x".repeat(250 << 10);
    assert_eq!(ann.ask(json!({"t": "send", "room": "tea", "data": data}))["n"], 1);
    assert_eq!(bo.hear_of("message")["data"].as_str().unwrap().len(), data.len());
    assert_eq!(ann.ask(json!({"t": "join", "room": "milk"}))["code"], "limit_reached");
    let refused = (0..20).map(|_| ann.ask(json!({"t": "ice"}))).find(|reply| reply["t"] == "error").unwrap();
    assert!(refused["code"] == "rate_limited" && refused["retry_ms"].as_u64() > Some(0), "{refused}");
}
