//! What members say to each other: `signal` and `send`, and what the application's server says.

use std::sync::Arc;

use crate::rng::Rng;
use crate::signal::authority::Authority;
use crate::signal::core::Core;
use crate::signal::deadline::Due;
use crate::signal::frame::{cost, push_number, push_text};
use crate::signal::ids::{RoomKey, SessionKey};
use crate::signal::limits::MAX_OFFERS;
use crate::signal::message::{Kind, Signal, Speech, Target};
use crate::signal::names::{ErrorCode, Tell, Undelivered};
use crate::signal::refusal::Refusal;
use crate::signal::ring::{Entry, Note};
use crate::signal::room::{Room, is_polite};
use crate::signal::session::Session;
use crate::time::Now;

impl<A: Authority, R: Rng> Core<A, R> {
    pub(super) fn signal(
        &mut self,
        now: Now,
        key: SessionKey,
        id: u64,
        signal: &Signal<'_>,
    ) -> Result<(), Refusal> {
        let (room_key, permissions) = self.active(key, &signal.room)?;
        if !permissions.signal {
            return Err(Refusal::new(ErrorCode::Forbidden, "the token does not permit it"));
        }
        let to = self.peer_in(&signal.room, &signal.to).filter(|to| *to != key);
        let to = to.ok_or_else(|| Refusal::new(ErrorCode::PeerNotFound, "no such peer in the room"))?;
        let glare = signal.kind == Kind::Offer && self.has_offer(room_key, to, key, &signal.pc);
        let Some(room) = self.rooms.get(&room_key) else { return Ok(()) };
        self.scratch.clear();
        if signal_body(&mut self.scratch, room, key, to, signal, glare).is_none() {
            return Ok(());
        }
        let body: Arc<str> = self.scratch.as_str().into();
        self.spend(now, key, cost(&body))?;
        let note = Note { sender: key, re: id, room: room_key };
        let is_live = |session: &Session| session.is_live();
        if signal.ttl_ms == Some(0) && !self.sessions.get(&to).is_some_and(is_live) {
            self.reply(now, key, id, Tell::Ok, "\"delivered\":false");
            if let Some(session) = self.sessions.get(&to) {
                self.undelivered(note, session.peer, Undelivered::Expired);
            }
            return Ok(());
        }
        self.note_offer(room_key, key, to, signal);
        self.stats.glare += u64::from(glare);
        let entry = Entry { tell: Tell::Signal, body, re: 0, note: Some(note) };
        let seq = self.push_entry(now, to, entry);
        let delivered = self.sessions.get(&to).is_some_and(is_live);
        if let (false, Some(ttl_ms), Some(seq)) = (delivered, signal.ttl_ms, seq) {
            self.deadlines.set(Due::Ttl(to, seq), now.mono.after(std::time::Duration::from_millis(ttl_ms)));
        }
        let rest = if delivered { "\"delivered\":true" } else { "\"delivered\":false" };
        self.reply(now, key, id, Tell::Ok, rest);
        Ok(())
    }

    /// Returns whether an offer from one peer to another is unanswered.
    fn has_offer(&self, room: RoomKey, from: SessionKey, to: SessionKey, pc: &str) -> bool {
        let session = self.sessions.get(&from).filter(|session| !session.offers.is_empty());
        session.is_some_and(|session| session.offers.contains(&(room, to, pc.into())))
    }

    /// Keeps account of offers: an answer or the end of a negotiation settles those of both sides, since a
    /// polite peer that answers has rolled its own back.
    fn note_offer(&mut self, room: RoomKey, from: SessionKey, to: SessionKey, signal: &Signal<'_>) {
        match signal.kind {
            Kind::Offer => {
                if let Some(session) = self.sessions.get_mut(&from) {
                    if session.offers.len() >= MAX_OFFERS {
                        session.offers.pop_first();
                    }
                    session.offers.insert((room, to, signal.pc.as_ref().into()));
                }
            }
            Kind::Answer | Kind::End => {
                for (owner, other) in [(from, to), (to, from)] {
                    if let Some(session) = self.sessions.get_mut(&owner).filter(|s| !s.offers.is_empty()) {
                        session.offers.remove(&(room, other, signal.pc.as_ref().into()));
                    }
                }
            }
            Kind::Candidate | Kind::Restart | Kind::Custom => {}
        }
    }

    pub(super) fn send_message(
        &mut self,
        now: Now,
        key: SessionKey,
        id: u64,
        name: &str,
        speech: &Speech<'_>,
        echo: bool,
    ) -> Result<(), Refusal> {
        let (room_key, permissions) = self.active(key, name)?;
        if !permissions.send {
            return Err(Refusal::new(ErrorCode::Forbidden, "the token does not permit it"));
        }
        let Some(room) = self.rooms.get(&room_key) else { return Ok(()) };
        let Some(member) = room.members.get(&key) else { return Ok(()) };
        let mut receivers = self
            .receivers(room, &speech.to)
            .ok_or_else(|| Refusal::new(ErrorCode::PeerNotFound, "no such peer in the room"))?;
        receivers.retain(|receiver| *receiver != key);
        if echo {
            receivers.push(key);
        }
        let body = message_body(&room.name, member.peer.as_str(), speech);
        let readers = if speech.to == Target::Room { room.feed.readers.len() } else { 0 };
        self.spend(now, key, (receivers.len() + readers) * cost(&body))?;
        self.reply(now, key, id, Tell::Ok, &format!("\"n\":{}", receivers.len()));
        self.say(now, room_key, receivers, speech, &body);
        Ok(())
    }

    /// Says something to members of a room in the name of the application's server; returns how many copies
    /// were queued.
    pub(super) fn publish(&mut self, now: Now, name: &str, speech: &Speech<'_>) -> usize {
        let Some(room_key) = self.room_by_name(name) else { return 0 };
        let Some(room) = self.rooms.get(&room_key) else { return 0 };
        let receivers = self.receivers(room, &speech.to).unwrap_or_default();
        let body = message_body(&room.name, "server", speech);
        let copies = receivers.len();
        self.say(now, room_key, receivers, speech, &body);
        copies
    }

    fn say(
        &mut self,
        now: Now,
        room: RoomKey,
        receivers: Vec<SessionKey>,
        speech: &Speech<'_>,
        body: &Arc<str>,
    ) {
        for receiver in receivers {
            self.push(now, receiver, Tell::Message, body);
        }
        if speech.to == Target::Room {
            self.push_feed(now, room, Tell::Message, body);
        }
    }

    /// Finds whom something is said to, each once; none if a single peer is unknown.
    fn receivers(&self, room: &Room, to: &Target<'_>) -> Option<Vec<SessionKey>> {
        match to {
            Target::Room => Some(room.audience(None)),
            Target::Peer(peer) => Some(vec![self.peer_in(&room.name, peer)?]),
            Target::List(peers) => {
                let found = peers.iter().filter_map(|peer| self.peer_in(&room.name, peer));
                let mut seen = std::collections::BTreeSet::new();
                Some(found.filter(|session| seen.insert(*session)).collect())
            }
            Target::Uid(uid) => {
                let of_uid = |session: &&SessionKey| {
                    room.members
                        .get(session)
                        .is_some_and(|member| member.uid.as_deref() == Some(uid.as_ref()))
                };
                Some(room.peers.values().filter(of_uid).copied().collect())
            }
        }
    }
}

fn signal_body(
    body: &mut String,
    room: &Room,
    key: SessionKey,
    to: SessionKey,
    signal: &Signal<'_>,
    glare: bool,
) -> Option<()> {
    let (sender, sender_ord) = room.peer(key)?;
    let (_, receiver_ord) = room.peer(to)?;
    push_text(body, "\"room\":", &room.name);
    push_text(body, ",\"from\":", sender.peer.as_str());
    push_text(body, ",\"kind\":", signal.kind.label());
    push_text(body, ",\"pc\":", &signal.pc);
    push_number(body, ",\"gen\":", u64::from(signal.generation));
    body.push_str(",\"data\":");
    body.push_str(&signal.data);
    body.push_str(if is_polite(Some(receiver_ord), sender_ord) {
        ",\"polite\":true"
    } else {
        ",\"polite\":false"
    });
    if glare {
        body.push_str(",\"glare\":true");
    }
    Some(())
}

fn message_body(room: &str, from: &str, speech: &Speech<'_>) -> Arc<str> {
    let mut body = String::with_capacity(speech.data.len() + 192);
    push_text(&mut body, "\"room\":", room);
    push_text(&mut body, ",\"from\":", from);
    match speech.event.as_deref() {
        Some(event) => push_text(&mut body, ",\"event\":", event),
        None => body.push_str(",\"event\":null"),
    }
    body.push_str(",\"data\":");
    body.push_str(&speech.data);
    body.into()
}
