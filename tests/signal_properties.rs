//! The signaling hub under random histories of joins, talk, cuts, resumes and duplicates: exactly once both
//! ways, in order per pair, nothing left past the grace, memory bounded, output determined by input.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use turnpike::auth::{JoinToken, TokenError};
use turnpike::rng::Rng;
use turnpike::signal::{
    Action, AddressKey, Authority, ConnId, Footprint, Holder, Hub, IceServers, Limits, Posted, Rate,
    Settings, Speech,
};
use turnpike::time::{Mono, Now};

struct NoTokens;

impl Authority for NoTokens {
    fn verify(&mut self, _: Now, token: &str) -> Result<JoinToken, TokenError> {
        JoinToken::read(token)
    }

    fn ice_servers(&mut self, now: Now, _: &Holder<'_>) -> IceServers {
        IceServers { servers: Vec::new(), expires_at: now.unix + 600 }
    }
}

struct Seeded(u64);

impl Rng for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

const ADDRESS: AddressKey = AddressKey::V4(1);
const CLIENTS: usize = 4;

/// Returns so many cases, unless `PROPTEST_CASES` says otherwise.
fn config(cases: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { usual } else { ProptestConfig { cases, ..usual } }
}

fn limits() -> Limits {
    let unlimited = Rate { per_second: 0, burst: 0 };
    Limits { messages: unlimited, messages_per_address: unlimited, bytes: unlimited, ..Limits::default() }
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A client sends a numbered message to the room.
    Send(usize),
    /// A client signals another one.
    Signal(usize, usize, Option<u16>),
    /// A client's socket dies; `heard` of the frames on their way had arrived.
    Cut(usize, usize),
    /// A client says `hello` again, over its old socket or after a cut.
    Resume(usize),
    /// A client repeats one of its requests, answered or not.
    Duplicate(usize),
    /// A client acknowledges what it has.
    Ack(usize),
    /// A client leaves the room, or comes back to it.
    LeaveOrJoin(usize),
    /// A client changes its meta.
    Update(usize),
    /// A client reads what was sent to it.
    Read(usize),
    /// Time passes.
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        6 => client.clone().prop_map(Step::Send),
        4 => (client.clone(), 0..CLIENTS, proptest::option::of(0..3000u16))
            .prop_map(|(from, to, ttl)| Step::Signal(from, to, ttl)),
        3 => (client.clone(), 0..6usize).prop_map(|(client, heard)| Step::Cut(client, heard)),
        3 => client.clone().prop_map(Step::Resume),
        2 => client.clone().prop_map(Step::Duplicate),
        2 => client.clone().prop_map(Step::Ack),
        6 => client.prop_map(Step::Read),
        2 => (0..4000u16).prop_map(Step::Wait),
    ]
}

/// Steps under which the roster of a room changes.
fn churn() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        3 => client.clone().prop_map(Step::LeaveOrJoin),
        2 => client.clone().prop_map(Step::Update),
        2 => (client.clone(), 0..6usize).prop_map(|(client, heard)| Step::Cut(client, heard)),
        2 => client.clone().prop_map(Step::Resume),
        3 => client.prop_map(Step::Read),
        1 => (0..4000u16).prop_map(Step::Wait),
    ]
}

/// Version of a roster, and each peer's meta and presence.
type Roster = (u64, BTreeMap<String, (Value, Value)>);

/// A client as the library will be: it resends what is unanswered, in order, and counts what it hears.
#[derive(Default)]
struct Client {
    conn: Option<ConnId>,
    /// Frames on their way.
    wire: VecDeque<Value>,
    peer: String,
    secret: String,
    seq: u64,
    id: u64,
    unanswered: BTreeMap<u64, Value>,
    answered: BTreeSet<u64>,
    /// All requests, for duplicates.
    history: Vec<Value>,
    /// Marks heard, by sender.
    heard: BTreeMap<String, Vec<u64>>,
    /// Fates told, by request.
    fates: BTreeMap<u64, String>,
    sent_signals: BTreeMap<u64, (usize, u64, bool)>,
    /// Whether it is in the room, or will be once its requests are applied.
    member: bool,
    /// The room as it was told of it.
    roster: Option<Roster>,
    /// Highest frame that a resuming `welcome` knew of.
    replayed: u64,
}

impl Client {
    fn show(&mut self, room: &Value) {
        let peers = room["peers"].as_array().expect("peers").iter();
        let peers = peers.map(|peer| (name(peer), (peer["meta"].clone(), peer["online"].clone()))).collect();
        self.roster = Some((room["ver"].as_u64().expect("a version"), peers));
    }

    fn is_leave(&self, reply: &Value) -> bool {
        self.history.iter().any(|request| request["id"] == reply["re"] && request["t"] == "leave")
    }

    /// Applies a `peer-*` event, if the roster is older.
    fn change(&mut self, frame: &Value) {
        let Some((ver, peers)) = &mut self.roster else { return };
        let event = frame["ver"].as_u64().expect("a version");
        if event <= *ver {
            return;
        }
        *ver = event;
        match frame["t"].as_str() {
            Some("peer-left") => {
                peers.remove(&name(frame));
            }
            Some("peer-status") => {
                if let Some(peer) = peers.get_mut(&name(frame)) {
                    peer.1 = frame["online"].clone();
                }
            }
            _ => {
                peers.insert(name(frame), (frame["meta"].clone(), frame["online"].clone()));
            }
        }
    }
}

fn name(value: &Value) -> String {
    value["peer"].as_str().expect("a peer").to_owned()
}

struct World {
    hub: Hub<NoTokens, Seeded>,
    now: Now,
    clients: Vec<Client>,
    next_conn: u64,
    next_mark: u64,
    log: Vec<String>,
}

impl World {
    fn new() -> World {
        let settings = Settings { node: "n1".into(), epoch: 1, open: true };
        let mut world = World {
            hub: Hub::new(settings, limits(), NoTokens, Seeded(7)),
            now: Now { mono: Mono(1), unix: 1_790_000_000 },
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            next_conn: 0,
            next_mark: 0,
            log: Vec::new(),
        };
        for client in 0..CLIENTS {
            world.connect(client);
            world.request(client, json!({"t": "join", "room": "tea"}));
            world.clients[client].member = true;
        }
        world
    }

    fn drain(&mut self) {
        while let Some(action) = self.hub.poll_action() {
            self.log.push(format!("{action:?}"));
            match action {
                Action::Send { conn, frame } => {
                    self.hub.handle_written(self.now, conn, frame.cost());
                    let value = serde_json::from_str(&frame.text()).expect("good JSON");
                    if let Some(client) = self.clients.iter_mut().find(|client| client.conn == Some(conn)) {
                        client.wire.push_back(value);
                    }
                }
                Action::Close { conn, .. } => {
                    if let Some(client) = self.clients.iter_mut().find(|client| client.conn == Some(conn)) {
                        client.conn = None;
                    }
                }
                Action::Comment { .. } | Action::SessionEnded { .. } | Action::SessionLive { .. } => {}
            }
        }
    }

    fn connect(&mut self, index: usize) {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let client = &mut self.clients[index];
        let hello = match client.secret.is_empty() {
            true => json!({"t": "hello"}),
            false => json!({"t": "hello", "resume": client.secret, "last_seq": client.seq}),
        };
        // What the old socket still carries never arrives.
        client.wire.clear();
        client.conn = Some(conn);
        self.hub.handle_open(self.now, conn, ADDRESS, None);
        self.hub.handle_text(self.now, conn, &hello.to_string());
        self.drain();
        self.clients[index].conn = Some(conn);
        let welcome = self.clients[index].wire.pop_front().expect("welcome comes first");
        assert_eq!(welcome["t"], "welcome", "{welcome}");
        let client = &mut self.clients[index];
        if !client.secret.is_empty() {
            assert_eq!((&welcome["resumed"], &welcome["gap"]), (&json!(true), &json!(false)), "{welcome}");
        }
        client.roster = None;
        client.replayed = welcome["seq"].as_u64().expect("a number");
        for room in welcome["rooms"].as_array().unwrap_or(&Vec::new()) {
            client.show(room);
        }
        client.peer = welcome["peer"].as_str().expect("a peer").to_owned();
        client.secret = welcome["resume"].as_str().expect("a secret").to_owned();
        let last_id = welcome["last_id"].as_u64().expect("an id");
        let resend: Vec<Value> = client
            .unanswered
            .iter()
            .filter(|(id, _)| **id > last_id)
            .map(|(_, request)| request.clone())
            .collect();
        for request in resend {
            self.hub.handle_text(self.now, conn, &request.to_string());
            self.drain();
        }
    }

    fn request(&mut self, index: usize, mut request: Value) -> u64 {
        let client = &mut self.clients[index];
        client.id += 1;
        let id = client.id;
        request["id"] = json!(id);
        client.unanswered.insert(id, request.clone());
        client.history.push(request.clone());
        if let Some(conn) = client.conn {
            self.hub.handle_text(self.now, conn, &request.to_string());
            self.drain();
        }
        id
    }

    /// Takes one frame from the wire and checks its place.
    fn hear(&mut self, index: usize) {
        let Some(frame) = self.clients[index].wire.pop_front() else { return };
        let client = &mut self.clients[index];
        let Some(seq) = frame["seq"].as_u64() else {
            assert!(matches!(frame["t"].as_str(), Some("ping" | "ice" | "bye")), "{frame}");
            if frame["t"] == "ping"
                && let Some(conn) = client.conn
            {
                self.hub.handle_text(self.now, conn, "{\"t\":\"pong\"}");
                self.drain();
            }
            return;
        };
        assert_eq!(seq, client.seq + 1, "no hole, nothing twice: {frame}");
        client.seq = seq;
        if let Some(re) = frame["re"].as_u64()
            && frame["t"] != "undelivered"
        {
            assert!(client.unanswered.remove(&re).is_some(), "answered twice: {frame}");
            assert!(client.answered.insert(re));
        }
        match frame["t"].as_str().expect("a type") {
            "message" | "signal" => {
                let mark = frame["data"].as_u64().expect("a mark");
                client
                    .heard
                    .entry(frame["from"].as_str().expect("a peer").to_owned())
                    .or_default()
                    .push(mark);
            }
            "undelivered" => {
                let re = frame["re"].as_u64().expect("a request");
                let reason = frame["reason"].as_str().expect("a reason").to_owned();
                assert_eq!(client.fates.insert(re, reason), None, "one fate for each");
            }
            "error" if frame["code"] == "not_in_room" => {}
            // The roster of a resuming `welcome` is of now, what is replayed is older.
            _ if seq <= client.replayed => {}
            "joined" => client.show(&frame),
            "ok" if client.is_leave(&frame) => client.roster = None,
            "peer-joined" | "peer-left" | "peer-status" | "peer-updated" => client.change(&frame),
            "error" => panic!("{frame}"),
            _ => {}
        }
    }

    fn mark(&mut self) -> u64 {
        self.next_mark += 1;
        self.next_mark
    }

    fn advance(&mut self, span: Duration) {
        let end = self.now.advanced(span);
        while let Some(at) = self.hub.poll_timeout().filter(|at| *at <= end.mono) {
            self.now = self.now.advanced(at.since(self.now.mono));
            self.hub.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.now.advanced(end.mono.since(self.now.mono));
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Send(index) => {
                let mark = self.mark();
                self.request(index, json!({"t": "send", "room": "tea", "data": mark}));
            }
            Step::Signal(from, to, ttl) => {
                if from == to {
                    return;
                }
                let mark = self.mark();
                let mut signal = json!({"t": "signal", "room": "tea", "to": self.clients[to].peer,
                    "kind": "custom", "pc": "p", "gen": 1, "data": mark});
                if let Some(ttl) = ttl {
                    signal["ttl_ms"] = json!(ttl);
                }
                let id = self.request(from, signal);
                self.clients[from].sent_signals.insert(id, (to, mark, ttl.is_some()));
            }
            Step::Cut(index, heard) => {
                for _ in 0..heard {
                    self.hear(index);
                }
                if let Some(conn) = self.clients[index].conn.take() {
                    self.hub.handle_closed(self.now, conn);
                    self.drain();
                }
                self.clients[index].wire.clear();
            }
            Step::Resume(index) => self.connect(index),
            Step::Duplicate(index) => {
                let client = &self.clients[index];
                let applied = client.answered.iter().next_back().copied();
                let old = client.history.iter().find(|request| request["id"].as_u64() == applied).cloned();
                if let (Some(conn), Some(old)) = (client.conn, old) {
                    self.hub.handle_text(self.now, conn, &old.to_string());
                    self.drain();
                }
            }
            Step::Ack(index) => {
                let client = &self.clients[index];
                if let Some(conn) = client.conn {
                    let pong = json!({"t": "pong", "ack": client.seq}).to_string();
                    self.hub.handle_text(self.now, conn, &pong);
                    self.drain();
                }
            }
            Step::LeaveOrJoin(index) => {
                let member = &mut self.clients[index].member;
                *member = !*member;
                let t = if *member { "join" } else { "leave" };
                self.request(index, json!({"t": t, "room": "tea"}));
            }
            Step::Update(index) => {
                let mark = self.mark();
                self.request(index, json!({"t": "update", "room": "tea", "meta": {"mark": mark}}));
            }
            Step::Read(index) => {
                while !self.clients[index].wire.is_empty() {
                    self.hear(index);
                }
            }
            Step::Wait(millis) => {
                self.advance(Duration::from_millis(u64::from(millis)));
                // Absent clients come back before their grace is over, live ones answer.
                for index in 0..CLIENTS {
                    match self.clients[index].conn {
                        Some(conn) => self.hub.handle_alive(self.now, conn),
                        None => self.connect(index),
                    }
                }
            }
        }
    }

    /// Lets everyone come back and hear everything.
    fn settle(&mut self) {
        for index in 0..CLIENTS {
            self.connect(index);
        }
        for index in 0..CLIENTS {
            while !self.clients[index].wire.is_empty() {
                self.hear(index);
            }
        }
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn every_request_is_applied_once_and_every_frame_is_heard_once_in_order(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.settle();
        for (index, client) in world.clients.iter().enumerate() {
            prop_assert!(client.unanswered.is_empty(), "{index}: {:?}", client.unanswered);
            for marks in client.heard.values() {
                prop_assert!(marks.is_sorted_by(|a, b| a < b), "{index}: order and no doubles: {marks:?}");
            }
        }
        // Every message reached each other client, every signal reached its peer or has a fate.
        let names: Vec<String> = world.clients.iter().map(|client| client.peer.clone()).collect();
        for (from, client) in world.clients.iter().enumerate() {
            for request in &client.history {
                let Some(mark) = request["data"].as_u64() else { continue };
                let id = request["id"].as_u64().expect("an id");
                let heard_by = |to: usize| {
                    world.clients[to].heard.get(&names[from]).is_some_and(|marks| marks.contains(&mark))
                };
                match client.sent_signals.get(&id) {
                    None => for to in (0..CLIENTS).filter(|to| *to != from) {
                        prop_assert!(heard_by(to), "message {mark} of {from} to {to}");
                    },
                    Some((to, _, has_ttl)) => {
                        let fate = client.fates.get(&id);
                        prop_assert_eq!(heard_by(*to), fate.is_none(), "signal {} of {} to {}: {:?}", mark, from, to, fate);
                        prop_assert!(fate.is_none() || *has_ttl);
                    }
                }
            }
        }
    }

    #[test]
    fn every_roster_is_right_in_the_end(steps in proptest::collection::vec(churn(), 1..100)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.settle();
        // Requests that the last return brought may have been heard of meanwhile.
        for index in 0..CLIENTS {
            world.take(&Step::Read(index));
        }
        let members: BTreeSet<String> =
            world.clients.iter().filter(|client| client.member).map(|client| client.peer.clone()).collect();
        for client in &world.clients {
            let roster = client.roster.as_ref().map(|(_, peers)| peers);
            prop_assert_eq!(roster.is_some(), client.member);
            let Some(roster) = roster else { continue };
            let seen: BTreeSet<String> = roster.keys().cloned().collect();
            let others: BTreeSet<String> = members.iter().filter(|name| **name != client.peer).cloned().collect();
            prop_assert_eq!(seen, others);
            for (name, (meta, online)) in roster {
                prop_assert_eq!(online, &json!(true));
                let told = world.clients.iter().filter_map(|other| other.roster.as_ref()?.1.get(name));
                for (other_meta, _) in told {
                    prop_assert_eq!(meta, other_meta, "all see the same");
                }
            }
        }
    }

    #[test]
    fn nothing_is_left_past_the_grace_and_memory_stays_bounded(
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            prop_assert!(world.hub.footprint().ring_bytes <= CLIENTS * (1 << 20));
            prop_assert_eq!(world.hub.footprint().sessions, CLIENTS);
        }
        for client in 0..CLIENTS {
            world.take(&Step::Cut(client, 0));
        }
        world.advance(Duration::from_secs(31));
        prop_assert_eq!(world.hub.footprint(), Footprint::default());
    }

    #[test]
    fn the_same_history_gives_the_same_output(steps in proptest::collection::vec(step(), 1..60)) {
        let run = || {
            let mut world = World::new();
            for step in &steps {
                world.take(step);
            }
            world.log
        };
        prop_assert_eq!(run(), run());
    }
}

/// A message that may be nearly right.
fn noise() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("join"),
        Just("leave"),
        Just("signal"),
        Just("send"),
        Just("update"),
        Just("state"),
        Just("ice"),
        Just("refresh"),
        Just("stats"),
        Just("kick"),
        Just("bye"),
        Just("pong"),
        Just("hello"),
        Just("x"),
    ];
    let value = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        (0..9u64).prop_map(|n| json!(n)),
        Just(json!(-1)),
        Just(json!("tea")),
        Just(json!("offer")),
        Just(json!("set")),
        Just(json!("del")),
        Just(json!({})),
        Just(json!([])),
        Just(json!({"a": {"b": null}})),
        Just(json!({"uid": "x"})),
        Just(json!(["a", "b"])),
        ".{0,12}".prop_map(|s| json!(s)),
    ];
    let key = prop_oneof![
        Just("room"),
        Just("to"),
        Just("kind"),
        Just("pc"),
        Just("gen"),
        Just("data"),
        Just("ttl_ms"),
        Just("meta"),
        Just("op"),
        Just("key"),
        Just("value"),
        Just("if_ver"),
        Just("token"),
        Just("peer"),
        Just("ban_s"),
        Just("ack"),
        Just("as"),
        Just("echo"),
        Just("event"),
        Just("state"),
        Just("resume"),
        Just("last_seq"),
    ];
    let message =
        (word, 0..12u64, proptest::collection::vec((key, value), 0..8)).prop_map(|(t, id, fields)| {
            let mut message = json!({"t": t, "id": id});
            for (key, value) in fields {
                message[key] = value;
            }
            message.to_string()
        });
    prop_oneof![4 => message.clone(), 1 => ".{0,60}".prop_map(String::from), 1 => (message, 0..80usize).prop_map(
        |(mut text, at)| {
            let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(at);
            text
        }
    )]
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn no_text_makes_it_panic_or_leak(texts in proptest::collection::vec((0..3u64, noise()), 1..60)) {
        let settings = Settings { node: "n1".into(), epoch: 1, open: true };
        let mut hub = Hub::new(settings, Limits::default(), NoTokens, Seeded(3));
        let mut now = Now { mono: Mono(1), unix: 1_790_000_000 };
        let created = hub.handle_create(now, ADDRESS, None, "{\"t\":\"hello\"}").expect("open signaling");
        let welcome: Value = serde_json::from_str(&created.welcome.text()).expect("good JSON");
        let secret = welcome["resume"].as_str().expect("a secret").to_owned();
        for conn in 0..2 {
            hub.handle_open(now, ConnId(conn), ADDRESS, None);
            hub.handle_text(now, ConnId(conn), "{\"t\":\"hello\"}");
        }
        for (index, (who, text)) in texts.iter().enumerate() {
            now = now.advanced(Duration::from_millis(7));
            match who {
                2 => {
                    let posted = hub.handle_post(now, ADDRESS, &secret, text);
                    if let Posted::Replies(replies) = posted {
                        for reply in replies {
                            prop_assert!(serde_json::from_str::<Value>(&reply.text()).is_ok(), "{}", reply.text());
                        }
                    }
                    let _ = hub.handle_create(now, ADDRESS, None, text);
                    if let Ok(speech) = Speech::read(text) {
                        hub.handle_publish(now, "tea", &speech);
                    }
                }
                _ => hub.handle_text(now, ConnId(*who), text),
            }
            hub.handle_open(now, ConnId(100 + index as u64), ADDRESS, None);
            hub.handle_text(now, ConnId(100 + index as u64), text);
            while let Some(action) = hub.poll_action() {
                if let Action::Send { frame, .. } = action {
                    let text = frame.text();
                    prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
                    prop_assert!(text.len() <= frame.cost());
                }
            }
        }
        while let Some(at) = hub.poll_timeout() {
            now = now.advanced(at.since(now.mono));
            hub.handle_timeout(now);
            while hub.poll_action().is_some() {}
        }
        prop_assert_eq!(hub.footprint(), Footprint::default());
    }

    #[test]
    fn the_scanner_agrees_with_serde_json(text in "[{}\\[\\]\":,a-c0-9eE.+\\-\\\\u tfn\n]{0,24}") {
        let ours = turnpike::json::members(&text);
        let theirs = serde_json::from_str::<serde_json::Map<String, Value>>(&text);
        match ours {
            Ok(members) => {
                // Half a surrogate pair, and numbers without bounds, are text to us.
                if let Ok(theirs) = theirs {
                    prop_assert_eq!(members.len(), theirs.len());
                    for member in members {
                        let value: Value = serde_json::from_str(&member.value.text()).expect("good JSON");
                        prop_assert_eq!(&theirs[member.key.as_ref()], &value);
                    }
                } else {
                    prop_assert!(text.contains('\\') || text.contains(['e', 'E']), "{}", text);
                }
            }
            Err(turnpike::json::Fault::RepeatedKey) => {}
            Err(_) => prop_assert!(theirs.is_err(), "{}", text),
        }
    }
}
