//! A server without sockets, a clock that is moved by hand, and clients that read as a script.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

pub mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use turnpike::auth::{Credentials, mint};
use turnpike::time::{Mono, Now};
use turnpike::turn::{
    Action, AllocationId, ClientPath, DropReason, Event, Limits, LinkId, OpenError, OwnAddresses, PeerAddr,
    Policy, Quotas, RelayAddr, RelayId, RelayIp, RelayRange, RelaySource, Rng, Server, Settings, ShardId,
    SharedTable, Transport, Verdict,
};

use wire::{ALLOCATE, Ask, CHANNEL_BIND, CREATE_PERMISSION, Credential, Heard, NONCE, REALM, REFRESH, SEND};

pub const REALM_NAME: &str = "example.org";
pub const RELAY_V4: &str = "9.0.0.1";
pub const RELAY_V6: &str = "2600::1";
pub const LISTENER_V4: &str = "9.0.0.1:3478";
pub const LISTENER_V6: &str = "[2600::1]:3478";
/// Unix second at which every script starts.
pub const START: u64 = 1_800_000_000;

/// SplitMix64: the same seed, the same bytes. Clones draw from one state, so that a script can carry it over to
/// another server.
#[derive(Clone, Debug)]
pub struct TestRng(Arc<AtomicU64>);

impl TestRng {
    pub fn new(seed: u64) -> TestRng {
        TestRng(Arc::new(AtomicU64::new(seed)))
    }

    pub fn state(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, state: u64) {
        self.0.store(state, Ordering::Relaxed);
    }

    pub fn draw(&self) -> u64 {
        self.set(self.state().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = self.state();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Rng for TestRng {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// What a script may set up differently.
#[derive(Clone)]
pub struct Setup {
    pub limits: Limits,
    pub quotas: Quotas,
    pub ports: (u16, u16),
    pub families: (bool, bool),
    pub realm: String,
    pub software: Option<String>,
    pub external: Option<&'static str>,
    pub allow: Vec<&'static str>,
    pub deny: Vec<&'static str>,
    pub users: Vec<(&'static str, &'static str)>,
    pub secrets: Vec<&'static [u8]>,
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            limits: Limits::default(),
            quotas: Quotas::default(),
            ports: (49_152, 65_535),
            families: (true, true),
            realm: REALM_NAME.to_owned(),
            software: None,
            external: None,
            allow: Vec::new(),
            deny: Vec::new(),
            users: vec![("ann", "ann's password"), ("bob", "bob's password")],
            secrets: vec![b"new secret", b"old secret"],
            seed: 1,
        }
    }
}

impl Setup {
    pub fn policy(&self) -> Policy {
        let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect::<Vec<_>>();
        let own = OwnAddresses {
            relays: self.relay_ips(),
            local: [RELAY_V4, RELAY_V6, "127.0.0.1", "::1", "8.8.4.4"].map(|ip| ip.parse().unwrap()).to_vec(),
            broadcast: vec!["9.0.0.255".parse().unwrap()],
            routed: Vec::new(),
            endpoints: ["[::]:3478", "[::]:5349", "127.0.0.1:8080", "5.5.5.5:6379"]
                .map(|addr| addr.parse().unwrap())
                .to_vec(),
        };
        Policy::new(&nets(&self.allow), &nets(&self.deny), own)
    }

    pub fn credentials(&self) -> Credentials {
        Credentials::new(&self.realm, self.users.iter().copied(), self.secrets.iter().copied())
    }

    pub fn shared(&self) -> SharedTable {
        let ranges: Vec<_> = self
            .relay_ips()
            .into_iter()
            .map(|ip| RelayRange { ip, first: self.ports.0, last: self.ports.1 })
            .collect();
        SharedTable::new(&ranges, self.quotas)
    }

    fn relay_ips(&self) -> Vec<RelayIp> {
        let ip = |ip: &str| RelayIp { local: ip.parse().unwrap(), advertised: ip.parse().unwrap() };
        let mut v4 = ip(RELAY_V4);
        if let Some(external) = self.external {
            v4.advertised = external.parse().unwrap();
        }
        let v4 = Some(v4).filter(|_| self.families.0);
        let v6 = Some(ip(RELAY_V6)).filter(|_| self.families.1);
        v4.into_iter().chain(v6).collect()
    }

    pub fn server(&self, shard: u8, shared: SharedTable, rng: TestRng) -> Server<SharedTable, TestRng> {
        let settings = Settings {
            shard: ShardId(shard),
            realm: self.realm.clone(),
            nonce_key: [7; 32],
            software: self.software.clone(),
        };
        let (policy, credentials) = (Arc::new(self.policy()), Arc::new(self.credentials()));
        Server::new(settings, self.limits.clone(), policy, credentials, shared, rng)
    }
}

/// A verdict that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    ToPeer { relay: RelayId, peer: SocketAddr, payload: Vec<u8>, df: bool },
    ToClient { client: ClientPath, bytes: Vec<u8> },
    ToShard { shard: ShardId, relay: RelayId, from: PeerAddr, payload: Vec<u8> },
    Queued,
    Dropped(DropReason),
}

impl From<Verdict<'_>> for Fate {
    fn from(verdict: Verdict<'_>) -> Fate {
        match verdict {
            Verdict::ToPeer { relay, peer, payload, df } => {
                Fate::ToPeer { relay, peer: peer.0, payload: payload.to_vec(), df }
            }
            Verdict::ToClient { client, head, payload } => {
                let bytes = [head.as_bytes(), payload, head.padding()].concat();
                Fate::ToClient { client, bytes }
            }
            Verdict::ToShard { shard, relay, from, payload } => {
                Fate::ToShard { shard, relay, from, payload: payload.to_vec() }
            }
            Verdict::Queued => Fate::Queued,
            Verdict::Dropped(reason) => Fate::Dropped(reason),
        }
    }
}

/// A client on one 5-tuple.
#[derive(Clone, Debug)]
pub struct Client {
    pub path: ClientPath,
    pub username: String,
    pub credential: Credential,
    pub password: String,
}

impl Client {
    /// Makes a UDP client; `remote` is where the server sees it.
    pub fn new(remote: &str, username: &str, password: &str) -> Client {
        Client::over(Transport::Udp, remote, username, password)
    }

    pub fn over(transport: Transport, remote: &str, username: &str, password: &str) -> Client {
        let remote: SocketAddr = remote.parse().unwrap();
        let local = if remote.is_ipv4() { LISTENER_V4 } else { LISTENER_V6 };
        let link = if transport.is_stream() { 1000 + u32::from(remote.port()) } else { 0 };
        let path = ClientPath { remote, local: local.parse().unwrap(), link: LinkId(link), transport };
        let key = wire::long_term_key(username, REALM_NAME, password);
        let credential =
            Credential { username: username.into(), realm: REALM_NAME.into(), nonce: Vec::new(), key };
        Client { path, username: username.to_owned(), credential, password: password.to_owned() }
    }

    pub fn ann(remote: &str) -> Client {
        Client::new(remote, "ann", "ann's password")
    }

    pub fn bob(remote: &str) -> Client {
        Client::new(remote, "bob", "bob's password")
    }

    /// A user of the shared secret `new secret`, whose credential expires `ttl` seconds after the start.
    pub fn minted(remote: &str, subject: &str, ttl: i64) -> Client {
        let minted = mint(b"new secret", subject, START.saturating_add_signed(ttl));
        Client::new(remote, &minted.username, &minted.password)
    }

    /// The same path with another credential.
    pub fn as_user(&self, other: &Client) -> Client {
        Client { path: self.path, ..other.clone() }
    }
}

/// One shard's server and the shell around it.
pub struct Lab {
    pub server: Server<SharedTable, TestRng>,
    pub shared: SharedTable,
    pub setup: Setup,
    pub rng: TestRng,
    pub now: Now,
    /// Relay sockets that are open, by name.
    pub open: BTreeMap<RelayId, RelayAddr>,
    /// Sockets that are parked for a token.
    pub parked: BTreeSet<SocketAddr>,
    /// Results of the next openings; success once it is empty.
    pub openings: VecDeque<Result<(), OpenError>>,
    /// Sockets that the server asked for, in order.
    pub asked: Vec<(RelayAddr, RelaySource)>,
    pub next_tid: u64,
}

impl Default for Lab {
    fn default() -> Lab {
        Lab::new()
    }
}

impl Lab {
    pub fn new() -> Lab {
        Lab::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Setup)) -> Lab {
        let mut setup = Setup::default();
        change(&mut setup);
        let shared = setup.shared();
        Lab::on(setup, shared, 0)
    }

    pub fn on(setup: Setup, shared: SharedTable, shard: u8) -> Lab {
        let rng = TestRng::new(setup.seed + u64::from(shard));
        let server = setup.server(shard, shared.clone(), rng.clone());
        Lab {
            server,
            shared,
            setup,
            rng,
            now: Now { mono: Mono(1_000_000_000_000_000), unix: START },
            open: BTreeMap::new(),
            parked: BTreeSet::new(),
            openings: VecDeque::new(),
            asked: Vec::new(),
            next_tid: 0,
        }
    }

    // Time.

    /// Moves the clock without telling the server.
    pub fn pass(&mut self, span: Duration) {
        self.now = self.now.advanced(span);
    }

    /// Moves the clock and lets the server end what is due.
    pub fn advance(&mut self, span: Duration) {
        self.pass(span);
        self.settle();
    }

    /// Lets the server end what is due.
    pub fn settle(&mut self) {
        while self.server.poll_timeout().is_some_and(|at| at <= self.now.mono) {
            self.server.handle_timeout(self.now);
            assert!(self.drain().is_empty());
        }
    }

    // Packets.

    /// Feeds bytes of a client; returns their fate and the answers, each with its path.
    pub fn feed(&mut self, from: &ClientPath, bytes: &[u8]) -> (Fate, Vec<(ClientPath, Vec<u8>)>) {
        let fate = Fate::from(self.server.handle_client(self.now, *from, bytes));
        let answers = self.drain();
        assert!(answers.is_empty() || fate == Fate::Queued, "an answer beside {fate:?}");
        (fate, answers)
    }

    /// Feeds bytes that get exactly one answer, on the same path.
    pub fn answer(&mut self, from: &ClientPath, bytes: &[u8]) -> Heard {
        let (_, answers) = self.feed(from, bytes);
        assert_eq!(answers.len(), 1, "{bytes:02x?}");
        assert_eq!(answers[0].0, *from);
        let heard = Heard::read(&answers[0].1);
        assert_eq!(heard.tid, bytes[8..20]);
        assert_eq!(heard.kind & !0x110, u16::from_be_bytes([bytes[0], bytes[1]]));
        assert!([wire::SUCCESS, wire::ERROR].contains(&heard.class()));
        heard
    }

    /// Feeds bytes that get no answer and are relayed nowhere; returns the reason.
    pub fn silence(&mut self, from: &ClientPath, bytes: &[u8]) -> DropReason {
        match self.feed(from, bytes) {
            (Fate::Dropped(reason), answers) if answers.is_empty() => reason,
            other => panic!("not silent: {other:?} to {bytes:02x?}"),
        }
    }

    /// Feeds a datagram of a peer to the relay at `relayed`.
    pub fn peer_sends(&mut self, relayed: SocketAddr, peer: &str, payload: &[u8]) -> Fate {
        let relay = self.relay_at(relayed);
        let from = PeerAddr(peer.parse().unwrap());
        Fate::from(self.server.handle_peer(self.now, relay, from, payload))
    }

    /// Returns the name of the open relay socket at an advertised address.
    pub fn relay_at(&self, relayed: SocketAddr) -> RelayId {
        let found = self.open.iter().find(|(_, addr)| addr.advertised == relayed);
        *found.unwrap_or_else(|| panic!("no relay at {relayed}")).0
    }

    /// Hands an event in and carries out what follows.
    pub fn event(&mut self, event: Event) {
        self.server.handle(self.now, event);
        assert!(self.drain().is_empty());
    }

    /// Carries out every action and returns the answers.
    pub fn drain(&mut self) -> Vec<(ClientPath, Vec<u8>)> {
        let mut answers = Vec::new();
        loop {
            let opened = match self.server.poll_action() {
                None => return answers,
                Some(Action::Answer { to, bytes }) => {
                    answers.push((to, bytes.to_vec()));
                    continue;
                }
                Some(Action::OpenRelay { relay, addr, source }) => (relay, addr, source),
                Some(Action::CloseRelay { relay }) => {
                    assert!(self.open.remove(&relay).is_some(), "closed what was not open: {relay:?}");
                    continue;
                }
                Some(Action::CloseReserved { addr }) => {
                    assert!(self.parked.remove(&addr.local), "closed what was not parked: {addr:?}");
                    continue;
                }
            };
            let (relay, addr, source) = opened;
            self.asked.push((addr, source));
            let result = self.openings.pop_front().unwrap_or(Ok(()));
            if result.is_ok() {
                assert!(self.open.values().all(|held| held.local != addr.local), "two sockets at {addr:?}");
                match source {
                    RelaySource::Bind => {}
                    RelaySource::BindAndPark { odd } => assert!(self.parked.insert(odd.local)),
                    RelaySource::Unpark => assert!(self.parked.remove(&addr.local), "{addr:?} not parked"),
                }
                self.open.insert(relay, addr);
            }
            if result.is_err() && source == RelaySource::Unpark {
                // A socket that cannot be taken over is closed.
                self.parked.remove(&addr.local);
            }
            self.server.handle(self.now, Event::RelayOpened { relay, result });
        }
    }

    // Scripted clients.

    pub fn tid(&mut self) -> u64 {
        self.next_tid += 1;
        self.next_tid
    }

    pub fn request(&mut self, method: u16) -> Ask {
        Ask::request(method, self.tid())
    }

    /// Takes realm and nonce from a challenge.
    pub fn login(&mut self, client: &mut Client) {
        let bytes = self.request(ALLOCATE).udp().bare();
        let heard = self.answer(&client.path, &bytes);
        assert_eq!(heard.code(), 401);
        client.credential.nonce = heard.value(NONCE).to_vec();
        client.credential.realm = heard.value(REALM).to_vec();
    }

    /// Returns a client that has been challenged.
    pub fn logged_in(&mut self, mut client: Client) -> Client {
        self.login(&mut client);
        client
    }

    /// Sends a signed request; its answer carries the right integrity unless it is a challenge.
    pub fn ask(&mut self, client: &Client, ask: &Ask) -> Heard {
        let heard = self.answer(&client.path, &ask.signed(&client.credential));
        if [401, 438].contains(&heard.code()) {
            assert!(!heard.has(wire::MI) && !heard.has(wire::MI256) && !heard.has(wire::USERNAME));
        } else if heard.kinds() != [wire::ERROR_CODE] || heard.code() != 400 {
            assert!(heard.proves(&client.credential.key), "{heard:02x?}");
            assert!(![wire::MI256, NONCE, REALM, wire::USERNAME].iter().any(|kind| heard.has(*kind)));
        }
        heard
    }

    /// Makes an allocation and returns its relayed address.
    pub fn allocate(&mut self, client: &mut Client) -> SocketAddr {
        let ask = self.request(ALLOCATE).udp();
        self.allocate_with(client, &ask)
    }

    pub fn allocate_with(&mut self, client: &mut Client, ask: &Ask) -> SocketAddr {
        self.login(client);
        let heard = self.ask(client, ask);
        assert_eq!(heard.code(), 0);
        heard.address(wire::RELAYED)
    }

    pub fn refresh(&mut self, client: &Client, seconds: u32) -> Heard {
        let ask = self.request(REFRESH).lifetime(seconds);
        self.ask(client, &ask)
    }

    /// Permits peers by IP and returns the error code, or 0.
    pub fn permit(&mut self, client: &Client, ips: &[&str]) -> u16 {
        let ask = ips.iter().fold(self.request(CREATE_PERMISSION), |ask, ip| ask.peer_ip(ip));
        self.ask(client, &ask).code()
    }

    /// Binds a channel and returns the error code, or 0.
    pub fn bind(&mut self, client: &Client, number: u16, peer: &str) -> u16 {
        let ask = self.request(CHANNEL_BIND).channel(number).peer(peer);
        self.ask(client, &ask).code()
    }

    pub fn send_indication(&mut self, peer: &str, payload: &[u8]) -> Ask {
        Ask::indication(SEND, self.tid()).peer(peer).with(wire::DATA, payload)
    }

    /// Sends by Send indication.
    pub fn send(&mut self, client: &Client, peer: &str, payload: &[u8]) -> Fate {
        let bytes = self.send_indication(peer, payload).bare();
        self.feed(&client.path, &bytes).0
    }

    /// Sends by ChannelData.
    pub fn send_on(&mut self, client: &Client, number: u16, payload: &[u8]) -> Fate {
        self.feed(&client.path, &wire::channel_data(number, payload)).0
    }

    pub fn only_allocation(&self) -> AllocationId {
        let ids: Vec<_> = self.server.allocations().map(|view| view.id).collect();
        assert_eq!(ids.len(), 1);
        ids[0]
    }

    /// Asserts that no allocation, socket, port, quota or deadline is left.
    pub fn assert_nothing_is_left(&self) {
        assert_eq!(self.server.allocations().count(), 0);
        assert!(self.open.is_empty(), "{:?}", self.open);
        assert!(self.parked.is_empty(), "{:?}", self.parked);
        assert_eq!(self.shared.allocations(), 0);
        assert_eq!(self.server.poll_timeout(), None);
    }
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Fate {
    /// Returns payload and destination of what goes to a peer.
    pub fn to_peer(&self) -> (SocketAddr, Vec<u8>) {
        match self {
            Fate::ToPeer { peer, payload, .. } => (*peer, payload.clone()),
            Fate::ToClient { .. } | Fate::ToShard { .. } | Fate::Queued | Fate::Dropped(_) => {
                panic!("not to a peer: {self:?}")
            }
        }
    }

    /// Returns the bytes that go to a client.
    pub fn to_client(&self) -> Vec<u8> {
        match self {
            Fate::ToClient { bytes, .. } => bytes.clone(),
            Fate::ToPeer { .. } | Fate::ToShard { .. } | Fate::Queued | Fate::Dropped(_) => {
                panic!("not to a client: {self:?}")
            }
        }
    }

    /// Reads the Data indication that goes to a client: peer and payload.
    pub fn data_indication(&self) -> (SocketAddr, Vec<u8>) {
        let heard = Heard::read(&self.to_client());
        assert_eq!(heard.kind, wire::message_type(wire::INDICATION, wire::DATA_METHOD));
        assert_eq!(heard.kinds(), [wire::PEER, wire::DATA]);
        (heard.address(wire::PEER), heard.value(wire::DATA).to_vec())
    }

    pub fn dropped(&self) -> DropReason {
        match self {
            Fate::Dropped(reason) => *reason,
            Fate::ToPeer { .. } | Fate::ToClient { .. } | Fate::ToShard { .. } | Fate::Queued => {
                panic!("not dropped: {self:?}")
            }
        }
    }
}
