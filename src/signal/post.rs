//! Sessions over server-sent events and POST, and feeds of rooms (signaling.md §8).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::JoinToken;
use crate::json;
use crate::rng::Rng;
use crate::signal::authority::Authority;
use crate::signal::core::{Core, Role};
use crate::signal::deadline::Due;
use crate::signal::frame::{Frame, FrameId};
use crate::signal::ids::{AddressKey, ConnId, SessionKey};
use crate::signal::inbound::Taken;
use crate::signal::limits::{FEED_MESSAGE, WINDOW, over};
use crate::signal::message::{Envelope, is_name};
use crate::signal::names::{Ask, Carrier, CloseCode, ErrorCode, Tell};
use crate::signal::presence::moment;
use crate::signal::refusal::Refusal;
use crate::signal::secret;
use crate::signal::session::draw;
use crate::time::Now;

/// Answer to `POST /v1/session`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The `welcome` of the session.
    pub welcome: Frame,
    /// Ticket that opens the session's events, and ends older ones.
    pub ticket: String,
}

/// Why a session's events are not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsRefusal {
    /// The ring does not hold what follows (409).
    Gap,
    /// The session is gone (410).
    Gone,
    /// Its reader comes and goes too often (429).
    RateLimited(Duration),
    /// The ticket is none, or an older one (401).
    Unauthorized,
}

/// Answer to `POST /v1/session/messages`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// No object and no array of objects; nothing was applied (400).
    Bad,
    /// The session is gone (410).
    Gone,
    /// A request is missing (409).
    Hole {
        /// Id of the request that is expected.
        expected: u64,
        /// Replies to what was applied before.
        replies: Vec<Frame>,
    },
    /// Too much, too fast, and on (429): the reader of the events was closed with 4004.
    RateLimited {
        /// Replies to what was applied before.
        replies: Vec<Frame>,
    },
    /// Replies in order (200).
    Replies(Vec<Frame>),
    /// A message is larger than one may be (413); none was applied.
    TooLarge,
    /// No valid secret (401).
    Unauthorized,
}

/// Who wants to read a room's feed.
#[derive(Clone, Copy, Debug)]
pub enum FeedReader<'t> {
    /// Holder of an API key of scope `read`.
    Key,
    /// Holder of a verified join token.
    Token(&'t JoinToken),
    /// Holder of a ticket of the shell for this room, good until a Unix second.
    Ticket(u64),
    /// Anyone, where signaling is open.
    Open,
}

/// Why a feed is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedRefusal {
    /// That is no name of a room (400).
    BadRequest,
    /// The server stops (503).
    Draining,
    /// The token permits no observing of that room (403).
    Forbidden,
    /// The address opens too many (429).
    RateLimited(Duration),
    /// The room has as many readers as it takes (429).
    RoomFull,
    /// No token, and signaling is not open (401).
    Unauthorized,
    /// The token is past its expiry (401).
    TokenExpired,
}

impl<A: Authority, R: Rng> Core<A, R> {
    pub(super) fn create(
        &mut self,
        now: Now,
        address: AddressKey,
        bearer: Option<&str>,
        text: &str,
    ) -> Result<Created, CloseCode> {
        self.stats.count_ask(Ask::Hello);
        if over(text.len(), self.limits.max_message) {
            return Err(CloseCode::TooBig);
        }
        let envelope = Envelope::read(text).map_err(|_| CloseCode::BadRequest)?;
        if envelope.ask != Ask::Hello {
            return Err(CloseCode::BadRequest);
        }
        let hello = envelope.hello().map_err(|_| CloseCode::BadRequest)?;
        let start = self.greet(now, &hello, bearer, address, Carrier::Sse)?;
        let welcome = self.welcome(now, start);
        self.announce_expiry(now, start.key);
        let session = self.sessions.get_mut(&start.key).ok_or(CloseCode::Internal)?;
        let ticket = session.secrets.new_ticket(&mut self.rng);
        let ticket = secret::write(&self.settings, &session.handle, &ticket);
        Ok(Created { welcome, ticket })
    }

    pub(super) fn open_events(
        &mut self,
        now: Now,
        conn: ConnId,
        address: AddressKey,
        ticket: &str,
        last_event_id: Option<u64>,
    ) -> Result<(), EventsRefusal> {
        let presented = secret::read(&self.settings, ticket).ok_or(EventsRefusal::Unauthorized)?;
        let key = self.sessions_by_handle.get(&presented.handle).filter(|_| presented.ours);
        let key = *key.ok_or(EventsRefusal::Gone)?;
        if self.lapse(now, key) {
            return Err(EventsRefusal::Gone);
        }
        let rate = self.limits.messages;
        let session = self.sessions.get_mut(&key).ok_or(EventsRefusal::Gone)?;
        if !session.secrets.accept_ticket(&presented.secret) || session.carrier != Carrier::Sse {
            return Err(EventsRefusal::Unauthorized);
        }
        let cursor = last_event_id.unwrap_or(session.acked);
        if cursor > session.sent || cursor < session.ring.base() {
            return Err(EventsRefusal::Gap);
        }
        // Each reader that comes is news to the rooms.
        let debt = session.owes_until.since(now.mono);
        if !debt.is_zero() || !draw(&mut session.messages, now.mono, rate, 1) {
            let wait = session.messages.wait(now.mono, rate.per_second, rate.burst, 1);
            self.stats.rate_limited += 1;
            return Err(EventsRefusal::RateLimited(wait.max(debt)));
        }
        self.replace_link(now, key);
        self.open_conn(now, conn, address, Carrier::Sse, Role::Session(key));
        self.attach(now, key, conn, cursor);
        if self.sessions.get(&key).is_some_and(|session| now.unix >= session.ice_refresh_at) {
            self.push_ice(now, key);
        }
        self.flush(now, key, WINDOW);
        self.bound_ring(now, key);
        Ok(())
    }

    pub(super) fn post(&mut self, now: Now, address: AddressKey, bearer: &str, body: &str) -> Posted {
        let Some(presented) = secret::read(&self.settings, bearer) else { return Posted::Unauthorized };
        let key = self.sessions_by_handle.get(&presented.handle).filter(|_| presented.ours);
        let Some(key) = key.copied() else { return Posted::Gone };
        if self.lapse(now, key) {
            return Posted::Gone;
        }
        let Some(session) = self.sessions.get_mut(&key) else { return Posted::Gone };
        if !session.secrets.accept(&presented.secret) {
            return Posted::Unauthorized;
        }
        let Ok(messages) = json::objects(body) else { return Posted::Bad };
        if messages.iter().any(|message| over(message.len(), self.limits.max_message)) {
            return Posted::TooLarge;
        }
        let (mut replies, mut repeated) = (Vec::new(), BTreeSet::new());
        for message in messages {
            self.last_reply = None;
            match self.take(now, key, address, message, false) {
                Taken::Ended => break,
                Taken::Hole { expected } => return Posted::Hole { expected, replies },
                Taken::Overrun => {
                    self.drop_link(now, key, CloseCode::RateLimited);
                    return Posted::RateLimited { replies };
                }
                Taken::Quiet => {}
                Taken::Replied => replies.extend(self.last_reply.take()),
                // However often it is asked for, one answer holds a reply once.
                Taken::Retry { id } if repeated.insert(id) => {
                    let reply = self.repeat_reply(key, id);
                    self.charge(now, key, reply.cost());
                    replies.push(reply);
                }
                Taken::Retry { .. } => {}
            }
        }
        Posted::Replies(replies)
    }

    /// Returns the reply to a request that was applied before.
    fn repeat_reply(&self, key: SessionKey, id: u64) -> Frame {
        let kept = self.sessions.get(&key).and_then(|session| session.ring.reply(id));
        kept.unwrap_or_else(|| {
            let refusal = Refusal::new(ErrorCode::Conflict, "its reply was acknowledged, or is gone");
            Frame { tell: Tell::Error, id: FrameId::None, body: refusal.body(id).into() }
        })
    }

    pub(super) fn open_feed(
        &mut self,
        now: Now,
        conn: ConnId,
        address: AddressKey,
        name: &str,
        reader: FeedReader<'_>,
        last_event_id: Option<&str>,
    ) -> Result<(), FeedRefusal> {
        if !is_name(name) {
            return Err(FeedRefusal::BadRequest);
        }
        let uid: Option<Arc<str>> = match reader {
            FeedReader::Token(token) => token.sub.as_deref().map(Arc::from),
            FeedReader::Key | FeedReader::Open | FeedReader::Ticket(_) => None,
        };
        match reader {
            FeedReader::Key => {}
            FeedReader::Open if self.settings.open => {}
            FeedReader::Open => return Err(FeedRefusal::Unauthorized),
            FeedReader::Ticket(exp) if now.unix >= exp => return Err(FeedRefusal::TokenExpired),
            FeedReader::Ticket(_) => {}
            FeedReader::Token(token) if now.unix >= token.exp => return Err(FeedRefusal::TokenExpired),
            FeedReader::Token(_) if self.ban_left(now, name, uid.as_ref()).is_some() => {
                return Err(FeedRefusal::Forbidden);
            }
            FeedReader::Token(token) if token.perm.observe && token.opens(name) => {}
            FeedReader::Token(_) => return Err(FeedRefusal::Forbidden),
        }
        if self.drain.is_some_and(|stop| now.mono >= stop) {
            return Err(FeedRefusal::Draining);
        }
        let readers = self.room_by_name(name).and_then(|key| self.rooms.get(&key));
        let readers = readers.map_or(0, |room| room.feed.readers.len());
        if over(readers + 1, self.limits.max_peers) {
            return Err(FeedRefusal::RoomFull);
        }
        let known = self.room_by_name(name).and_then(|key| self.rooms.get_mut(&key));
        let roster = known.map_or(0, |room| room.feed_view().len());
        self.draw_address(now, address, 1 + (roster / FEED_MESSAGE) as u64)
            .map_err(FeedRefusal::RateLimited)?;
        let room_key = self.enter_room(name);
        let Some(room) = self.rooms.get_mut(&room_key) else { return Ok(()) };
        let (boot, last) = (self.settings.epoch, room.feed.last());
        let continued = last_event_id.and_then(|id| {
            let count: u64 = id.strip_prefix(&format!("{boot}-{}-", room_key.0))?.parse().ok()?;
            room.feed.continues(count).then_some(count)
        });
        room.feed.keep();
        room.feed.readers.insert(conn);
        let view = continued.is_none().then(|| room.feed_view());
        self.deadlines.clear(Due::Feed(room_key));
        let role = Role::Reader { room: room_key, seen: continued.unwrap_or(last), uid };
        self.open_conn(now, conn, address, Carrier::Feed, role);
        self.deadlines.set(Due::Ping(conn), now.mono.after(self.limits.ping_interval));
        let exp = match reader {
            FeedReader::Token(token) => Some(token.exp),
            FeedReader::Ticket(exp) => Some(exp),
            FeedReader::Key | FeedReader::Open => None,
        };
        if let Some(exp) = exp {
            self.deadlines.set(Due::Reader(conn), moment(now, exp));
        }
        if let Some(view) = view {
            let id = FrameId::Feed(boot, room_key.0, last);
            self.send(now, conn, Frame { tell: Tell::Joined, id, body: view });
        }
        self.flush_reader(now, conn);
        Ok(())
    }
}
