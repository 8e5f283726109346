//! Sessions that begin and sessions that go on (signaling.md §5), their tokens and ICE servers.

use std::sync::Arc;

use crate::auth::{JoinToken, TokenError};
use crate::rng::Rng;
use crate::signal::authority::{Authority, Holder, IceServers};
use crate::signal::core::{Core, Role};
use crate::signal::deadline::Due;
use crate::signal::frame::{Frame, FrameId, push_number, push_text};
use crate::signal::ids::{AddressKey, ConnId, PeerId, SessionKey};
use crate::signal::limits::{EXPIRY_NOTICE_SECS, WINDOW, over};
use crate::signal::message::Hello;
use crate::signal::names::{Carrier, CloseCode, ErrorCode, ResumeResult, Tell, Undelivered};
use crate::signal::presence::moment;
use crate::signal::refusal::{Refusal, millis};
use crate::signal::secret::{self, Secrets};
use crate::signal::session::{Session, draw};
use crate::time::Now;

/// Where a session's client goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) key: SessionKey,
    /// Last frame that it has seen.
    pub(super) cursor: u64,
    resumed: bool,
    gap: bool,
}

impl<A: Authority, R: Rng> Core<A, R> {
    /// Takes a `hello`: finds or makes its session, which is left without a connection.
    pub(super) fn greet(
        &mut self,
        now: Now,
        hello: &Hello<'_>,
        bearer: Option<&str>,
        address: AddressKey,
        carrier: Carrier,
    ) -> Result<Start, CloseCode> {
        if self.draw_address(now, address, 1).is_err() {
            self.stats.rate_limited += 1;
            return Err(CloseCode::RateLimited);
        }
        if self.drain.is_some_and(|stop| now.mono >= stop) {
            return Err(CloseCode::Draining);
        }
        let token = hello.token.as_deref().or(bearer);
        let token = token.map(|token| self.verify(now, token)).transpose().map_err(close_code)?;
        if let Some(resume) = hello.resume.as_deref() {
            if let Some(key) = self.find(now, resume) {
                return self.resume(now, key, hello.last_seq, token, address, carrier);
            }
            self.stats.count_resume(ResumeResult::Lost);
        }
        if token.is_none() && !self.settings.open {
            return Err(CloseCode::Unauthorized);
        }
        if self.drain.is_some() {
            return Err(CloseCode::Draining);
        }
        let of_address = self.sessions_by_address.get(&address).copied().unwrap_or(0);
        if over(of_address + 1, self.limits.max_sessions_per_address) {
            self.stats.rate_limited += 1;
            return Err(CloseCode::RateLimited);
        }
        Ok(self.begin(now, token, address, carrier))
    }

    /// Verifies a token, which has to be worth something now.
    pub(super) fn verify(&mut self, now: Now, token: &str) -> Result<Arc<JoinToken>, TokenError> {
        let token = self.authority.verify(now, token)?;
        token.judge(now.unix)?;
        Ok(Arc::new(token))
    }

    /// Finds the session of a valid resume secret.
    fn find(&mut self, now: Now, resume: &str) -> Option<SessionKey> {
        let presented = secret::read(&self.settings, resume).filter(|presented| presented.ours)?;
        let key = *self.sessions_by_handle.get(&presented.handle)?;
        let valid = self.sessions.get_mut(&key)?.secrets.accept(&presented.secret);
        (valid && !self.lapse(now, key)).then_some(key)
    }

    fn begin(
        &mut self,
        now: Now,
        token: Option<Arc<JoinToken>>,
        address: AddressKey,
        carrier: Carrier,
    ) -> Start {
        let key = SessionKey(self.next_key());
        let names = loop {
            let handle = secret::random_handle(&mut self.rng);
            let peer = PeerId::random(&mut self.rng);
            if !self.sessions_by_handle.contains_key(&handle) && !self.sessions_by_peer.contains_key(&peer) {
                break (handle, peer, Secrets::new(&mut self.rng));
            }
        };
        self.sessions_by_handle.insert(names.0, key);
        self.sessions_by_peer.insert(names.1, key);
        let mut session = Session::new(now, &self.limits, names, token, address, carrier);
        session.conns = 1;
        draw(&mut session.messages, now.mono, self.limits.messages, 1);
        self.sessions.insert(key, session);
        self.count_session(address);
        self.stats.sessions += 1;
        self.begin_wait(now, key);
        self.report_terms(key);
        self.mint_ice(now, key);
        self.watch_token(now, key);
        Start { key, cursor: 0, resumed: false, gap: false }
    }

    fn resume(
        &mut self,
        now: Now,
        key: SessionKey,
        last_seq: u64,
        token: Option<Arc<JoinToken>>,
        address: AddressKey,
        carrier: Carrier,
    ) -> Result<Start, CloseCode> {
        let session = self.sessions.get_mut(&key).ok_or(CloseCode::Internal)?;
        // `welcome` holds the rosters of all rooms: whoever owes bytes for the last one waits.
        let owes = session.owes_until > now.mono;
        if owes || !draw(&mut session.messages, now.mono, self.limits.messages, 1) {
            self.stats.rate_limited += 1;
            return Err(CloseCode::RateLimited);
        }
        if let Some(token) = token {
            self.adopt(now, key, token).map_err(|_| CloseCode::Unauthorized)?;
        }
        self.acknowledge(key, last_seq);
        self.replace_link(now, key);
        let session = self.sessions.get_mut(&key).ok_or(CloseCode::Internal)?;
        let gap = last_seq < session.ring.base() || last_seq > session.sent;
        let cursor = if gap { session.ring.base() } else { last_seq };
        // After a gap the count goes on from what there is.
        session.acked = session.acked.max(session.ring.base());
        session.sent = session.sent.max(session.ring.base());
        session.secrets.renew(&mut self.rng);
        session.conns += 1;
        let left = std::mem::replace(&mut session.address, address);
        session.carrier = carrier;
        let (peer, lost) = (session.peer, std::mem::take(&mut session.lost));
        for (_, note) in lost {
            self.undelivered(note, peer, Undelivered::Overflow);
        }
        self.count_session(address);
        self.discount_session(left);
        self.mint_ice(now, key);
        self.stats.count_resume(if gap { ResumeResult::Gap } else { ResumeResult::Resumed });
        Ok(Start { key, cursor, resumed: true, gap })
    }

    /// Puts a session onto the WebSocket that said `hello`, with `welcome` first.
    pub(super) fn welcome_to(&mut self, now: Now, conn: ConnId, start: Start) {
        let frame = self.welcome(now, start);
        if let Some(state) = self.conns.get_mut(&conn) {
            state.role = Role::Session(start.key);
        }
        self.deadlines.clear(Due::Hello(conn));
        self.attach(now, start.key, conn, start.cursor);
        self.send(now, conn, frame);
        self.flush(now, start.key, WINDOW);
        self.bound_ring(now, start.key);
        self.announce_expiry(now, start.key);
    }

    /// Writes `welcome`.
    pub(super) fn welcome(&mut self, now: Now, start: Start) -> Frame {
        let mut body = String::with_capacity(1024);
        if let Some(session) = self.sessions.get(&start.key) {
            push_text(&mut body, "\"peer\":", session.peer.as_str());
            body.push_str(",\"uid\":");
            body.push_str(&session.quoted_uid);
            push_text(&mut body, ",\"session\":", &session.id().0);
            push_number(&mut body, ",\"conn\":", session.conns);
            let secret = secret::write(&self.settings, &session.handle, session.secrets.newest());
            push_text(&mut body, ",\"resume\":", &secret);
            push_number(&mut body, ",\"resume_ttl_ms\":", millis(self.limits.resume_grace));
            push_flag(&mut body, ",\"resumed\":", start.resumed);
            push_flag(&mut body, ",\"gap\":", start.gap);
            push_number(&mut body, ",\"last_id\":", session.last_id);
            push_number(&mut body, ",\"seq\":", session.ring.last());
            let ping_ms = millis(self.limits.ping_interval);
            push_number(&mut body, ",\"ping_ms\":", ping_ms);
            push_number(&mut body, ",\"dead_ms\":", ping_ms * 2);
            push_number(&mut body, ",\"limits\":{\"msg\":", self.limits.max_message as u64);
            push_number(&mut body, ",\"meta\":", self.limits.max_meta as u64);
            push_number(&mut body, ",\"rooms\":", self.limits.max_rooms as u64);
            push_number(&mut body, ",\"peers\":", self.limits.max_peers as u64);
            push_number(&mut body, ",\"rate\":", self.limits.messages.per_second);
            push_number(&mut body, ",\"burst\":", self.limits.messages.burst);
            push_text(&mut body, "},\"node\":", &self.settings.node);
            body.push_str(",\"features\":[],\"ice\":");
            body.push_str(&session.ice);
            if start.resumed {
                body.push_str(",\"rooms\":[");
                let rooms = session.rooms.iter().filter_map(|key| self.rooms.get(key));
                for (index, room) in rooms.enumerate() {
                    body.push_str(if index > 0 { ",{" } else { "{" });
                    let ord = room.members.get(&start.key).and_then(|member| member.ord);
                    body.push_str(&room.view(room.ver, Some(start.key), ord));
                    body.push('}');
                }
                body.push(']');
            }
        }
        self.charge(now, start.key, body.len());
        Frame { tell: Tell::Welcome, id: FrameId::None, body: body.into() }
    }

    /// Gives a session another token; whoever it names has to be the same (signaling.md §9).
    pub(super) fn adopt(&mut self, now: Now, key: SessionKey, token: Arc<JoinToken>) -> Result<(), Refusal> {
        let Some(session) = self.sessions.get_mut(&key) else { return Ok(()) };
        if token.sub.as_deref() != session.uid.as_deref() {
            return Err(Refusal::new(ErrorCode::Forbidden, "the token names somebody else"));
        }
        let terms = (session.ice_terms(), session.token.is_none());
        session.token = Some(token);
        session.announced = false;
        let changed = terms != (session.ice_terms(), false);
        if changed {
            self.report_terms(key);
        }
        self.watch_token(now, key);
        Ok(())
    }

    /// Sets the deadline of a session's token: first its announcement, then its end.
    pub(super) fn watch_token(&mut self, now: Now, key: SessionKey) {
        let Some(session) = self.sessions.get(&key) else { return };
        let Some(token) = &session.token else { return };
        let notice = if session.announced { 0 } else { EXPIRY_NOTICE_SECS };
        self.deadlines.set(Due::Token(key), moment(now, token.exp.saturating_sub(notice)));
    }

    /// Announces the expiry of a session's token if it is near.
    pub(super) fn announce_expiry(&mut self, now: Now, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key).filter(|session| !session.announced) else { return };
        let Some(left) = session.token.as_ref().map(|token| token.exp.saturating_sub(now.unix)) else {
            return;
        };
        if left > EXPIRY_NOTICE_SECS {
            return;
        }
        session.announced = true;
        let mut body = String::new();
        push_number(&mut body, "\"in_ms\":", left.saturating_mul(1000));
        self.push(now, key, Tell::TokenExpiring, &body.into());
        self.watch_token(now, key);
    }

    /// Mints a session's ICE servers and sets when they are renewed: half-way.
    pub(super) fn mint_ice(&mut self, now: Now, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let holder = Holder {
            session: &session.id(),
            uid: session.uid.as_deref(),
            address: session.address,
            terms: session.ice_terms(),
            open: session.token.is_none(),
        };
        let minted = self.authority.ice_servers(now, &holder);
        let lifetime = minted.expires_at.saturating_sub(now.unix);
        let refresh_at = now.unix + (lifetime / 2).max(1);
        session.ice = ice_text(&minted, refresh_at, holder.terms.policy.label());
        session.ice_refresh_at = refresh_at;
        self.deadlines.set(Due::Ice(key), moment(now, refresh_at));
    }

    /// Returns a session's ICE servers, minted anew if they are due.
    pub(super) fn current_ice(&mut self, now: Now, key: SessionKey) -> Arc<str> {
        if self.sessions.get(&key).is_some_and(|session| now.unix >= session.ice_refresh_at) {
            self.mint_ice(now, key);
        }
        self.sessions.get(&key).map_or_else(|| "null".into(), |session| session.ice.clone())
    }

    /// Mints ICE servers and sends them to a client that is there.
    pub(super) fn push_ice(&mut self, now: Now, key: SessionKey) {
        let Some(conn) = self.sessions.get(&key).and_then(Session::conn) else { return };
        self.mint_ice(now, key);
        let Some(session) = self.sessions.get(&key) else { return };
        let members = session.ice.strip_prefix('{').and_then(|ice| ice.strip_suffix('}'));
        let body: Arc<str> = members.unwrap_or_default().into();
        self.stats.ice_refresh += 1;
        self.send(now, conn, Frame { tell: Tell::Ice, id: FrameId::None, body });
    }
}

pub(super) fn close_code(error: TokenError) -> CloseCode {
    if error == TokenError::Expired { CloseCode::TokenExpired } else { CloseCode::Unauthorized }
}

fn ice_text(minted: &IceServers, refresh_at: u64, policy: &str) -> Arc<str> {
    let mut out = String::from("{\"servers\":[");
    for (index, server) in minted.servers.iter().enumerate() {
        out.push_str(if index > 0 { ",{\"urls\":[" } else { "{\"urls\":[" });
        for (index, url) in server.urls.iter().enumerate() {
            push_text(&mut out, if index > 0 { "," } else { "" }, url);
        }
        out.push(']');
        if let Some((username, credential)) = &server.login {
            push_text(&mut out, ",\"username\":", username);
            push_text(&mut out, ",\"credential\":", credential);
        }
        out.push('}');
    }
    push_number(&mut out, "],\"expires_at\":", minted.expires_at);
    push_number(&mut out, ",\"refresh_at\":", refresh_at);
    push_text(&mut out, ",\"policy\":", policy);
    out.push('}');
    out.into()
}

fn push_flag(out: &mut String, label: &str, flag: bool) {
    out.push_str(label);
    out.push_str(if flag { "true" } else { "false" });
}
