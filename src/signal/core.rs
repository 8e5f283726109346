//! State of the hub, and the small steps that its parts share.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::bucket::Bucket;
use crate::rng::Rng;
use crate::signal::action::Action;
use crate::signal::authority::Authority;
use crate::signal::deadline::{Deadlines, Due};
use crate::signal::frame::{Frame, FrameId, push_number, push_text};
use crate::signal::ids::{AddressKey, ConnId, PeerId, RoomKey, SessionKey, random_bits};
use crate::signal::limits::{Limits, Settings};
use crate::signal::names::{Carrier, CloseCode, Tell, Undelivered};
use crate::signal::room::Room;
use crate::signal::secret::Handle;
use crate::signal::session::{Session, draw};
use crate::signal::stats::Stats;
use crate::time::{Mono, Now};

pub(super) struct Core<A, R> {
    pub(super) settings: Settings,
    pub(super) limits: Limits,
    pub(super) authority: A,
    pub(super) rng: R,
    pub(super) conns: HashMap<ConnId, Conn, FixedState>,
    pub(super) sessions: HashMap<SessionKey, Session, FixedState>,
    pub(super) sessions_by_handle: HashMap<Handle, SessionKey, FixedState>,
    pub(super) sessions_by_peer: HashMap<PeerId, SessionKey, FixedState>,
    pub(super) rooms: HashMap<RoomKey, Room, FixedState>,
    pub(super) rooms_by_name: HashMap<Arc<str>, RoomKey, FixedState>,
    pub(super) addresses: HashMap<AddressKey, Address, FixedState>,
    pub(super) sessions_by_address: HashMap<AddressKey, usize, FixedState>,
    /// Until when a uid is kept out of a room, and the same in order of time.
    pub(super) bans: BTreeMap<Ban, Mono>,
    pub(super) bans_by_end: BTreeSet<(Mono, Ban)>,
    /// Absent sessions that have frames waiting, the longest absent first.
    pub(super) waiting: BTreeSet<(Mono, SessionKey)>,
    pub(super) deadlines: Deadlines,
    pub(super) out: VecDeque<Action>,
    /// What is to be done when the present step is over.
    pub(super) chores: VecDeque<Chore>,
    pub(super) ring_bytes: usize,
    /// Sessions whose rings were heavy when they were last looked at.
    pub(super) heavy: BTreeSet<SessionKey>,
    /// Bytes of the feeds of all rooms.
    pub(super) feed_bytes: usize,
    /// When the server stops, once it is about to.
    pub(super) drain: Option<Mono>,
    pub(super) stats: Stats,
    /// Last reply or error, for a POST's answer.
    pub(super) last_reply: Option<Frame>,
    /// Where bodies are put together before they are kept at their size.
    pub(super) scratch: String,
    next_key: u64,
}

pub(super) type Ban = (Arc<str>, Arc<str>);

/// A connection that is open.
pub(super) struct Conn {
    pub(super) carrier: Carrier,
    pub(super) address: AddressKey,
    pub(super) role: Role,
    pub(super) heard: Mono,
    pub(super) told: Mono,
    pub(super) pinged: Mono,
    /// What was handed to the shell and not yet written.
    pub(super) unwritten: usize,
}

/// What a connection is for.
pub(super) enum Role {
    /// Says `hello` next; the token came with the upgrade.
    Newcomer { bearer: Option<String> },
    /// Reads a room's feed; `seen` was the last event, `uid` is whom the token names.
    Reader { room: RoomKey, seen: u64, uid: Option<Arc<str>> },
    /// Carries a session.
    Session(SessionKey),
}

/// What an address has left of its rate.
pub(super) struct Address {
    bucket: Bucket,
    used: Mono,
}

pub(super) enum Chore {
    /// A sender is told that its signal did not arrive.
    Undelivered { sender: SessionKey, re: u64, to: PeerId, reason: Undelivered },
    /// Rooms are told whether a session's client is there, if they do not know.
    Status(SessionKey),
}

impl<A: Authority, R: Rng> Core<A, R> {
    pub(super) fn new(settings: Settings, limits: Limits, authority: A, mut rng: R) -> Core<A, R> {
        let seed = random_bits(&mut rng, 8) as u64;
        let hasher = || FixedState::with_seed(seed);
        Core {
            settings,
            limits,
            authority,
            rng,
            conns: HashMap::with_hasher(hasher()),
            sessions: HashMap::with_hasher(hasher()),
            sessions_by_handle: HashMap::with_hasher(hasher()),
            sessions_by_peer: HashMap::with_hasher(hasher()),
            rooms: HashMap::with_hasher(hasher()),
            rooms_by_name: HashMap::with_hasher(hasher()),
            addresses: HashMap::with_hasher(hasher()),
            sessions_by_address: HashMap::with_hasher(hasher()),
            bans: BTreeMap::new(),
            bans_by_end: BTreeSet::new(),
            waiting: BTreeSet::new(),
            deadlines: Deadlines::default(),
            out: VecDeque::new(),
            chores: VecDeque::new(),
            ring_bytes: 0,
            heavy: BTreeSet::new(),
            feed_bytes: 0,
            drain: None,
            stats: Stats::default(),
            last_reply: None,
            scratch: String::new(),
            next_key: 0,
        }
    }

    pub(super) fn next_key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// Takes up a connection.
    pub(super) fn open_conn(
        &mut self,
        now: Now,
        conn: ConnId,
        address: AddressKey,
        carrier: Carrier,
        role: Role,
    ) {
        let mono = now.mono;
        let opened = Conn { carrier, address, role, heard: mono, told: mono, pinged: Mono(0), unwritten: 0 };
        let before = self.conns.insert(conn, opened);
        debug_assert!(before.is_none(), "no connection is named twice");
        self.stats.connection_opened(carrier);
    }

    /// Forgets a connection; who hung on it is the caller's to mend.
    pub(super) fn forget_conn(&mut self, conn: ConnId) -> Option<Role> {
        let gone = self.conns.remove(&conn)?;
        self.stats.connection_closed(gone.carrier);
        for due in [Due::Hello(conn), Due::Ping(conn), Due::Reader(conn)] {
            self.deadlines.clear(due);
        }
        Some(gone.role)
    }

    /// Says `bye`, closes a connection and forgets it.
    pub(super) fn close_conn(&mut self, now: Now, conn: ConnId, code: CloseCode) -> Option<Role> {
        // The client that asked for it has its reply.
        if code != CloseCode::Bye {
            let body = self.bye_body(conn, code);
            self.send(now, conn, Frame { tell: Tell::Bye, id: FrameId::None, body });
        }
        let role = self.forget_conn(conn)?;
        self.out.push_back(Action::Close { conn, code });
        Some(role)
    }

    /// Hands a frame to a connection.
    pub(super) fn send(&mut self, now: Now, conn: ConnId, frame: Frame) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.told = now.mono;
        state.unwritten += frame.cost();
        self.stats.count_tell(frame.tell);
        self.out.push_back(Action::Send { conn, frame });
    }

    /// Draws messages from an address's rate; else says how long to wait.
    pub(super) fn draw_address(
        &mut self,
        now: Now,
        address: AddressKey,
        messages: u64,
    ) -> Result<(), Duration> {
        let rate = self.limits.messages_per_address;
        if rate.per_second == 0 {
            return Ok(());
        }
        let full = || Address { bucket: Bucket::full(now.mono, rate.burst), used: now.mono };
        let state = self.addresses.entry(address).or_insert_with(full);
        state.used = now.mono;
        // What is more than the burst would never be had.
        let messages = messages.min(rate.burst);
        let drawn = draw(&mut state.bucket, now.mono, rate, messages);
        let wait = state.bucket.wait(now.mono, rate.per_second, rate.burst, messages);
        if !self.deadlines.is_set(Due::Address(address)) {
            self.deadlines.set(Due::Address(address), now.mono.after(self.address_memory()));
        }
        if drawn { Ok(()) } else { Err(wait) }
    }

    /// Forgets an address once its bucket is full again.
    pub(super) fn address_due(&mut self, now: Now, address: AddressKey) {
        let Some(state) = self.addresses.get(&address) else { return };
        let until = state.used.after(self.address_memory());
        if now.mono < until {
            self.deadlines.set(Due::Address(address), until);
        } else {
            self.addresses.remove(&address);
        }
    }

    /// Counts a session to an address.
    pub(super) fn count_session(&mut self, address: AddressKey) {
        *self.sessions_by_address.entry(address).or_default() += 1;
    }

    /// Counts a session to an address no more.
    pub(super) fn discount_session(&mut self, address: AddressKey) {
        if let Entry::Occupied(mut count) = self.sessions_by_address.entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn address_memory(&self) -> Duration {
        let rate = self.limits.messages_per_address;
        Duration::from_secs(rate.burst.div_ceil(rate.per_second.max(1)))
    }

    pub(super) fn room_by_name(&self, name: &str) -> Option<RoomKey> {
        self.rooms_by_name.get(name).copied()
    }

    /// Returns a room, made if it was not there.
    pub(super) fn enter_room(&mut self, name: &str) -> RoomKey {
        if let Some(key) = self.room_by_name(name) {
            return key;
        }
        let key = RoomKey(self.next_key());
        let room = Room::new(name);
        self.rooms_by_name.insert(room.name.clone(), key);
        self.rooms.insert(key, room);
        self.stats.rooms += 1;
        key
    }

    /// Drops a room in which nobody is.
    pub(super) fn leave_room(&mut self, key: RoomKey) {
        if !self.rooms.get(&key).is_some_and(Room::is_deserted) {
            return;
        }
        if let Some(room) = self.rooms.remove(&key) {
            self.feed_bytes -= room.feed.bytes();
            self.rooms_by_name.remove(&room.name);
            self.deadlines.clear(Due::State(key));
            self.deadlines.clear(Due::Feed(key));
            self.stats.rooms -= 1;
        }
    }

    fn bye_body(&self, conn: ConnId, code: CloseCode) -> Arc<str> {
        let session = match self.conns.get(&conn).map(|conn| &conn.role) {
            Some(Role::Session(key)) => self.sessions.get(key),
            Some(Role::Newcomer { .. } | Role::Reader { .. }) | None => None,
        };
        let mut body = String::new();
        push_number(&mut body, "\"code\":", u64::from(code.number()));
        push_text(&mut body, ",\"reason\":", code.label());
        push_number(&mut body, ",\"conn\":", session.map_or(0, |session| session.conns));
        body.into()
    }
}
