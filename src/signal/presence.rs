//! Who is there: connections that come and go under a session, memberships that end, sessions that end.

use crate::rng::Rng;
use crate::signal::action::{Action, SessionTerms};
use crate::signal::authority::Authority;
use crate::signal::core::{Chore, Core, Role};
use crate::signal::deadline::Due;
use crate::signal::frame::cost;
use crate::signal::ids::{ConnId, RoomKey, SessionKey};
use crate::signal::names::{CloseCode, LeftReason, SessionEnd, Tell, Undelivered};
use crate::signal::session::Link;
use crate::time::{Mono, Now};

impl<A: Authority, R: Rng> Core<A, R> {
    /// Puts a session onto a connection, which goes on after frame `cursor`.
    pub(super) fn attach(&mut self, now: Now, key: SessionKey, conn: ConnId, cursor: u64) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if let Link::Absent { since } = session.link {
            self.waiting.remove(&(since, key));
        }
        session.link = Link::Live { conn, cursor };
        self.deadlines.clear(Due::Grace(key));
        self.deadlines.set(Due::Ping(conn), now.mono.after(self.limits.ping_interval));
        self.chores.push_back(Chore::Status(key));
    }

    /// Notes that a session's client is away: the grace begins.
    pub(super) fn detach(&mut self, now: Now, key: SessionKey) {
        self.begin_wait(now, key);
        self.bound_ring(now, key);
        self.chores.push_back(Chore::Status(key));
    }

    /// Begins the grace of a session without a connection, anew if it had begun.
    pub(super) fn begin_wait(&mut self, now: Now, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if let Link::Absent { since } = session.link {
            self.waiting.remove(&(since, key));
        }
        session.link = Link::Absent { since: now.mono };
        self.deadlines.set(Due::Grace(key), now.mono.after(self.limits.resume_grace));
        self.mind_waiting(key);
    }

    /// Closes the connection that a session has; the session waits.
    pub(super) fn drop_link(&mut self, now: Now, key: SessionKey, code: CloseCode) {
        if let Some(conn) = self.sessions.get(&key).and_then(|session| session.conn()) {
            self.close_conn(now, conn, code);
            self.detach(now, key);
        }
    }

    /// Takes a session off its connection, because it goes on over another one. What waits is not cut to
    /// the measure of an absent client.
    pub(super) fn replace_link(&mut self, now: Now, key: SessionKey) {
        if let Some(conn) = self.sessions.get(&key).and_then(|session| session.conn()) {
            self.close_conn(now, conn, CloseCode::Replaced);
        }
        self.begin_wait(now, key);
        self.chores.push_back(Chore::Status(key));
    }

    /// Mends what hung on a connection that is forgotten.
    pub(super) fn conn_gone(&mut self, now: Now, conn: ConnId, role: Role) {
        match role {
            Role::Newcomer { .. } => {}
            Role::Reader { room, .. } => self.reader_gone(now, conn, room),
            Role::Session(key) => self.detach(now, key),
        }
    }

    /// Closes a connection, whatever it is for.
    pub(super) fn shut(&mut self, now: Now, conn: ConnId, code: CloseCode) {
        if let Some(role) = self.close_conn(now, conn, code) {
            self.conn_gone(now, conn, role);
        }
    }

    fn reader_gone(&mut self, now: Now, conn: ConnId, key: RoomKey) {
        let Some(room) = self.rooms.get_mut(&key) else { return };
        room.feed.readers.remove(&conn);
        if !room.feed.has_readers() {
            self.deadlines.set(Due::Feed(key), now.mono.after(self.limits.resume_grace));
            self.leave_room(key);
        }
    }

    /// Tells rooms whether a session's client is there, where they do not know.
    pub(super) fn tell_status(&mut self, now: Now, key: SessionKey) {
        // Nobody is left to be told.
        if self.drain.is_some_and(|stop| stop <= now.mono) {
            return;
        }
        let Some(session) = self.sessions.get(&key) else { return };
        let (online, peer) = (session.is_live(), session.peer);
        let rooms: Vec<RoomKey> = session.rooms.iter().copied().collect();
        for room_key in rooms {
            let Some(room) = self.rooms.get_mut(&room_key) else { continue };
            let Some(member) = room.members.get_mut(&key) else { continue };
            if member.online == online {
                continue;
            }
            member.online = online;
            if member.ord.is_none() {
                continue;
            }
            room.ver += 1;
            let body = room.status_body(peer, online);
            let copies = room.members.len() - 1;
            self.charge(now, key, copies * cost(&body));
            self.broadcast(now, room_key, Some(key), Tell::PeerStatus, &body);
        }
    }

    /// Ends a membership; `tell_self` says whether the member is told too.
    pub(super) fn remove_member(
        &mut self,
        now: Now,
        room_key: RoomKey,
        key: SessionKey,
        reason: LeftReason,
        tell_self: bool,
    ) {
        let Some(room) = self.rooms.get_mut(&room_key) else { return };
        let Some(member) = room.members.remove(&key) else { return };
        room.observers.remove(&key);
        if let Some(ord) = member.ord {
            room.peers.remove(&ord);
            room.ver += 1;
        }
        let body = room.left_body(member.peer, reason);
        let others: Vec<SessionKey> = room.peers.values().copied().collect();
        self.deadlines.clear(Due::Member(room_key, key));
        self.forget_offers(room_key, key, &others);
        self.withdraw_waiting(key, room_key);
        if tell_self {
            self.push(now, key, Tell::PeerLeft, &body);
        }
        if member.ord.is_some() {
            self.broadcast(now, room_key, None, Tell::PeerLeft, &body);
        }
        self.leave_room(room_key);
    }

    fn forget_offers(&mut self, room: RoomKey, key: SessionKey, others: &[SessionKey]) {
        if let Some(session) = self.sessions.get_mut(&key) {
            session.rooms.remove(&room);
            session.offers.retain(|(of, ..)| *of != room);
        }
        for other in others {
            if let Some(other) = self.sessions.get_mut(other).filter(|other| !other.offers.is_empty()) {
                other.offers.retain(|(of, to, _)| (*of, *to) != (room, key));
            }
        }
    }

    /// Withdraws what waits in an absent session's ring for a room that it has left.
    fn withdraw_waiting(&mut self, key: SessionKey, room: RoomKey) {
        let Some(session) = self.sessions.get(&key).filter(|session| !session.is_live()) else { return };
        let of_room = session.ring.notes().filter(|(_, note)| note.room == room);
        let waiting: Vec<u64> = of_room.map(|(seq, _)| seq).filter(|seq| *seq > session.sent).collect();
        for seq in waiting {
            self.withdraw(key, seq, Undelivered::Left);
        }
    }

    /// Ends a session and all that hangs on it.
    pub(super) fn end_session(&mut self, now: Now, key: SessionKey, end: SessionEnd) {
        let (reason, code) = match end {
            SessionEnd::Banned => (LeftReason::Kicked, CloseCode::Banned),
            SessionEnd::Bye => (LeftReason::Leave, CloseCode::Bye),
            SessionEnd::Kicked => (LeftReason::Kicked, CloseCode::Kicked),
            SessionEnd::Timeout => (LeftReason::Timeout, CloseCode::Internal),
            SessionEnd::TokenExpired => (LeftReason::TokenExpired, CloseCode::TokenExpired),
        };
        // What the session is told last shall not wait for an acknowledged window.
        self.flush(now, key, usize::MAX);
        if let Some(conn) = self.sessions.get(&key).and_then(|session| session.conn()) {
            self.close_conn(now, conn, code);
        }
        let Some(session) = self.sessions.get(&key) else { return };
        for room in session.rooms.clone() {
            self.remove_member(now, room, key, reason, false);
        }
        let Some(session) = self.sessions.remove(&key) else { return };
        let unsent = |seq: u64| seq > session.sent;
        let fates = session.lost.iter().copied().chain(session.ring.notes());
        for (seq, note) in fates {
            let reason = if unsent(seq) { Undelivered::Left } else { Undelivered::Unconfirmed };
            self.undelivered(note, session.peer, reason);
        }
        if let Link::Absent { since } = session.link {
            self.waiting.remove(&(since, key));
        }
        self.ring_bytes -= session.ring.bytes();
        self.heavy.remove(&key);
        self.sessions_by_handle.remove(&session.handle);
        self.sessions_by_peer.remove(&session.peer);
        for due in [Due::Grace(key), Due::Ice(key), Due::Token(key)] {
            self.deadlines.clear(due);
        }
        self.discount_session(session.address);
        self.stats.sessions -= 1;
        self.out.push_back(Action::SessionEnded { session: session.id(), end });
    }

    /// Reports a session's terms.
    pub(super) fn report_terms(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(&key) else { return };
        let terms = SessionTerms {
            uid: session.uid.as_deref().map(str::to_owned),
            address: session.address,
            ice: session.ice_terms(),
            open: session.token.is_none(),
        };
        self.out.push_back(Action::SessionLive { session: session.id(), terms });
    }

    /// Ends a session whose token is past its expiry; says whether it did.
    pub(super) fn lapse(&mut self, now: Now, key: SessionKey) -> bool {
        let lapsed = self.sessions.get(&key).is_some_and(|session| session.has_lapsed(now.unix));
        if lapsed {
            self.end_session(now, key, SessionEnd::TokenExpired);
        }
        lapsed
    }
}

/// Returns the moment of a Unix second, seen from now.
pub(super) fn moment(now: Now, unix: u64) -> Mono {
    now.mono.after(std::time::Duration::from_secs(unix.saturating_sub(now.unix)))
}
