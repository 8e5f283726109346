//! What happens because time passes.

use crate::rng::Rng;
use crate::signal::action::Action;
use crate::signal::authority::Authority;
use crate::signal::core::{Core, Role};
use crate::signal::deadline::Due;
use crate::signal::frame::{Frame, FrameId, push_number};
use crate::signal::ids::{ConnId, SessionKey};
use crate::signal::limits::WINDOW;
use crate::signal::names::{Carrier, CloseCode, SessionEnd, Tell, Undelivered};
use crate::time::{Mono, Now};

impl<A: Authority, R: Rng> Core<A, R> {
    pub(super) fn fall_due(&mut self, now: Now, due: Due) {
        match due {
            Due::Address(address) => self.address_due(now, address),
            Due::Ban => self.bans_due(now),
            Due::Drain => self.stop(now),
            Due::Feed(room) => {
                let room = self.rooms.get_mut(&room).filter(|room| !room.feed.has_readers());
                if let Some(room) = room {
                    self.feed_bytes -= room.feed.bytes();
                    room.feed.forget();
                }
            }
            Due::Grace(key) => {
                if self.sessions.get(&key).is_some_and(|session| !session.is_live()) {
                    self.end_session(now, key, SessionEnd::Timeout);
                }
            }
            Due::Hello(conn) => self.shut(now, conn, CloseCode::HelloTimeout),
            Due::Ice(key) => self.push_ice(now, key),
            Due::Member(room, key) => self.member_due(now, room, key),
            Due::Ping(conn) => self.ping_due(now, conn),
            Due::Reader(conn) => self.shut(now, conn, CloseCode::TokenExpired),
            Due::State(room) => self.state_due(now, room),
            Due::Token(key) => {
                if !self.lapse(now, key) {
                    self.announce_expiry(now, key);
                    self.watch_token(now, key);
                }
            }
            Due::Ttl(key, seq) => self.withdraw(key, seq, Undelivered::Expired),
        }
    }

    /// Looks at a connection's silence: pings, comments or closes.
    fn ping_due(&mut self, now: Now, conn: ConnId) {
        let interval = self.limits.ping_interval;
        let Some(state) = self.conns.get_mut(&conn) else { return };
        if state.carrier != Carrier::WebSocket {
            self.out.push_back(Action::Comment { conn });
        } else if now.mono >= state.heard.after(interval * 2) {
            self.shut(now, conn, CloseCode::HeartbeatTimeout);
            return;
        }
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let is_session = matches!(state.role, Role::Session(_));
        // A reader of events has nothing to answer with, so only what it hears counts.
        let quiet_since = match state.carrier {
            Carrier::WebSocket => state.heard.min(state.told),
            Carrier::Feed | Carrier::Sse => state.told,
        };
        let due = quiet_since.after(interval).max(state.pinged.after(interval));
        // Whoever does not read is not told more.
        if is_session && now.mono >= due && state.unwritten < WINDOW {
            state.pinged = now.mono;
            let mut body = String::new();
            push_number(&mut body, "\"ts\":", now.unix);
            self.send(now, conn, Frame { tell: Tell::Ping, id: FrameId::None, body: body.into() });
        }
        let next = self.next_look(now, conn);
        self.deadlines.set(Due::Ping(conn), next);
    }

    fn next_look(&self, now: Now, conn: ConnId) -> Mono {
        let interval = self.limits.ping_interval;
        let Some(state) = self.conns.get(&conn) else { return now.mono.after(interval) };
        if state.carrier != Carrier::WebSocket {
            return now.mono.after(interval);
        }
        let ping = state.heard.min(state.told).after(interval).max(state.pinged.after(interval));
        ping.min(state.heard.after(interval * 2)).max(now.mono.after(LEAST_LOOK))
    }

    /// Tells all clients that the server is about to stop.
    pub(super) fn begin_drain(&mut self, now: Now, stop: Mono) {
        self.drain = Some(stop);
        self.deadlines.set(Due::Drain, stop);
        let mut live: Vec<SessionKey> =
            self.sessions.iter().filter(|(_, session)| session.is_live()).map(|(key, _)| *key).collect();
        live.sort_unstable();
        for key in live {
            let jitter = crate::signal::ids::random_bits(&mut self.rng, 4) as u64 % RETRY_SPREAD_MS;
            let mut body = String::new();
            push_number(&mut body, "\"retry_ms\":", RETRY_LEAST_MS + jitter);
            let left = crate::signal::refusal::millis(stop.since(now.mono));
            push_number(&mut body, ",\"deadline_ms\":", left);
            self.push(now, key, Tell::Drain, &body.into());
        }
    }

    /// Closes every connection.
    fn stop(&mut self, now: Now) {
        let mut conns: Vec<ConnId> = self.conns.keys().copied().collect();
        conns.sort_unstable();
        for conn in conns {
            self.shut(now, conn, CloseCode::Draining);
        }
    }

    /// Returns the session behind a name that the shell knows.
    pub(super) fn session_by_id(&self, id: &crate::auth::SessionId) -> Option<SessionKey> {
        let handle = id.0.strip_prefix('s')?.as_bytes().try_into().ok()?;
        self.sessions_by_handle.get::<crate::signal::secret::Handle>(&handle).copied()
    }
}

/// Heartbeats are looked at no more often than this.
const LEAST_LOOK: std::time::Duration = std::time::Duration::from_millis(1);
/// Clients come back after this at the earliest,
const RETRY_LEAST_MS: u64 = 1000;
/// and spread over this.
const RETRY_SPREAD_MS: u64 = 4000;
