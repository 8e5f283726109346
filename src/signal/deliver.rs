//! Frames on their way: into rings, out to connections, and what becomes of those that cannot stay.

use std::mem;
use std::sync::Arc;

use crate::rng::Rng;
use crate::signal::authority::Authority;
use crate::signal::core::{Chore, Core, Role};
use crate::signal::frame::{Frame, FrameId, cost, push_number, push_text};
use crate::signal::ids::{ConnId, PeerId, RoomKey, SessionKey};
use crate::signal::limits::{
    FEED_BYTES, HEAVY_RING, LEAN_FEED_BYTES, MAX_LOST, RING_BYTES, RING_FRAMES, WINDOW, over,
};
use crate::signal::names::{CloseCode, Tell, Undelivered};
use crate::signal::refusal::Refusal;
use crate::signal::ring::{Entry, Note};
use crate::signal::session::Link;
use crate::time::Now;

impl<A: Authority, R: Rng> Core<A, R> {
    /// Answers a request.
    pub(super) fn reply(&mut self, now: Now, key: SessionKey, re: u64, tell: Tell, rest: &str) {
        let mut body = mem::take(&mut self.scratch);
        body.clear();
        push_number(&mut body, "\"re\":", re);
        if !rest.is_empty() {
            body.push(',');
            body.push_str(rest);
        }
        self.push_reply(now, key, re, tell, body.as_str().into());
        self.scratch = body;
    }

    /// Answers a request with an error; `re` is 0 for what is no request.
    pub(super) fn reply_error(&mut self, now: Now, key: SessionKey, re: u64, refusal: Refusal) {
        self.push_reply(now, key, re, Tell::Error, refusal.body(re).into());
    }

    fn push_reply(&mut self, now: Now, key: SessionKey, re: u64, tell: Tell, body: Arc<str>) {
        let entry = Entry { tell, body: body.clone(), re, note: None };
        if let Some(seq) = self.push_entry(now, key, entry) {
            self.last_reply = Some(Frame { tell, id: FrameId::Seq(seq), body });
        }
    }

    /// Puts an event into a session's ring and on its way.
    pub(super) fn push(&mut self, now: Now, key: SessionKey, tell: Tell, body: &Arc<str>) {
        self.push_entry(now, key, Entry { tell, body: body.clone(), re: 0, note: None });
    }

    /// Tells members of a room, and the feed.
    pub(super) fn broadcast(
        &mut self,
        now: Now,
        room: RoomKey,
        except: Option<SessionKey>,
        tell: Tell,
        body: &Arc<str>,
    ) {
        let audience = self.rooms.get(&room).map(|room| room.audience(except)).unwrap_or_default();
        for key in audience {
            self.push(now, key, tell, body);
        }
        self.push_feed(now, room, tell, body);
    }

    pub(super) fn push_entry(&mut self, now: Now, key: SessionKey, entry: Entry) -> Option<u64> {
        let session = self.sessions.get_mut(&key)?;
        self.ring_bytes += cost(&entry.body);
        let seq = session.ring.push(entry);
        if session.ring.bytes() > HEAVY_RING {
            self.heavy.insert(key);
        }
        match session.link {
            Link::Live { .. } => self.flush(now, key, WINDOW),
            Link::Absent { since } => {
                self.waiting.insert((since, key));
            }
        }
        self.bound_ring(now, key);
        self.bound_memory(now, key);
        Some(seq)
    }

    /// Hands frames to a session's connection while no more than a window of bytes is unwritten.
    pub(super) fn flush(&mut self, now: Now, key: SessionKey, window: usize) {
        loop {
            let Some(session) = self.sessions.get_mut(&key) else { return };
            let Link::Live { conn, cursor } = &mut session.link else { return };
            if *cursor == session.ring.last()
                || self.conns.get(conn).is_none_or(|conn| conn.unwritten >= window)
            {
                return;
            }
            let Some(frame) = session.ring.frame(*cursor + 1) else { return };
            *cursor += 1;
            session.sent = session.sent.max(*cursor);
            let conn = *conn;
            self.send(now, conn, frame);
        }
    }

    /// Holds one ring to its bounds (signaling.md §5.1).
    pub(super) fn bound_ring(&mut self, now: Now, key: SessionKey) {
        loop {
            let Some(session) = self.sessions.get(&key) else { return };
            let oldest = session.ring.base() + 1;
            let (counted, unsent) = match session.link {
                // What was not yet sent does not count.
                Link::Live { cursor, .. } => (cursor + 1 - oldest, cursor < oldest),
                Link::Absent { .. } => (session.ring.len() as u64, false),
            };
            let fits = session.ring.bytes() <= RING_BYTES || session.ring.len() <= 1;
            if fits && counted <= RING_FRAMES {
                return;
            }
            match unsent {
                true => self.slow(now, key),
                false => self.drop_oldest(key),
            }
        }
    }

    /// Holds all rings together to their bound: the largest lose half, then the longest absent theirs, then whoever
    /// is told too much.
    fn bound_memory(&mut self, now: Now, told: SessionKey) {
        while over(self.ring_bytes, self.limits.ring_memory) {
            if self.lighten(now, told) {
                continue;
            }
            let length = |key: SessionKey| self.sessions.get(&key).map_or(0, |session| session.ring.len());
            // The newest frame stays, as in a ring by itself.
            let kept = |key: SessionKey| usize::from(key == told);
            let victim = self.waiting.iter().map(|(_, key)| *key).find(|key| length(*key) > kept(*key));
            if let Some(victim) = victim {
                for _ in kept(victim)..length(victim) {
                    self.drop_oldest(victim);
                }
                continue;
            }
            let Some(session) = self.sessions.get(&told).filter(|session| session.ring.len() > 1) else {
                return;
            };
            match session.link {
                Link::Live { cursor, .. } if cursor <= session.ring.base() => self.slow(now, told),
                Link::Live { .. } | Link::Absent { .. } => self.drop_oldest(told),
            }
        }
    }

    /// Takes half of what it holds from the largest ring, if there is a heavy one; says whether it did.
    fn lighten(&mut self, now: Now, told: SessionKey) -> bool {
        let sessions = &self.sessions;
        let size = |key: &SessionKey| sessions.get(key).map_or(0, |session| session.ring.bytes());
        self.heavy.retain(|key| size(key) > HEAVY_RING);
        let Some(largest) = self.heavy.iter().copied().max_by_key(size) else { return false };
        let half = size(&largest) / 2;
        // The newest frame stays, as in a ring by itself.
        let kept = usize::from(largest == told);
        let mut is_lighter = false;
        while let Some(session) = self.sessions.get(&largest)
            && session.ring.bytes() > half
            && session.ring.len() > kept
        {
            match session.link {
                Link::Live { cursor, .. } if cursor <= session.ring.base() => self.slow(now, largest),
                Link::Live { .. } | Link::Absent { .. } => self.drop_oldest(largest),
            }
            is_lighter = true;
        }
        is_lighter
    }

    /// Closes the connection of a client that does not read.
    fn slow(&mut self, now: Now, key: SessionKey) {
        self.stats.slow_closed += 1;
        self.drop_link(now, key, CloseCode::SlowConsumer);
    }

    fn drop_oldest(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let Some((seq, entry)) = session.ring.pop() else { return };
        self.ring_bytes -= cost(&entry.body);
        let peer = session.peer;
        if let Some(note) = entry.note {
            if seq > session.sent {
                self.undelivered(note, peer, Undelivered::Overflow);
            } else {
                session.lost.push_back((seq, note));
                if session.lost.len() > MAX_LOST
                    && let Some((_, note)) = session.lost.pop_front()
                {
                    self.undelivered(note, peer, Undelivered::Overflow);
                }
            }
        }
        self.mind_waiting(key);
    }

    /// Takes a session off the list of those with frames waiting, if none wait.
    pub(super) fn mind_waiting(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(&key) else { return };
        if let Link::Absent { since } = session.link {
            match session.ring.len() {
                0 => self.waiting.remove(&(since, key)),
                _ => self.waiting.insert((since, key)),
            };
        }
    }

    /// Notes that a client has all frames up to one.
    pub(super) fn acknowledge(&mut self, key: SessionKey, seq: u64) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if seq <= session.acked || seq > session.sent {
            return;
        }
        let before = session.ring.bytes();
        session.ring.acknowledge(seq);
        session.acked = seq;
        // What an earlier connection brought need not be sent over this one.
        if let Link::Live { cursor, .. } = &mut session.link {
            *cursor = seq.max(*cursor);
        }
        session.lost.retain(|(lost, _)| *lost > seq);
        self.ring_bytes -= before - session.ring.bytes();
        self.mind_waiting(key);
    }

    /// Withdraws a signal that still waits, and leaves a void in its place.
    pub(super) fn withdraw(&mut self, key: SessionKey, seq: u64, reason: Undelivered) {
        let Some(session) = self.sessions.get_mut(&key).filter(|session| seq > session.sent) else { return };
        let before = session.ring.bytes();
        let Some(note) = session.ring.withdraw(seq) else { return };
        let peer = session.peer;
        self.ring_bytes = self.ring_bytes + session.ring.bytes() - before;
        self.undelivered(note, peer, reason);
    }

    pub(super) fn undelivered(&mut self, note: Note, to: PeerId, reason: Undelivered) {
        self.chores.push_back(Chore::Undelivered { sender: note.sender, re: note.re, to, reason });
    }

    /// Does what the step before left to do.
    pub(super) fn do_chores(&mut self, now: Now) {
        while let Some(chore) = self.chores.pop_front() {
            match chore {
                Chore::Undelivered { sender, re, to, reason } => {
                    self.stats.count_undelivered(reason);
                    let mut body = String::with_capacity(64);
                    push_number(&mut body, "\"re\":", re);
                    push_text(&mut body, ",\"to\":", to.as_str());
                    push_text(&mut body, ",\"reason\":", reason.label());
                    self.push(now, sender, Tell::Undelivered, &body.into());
                }
                Chore::Status(key) => self.tell_status(now, key),
            }
        }
    }

    /// Tells the readers of a room's feed.
    pub(super) fn push_feed(&mut self, now: Now, key: RoomKey, tell: Tell, body: &Arc<str>) {
        let Some(room) = self.rooms.get_mut(&key) else { return };
        let is_lean = over(self.feed_bytes, self.limits.ring_memory / 4);
        let before = room.feed.bytes();
        room.feed.push(tell, body, if is_lean { LEAN_FEED_BYTES } else { FEED_BYTES });
        self.feed_bytes = self.feed_bytes + room.feed.bytes() - before;
        let readers: Vec<ConnId> = room.feed.readers.iter().copied().collect();
        for reader in readers {
            self.flush_reader(now, reader);
        }
    }

    /// Hands events to a reader while no more than a window of bytes is unwritten.
    pub(super) fn flush_reader(&mut self, now: Now, conn: ConnId) {
        loop {
            let Some(state) = self.conns.get_mut(&conn) else { return };
            let Role::Reader { room: key, seen, .. } = &mut state.role else { return };
            let Some(room) = self.rooms.get(key) else { return };
            if !room.feed.continues(*seen) {
                self.stats.slow_closed += 1;
                self.shut(now, conn, CloseCode::SlowConsumer);
                return;
            }
            let Some((tell, body)) = room.feed.get(*seen + 1).filter(|_| state.unwritten < WINDOW) else {
                return;
            };
            *seen += 1;
            let id = FrameId::Feed(self.settings.epoch, key.0, *seen);
            self.send(now, conn, Frame { tell, id, body });
        }
    }
}
