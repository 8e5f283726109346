//! Messages of a session: counted, put in order, and handed to what does them (signaling.md §1 and §6).

use std::time::Duration;

use crate::auth::Permissions;
use crate::rng::Rng;
use crate::signal::authority::Authority;
use crate::signal::core::Core;
use crate::signal::ids::{AddressKey, RoomKey, SessionKey};
use crate::signal::limits::WINDOW;
use crate::signal::message::{Envelope, Request};
use crate::signal::names::{Ask, ErrorCode, SessionEnd, Tell};
use crate::signal::refusal::Refusal;
use crate::signal::session::draw;
use crate::time::Now;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The session is over: its token had expired.
    Ended,
    /// Requests are missing before this one.
    Hole { expected: u64 },
    /// Too much, too fast, and on.
    Overrun,
    /// Nothing is to be answered.
    Quiet,
    /// It was answered.
    Replied,
    /// It was applied before.
    Retry { id: u64 },
}

impl<A: Authority, R: Rng> Core<A, R> {
    /// Takes one message of a session. `linked` says that it came over the connection that `welcome` was
    /// sent on, so that an `ack` shows who holds the newest secret.
    pub(super) fn take(
        &mut self,
        now: Now,
        key: SessionKey,
        address: AddressKey,
        text: &str,
        linked: bool,
    ) -> Taken {
        let envelope = Envelope::read(text);
        let ask = envelope.as_ref().map_or(Ask::Unknown, |envelope| envelope.ask);
        self.stats.count_ask(ask);
        if self.lapse(now, key) {
            return Taken::Ended;
        }
        if let Some(ack) = envelope.as_ref().ok().and_then(|envelope| envelope.ack) {
            if let Some(session) = self.sessions.get_mut(&key).filter(|_| linked) {
                session.secrets.confirm();
            }
            self.acknowledge(key, ack);
        }
        let limited = match self.draw_message(now, key, address) {
            Ok(limited) => limited,
            Err(Overrun) => return Taken::Overrun,
        };
        let refusal = limited.map(|wait| Refusal::rate_limited("too many messages", wait));
        let bad = |advice| Refusal::new(ErrorCode::BadRequest, advice);
        match envelope {
            Err(advice) => self.refuse(now, key, refusal.unwrap_or_else(|| bad(advice))),
            Ok(Envelope { ask: Ask::Hello, .. }) => {
                self.refuse(now, key, refusal.unwrap_or_else(|| bad("hello was said before")))
            }
            Ok(Envelope { ask: Ask::Pong, .. }) => match refusal {
                Some(refusal) => self.refuse(now, key, refusal),
                None => Taken::Quiet,
            },
            Ok(envelope) => self.take_request(now, key, &envelope, refusal),
        }
    }

    /// Takes a binary message.
    pub(super) fn take_binary(&mut self, now: Now, key: SessionKey, address: AddressKey) -> Taken {
        match self.draw_message(now, key, address) {
            Ok(Some(wait)) => self.refuse(now, key, Refusal::rate_limited("too many messages", wait)),
            Ok(None) => self.refuse(now, key, Refusal::new(ErrorCode::Unsupported, "messages are text")),
            Err(Overrun) => Taken::Overrun,
        }
    }

    /// Answers what is no request, or is none that could be applied.
    fn refuse(&mut self, now: Now, key: SessionKey, refusal: Refusal) -> Taken {
        self.reply_error(now, key, 0, refusal);
        Taken::Replied
    }

    /// Counts a message. Returns how long to wait if it is over the rate.
    fn draw_message(
        &mut self,
        now: Now,
        key: SessionKey,
        address: AddressKey,
    ) -> Result<Option<Duration>, Overrun> {
        let rate = self.limits.messages;
        let Some(session) = self.sessions.get_mut(&key) else { return Ok(None) };
        let wait = if draw(&mut session.messages, now.mono, rate, 1) {
            match self.draw_address(now, address, 1) {
                Ok(()) => return Ok(None),
                Err(wait) => wait,
            }
        } else {
            session.messages.wait(now.mono, rate.per_second, rate.burst, 1)
        };
        self.stats.rate_limited += 1;
        let Some(session) = self.sessions.get_mut(&key) else { return Ok(None) };
        if draw(&mut session.refused, now.mono, rate, 1) { Ok(Some(wait)) } else { Err(Overrun) }
    }

    fn take_request(
        &mut self,
        now: Now,
        key: SessionKey,
        envelope: &Envelope<'_>,
        refusal: Option<Refusal>,
    ) -> Taken {
        let id = envelope.id.unwrap_or(0);
        let Some(session) = self.sessions.get_mut(&key) else { return Taken::Ended };
        let expected = session.last_id + 1;
        if id < expected {
            return Taken::Retry { id };
        }
        if id > expected {
            self.reply_error(now, key, 0, refusal.unwrap_or_else(|| Refusal::hole(expected)));
            return Taken::Hole { expected };
        }
        session.last_id = id;
        let done = match (refusal, envelope.ask) {
            (Some(refusal), _) => Err(refusal),
            (None, Ask::Unknown) => Err(Refusal::new(ErrorCode::UnknownType, "there is no such request")),
            (None, _) => match envelope.request() {
                Ok(request) => self.apply(now, key, id, request),
                Err(advice) => Err(Refusal::new(ErrorCode::BadRequest, advice)),
            },
        };
        if let Err(refusal) = done {
            self.reply_error(now, key, id, refusal);
        }
        Taken::Replied
    }

    /// Does a request and answers it, or says why not and leaves all as it was.
    fn apply(&mut self, now: Now, key: SessionKey, id: u64, request: Request<'_>) -> Result<(), Refusal> {
        match request {
            Request::Join(join) => self.join(now, key, id, &join),
            Request::Leave { room } => self.leave(now, key, id, &room),
            Request::Signal(signal) => self.signal(now, key, id, &signal),
            Request::Send { room, speech, echo } => self.send_message(now, key, id, &room, &speech, echo),
            Request::Update { room, patch } => self.update(now, key, id, &room, &patch),
            Request::State { room, key: name, change, if_ver } => {
                self.change_state(now, key, id, &room, &name, &change, if_ver)
            }
            Request::Ice => {
                self.mint_ice(now, key);
                let ice = self.current_ice(now, key);
                self.reply(now, key, id, Tell::Ok, &format!("\"ice\":{ice}"));
                Ok(())
            }
            Request::Refresh { token } => {
                let token = self.verify(now, &token).map_err(Refusal::token)?;
                let exp = token.exp;
                self.adopt(now, key, token)?;
                self.reply(now, key, id, Tell::Ok, &format!("\"exp\":{exp}"));
                self.announce_expiry(now, key);
                Ok(())
            }
            Request::Stats { room } => {
                self.active(key, &room)?;
                self.reply(now, key, id, Tell::Ok, "");
                Ok(())
            }
            Request::Kick { room, peer, ban_s } => self.kick(now, key, id, &room, &peer, ban_s),
            Request::Bye => {
                self.reply(now, key, id, Tell::Ok, "");
                self.end_session(now, key, SessionEnd::Bye);
                Ok(())
            }
        }
    }

    /// Finds the room of a peer and what it may do there; an observer may only leave.
    pub(super) fn active(&self, key: SessionKey, name: &str) -> Result<(RoomKey, Permissions), Refusal> {
        let not_in_room = || Refusal::new(ErrorCode::NotInRoom, "not in that room");
        let room_key = self.room_by_name(name).ok_or_else(not_in_room)?;
        let room = self.rooms.get(&room_key).ok_or_else(not_in_room)?;
        let member = room.members.get(&key).ok_or_else(not_in_room)?;
        if member.ord.is_none() {
            return Err(Refusal::new(ErrorCode::Forbidden, "an observer may only leave"));
        }
        let own = member.token.as_ref().map(|token| token.perm);
        let session =
            || self.sessions.get(&key).map_or(Permissions::default(), |session| session.permissions());
        Ok((room_key, own.unwrap_or_else(session)))
    }

    /// Pays for bytes sent out on a session's behalf.
    pub(super) fn spend(&mut self, now: Now, key: SessionKey, bytes: usize) -> Result<(), Refusal> {
        let rate = self.limits.bytes;
        let Some(session) = self.sessions.get_mut(&key) else { return Ok(()) };
        let debt = session.owes_until.since(now.mono);
        if debt.is_zero() && draw(&mut session.bytes, now.mono, rate, bytes as u64) {
            return Ok(());
        }
        if bytes as u64 > rate.burst {
            return Err(Refusal::new(ErrorCode::TooLarge, "more bytes for others than go out at once"));
        }
        self.stats.rate_limited += 1;
        let wait = session.bytes.wait(now.mono, rate.per_second, rate.burst, bytes as u64);
        Err(Refusal::rate_limited("too many bytes for others", wait + debt))
    }

    /// Says whether bytes could be paid for, as far as that can be told.
    pub(super) fn afford(&mut self, now: Now, key: SessionKey, bytes: usize) -> Result<(), Refusal> {
        let rate = self.limits.bytes;
        let Some(session) = self.sessions.get_mut(&key).filter(|_| rate.per_second != 0) else {
            return Ok(());
        };
        let debt = session.owes_until.since(now.mono);
        // What is larger than the burst is told so when it is known exactly.
        let wait = session.bytes.wait(now.mono, rate.per_second, rate.burst, bytes as u64) + debt;
        if wait.is_zero() {
            return Ok(());
        }
        self.stats.rate_limited += 1;
        Err(Refusal::rate_limited("too many bytes for others", wait))
    }

    /// Counts bytes that are sent in any case: what the bucket does not hold is owed.
    pub(super) fn charge(&mut self, now: Now, key: SessionKey, bytes: usize) {
        let rate = self.limits.bytes;
        if let Some(session) = self.sessions.get_mut(&key).filter(|_| rate.per_second != 0) {
            let had = session.bytes.take_up_to(now.mono, rate.per_second, rate.burst, bytes as u64);
            let owed = Duration::from_secs_f64((bytes as u64 - had) as f64 / rate.per_second as f64);
            session.owes_until = session.owes_until.max(now.mono).after(owed);
        }
    }

    /// Notes that bytes handed to a connection are written.
    pub(super) fn written(&mut self, now: Now, conn: crate::signal::ids::ConnId, bytes: usize) {
        use crate::signal::core::Role;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.unwritten = state.unwritten.saturating_sub(bytes);
        match state.role {
            Role::Newcomer { .. } => {}
            Role::Reader { .. } => self.flush_reader(now, conn),
            Role::Session(key) => {
                self.flush(now, key, WINDOW);
                self.bound_ring(now, key);
            }
        }
    }
}

/// Both buckets of a session are empty.
struct Overrun;
