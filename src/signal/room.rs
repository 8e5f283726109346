//! One room: who is in it, what they share, and what they are told about each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::auth::JoinToken;
use crate::signal::feed::Feed;
use crate::signal::frame::{push_number, push_text};
use crate::signal::ids::{PeerId, SessionKey};
use crate::signal::names::LeftReason;
use crate::time::Mono;

pub(super) struct Room {
    pub(super) name: Arc<str>,
    /// Version of the roster.
    pub(super) ver: u64,
    /// Last ordinal that was given.
    pub(super) ords: u64,
    /// Version of the state.
    pub(super) state_ver: u64,
    pub(super) members: BTreeMap<SessionKey, Member>,
    pub(super) peers: BTreeMap<u64, SessionKey>,
    pub(super) observers: BTreeSet<SessionKey>,
    pub(super) state: BTreeMap<Box<str>, Item>,
    pub(super) state_bytes: usize,
    pub(super) feed: Feed,
    /// Bytes that its roster and state had when they were last written for somebody.
    pub(super) view_len: usize,
}

/// One session in a room.
pub(super) struct Member {
    pub(super) peer: PeerId,
    pub(super) uid: Option<Arc<str>>,
    /// `uid` as JSON.
    pub(super) quoted_uid: Arc<str>,
    pub(super) meta: Arc<str>,
    /// Place in the order of joining; none for an observer.
    pub(super) ord: Option<u64>,
    pub(super) online: bool,
    /// Token of this membership, which stands above the session's.
    pub(super) token: Option<Arc<JoinToken>>,
    /// Whether the expiry of that token was announced.
    pub(super) announced: bool,
}

/// One key of a room's state.
pub(super) struct Item {
    pub(super) value: Arc<str>,
    pub(super) ver: u64,
    pub(super) by: PeerId,
    pub(super) expires: Option<Mono>,
}

impl Room {
    pub(super) fn new(name: &str) -> Room {
        Room {
            name: name.into(),
            ver: 0,
            ords: 0,
            state_ver: 0,
            members: BTreeMap::new(),
            peers: BTreeMap::new(),
            observers: BTreeSet::new(),
            state: BTreeMap::new(),
            state_bytes: 0,
            feed: Feed::default(),
            view_len: 0,
        }
    }

    /// Returns whether nobody is in it.
    pub(super) fn is_deserted(&self) -> bool {
        self.members.is_empty() && !self.feed.has_readers()
    }

    /// Returns who hears what is said: peers in the order of joining, then observers.
    pub(super) fn audience(&self, except: Option<SessionKey>) -> Vec<SessionKey> {
        let all = self.peers.values().chain(&self.observers).copied();
        all.filter(|session| Some(*session) != except).collect()
    }

    /// Returns the session of a peer's ordinal holder, if `session` is a peer here.
    pub(super) fn peer(&self, session: SessionKey) -> Option<(&Member, u64)> {
        let member = self.members.get(&session)?;
        Some((member, member.ord?))
    }

    /// Writes the room as `joined` and a resuming `welcome` show it, at a version and for a viewer.
    pub(super) fn view(&self, ver: u64, viewer: Option<SessionKey>, ord: Option<u64>) -> String {
        let mut out = self.heading(ver);
        match ord {
            Some(ord) => {
                push_number(&mut out, ",\"you\":{\"ord\":", ord);
                out.push_str(",\"as\":\"peer\"},\"peers\":[");
            }
            None => out.push_str(",\"you\":{\"ord\":null,\"as\":\"observer\"},\"peers\":["),
        }
        let start = out.len();
        for (peer_ord, session) in &self.peers {
            let Some(member) = self.members.get(session).filter(|_| Some(*session) != viewer) else {
                continue;
            };
            if out.len() > start {
                out.push(',');
            }
            out.push('{');
            member.write(&mut out, *peer_ord, is_polite(ord, *peer_ord));
            out.push('}');
        }
        out.push_str("],\"state\":{");
        for (index, (key, item)) in self.state.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            push_text(&mut out, "", key);
            out.push_str(":{\"value\":");
            out.push_str(&item.value);
            push_number(&mut out, ",\"ver\":", item.ver);
            push_text(&mut out, ",\"by\":", item.by.as_str());
            out.push('}');
        }
        out.push('}');
        out
    }

    /// Returns the room as a reader of its feed first sees it.
    pub(super) fn feed_view(&mut self) -> Arc<str> {
        let at = (self.ver, self.state_ver);
        if let Some((of, view)) = &self.feed.view
            && *of == at
        {
            return view.clone();
        }
        let view: Arc<str> = self.view(self.ver, None, None).into();
        self.view_len = view.len();
        self.feed.view = Some((at, view.clone()));
        view
    }

    /// Returns how many hear what is said to all but one member: the others, and the readers of the feed.
    pub(super) fn copies(&self, except: Option<SessionKey>) -> usize {
        let others = except.map_or(self.members.len(), |key| {
            self.members.len() - usize::from(self.members.contains_key(&key))
        });
        others + self.feed.readers.len()
    }

    /// Writes `peer-joined` and `peer-updated` at the room's version.
    pub(super) fn peer_body(&self, member: &Member, ord: u64, polite: bool) -> Arc<str> {
        let mut out = self.heading(self.ver);
        out.push(',');
        member.write(&mut out, ord, polite);
        out.into()
    }

    pub(super) fn left_body(&self, peer: PeerId, reason: LeftReason) -> Arc<str> {
        let mut out = self.heading(self.ver);
        push_text(&mut out, ",\"peer\":", peer.as_str());
        push_text(&mut out, ",\"reason\":", reason.label());
        out.into()
    }

    pub(super) fn status_body(&self, peer: PeerId, online: bool) -> Arc<str> {
        let mut out = self.heading(self.ver);
        push_text(&mut out, ",\"peer\":", peer.as_str());
        out.push_str(if online { ",\"online\":true" } else { ",\"online\":false" });
        out.into()
    }

    /// Writes a `state` push; without a value the key is gone.
    pub(super) fn state_body(&self, key: &str, value: Option<&str>, ver: u64, by: &str) -> Arc<str> {
        let mut out = String::with_capacity(96 + value.map_or(0, str::len));
        push_text(&mut out, "\"room\":", &self.name);
        push_text(&mut out, ",\"key\":", key);
        if let Some(value) = value {
            out.push_str(",\"value\":");
            out.push_str(value);
        }
        push_number(&mut out, ",\"ver\":", ver);
        push_text(&mut out, ",\"by\":", by);
        out.into()
    }

    /// Sets a key and counts the change.
    pub(super) fn set(&mut self, key: &str, item: Item) {
        self.state_ver += 1;
        self.state_bytes += key.len() + item.value.len();
        if let Some(before) = self.state.insert(key.into(), item) {
            self.state_bytes -= key.len() + before.value.len();
        }
    }

    /// Takes a key out and counts the change.
    pub(super) fn delete(&mut self, key: &str) -> Option<u64> {
        let item = self.state.remove(key)?;
        self.state_bytes -= key.len() + item.value.len();
        self.state_ver += 1;
        Some(self.state_ver)
    }

    /// Returns when the first key expires.
    pub(super) fn next_expiry(&self) -> Option<Mono> {
        self.state.values().filter_map(|item| item.expires).min()
    }

    fn heading(&self, ver: u64) -> String {
        let mut out = String::with_capacity(256);
        push_text(&mut out, "\"room\":", &self.name);
        push_number(&mut out, ",\"ver\":", ver);
        out
    }
}

impl Member {
    fn write(&self, out: &mut String, ord: u64, polite: bool) {
        push_text(out, "\"peer\":", self.peer.as_str());
        out.push_str(",\"uid\":");
        out.push_str(&self.quoted_uid);
        out.push_str(",\"meta\":");
        out.push_str(&self.meta);
        push_number(out, ",\"ord\":", ord);
        out.push_str(match polite {
            true => ",\"polite\":true,\"initiate\":true",
            false => ",\"polite\":false,\"initiate\":false",
        });
        out.push_str(if self.online { ",\"online\":true" } else { ",\"online\":false" });
    }
}

/// Returns whether one is polite toward a peer: one's own ordinal is higher. An observer never is.
pub(super) fn is_polite(own: Option<u64>, peer: u64) -> bool {
    own.is_some_and(|own| own > peer)
}
