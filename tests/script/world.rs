//! Two shards of one process, six clients, and histories written as bytes: four for each step.
//!
//! Beside the servers runs a model of what RFC 8656 lets through, made from nothing but the answers on the wire.
//! Every step asserts that servers and model agree.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use turnpike::time::Mono;
use turnpike::turn::{AllocationState, Event, OpenError, PeerAddr, Quotas, Transport};

use crate::script::wire::*;
use crate::script::{Client, Fate, Lab, Setup, secs};

pub const CLIENTS: usize = 6;
pub const PER_USER: u32 = 3;
pub const TOTAL: u32 = 5;
const PORTS: (u16, u16) = (50_000, 50_015);

/// What the model knows of an allocation.
#[derive(Clone, Debug)]
struct Held {
    relayed: SocketAddr,
    expires: Mono,
    permissions: BTreeMap<IpAddr, Mono>,
    channels: BTreeMap<u16, (SocketAddr, Mono)>,
}

/// Where the model lets a payload go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Peer(SocketAddr),
    Client { to: usize, from: SocketAddr },
    Nothing,
}

/// What an unproven source must not change: allocations, open sockets, quota, deadline.
type Snapshot = (Vec<Option<AllocationState>>, usize, u32, Option<Mono>);

pub struct World {
    pub labs: Vec<Lab>,
    /// What happened, without the names that servers give to relays.
    pub trace: Vec<String>,
    clients: Vec<Client>,
    held: Vec<Option<Held>>,
    /// The last relayed address of each client, live or not.
    known: Vec<Option<SocketAddr>>,
    /// The last Allocate of each client and its answer.
    last: Vec<Option<(Vec<u8>, Heard)>>,
    tokens: Vec<Vec<u8>>,
    parked: BTreeSet<SocketAddr>,
    policy: u8,
}

fn setup(policy: u8) -> Setup {
    let mut setup = Setup { ports: PORTS, ..Setup::default() };
    setup.quotas = Quotas { allocations: TOTAL, allocations_per_user: PER_USER, ..Quotas::default() };
    setup.limits.unauthenticated_rate = 0;
    match policy {
        0 => {}
        1 => setup.deny = vec!["1.1.1.1/32"],
        _ => setup.allow = vec!["10.0.0.0/8"],
    }
    setup
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

impl World {
    pub fn new() -> World {
        let shared = setup(0).shared();
        let labs = (0..2).map(|shard| Lab::on(setup(0), shared.clone(), shard)).collect();
        let clients = vec![
            Client::ann("1.2.3.4:5000"),
            Client::bob("1.2.3.4:5001"),
            Client::over(Transport::Tcp, "1.2.3.4:5002", "ann", "ann's password"),
            Client::over(Transport::Tls, "[2a00::1]:5003", "bob", "bob's password"),
            Client::minted("[2a00::1]:5004", "ann", 24 * 3600),
            Client::minted("4.3.2.1:5005", "carol", 24 * 3600),
        ];
        World {
            labs,
            trace: Vec::new(),
            held: vec![None; CLIENTS],
            known: vec![None; CLIENTS],
            last: vec![None; CLIENTS],
            tokens: Vec::new(),
            parked: BTreeSet::new(),
            policy: 0,
            clients,
        }
    }

    /// Plays a history; what is left of less than four bytes is ignored.
    pub fn play(&mut self, history: &[u8]) {
        history.chunks_exact(4).for_each(|step| self.step([step[0], step[1], step[2], step[3]]));
    }

    pub fn step(&mut self, [op, who, a, b]: [u8; 4]) {
        let who = usize::from(who) % CLIENTS;
        match op % 24 {
            0..=3 => self.allocate(who, a % 8, b),
            4..=5 => self.refresh(who, [0, 1, 600, 700, 1800, 9999][usize::from(a) % 6]),
            6..=8 => self.permit(who, &[a, b][..1 + usize::from(a & 0x80 != 0)]),
            9..=10 => self.bind(who, 0x4000 + u16::from(a % 4), b),
            11..=13 => self.send(who, a, b),
            14..=15 => self.send_on(who, 0x4000 + u16::from(a % 4), b),
            16..=18 => self.peer_sends(who, a, b),
            19 => self.unproven(who, a, b),
            20..=21 => self.wait(
                [0, 1, 29, 60, 240, 299, 300, 301, 599, 600, 1000, 3000][usize::from(a) % 12],
                b & 1 == 1,
            ),
            22 => self.new_policy(a % 3),
            _ => self.other(who, a),
        }
        self.assert_quotas();
    }

    /// Lets all deadlines pass and asserts that nothing is left, and that every port can be had again.
    pub fn assert_all_returns(&mut self) {
        self.wait(4000, true);
        for lab in &self.labs {
            lab.assert_nothing_is_left();
        }
        assert!(self.parked.is_empty());
        self.labs[0].shared.set_quotas(Quotas::default());
        for family in [1, 2] {
            let ports: BTreeSet<u16> = (PORTS.0..=PORTS.1)
                .map(|port| {
                    let ask = Ask::request(ALLOCATE, u64::from(port)).udp().family(family);
                    self.labs[usize::from(port) % 2]
                        .allocate_with(&mut Client::ann(&format!("7.7.7.{family}:{port}")), &ask)
                        .port()
                })
                .collect();
            assert_eq!(ports.len(), usize::from(PORTS.1 - PORTS.0) + 1);
        }
    }

    /// Takes everything over into fresh servers, by way of what was written down.
    pub fn move_to_fresh_servers(&mut self) {
        let current = setup(self.policy);
        let shared = current.shared();
        for (shard, lab) in self.labs.iter_mut().enumerate() {
            let ids: Vec<_> = lab.server.allocations().map(|view| view.id).collect();
            let states: Vec<String> = ids
                .into_iter()
                .map(|id| serde_json::to_string(&lab.server.export(id).unwrap()).unwrap())
                .collect();
            let mut fresh = Lab::on(current.clone(), shared.clone(), shard as u8);
            fresh.now = lab.now;
            fresh.next_tid = lab.next_tid;
            for written in &states {
                let state: AllocationState = serde_json::from_str(written).unwrap();
                fresh.event(Event::Import(Box::new(state)));
            }
            assert_eq!(fresh.server.allocations().count(), states.len());
            fresh.rng.set(lab.rng.state());
            *lab = fresh;
        }
    }

    // Steps.

    fn allocate(&mut self, who: usize, kind: u8, trouble: u8) {
        let user_before = self.user_count(who);
        let mut ask = self.lab(who).request(ALLOCATE).udp().lifetime(u32::from(trouble) * 10);
        ask = match kind {
            0 | 1 => ask,
            2 => ask.family(2),
            3 => ask.with(EVEN_PORT, [0]),
            4 => ask.with(EVEN_PORT, [0x80]),
            5 => match self.tokens.pop() {
                Some(token) => ask.with(TOKEN, token),
                None => ask.with(TOKEN, [9; 8]),
            },
            6 => ask.with(SECOND_FAMILY, [2, 0, 0, 0]),
            _ => return self.retransmit(who),
        };
        if trouble % 8 == 7 {
            let error = if trouble > 128 { OpenError::InUse } else { OpenError::Exhausted };
            self.lab(who).openings.push_back(Err(error));
        }
        let (bytes, heard) = self.ask(who, &ask);
        self.lab(who).openings.clear();
        let live = self.live(who).is_some();
        match heard.code() {
            0 => {
                assert!(!live, "a second allocation");
                let relayed = heard.address(RELAYED);
                assert_eq!(relayed.is_ipv6(), kind == 2 || (kind == 5 && relayed.is_ipv6()));
                let expires = self.now().after_secs(heard.lifetime());
                let fresh =
                    Held { relayed, expires, permissions: BTreeMap::new(), channels: BTreeMap::new() };
                self.held[who] = Some(fresh);
                self.known[who] = Some(relayed);
                if heard.has(TOKEN) {
                    self.tokens.push(heard.value(TOKEN).to_vec());
                }
                self.last[who] = Some((bytes, heard));
            }
            437 => assert!(live),
            486 => assert!(!live && user_before >= PER_USER as usize),
            508 => assert!(!live),
            other => panic!("Allocate got {other}"),
        }
        self.forget_expired(who);
    }

    /// The same bytes again: the same answer, or none of the old kind once the allocation is gone.
    fn retransmit(&mut self, who: usize) {
        let Some((bytes, before)) = self.last[who].clone() else { return };
        let live = self.live(who).map(|held| held.relayed);
        let path = self.clients[who].path;
        let heard = self.in_lab(who, |lab| lab.answer(&path, &bytes));
        self.note(&heard);
        match (heard.code(), live) {
            (0, Some(relayed)) => {
                assert_eq!(heard, before);
                assert_eq!(heard.address(RELAYED), relayed);
            }
            (0, None) => {
                let relayed = heard.address(RELAYED);
                let expires = self.now().after_secs(heard.lifetime());
                let fresh =
                    Held { relayed, expires, permissions: BTreeMap::new(), channels: BTreeMap::new() };
                self.held[who] = Some(fresh);
                self.known[who] = Some(relayed);
                self.last[who] = Some((bytes, heard));
            }
            (438, _) => {}
            (486 | 508, None) => {}
            (437, Some(_)) => panic!("a retransmission lost its allocation"),
            (other, _) => panic!("a retransmitted Allocate got {other}"),
        }
        self.forget_expired(who);
    }

    fn refresh(&mut self, who: usize, seconds: u32) {
        let ask = self.lab(who).request(REFRESH).lifetime(seconds);
        let (_, heard) = self.ask(who, &ask);
        assert_eq!(heard.code(), if self.live(who).is_some() { 0 } else { 437 });
        if heard.is_success() {
            assert_eq!(heard.lifetime(), if seconds == 0 { 0 } else { seconds.clamp(600, 3600) });
            let expires = self.now().after_secs(heard.lifetime());
            match &mut self.held[who] {
                Some(held) if seconds > 0 => held.expires = expires,
                held => *held = None,
            }
        }
    }

    fn permit(&mut self, who: usize, peers: &[u8]) {
        let peers: Vec<SocketAddr> = peers.iter().map(|peer| self.peer(*peer)).collect();
        let ask = self.lab(who).request(CREATE_PERMISSION);
        let ask = peers.iter().fold(ask, |ask, peer| ask.peer(&peer.to_string()));
        let (_, heard) = self.ask(who, &ask);
        let until = self.now().after_secs(300);
        let (now, policy) = (self.now(), self.policy);
        let held = self.held[who].as_mut().filter(|held| now < held.expires);
        let Some(held) = held else { return assert_eq!(heard.code(), 437) };
        let foreign = peers.iter().any(|peer| peer.is_ipv4() != held.relayed.is_ipv4());
        let denied = peers.iter().any(|peer| denied(policy, peer.ip()));
        match heard.code() {
            0 => {
                assert!(!foreign && !denied);
                peers.iter().for_each(|peer| {
                    held.permissions.insert(peer.ip(), until);
                });
            }
            443 => assert!(foreign),
            403 => assert!(denied),
            other => panic!("CreatePermission got {other}"),
        }
    }

    fn bind(&mut self, who: usize, number: u16, peer: u8) {
        let peer = self.peer(peer);
        let ask = self.lab(who).request(CHANNEL_BIND).channel(number).peer(&peer.to_string());
        let (_, heard) = self.ask(who, &ask);
        let (now, policy) = (self.now(), self.policy);
        let held = self.held[who].as_mut().filter(|held| now < held.expires);
        let Some(held) = held else { return assert_eq!(heard.code(), 437) };
        let live = held.channels.iter().filter(|(_, (_, until))| now < *until);
        let conflict = live.into_iter().any(|(bound, (to, _))| (*bound == number) != (*to == peer));
        let foreign = peer.is_ipv4() != held.relayed.is_ipv4();
        let forbidden = denied(policy, peer.ip()) || is_listener(peer) || peer.port() == 0;
        match heard.code() {
            0 => {
                assert!(!conflict && !foreign && !forbidden);
                held.channels.insert(number, (peer, now.after_secs(600)));
                held.permissions.insert(peer.ip(), now.after_secs(300));
            }
            400 => assert!(conflict),
            443 => assert!(foreign),
            403 => assert!(forbidden),
            other => panic!("ChannelBind got {other}"),
        }
    }

    fn send(&mut self, who: usize, peer: u8, len: u8) {
        let peer = self.peer(peer);
        let payload = vec![len; usize::from(len % 9)];
        let expected = match self.live(who) {
            Some(held) if self.permits(held, peer.ip()) && peer.port() != 0 && !is_listener(peer) => {
                self.route(held.relayed, peer)
            }
            _ => Expected::Nothing,
        };
        let path = self.clients[who].path;
        let bytes = self.lab(who).send_indication(&peer.to_string(), &payload).bare();
        let fate = self.in_lab(who, |lab| lab.feed(&path, &bytes).0);
        self.deliver(who, fate, expected, &payload);
    }

    fn send_on(&mut self, who: usize, number: u16, len: u8) {
        let payload = vec![len; usize::from(len % 9)];
        let now = self.now();
        let channel = self.live(who).and_then(|held| {
            let (peer, until) = *held.channels.get(&number)?;
            (now < until && !denied(self.policy, peer.ip())).then_some((held.relayed, peer))
        });
        let expected = channel.map_or(Expected::Nothing, |(relayed, peer)| self.route(relayed, peer));
        let path = self.clients[who].path;
        let fate = self.in_lab(who, |lab| lab.feed(&path, &channel_data(number, &payload)).0);
        self.deliver(who, fate, expected, &payload);
    }

    fn peer_sends(&mut self, who: usize, peer: u8, len: u8) {
        let Some(held) = self.held[who].clone() else { return };
        let peer = self.peer(peer);
        let payload = vec![len; usize::from(len % 9)];
        let open = self.labs[who % 2].open.values().any(|addr| addr.advertised == held.relayed);
        if !open {
            return;
        }
        let expected = match self.live(who) {
            Some(held) if self.permits(held, peer.ip()) => Expected::Client { to: who, from: peer },
            _ => Expected::Nothing,
        };
        let fate = self.in_lab(who, |lab| lab.peer_sends(held.relayed, &peer.to_string(), &payload));
        self.deliver(who, fate, expected, &payload);
    }

    /// Feeds what proves nothing: no state changes, and no answer is larger than it may be.
    fn unproven(&mut self, who: usize, kind: u8, b: u8) {
        let mut sender = self.clients[who].clone();
        if b & 1 == 1 {
            sender.path.remote.set_port(6000 + u16::from(b));
            sender.path.link.0 += 6000 + u32::from(b);
        }
        let mut wrong = sender.credential.clone();
        wrong.key[0] ^= 1;
        let mut stale = sender.credential.clone();
        stale.nonce = b"obMatJos2AAAAnever".to_vec();
        let tid = self.lab(who).tid();
        let bytes = match kind % 8 {
            0 => Ask::request(BINDING, tid).bare(),
            1 => Ask::request(ALLOCATE, tid).udp().bare(),
            2 => Ask::request(ALLOCATE, tid).udp().signed(&wrong),
            3 => vec![b; usize::from(b)],
            4 => Ask::request(REFRESH, tid).with(0x7777, b"x").lifetime(0).bare(),
            5 => {
                let mut bytes = Ask::request(REFRESH, tid).lifetime(0).signed(&sender.credential);
                bytes.truncate(bytes.len() * usize::from(b) / 256);
                bytes
            }
            6 => Ask::request(BINDING, tid).with(0x7777, b"").bare(),
            _ => Ask::request(REFRESH, tid).lifetime(0).signed(&stale),
        };
        let before = self.snapshot();
        let below = if sender.path.remote.is_ipv4() { 28 } else { 48 };
        let (fate, answers) = self.in_lab(who, |lab| lab.feed(&sender.path, &bytes));
        assert!(matches!(fate, Fate::Queued | Fate::Dropped(_)), "{fate:?}");
        for (_, answer) in &answers {
            let heard = Heard::read(answer);
            let times = if [401, 438].contains(&heard.code()) { 3 } else { 2 };
            assert!(answer.len() + below <= times * (bytes.len() + below), "{answer:02x?} to {bytes:02x?}");
            self.note(&heard);
        }
        assert_eq!(self.snapshot(), before, "an unproven source changed something");
    }

    fn wait(&mut self, seconds: u64, settle: bool) {
        self.labs.iter_mut().for_each(|lab| lab.pass(secs(seconds)));
        if settle {
            for shard in 0..2 {
                self.in_lab(shard, Lab::settle);
            }
            let now = self.now();
            for held in &mut self.held {
                held.take_if(|held| now >= held.expires);
            }
            let late =
                self.labs.iter().flat_map(|lab| lab.server.allocations()).any(|view| view.expires <= now);
            assert!(!late, "an allocation outlived its deadline");
        }
    }

    fn new_policy(&mut self, policy: u8) {
        self.policy = policy;
        for lab in &mut self.labs {
            lab.event(Event::Policy(Arc::new(setup(policy).policy())));
        }
    }

    fn other(&mut self, who: usize, a: u8) {
        let path = self.clients[who].path;
        if path.transport.is_stream() && a.is_multiple_of(2) {
            self.in_lab(who, |lab| lab.event(Event::ClientClosed(path)));
            self.held[who] = None;
            return;
        }
        // Another user on the same path: 441, or 437 without an allocation.
        let mut other = if self.clients[who].username == "bob" {
            Client::ann("9.9.9.9:9")
        } else {
            Client::bob("9.9.9.9:9")
        };
        other.path = path;
        let expected = if self.live(who).is_some() { 441 } else { 437 };
        let heard = self.in_lab(who, |lab| {
            lab.login(&mut other);
            lab.refresh(&other, 0)
        });
        assert_eq!(heard.code(), expected);
        self.note(&heard);
    }

    // The model.

    fn now(&self) -> Mono {
        self.labs[0].now.mono
    }

    fn live(&self, who: usize) -> Option<&Held> {
        self.held[who].as_ref().filter(|held| self.now() < held.expires)
    }

    /// An Allocate of its own path ends an allocation that is due.
    fn forget_expired(&mut self, who: usize) {
        let now = self.now();
        let open = |held: &Held| self.labs[who % 2].open.values().any(|addr| addr.advertised == held.relayed);
        if self.held[who].as_ref().is_some_and(|held| now >= held.expires && !open(held)) {
            self.held[who] = None;
        }
    }

    fn permits(&self, held: &Held, ip: IpAddr) -> bool {
        held.permissions.get(&ip).is_some_and(|until| self.now() < *until) && !denied(self.policy, ip)
    }

    /// Where a payload goes that an allocation may send to an address.
    fn route(&self, from: SocketAddr, to: SocketAddr) -> Expected {
        let ours = self.labs.iter().any(|lab| lab.open.values().any(|addr| addr.advertised == to));
        if !ours {
            return Expected::Peer(to);
        }
        let receiver = (0..CLIENTS).find(|who| self.live(*who).is_some_and(|held| held.relayed == to));
        match receiver {
            Some(who) if self.live(who).is_some_and(|held| self.permits(held, from.ip())) => {
                Expected::Client { to: who, from }
            }
            _ => Expected::Nothing,
        }
    }

    /// Compares a fate with what the model expects, by way of the other shard where it goes there.
    fn deliver(&mut self, who: usize, fate: Fate, expected: Expected, payload: &[u8]) {
        let fate = match fate {
            Fate::ToShard { shard, relay, from, payload } => {
                let lab = &mut self.labs[usize::from(shard.0)];
                assert_ne!(usize::from(shard.0), who % 2, "a detour");
                Fate::from(lab.server.handle_peer(lab.now, relay, PeerAddr(from.0), &payload))
            }
            fate => fate,
        };
        match (&fate, &expected) {
            (Fate::Dropped(reason), Expected::Nothing) => self.trace.push(reason.label().to_owned()),
            (Fate::ToPeer { relay, peer, payload: sent, .. }, Expected::Peer(to)) => {
                let own = self.live(who).map(|held| held.relayed);
                assert_eq!(Some(self.labs[who % 2].open[relay].advertised), own, "from another's relay");
                assert_eq!((peer, &sent[..]), (to, payload));
                self.trace.push(format!("{own:?} -> {peer}: {sent:?}"));
            }
            (Fate::ToClient { client, bytes }, Expected::Client { to, from }) => {
                assert_eq!(*client, self.clients[*to].path);
                let held = self.live(*to).unwrap();
                let now = self.now();
                let channel = held.channels.iter().find(|(_, (peer, until))| peer == from && now < *until);
                match channel {
                    Some((number, _)) => {
                        let mut framed = channel_data(*number, payload);
                        if client.transport.is_stream() {
                            framed.resize(framed.len().next_multiple_of(4), 0);
                        }
                        assert_eq!(*bytes, framed);
                    }
                    None => assert_eq!(fate.data_indication(), (*from, payload.to_vec())),
                }
                self.trace.push(format!("{from} -> {client:?}: {bytes:?}"));
            }
            _ => panic!("{fate:?} where the model expects {expected:?}"),
        }
    }

    // Helpers.

    fn lab(&mut self, who: usize) -> &mut Lab {
        &mut self.labs[who % 2]
    }

    /// Drives the shard of a client, with the sockets that the process has parked.
    fn in_lab<T>(&mut self, who: usize, act: impl FnOnce(&mut Lab) -> T) -> T {
        std::mem::swap(&mut self.labs[who % 2].parked, &mut self.parked);
        let done = act(&mut self.labs[who % 2]);
        std::mem::swap(&mut self.labs[who % 2].parked, &mut self.parked);
        done
    }

    /// Asks as a client does: with the nonce it has, and again when that is stale.
    fn ask(&mut self, who: usize, ask: &Ask) -> (Vec<u8>, Heard) {
        let mut client = self.clients[who].clone();
        if client.credential.nonce.is_empty() {
            self.in_lab(who, |lab| lab.login(&mut client));
        }
        let mut heard = self.in_lab(who, |lab| lab.ask(&client, ask));
        if heard.code() == 438 {
            client.credential.nonce = heard.value(NONCE).to_vec();
            heard = self.in_lab(who, |lab| lab.ask(&client, ask));
        }
        self.note(&heard);
        let bytes = ask.signed(&client.credential);
        self.clients[who] = client;
        (bytes, heard)
    }

    fn note(&mut self, heard: &Heard) {
        self.trace.push(format!("{:02x?}", heard.bytes));
    }

    fn peer(&self, index: u8) -> SocketAddr {
        let fixed = [
            "1.1.1.1:7",
            "1.1.1.1:8",
            "1.1.1.2:7",
            "10.0.0.1:7",
            "127.0.0.1:7",
            "[2a00::9]:7",
            "[fd00::1]:7",
            "9.0.0.1:3478",
            "1.1.1.1:0",
            "8.8.4.4:7",
        ];
        match fixed.get(usize::from(index) % 16) {
            Some(text) => text.parse().unwrap(),
            None => {
                let unknown = "9.0.0.1:50015".parse().unwrap();
                self.known[usize::from(index) % 16 - fixed.len()].unwrap_or(unknown)
            }
        }
    }

    fn user_count(&self, who: usize) -> usize {
        let name = self.clients[who].username.as_str();
        let name = name.split_once(':').map_or(name, |(_, subject)| subject);
        self.labs.iter().flat_map(|lab| lab.server.allocations()).filter(|view| view.subject == name).count()
    }

    fn assert_quotas(&self) {
        let mut by_user: BTreeMap<&str, u32> = BTreeMap::new();
        for view in self.labs.iter().flat_map(|lab| lab.server.allocations()) {
            *by_user.entry(view.subject).or_default() += 1;
        }
        let total: u32 = by_user.values().sum();
        assert!(total <= TOTAL && by_user.values().all(|held| *held <= PER_USER), "{by_user:?}");
        assert_eq!(total, self.labs[0].shared.allocations());
        let open: usize = self.labs.iter().map(|lab| lab.open.len()).sum();
        assert_eq!(open, total as usize);
    }

    fn snapshot(&self) -> Vec<Snapshot> {
        let one = |lab: &Lab| {
            let states = lab.server.allocations().map(|view| lab.server.export(view.id)).collect();
            (states, lab.open.len(), lab.shared.allocations(), lab.server.poll_timeout())
        };
        self.labs.iter().map(one).collect()
    }
}

fn denied(policy: u8, ip: IpAddr) -> bool {
    match ip.to_string().as_str() {
        "127.0.0.1" | "fd00::1" | "8.8.4.4" => true,
        "10.0.0.1" => policy != 2,
        "1.1.1.1" => policy == 1,
        _ => false,
    }
}

fn is_listener(addr: SocketAddr) -> bool {
    addr == "9.0.0.1:3478".parse().unwrap()
}
