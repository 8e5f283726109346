//! A hub with its surroundings: clients with inboxes, a clock that is moved, tokens that are their payload.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::auth::{JoinToken, SessionId, TokenError};
use crate::rng::Rng;
use crate::signal::{
    Action, AddressKey, Authority, CloseCode, ConnId, Holder, Hub, IceServer, IceServers, Limits, SessionEnd,
    SessionTerms, Settings,
};
use crate::time::{Mono, Now};

pub(super) const ADDRESS: AddressKey = AddressKey::V4(0xc000_0201);

/// Tokens are their own payload; ICE servers are numbered.
pub(super) struct Registry {
    pub(super) minted: u64,
    pub(super) ttl: u64,
}

impl Authority for Registry {
    fn verify(&mut self, _: Now, token: &str) -> Result<JoinToken, TokenError> {
        JoinToken::read(token)
    }

    fn ice_servers(&mut self, now: Now, holder: &Holder<'_>) -> IceServers {
        self.minted += 1;
        let ttl = holder.terms.ttl.map_or(self.ttl, u64::from);
        let expires_at = now.unix + ttl;
        let username = format!("{expires_at}:s~{}~{}", holder.session.0, holder.uid.unwrap_or_default());
        let servers = vec![
            IceServer { urls: vec!["stun:t.example".into()], login: None },
            IceServer {
                urls: vec!["turn:t.example".into()],
                login: Some((username, format!("c{}", self.minted))),
            },
        ];
        IceServers { servers, expires_at }
    }
}

/// xorshift64*, seeded.
pub(super) struct Xorshift(pub(super) u64);

impl Rng for Xorshift {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            *byte = (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8;
        }
    }
}

pub(super) struct World {
    pub(super) hub: Hub<Registry, Xorshift>,
    pub(super) now: Now,
    inbox: BTreeMap<ConnId, Vec<Value>>,
    raw: BTreeMap<ConnId, Vec<String>>,
    pub(super) comments: BTreeMap<ConnId, usize>,
    closed: BTreeMap<ConnId, CloseCode>,
    /// Connections whose shell writes nothing.
    stalled: BTreeMap<ConnId, usize>,
    pub(super) ended: Vec<(SessionId, SessionEnd)>,
    pub(super) live: Vec<(SessionId, SessionTerms)>,
    next_conn: u64,
}

/// A client that keeps count of its requests.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) conn: ConnId,
    pub(super) id: u64,
    pub(super) welcome: Value,
}

impl Client {
    pub(super) fn peer(&self) -> String {
        text(&self.welcome, "peer")
    }

    pub(super) fn secret(&self) -> String {
        text(&self.welcome, "resume")
    }

    pub(super) fn session(&self) -> SessionId {
        SessionId(text(&self.welcome, "session"))
    }
}

pub(super) fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}")).to_owned()
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl World {
    /// An open hub without rate limits.
    pub(super) fn open() -> World {
        World::with(true, generous())
    }

    pub(super) fn with(open: bool, limits: Limits) -> World {
        let settings = Settings { node: "n1".into(), epoch: 7, open };
        let registry = Registry { minted: 0, ttl: 3600 };
        World {
            hub: Hub::new(settings, limits, registry, Xorshift(88)),
            now: Now { mono: Mono(5_000_000_000), unix: 1_790_000_000 },
            inbox: BTreeMap::new(),
            raw: BTreeMap::new(),
            comments: BTreeMap::new(),
            closed: BTreeMap::new(),
            stalled: BTreeMap::new(),
            ended: Vec::new(),
            live: Vec::new(),
            next_conn: 0,
        }
    }

    pub(super) fn drain(&mut self) {
        while let Some(action) = self.hub.poll_action() {
            match action {
                Action::Send { conn, frame } => {
                    let text = frame.text();
                    assert!(frame.cost() >= text.len());
                    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                    self.inbox.entry(conn).or_default().push(value);
                    self.raw.entry(conn).or_default().push(text);
                    match self.stalled.get_mut(&conn) {
                        Some(unwritten) => *unwritten += frame.cost(),
                        None => self.hub.handle_written(self.now, conn, frame.cost()),
                    }
                }
                Action::Comment { conn } => *self.comments.entry(conn).or_default() += 1,
                Action::Close { conn, code } => {
                    self.closed.insert(conn, code);
                }
                Action::SessionEnded { session, end } => self.ended.push((session, end)),
                Action::SessionLive { session, terms } => self.live.push((session, terms)),
            }
        }
    }

    pub(super) fn conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }

    pub(super) fn socket(&mut self) -> ConnId {
        let conn = self.conn();
        self.hub.handle_open(self.now, conn, ADDRESS, None);
        conn
    }

    pub(super) fn say(&mut self, conn: ConnId, message: &Value) {
        self.say_raw(conn, &message.to_string());
    }

    pub(super) fn say_raw(&mut self, conn: ConnId, text: &str) {
        self.hub.handle_text(self.now, conn, text);
        self.drain();
    }

    pub(super) fn hello(&mut self, hello: Value) -> Client {
        let conn = self.socket();
        self.say(conn, &hello);
        let welcome = self.next(conn);
        assert_eq!(welcome["t"], "welcome", "{welcome}");
        Client { conn, id: 0, welcome }
    }

    pub(super) fn client(&mut self) -> Client {
        self.hello(json!({"t": "hello"}))
    }

    pub(super) fn client_with(&mut self, token: &Value) -> Client {
        self.hello(json!({"t": "hello", "token": token.to_string()}))
    }

    pub(super) fn resume(&mut self, client: &mut Client, last_seq: u64) {
        let id = client.id;
        *client = self.hello(json!({"t": "hello", "resume": client.secret(), "last_seq": last_seq}));
        client.id = id;
    }

    /// Sends a request and returns its reply, which has to be the first thing that it makes the client hear.
    pub(super) fn ask(&mut self, client: &mut Client, mut request: Value) -> Value {
        client.id += 1;
        request["id"] = json!(client.id);
        let unread = self.inbox.get(&client.conn).map_or(0, Vec::len);
        self.say(client.conn, &request);
        let inbox = self.inbox.entry(client.conn).or_default();
        assert!(inbox.len() > unread, "no reply to {request}");
        self.raw.entry(client.conn).or_default().remove(unread);
        let reply = inbox.remove(unread);
        assert_eq!(reply["re"], client.id, "{request} {reply}");
        reply
    }

    pub(super) fn join(&mut self, client: &mut Client, room: &str) -> Value {
        let joined = self.ask(client, json!({"t": "join", "room": room}));
        assert_eq!(joined["t"], "joined", "{joined}");
        joined
    }

    /// Makes two clients that are in a room, with nothing unread.
    pub(super) fn pair(&mut self) -> (Client, Client) {
        let (mut a, mut b) = (self.client(), self.client());
        self.join(&mut a, "tea");
        self.join(&mut b, "tea");
        self.read(a.conn);
        (a, b)
    }

    /// Returns the oldest unread message.
    pub(super) fn next(&mut self, conn: ConnId) -> Value {
        let unread = self.inbox.entry(conn).or_default();
        assert!(!unread.is_empty(), "{conn:?} was told nothing; closed: {:?}", self.closed.get(&conn));
        self.raw.entry(conn).or_default().remove(0);
        unread.remove(0)
    }

    /// Returns all unread messages.
    pub(super) fn read(&mut self, conn: ConnId) -> Vec<Value> {
        self.raw.remove(&conn);
        self.inbox.remove(&conn).unwrap_or_default()
    }

    /// Returns all unread messages as they were written.
    pub(super) fn read_raw(&mut self, conn: ConnId) -> Vec<String> {
        self.inbox.remove(&conn);
        self.raw.remove(&conn).unwrap_or_default()
    }

    /// Returns the code that a connection was closed with, which `bye` has to have said.
    pub(super) fn close_of(&mut self, conn: ConnId) -> Option<u16> {
        self.closed.get(&conn).map(|code| code.number())
    }

    /// Reads up to `bye` and returns its code.
    pub(super) fn bye_of(&mut self, conn: ConnId) -> u16 {
        let bye = self.read(conn).pop().expect("a bye");
        assert_eq!(bye["t"], "bye", "{bye}");
        let code = self.close_of(conn).expect("a close");
        assert_eq!(bye["code"], code);
        code
    }

    pub(super) fn cut(&mut self, client: &Client) {
        self.hub.handle_closed(self.now, client.conn);
        self.drain();
    }

    pub(super) fn stall(&mut self, conn: ConnId) {
        self.stalled.insert(conn, 0);
    }

    pub(super) fn unstall(&mut self, conn: ConnId) {
        if let Some(unwritten) = self.stalled.remove(&conn) {
            self.hub.handle_written(self.now, conn, unwritten);
            self.drain();
        }
    }

    /// Moves the clock, stopping at every deadline.
    pub(super) fn advance(&mut self, span: Duration) {
        let end = self.now.advanced(span);
        while let Some(at) = self.hub.poll_timeout().filter(|at| *at <= end.mono) {
            let step = at.since(self.now.mono);
            self.now = self.now.advanced(step);
            self.hub.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.now.advanced(end.mono.since(self.now.mono));
    }

    /// Moves the clock while clients answer their pings.
    pub(super) fn advance_with(&mut self, clients: &[&Client], span: Duration) {
        let mut left = span;
        while left > Duration::ZERO {
            let step = left.min(secs(10));
            self.advance(step);
            for client in clients {
                self.hub.handle_alive(self.now, client.conn);
            }
            left -= step;
        }
    }
}

pub(super) fn generous() -> Limits {
    let unlimited = crate::signal::Rate { per_second: 0, burst: 0 };
    Limits { messages: unlimited, messages_per_address: unlimited, bytes: unlimited, ..Limits::default() }
}

/// Returns the types of messages, in order.
pub(super) fn types(messages: &[Value]) -> Vec<String> {
    messages.iter().map(|message| text(message, "t")).collect()
}
