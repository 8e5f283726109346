//! Who is in a room, and as whom: `join`, `leave`, `update`, `kick` (signaling.md §2).

use std::sync::Arc;
use std::time::Duration;

use crate::auth::{JoinToken, Permissions};
use crate::rng::Rng;
use crate::signal::authority::Authority;
use crate::signal::core::{Core, Role};
use crate::signal::deadline::Due;
use crate::signal::frame::{cost, push_number};
use crate::signal::ids::{ConnId, PeerId, RoomKey, SessionKey};
use crate::signal::limits::{EXPIRY_NOTICE_SECS, MAX_BANS, over};
use crate::signal::message::Join;
use crate::signal::meta;
use crate::signal::names::{CloseCode, ErrorCode, LeftReason, SessionEnd, Tell};
use crate::signal::presence::moment;
use crate::signal::refusal::Refusal;
use crate::signal::room::{Member, Room};
use crate::time::Now;

impl<A: Authority, R: Rng> Core<A, R> {
    pub(super) fn join(
        &mut self,
        now: Now,
        key: SessionKey,
        id: u64,
        join: &Join<'_>,
    ) -> Result<(), Refusal> {
        let too_large = || Refusal::new(ErrorCode::TooLarge, "meta is too large");
        let name = join.room.as_ref();
        if over(join.meta.as_ref().map_or(0, |meta| meta.len()), self.limits.max_meta) {
            return Err(too_large());
        }
        let token = join.token.as_deref().map(|token| self.verify(now, token)).transpose();
        let token = token.map_err(Refusal::token)?;
        let Some(session) = self.sessions.get(&key) else { return Ok(()) };
        let rights = token.clone().or_else(|| session.token.clone());
        let token_meta = rights.as_ref().map_or("", |token| token.meta.as_str());
        let meta = meta::joined(join.meta.as_deref(), token_meta);
        if over(meta.len(), self.limits.max_meta) {
            return Err(too_large());
        }
        let room = self.room_by_name(name).and_then(|key| self.rooms.get(&key));
        if room.is_some_and(|room| room.members.contains_key(&key)) {
            return Err(Refusal::new(ErrorCode::AlreadyJoined, "in that room already"));
        }
        if let Some(sub) = token.as_ref().and_then(|token| token.sub.as_deref())
            && session.uid.as_deref() != Some(sub)
        {
            return Err(Refusal::new(ErrorCode::Forbidden, "the token names somebody else"));
        }
        permit_entry(rights.as_deref(), name, join.observer)?;
        if let Some(wait) = self.ban_left(now, name, session.uid.as_ref()) {
            return Err(Refusal::banned(wait));
        }
        if over(session.rooms.len() + 1, self.limits.max_rooms) {
            return Err(Refusal::new(ErrorCode::LimitReached, "in as many rooms as a session may be"));
        }
        self.find_place(room, rights.as_deref(), join.observer)?;
        // A roster that cannot be paid for is not even written.
        let roster = room.map_or(0, |room| room.view_len);
        self.afford(now, key, roster)?;
        let Some(session) = self.sessions.get(&key) else { return Ok(()) };
        let room = self.room_by_name(name).and_then(|key| self.rooms.get(&key));

        let fresh = Room::new(name);
        let room = room.unwrap_or(&fresh);
        let ord = (!join.observer).then_some(room.ords + 1);
        let ver = room.ver + u64::from(!join.observer);
        let view = room.view(ver, Some(key), ord);
        let copies = if join.observer { 0 } else { room.copies(None) * (cost(&meta) + 128) };
        let member = Member {
            peer: session.peer,
            uid: session.uid.clone(),
            quoted_uid: session.quoted_uid.clone(),
            meta: meta.into(),
            ord,
            online: session.is_live(),
            token,
            announced: false,
        };
        if let Some(room) = self.room_by_name(name).and_then(|key| self.rooms.get_mut(&key)) {
            room.view_len = view.len();
        }
        self.spend(now, key, view.len() + copies)?;

        let room_key = self.enter_room(name);
        let Some(room) = self.rooms.get_mut(&room_key) else { return Ok(()) };
        room.ver = ver;
        match ord {
            Some(ord) => {
                room.ords = ord;
                room.peers.insert(ord, key);
            }
            None => {
                room.observers.insert(key);
            }
        }
        let body = ord.map(|ord| room.peer_body(&member, ord, false));
        room.members.insert(key, member);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.rooms.insert(room_key);
        }
        let ice = self.current_ice(now, key);
        self.reply(now, key, id, Tell::Joined, &format!("{view},\"ice\":{ice}"));
        if let Some(body) = body {
            self.broadcast(now, room_key, Some(key), Tell::PeerJoined, &body);
        }
        self.watch_member(now, room_key, key);
        Ok(())
    }

    /// Finds whether a room has a place left, as a peer or as an observer.
    fn find_place(
        &self,
        room: Option<&Room>,
        rights: Option<&JoinToken>,
        observer: bool,
    ) -> Result<(), Refusal> {
        let full = || Err(Refusal::new(ErrorCode::RoomFull, "the room takes nobody else"));
        if observer {
            let there = room.map_or(0, |room| room.observers.len());
            return if over(there + 1, self.limits.max_peers) { full() } else { Ok(()) };
        }
        let there = room.map_or(0, |room| room.peers.len());
        let allowed = rights.and_then(|token| token.max_peers);
        let over_token = allowed.is_some_and(|max| there >= max as usize);
        if over_token || over(there + 1, self.limits.max_peers) { full() } else { Ok(()) }
    }

    /// Sets the deadline of a membership's own token.
    fn watch_member(&mut self, now: Now, room_key: RoomKey, key: SessionKey) {
        let member = self.rooms.get(&room_key).and_then(|room| room.members.get(&key));
        let Some(member) = member else { return };
        let Some(token) = &member.token else { return };
        let notice = if member.announced { 0 } else { EXPIRY_NOTICE_SECS };
        self.deadlines.set(Due::Member(room_key, key), moment(now, token.exp.saturating_sub(notice)));
    }

    /// Announces that a membership's token expires, or ends the membership.
    pub(super) fn member_due(&mut self, now: Now, room_key: RoomKey, key: SessionKey) {
        let Some(room) = self.rooms.get_mut(&room_key) else { return };
        let Some(member) = room.members.get_mut(&key) else { return };
        let Some(exp) = member.token.as_ref().map(|token| token.exp) else { return };
        if now.unix >= exp {
            self.remove_member(now, room_key, key, LeftReason::TokenExpired, true);
            return;
        }
        if exp - now.unix <= EXPIRY_NOTICE_SECS && !member.announced {
            member.announced = true;
            let mut body = String::new();
            push_number(&mut body, "\"in_ms\":", (exp - now.unix) * 1000);
            crate::signal::frame::push_text(&mut body, ",\"room\":", &room.name);
            self.push(now, key, Tell::TokenExpiring, &body.into());
        }
        self.watch_member(now, room_key, key);
    }

    pub(super) fn leave(&mut self, now: Now, key: SessionKey, id: u64, name: &str) -> Result<(), Refusal> {
        let room_key = self.room_by_name(name);
        let Some(room_key) =
            room_key.filter(|room| self.rooms.get(room).is_some_and(|room| room.members.contains_key(&key)))
        else {
            return Err(Refusal::new(ErrorCode::NotInRoom, "not in that room"));
        };
        self.reply(now, key, id, Tell::Ok, "");
        self.remove_member(now, room_key, key, LeftReason::Leave, false);
        Ok(())
    }

    pub(super) fn update(
        &mut self,
        now: Now,
        key: SessionKey,
        id: u64,
        name: &str,
        patch: &str,
    ) -> Result<(), Refusal> {
        // A patch that could not be merged into a good meta is not worth the merging.
        let too_large = || Refusal::new(ErrorCode::TooLarge, "meta is too large");
        if over(patch.len(), self.limits.max_meta.saturating_mul(2)) {
            return Err(too_large());
        }
        let (room_key, _) = self.active(key, name)?;
        let Some(room) = self.rooms.get(&room_key) else { return Ok(()) };
        let Some((member, ord)) = room.peer(key) else { return Ok(()) };
        let meta = meta::merged(&member.meta, patch);
        if over(meta.len(), self.limits.max_meta) {
            return Err(too_large());
        }
        let audience = room.audience(Some(key));
        self.spend(now, key, room.copies(Some(key)) * (cost(&meta) + 128))?;
        let Some(room) = self.rooms.get_mut(&room_key) else { return Ok(()) };
        let Some(member) = room.members.get_mut(&key) else { return Ok(()) };
        member.meta = meta.into();
        room.ver += 1;
        let ver = room.ver;
        let Some((member, _)) = room.peer(key) else { return Ok(()) };
        let polite = room.peer_body(member, ord, true);
        let impolite = room.peer_body(member, ord, false);
        let latecomers: Vec<bool> = audience
            .iter()
            .map(|other| room.peer(*other).is_some_and(|(_, other_ord)| other_ord > ord))
            .collect();
        self.reply(now, key, id, Tell::Ok, &format!("\"ver\":{ver}"));
        for (other, late) in audience.into_iter().zip(latecomers) {
            self.push(now, other, Tell::PeerUpdated, if late { &polite } else { &impolite });
        }
        self.push_feed(now, room_key, Tell::PeerUpdated, &impolite);
        Ok(())
    }

    pub(super) fn kick(
        &mut self,
        now: Now,
        key: SessionKey,
        id: u64,
        name: &str,
        peer: &str,
        ban_s: Option<u32>,
    ) -> Result<(), Refusal> {
        let bad = |advice| Err(Refusal::new(ErrorCode::BadRequest, advice));
        if self.sessions.get(&key).is_some_and(|session| session.peer.as_str() == peer) {
            return bad("nobody kicks themselves");
        }
        let found = self.peer_in(name, peer);
        let nameless =
            found.and_then(|target| self.sessions.get(&target)).is_some_and(|session| session.uid.is_none());
        let active = self.active(key, name);
        if active.is_ok() && nameless && ban_s.is_some_and(|secs| secs > 0) {
            return bad("a ban needs a peer with a uid");
        }
        let (room_key, permissions) = active?;
        if !permissions.kick {
            return Err(Refusal::new(ErrorCode::Forbidden, "the token does not permit it"));
        }
        let target =
            found.ok_or_else(|| Refusal::new(ErrorCode::PeerNotFound, "no such peer in the room"))?;
        self.ban(now, room_key, target, ban_s)?;
        self.reply(now, key, id, Tell::Ok, "");
        self.expel(now, room_key, target, ban_s);
        Ok(())
    }

    /// Finds a peer of a room by its name.
    pub(super) fn peer_in(&self, name: &str, peer: &str) -> Option<SessionKey> {
        let room = self.rooms.get(&self.room_by_name(name)?)?;
        let session = *self.sessions_by_peer.get(&PeerId::read(peer)?)?;
        room.peer(session).map(|_| session)
    }

    /// Keeps a peer's uid out of a room for a time.
    pub(super) fn ban(
        &mut self,
        now: Now,
        room: RoomKey,
        target: SessionKey,
        ban_s: Option<u32>,
    ) -> Result<(), Refusal> {
        let Some(ban_s) = ban_s.filter(|secs| *secs > 0) else { return Ok(()) };
        let uid = self.sessions.get(&target).and_then(|session| session.uid.clone());
        let Some(uid) = uid else {
            return Err(Refusal::new(ErrorCode::BadRequest, "a ban needs a peer with a uid"));
        };
        let Some(room) = self.rooms.get(&room) else { return Ok(()) };
        let ban = (room.name.clone(), uid);
        let until = now.mono.after_secs(ban_s);
        if self.bans.len() >= MAX_BANS && !self.bans.contains_key(&ban) {
            return Err(Refusal::new(ErrorCode::LimitReached, "too many bans are in force"));
        }
        if let Some(before) = self.bans.insert(ban.clone(), until) {
            self.bans_by_end.remove(&(before, ban.clone()));
        }
        self.bans_by_end.insert((until, ban));
        self.watch_bans();
        Ok(())
    }

    /// Lifts the bans that are over.
    pub(super) fn bans_due(&mut self, now: Now) {
        while let Some((_, ban)) = self.bans_by_end.first().filter(|(until, _)| *until <= now.mono).cloned() {
            self.bans_by_end.pop_first();
            self.bans.remove(&ban);
        }
        self.watch_bans();
    }

    fn watch_bans(&mut self) {
        match self.bans_by_end.first() {
            Some((until, _)) => self.deadlines.set(Due::Ban, *until),
            None => self.deadlines.clear(Due::Ban),
        }
    }

    pub(super) fn ban_left(&self, now: Now, room: &str, uid: Option<&Arc<str>>) -> Option<Duration> {
        if self.bans.is_empty() {
            return None;
        }
        let until = *self.bans.get(&(room.into(), uid?.clone()))?;
        (until > now.mono).then(|| until.since(now.mono))
    }

    /// Ends what else hears a room in the name of a peer: observers and readers of the feed.
    fn silence(&mut self, now: Now, room_key: RoomKey, target: SessionKey) {
        let Some(uid) = self.sessions.get(&target).and_then(|session| session.uid.clone()) else { return };
        let Some(room) = self.rooms.get(&room_key) else { return };
        let is_theirs =
            |key: &&SessionKey| room.members.get(key).is_some_and(|member| member.uid.as_ref() == Some(&uid));
        let observers: Vec<SessionKey> = room.observers.iter().filter(is_theirs).copied().collect();
        let is_reader = |conn: &&ConnId| {
            let role = self.conns.get(conn).map(|conn| &conn.role);
            matches!(role, Some(Role::Reader { uid: Some(reader), .. }) if *reader == uid)
        };
        let readers: Vec<ConnId> = room.feed.readers.iter().filter(is_reader).copied().collect();
        for observer in observers {
            self.remove_member(now, room_key, observer, LeftReason::Kicked, true);
            if self.sessions.get(&observer).is_some_and(|session| session.rooms.is_empty()) {
                self.end_session(now, observer, SessionEnd::Banned);
            }
        }
        for reader in readers {
            self.shut(now, reader, CloseCode::Banned);
        }
    }

    /// Removes a peer from a room; a session that is left in none ends.
    pub(super) fn expel(&mut self, now: Now, room: RoomKey, target: SessionKey, ban_s: Option<u32>) {
        if ban_s.is_some_and(|secs| secs > 0) {
            self.silence(now, room, target);
        }
        self.remove_member(now, room, target, LeftReason::Kicked, true);
        if self.sessions.get(&target).is_some_and(|session| session.rooms.is_empty()) {
            let banned = ban_s.is_some_and(|secs| secs > 0);
            self.end_session(now, target, if banned { SessionEnd::Banned } else { SessionEnd::Kicked });
        }
    }
}

fn permit_entry(rights: Option<&JoinToken>, name: &str, observer: bool) -> Result<(), Refusal> {
    let permissions = rights.map_or(Permissions::OPEN, |token| token.perm);
    let permitted = if observer { permissions.observe } else { permissions.join };
    if !permitted {
        return Err(Refusal::new(ErrorCode::Forbidden, "the token does not permit it"));
    }
    if rights.is_some_and(|token| !token.opens(name)) {
        return Err(Refusal::new(ErrorCode::Forbidden, "the token does not open that room"));
    }
    Ok(())
}
