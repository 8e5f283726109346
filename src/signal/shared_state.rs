//! The state that the members of a room share: `state` (signaling.md §2).

use std::time::Duration;

use crate::rng::Rng;
use crate::signal::authority::Authority;
use crate::signal::core::Core;
use crate::signal::deadline::Due;
use crate::signal::frame::cost;
use crate::signal::ids::{RoomKey, SessionKey};
use crate::signal::limits::{STATE_BYTES, STATE_KEYS, over};
use crate::signal::message::Change;
use crate::signal::names::{ErrorCode, Tell};
use crate::signal::refusal::Refusal;
use crate::signal::room::{Item, Room};
use crate::time::Now;

impl<A: Authority, R: Rng> Core<A, R> {
    #[expect(clippy::too_many_arguments, reason = "the fields of the request, each used once")]
    pub(super) fn change_state(
        &mut self,
        now: Now,
        key: SessionKey,
        id: u64,
        name: &str,
        item_key: &str,
        change: &Change<'_>,
        if_ver: Option<u64>,
    ) -> Result<(), Refusal> {
        if let Change::Set { value, .. } = change
            && over(value.len(), self.limits.max_meta)
        {
            return Err(Refusal::new(ErrorCode::TooLarge, "the value is too large"));
        }
        let (room_key, permissions) = self.active(key, name)?;
        if !permissions.state {
            return Err(Refusal::new(ErrorCode::Forbidden, "the token does not permit it"));
        }
        let Some(room) = self.rooms.get(&room_key) else { return Ok(()) };
        let Some(by) = room.members.get(&key).map(|member| member.peer) else { return Ok(()) };
        let ver = room.state.get(item_key).map_or(0, |item| item.ver);
        if if_ver.is_some_and(|expected| expected != ver) {
            return Err(Refusal::version(ver));
        }
        let value = match change {
            Change::Set { value, .. } => {
                has_room(room, item_key, value)?;
                Some(value.as_ref())
            }
            Change::Delete if ver == 0 => return Err(Refusal::new(ErrorCode::NotFound, "no such key")),
            Change::Delete => None,
        };
        let body = room.state_body(item_key, value, room.state_ver + 1, by.as_str());
        let copies = room.copies(Some(key));
        self.spend(now, key, copies * cost(&body))?;

        let Some(room) = self.rooms.get_mut(&room_key) else { return Ok(()) };
        match change {
            Change::Delete => {
                room.delete(item_key);
            }
            Change::Set { value, ttl_ms } => {
                let expires = ttl_ms.map(|ms| now.mono.after(Duration::from_millis(ms)));
                let item = Item { value: value.as_ref().into(), ver: room.state_ver + 1, by, expires };
                room.set(item_key, item);
            }
        }
        let ver = room.state_ver;
        self.watch_state(room_key);
        self.reply(now, key, id, Tell::Ok, &format!("\"ver\":{ver}"));
        self.broadcast(now, room_key, Some(key), Tell::State, &body);
        Ok(())
    }

    /// Takes out what has expired, and tells everyone.
    pub(super) fn state_due(&mut self, now: Now, room_key: RoomKey) {
        let Some(room) = self.rooms.get_mut(&room_key) else { return };
        let is_due = |item: &Item| item.expires.is_some_and(|at| at <= now.mono);
        let due: Vec<Box<str>> =
            room.state.iter().filter(|(_, item)| is_due(item)).map(|(key, _)| key.clone()).collect();
        let mut bodies = Vec::new();
        for key in due {
            if let Some(ver) = room.delete(&key) {
                bodies.push(room.state_body(&key, None, ver, "server"));
            }
        }
        for body in bodies {
            self.broadcast(now, room_key, None, Tell::State, &body);
        }
        self.watch_state(room_key);
    }

    fn watch_state(&mut self, key: RoomKey) {
        match self.rooms.get(&key).and_then(Room::next_expiry) {
            Some(at) => self.deadlines.set(Due::State(key), at),
            None => self.deadlines.clear(Due::State(key)),
        }
    }
}

fn has_room(room: &Room, key: &str, value: &str) -> Result<(), Refusal> {
    let before = room.state.get(key);
    let keys = room.state.len() + usize::from(before.is_none());
    let freed = before.map_or(0, |item| key.len() + item.value.len());
    let bytes = room.state_bytes - freed + key.len() + value.len();
    if keys > STATE_KEYS || bytes > STATE_BYTES {
        return Err(Refusal::new(ErrorCode::LimitReached, "the room's state is full"));
    }
    Ok(())
}
