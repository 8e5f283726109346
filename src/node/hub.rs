//! The hub's task: it owns the hub, takes what connections and requests bring, and carries out what comes of it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::auth::{self, JoinToken, TokenError};
use crate::config::Secret;
use crate::http::{Connection, Input, Line, Order, Reader, TokenKeys};
use crate::net::{Seeded, clock};
use crate::node::leases::Leases;
use crate::signal::{
    Action, Authority, ConnId, FeedReader, Holder, Hub, IceServer, IceServers, Limits, Settings, Speech,
    Stats,
};
use crate::time::{Mono, Now};

/// Inputs that are taken at once; what they leave for one connection leaves together.
const BATCH: usize = 128;
/// Longest sleep where nothing is due.
const REST: Duration = Duration::from_secs(3600);

/// Lets every task run once that is ready to. (`yield_now` asks the kernel for more of them first.)
async fn let_others_run() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What ICE servers and their credentials are made of.
pub(super) struct Issuer {
    pub(super) tokens: Arc<TokenKeys>,
    pub(super) secret: Option<Secret>,
    pub(super) urls: Vec<String>,
    pub(super) credential_ttl: Duration,
    pub(super) max_credential_ttl: Option<Duration>,
}

/// Longest lifetime of a credential that open signaling hands out.
const OPEN_TTL: Duration = Duration::from_secs(600);

impl Authority for Issuer {
    fn verify(&mut self, now: Now, token: &str) -> Result<JoinToken, TokenError> {
        self.tokens.verify(token, now.unix)
    }

    fn ice_servers(&mut self, now: Now, holder: &Holder<'_>) -> IceServers {
        let asked = holder.terms.ttl.map_or(self.credential_ttl, |ttl| Duration::from_secs(ttl.into()));
        let capped = self.max_credential_ttl.map_or(asked, |max| asked.min(max));
        let ttl = if holder.open { capped.min(OPEN_TTL) } else { capped };
        let expires_at = now.unix.saturating_add(ttl.as_secs().max(1));
        let subject = auth::session_subject(holder.session, holder.uid, holder.open);
        let login = self.secret.as_ref().map(|secret| {
            let minted = auth::mint(secret.as_bytes(), &subject, expires_at);
            (minted.username, minted.password)
        });
        let servers = vec![IceServer { urls: self.urls.clone(), login }];
        IceServers { servers, expires_at }
    }
}

/// What the rest of the daemon wants of the hub.
pub(super) enum Errand {
    /// To go by other terms from now on.
    Renew { issuer: Box<Issuer>, limits: Limits, longest_credential: Duration },
    /// To say what there is.
    Count(oneshot::Sender<Stats>),
}

/// The hub with the connections that hang on it.
pub(super) struct Task {
    hub: Hub<Issuer, Seeded>,
    lines: HashMap<ConnId, Arc<Line>, foldhash::fast::RandomState>,
    /// Lines that got their first order in this round.
    told: Vec<Arc<Line>>,
    leases: Leases,
    inputs: mpsc::Receiver<Input>,
    errands: mpsc::Receiver<Errand>,
    drain: oneshot::Receiver<()>,
}

impl Task {
    /// Makes the hub; `drain` ends every connection.
    pub(super) fn new(
        settings: Settings,
        limits: Limits,
        issuer: Issuer,
        leases: Leases,
        inputs: mpsc::Receiver<Input>,
        errands: mpsc::Receiver<Errand>,
        drain: oneshot::Receiver<()>,
    ) -> Task {
        let hub = Hub::new(settings, limits, issuer, Seeded(StdRng::from_os_rng()));
        Task { hub, lines: HashMap::default(), told: Vec::new(), leases, inputs, errands, drain }
    }

    /// Works until the daemon ends.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        let alarm = sleep(REST);
        tokio::pin!(alarm);
        let (mut armed, mut is_draining) = (Mono(u64::MAX), false);
        loop {
            let due = self.hub.poll_timeout().unwrap_or(Mono(u64::MAX));
            if due < armed {
                let wait = due.since(clock::now().mono).min(REST);
                alarm.set(sleep(wait));
                armed = due;
            }
            tokio::select! {
                taken = self.inputs.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    // Whoever is ready to read does so first: what they bring is taken together.
                    let_others_run().await;
                    self.inputs.recv_many(&mut batch, BATCH - taken).now_or_never();
                    let now = clock::now();
                    for input in batch.drain(..) {
                        self.take(now, input);
                        self.carry_out(now);
                    }
                }
                () = alarm.as_mut() => {
                    alarm.set(sleep(REST));
                    armed = Mono(u64::MAX);
                    self.fall_due();
                }
                Some(errand) = self.errands.recv() => self.run_errand(errand),
                _ = &mut self.drain, if !is_draining => {
                    is_draining = true;
                    let now = clock::now();
                    self.hub.handle_drain(now, now.mono);
                    self.carry_out(now);
                    self.fall_due();
                }
            }
            for line in self.told.drain(..) {
                line.wake();
            }
        }
    }

    fn run_errand(&mut self, errand: Errand) {
        match errand {
            Errand::Renew { issuer, limits, longest_credential } => {
                *self.hub.authority_mut() = *issuer;
                self.hub.handle_limits(limits);
                self.leases.set_longest_credential(longest_credential);
            }
            // Who asked may be gone.
            Errand::Count(answer) => _ = answer.send(self.hub.stats()),
        }
    }

    fn fall_due(&mut self) {
        let now = clock::now();
        self.hub.handle_timeout(now);
        self.carry_out(now);
        self.leases.handle_timeout(now);
    }

    fn take(&mut self, now: Now, input: Input) {
        let hub = &mut self.hub;
        // Who asked may be gone; what was done stays done.
        match input {
            Input::Alive(conn) => hub.handle_alive(now, conn),
            Input::Binary(conn) => hub.handle_binary(now, conn),
            Input::Closed(conn) => {
                self.lines.remove(&conn);
                hub.handle_closed(now, conn);
            }
            Input::Create { address, bearer, hello, answer } => {
                let _ = answer.send(hub.handle_create(now, address, bearer.as_deref(), &hello));
            }
            Input::Events { address, conn: Connection { id, line }, ticket, last_event_id, answer } => {
                self.lines.insert(id, line);
                let opened = hub.handle_events(now, id, address, &ticket, last_event_id);
                if opened.is_err() {
                    self.lines.remove(&id);
                }
                let _ = answer.send(opened);
            }
            Input::Feed { address, conn: Connection { id, line }, room, reader, last_event_id, answer } => {
                self.lines.insert(id, line);
                let reader = match &reader {
                    Reader::Key => FeedReader::Key,
                    Reader::Open => FeedReader::Open,
                    Reader::Ticket(until) => FeedReader::Ticket(*until),
                    Reader::Token(token) => FeedReader::Token(token),
                };
                let opened = hub.handle_feed(now, id, address, &room, reader, last_event_id.as_deref());
                if opened.is_err() {
                    self.lines.remove(&id);
                }
                let _ = answer.send(opened);
            }
            Input::Misdeed(conn, code) => hub.handle_misdeed(now, conn, code),
            Input::Open { address, conn: Connection { id, line }, bearer } => {
                self.lines.insert(id, line);
                hub.handle_open(now, id, address, bearer);
            }
            Input::Post { address, bearer, body, answer } => {
                let _ = answer.send(hub.handle_post(now, address, &bearer, &body));
            }
            Input::Publish { room, body, answer } => {
                let copies = Speech::read(&body).map(|speech| hub.handle_publish(now, &room, &speech));
                let _ = answer.send(copies);
            }
            Input::Text { conn, text, written } => {
                if written > 0 {
                    hub.handle_written(now, conn, written);
                }
                hub.handle_text(now, conn, &text);
            }
            Input::Written(conn, cost) => hub.handle_written(now, conn, cost),
        }
    }

    fn carry_out(&mut self, now: Now) {
        while let Some(action) = self.hub.poll_action() {
            match action {
                Action::Close { conn, code } => {
                    if let Some(line) = self.lines.remove(&conn)
                        && line.push(Order::Close(code))
                    {
                        self.told.push(line);
                    }
                }
                Action::Comment { conn } => self.tell(conn, Order::Comment),
                Action::Send { conn, frame } => self.tell(conn, Order::Send(frame)),
                Action::SessionEnded { session, end } => self.leases.end(now, session, end),
                Action::SessionLive { session, terms } => self.leases.begin(session, &terms),
            }
        }
    }

    fn tell(&mut self, conn: ConnId, order: Order) {
        if let Some(line) = self.lines.get(&conn)
            && line.push(order)
        {
            self.told.push(Arc::clone(line));
        }
    }
}
