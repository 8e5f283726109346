//! The face of the signaling hub: `handle_*` in, `poll_*` out.

use crate::auth::SessionId;
use crate::rng::Rng;
use crate::signal::action::Action;
use crate::signal::authority::Authority;
use crate::signal::core::{Core, Role};
use crate::signal::deadline::Due;
use crate::signal::ids::{AddressKey, ConnId, SessionKey};
use crate::signal::inbound::Taken;
use crate::signal::limits::{HELLO_TIMEOUT, Limits, Settings, over};
use crate::signal::message::{Envelope, Speech};
use crate::signal::names::{Ask, Carrier, CloseCode, SessionEnd};
use crate::signal::post::{Created, EventsRefusal, FeedReader, FeedRefusal, Posted};
use crate::signal::stats::Stats;
use crate::time::{Mono, Now};

/// The signaling server of one process.
///
/// Every input may leave actions behind: drain [`Hub::poll_action`] before the next one.
pub struct Hub<A, R> {
    core: Core<A, R>,
}

/// What is kept at the moment, in entries; all zero once everybody has left and time has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Open connections.
    pub conns: usize,
    /// Sessions, in every index.
    pub sessions: usize,
    /// Rooms, in every index.
    pub rooms: usize,
    /// Addresses whose rate is counted.
    pub addresses: usize,
    /// Bans in force.
    pub bans: usize,
    /// Absent sessions with frames waiting.
    pub waiting: usize,
    /// Deadlines.
    pub deadlines: usize,
    /// Bytes in rings.
    pub ring_bytes: usize,
    /// Sessions whose rings were heavy.
    pub heavy: usize,
    /// Bytes in feeds.
    pub feed_bytes: usize,
}

/// Deadlines looked at in one call, so that a mass expiry holds up no message for long.
const TIMEOUT_WORK: usize = 64;

impl<A: Authority, R: Rng> Hub<A, R> {
    /// Makes a hub without sessions.
    pub fn new(settings: Settings, limits: Limits, authority: A, rng: R) -> Hub<A, R> {
        Hub { core: Core::new(settings, limits, authority, rng) }
    }

    /// Takes a WebSocket that was opened. `bearer` is the token of its second protocol.
    pub fn handle_open(&mut self, now: Now, conn: ConnId, address: AddressKey, bearer: Option<String>) {
        let role = Role::Newcomer { bearer };
        self.core.open_conn(now, conn, address, Carrier::WebSocket, role);
        self.core.deadlines.set(Due::Hello(conn), now.mono.after(HELLO_TIMEOUT));
    }

    /// Takes a text message of a WebSocket.
    pub fn handle_text(&mut self, now: Now, conn: ConnId, text: &str) {
        let max_message = self.core.limits.max_message;
        let Some(state) = self.core.conns.get_mut(&conn) else { return };
        state.heard = now.mono;
        if over(text.len(), max_message) {
            self.core.shut(now, conn, CloseCode::TooBig);
        } else if let Role::Session(key) = state.role {
            let address = state.address;
            let taken = self.core.take(now, key, address, text, true);
            self.overrun(now, key, taken);
        } else {
            self.hello(now, conn, text);
        }
        self.core.do_chores(now);
    }

    /// Takes a binary message of a WebSocket.
    pub fn handle_binary(&mut self, now: Now, conn: ConnId) {
        let Some(state) = self.core.conns.get_mut(&conn) else { return };
        state.heard = now.mono;
        if let Role::Session(key) = state.role {
            let address = state.address;
            let taken = self.core.take_binary(now, key, address);
            self.overrun(now, key, taken);
        } else {
            self.core.shut(now, conn, CloseCode::BadRequest);
        }
        self.core.do_chores(now);
    }

    /// Notes a control frame of a WebSocket: the client lives.
    pub fn handle_alive(&mut self, now: Now, conn: ConnId) {
        if let Some(state) = self.core.conns.get_mut(&conn) {
            state.heard = now.mono;
        }
    }

    /// Notes that frames were written to a connection, by the sum of their costs.
    pub fn handle_written(&mut self, now: Now, conn: ConnId, cost: usize) {
        self.core.written(now, conn, cost);
        self.core.do_chores(now);
    }

    /// Notes that a connection is dead, however it died.
    pub fn handle_closed(&mut self, now: Now, conn: ConnId) {
        if let Some(role) = self.core.forget_conn(conn) {
            self.core.conn_gone(now, conn, role);
        }
        self.core.do_chores(now);
    }

    /// Closes a connection for a reason that the shell found: bad UTF-8, a message too big, a failure.
    pub fn handle_misdeed(&mut self, now: Now, conn: ConnId, code: CloseCode) {
        self.core.shut(now, conn, code);
        self.core.do_chores(now);
    }

    /// Takes the `hello` of `POST /v1/session`.
    ///
    /// Returns the code that a WebSocket would be closed with if it is refused.
    pub fn handle_create(
        &mut self,
        now: Now,
        address: AddressKey,
        bearer: Option<&str>,
        hello: &str,
    ) -> Result<Created, CloseCode> {
        let created = self.core.create(now, address, bearer, hello);
        self.core.do_chores(now);
        created
    }

    /// Opens the events of a session on a new connection.
    pub fn handle_events(
        &mut self,
        now: Now,
        conn: ConnId,
        address: AddressKey,
        ticket: &str,
        last_event_id: Option<u64>,
    ) -> Result<(), EventsRefusal> {
        let opened = self.core.open_events(now, conn, address, ticket, last_event_id);
        self.core.do_chores(now);
        opened
    }

    /// Takes the body of `POST /v1/session/messages`; `bearer` is the resume secret.
    pub fn handle_post(&mut self, now: Now, address: AddressKey, bearer: &str, body: &str) -> Posted {
        let posted = self.core.post(now, address, bearer, body);
        self.core.do_chores(now);
        posted
    }

    /// Opens the one-way feed of a room on a new connection.
    pub fn handle_feed(
        &mut self,
        now: Now,
        conn: ConnId,
        address: AddressKey,
        room: &str,
        reader: FeedReader<'_>,
        last_event_id: Option<&str>,
    ) -> Result<(), FeedRefusal> {
        let opened = self.core.open_feed(now, conn, address, room, reader, last_event_id);
        self.core.do_chores(now);
        opened
    }

    /// Says something in a room in the name of the application's server.
    ///
    /// Returns how many copies were queued: none if there is no such room.
    pub fn handle_publish(&mut self, now: Now, room: &str, speech: &Speech<'_>) -> usize {
        let copies = self.core.publish(now, room, speech);
        self.core.do_chores(now);
        copies
    }

    /// Removes a peer from a room for the operator, and bans its uid for `ban_s` seconds if there are any.
    ///
    /// Returns whether there was such a peer.
    pub fn handle_kick(&mut self, now: Now, room: &str, peer: &str, ban_s: Option<u32>) -> bool {
        let target = self.core.peer_in(room, peer);
        let found = target.zip(self.core.room_by_name(room));
        if let Some((target, room)) = found {
            let banned = self.core.ban(now, room, target, ban_s).is_ok();
            self.core.expel(now, room, target, ban_s.filter(|_| banned));
        }
        self.core.do_chores(now);
        found.is_some()
    }

    /// Ends a session for the operator, as a kick does.
    ///
    /// Returns whether there was such a session.
    pub fn handle_end(&mut self, now: Now, session: &SessionId) -> bool {
        let key = self.core.session_by_id(session);
        if let Some(key) = key {
            self.core.end_session(now, key, SessionEnd::Kicked);
        }
        self.core.do_chores(now);
        key.is_some()
    }

    /// Announces that the server stops at `stop`, and takes no new sessions from now on.
    pub fn handle_drain(&mut self, now: Now, stop: Mono) {
        self.core.begin_drain(now, stop);
        self.core.do_chores(now);
    }

    /// Takes new limits.
    pub fn handle_limits(&mut self, limits: Limits) {
        self.core.limits = limits;
    }

    /// Does what is due. When much is due it does a part, and `poll_timeout` stays in the past.
    pub fn handle_timeout(&mut self, now: Now) {
        for _ in 0..TIMEOUT_WORK {
            let Some(due) = self.core.deadlines.pop(now.mono) else { return };
            self.core.fall_due(now, due);
            self.core.do_chores(now);
        }
    }

    /// Returns the next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.core.out.pop_front()
    }

    /// Returns when `handle_timeout` is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.core.deadlines.next()
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.core.stats.clone();
        stats.ring_bytes = self.core.ring_bytes as u64;
        stats
    }

    /// Returns the authority that the hub was given.
    pub fn authority_mut(&mut self) -> &mut A {
        &mut self.core.authority
    }

    /// Returns whether a session lives.
    #[must_use]
    pub fn is_session(&self, session: &SessionId) -> bool {
        self.core.session_by_id(session).is_some()
    }

    /// Returns what is kept at the moment.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        let core = &self.core;
        Footprint {
            conns: core.conns.len(),
            sessions: core
                .sessions
                .len()
                .max(core.sessions_by_handle.len())
                .max(core.sessions_by_peer.len())
                .max(core.sessions_by_address.len()),
            rooms: core.rooms.len().max(core.rooms_by_name.len()),
            addresses: core.addresses.len(),
            bans: core.bans.len().max(core.bans_by_end.len()),
            waiting: core.waiting.len(),
            deadlines: core.deadlines.len(),
            ring_bytes: core.ring_bytes,
            heavy: core.heavy.len(),
            feed_bytes: core.feed_bytes,
        }
    }

    fn hello(&mut self, now: Now, conn: ConnId, text: &str) {
        self.core.stats.count_ask(Ask::Hello);
        let Some(state) = self.core.conns.get_mut(&conn) else { return };
        let Role::Newcomer { bearer } = &mut state.role else { return };
        let (bearer, address) = (bearer.take(), state.address);
        let hello = Envelope::read(text).ok().filter(|envelope| envelope.ask == Ask::Hello);
        let hello = hello.and_then(|envelope| envelope.hello().ok()).ok_or(CloseCode::BadRequest);
        let start = hello
            .and_then(|hello| self.core.greet(now, &hello, bearer.as_deref(), address, Carrier::WebSocket));
        match start {
            Ok(start) => self.core.welcome_to(now, conn, start),
            Err(code) => self.core.shut(now, conn, code),
        }
    }

    fn overrun(&mut self, now: Now, key: SessionKey, taken: Taken) {
        if taken == Taken::Overrun {
            self.core.drop_link(now, key, CloseCode::RateLimited);
        }
    }
}
