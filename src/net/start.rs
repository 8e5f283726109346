//! Starting the shards and the lobby on bound sockets, and ending them.

use std::io;
use std::panic;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::auth::Credentials;
use crate::net::admission::Admission;
use crate::net::admission::Clients;
use crate::net::bind::Bound;
use crate::net::counters::LobbyStats;
use crate::net::engine::poll::Poll;
use crate::net::engine::send::Sender;
use crate::net::engine::wake::Bell;
use crate::net::lobby::accept::accept;
use crate::net::lobby::http::HttpEntry;
use crate::net::lobby::welcome::Lobby;
use crate::net::mailbox::{Command, Mailbox, ShardHandle, mailbox};
use crate::net::outbound::{Listener, Outbound};
use crate::net::relay::{ParkingLot, Relays, Translation};
use crate::net::ring::{Alarm, Entries, Exits, mesh};
use crate::net::shard::{Seeded, Shard};
use crate::net::stream::table::Streams;
use crate::net::tls::TlsService;
use crate::turn::{Limits, Policy, Server, Settings, ShardId, Shared};

/// How long a shard may take to write its last answers and to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// What shards and lobby are started with.
#[derive(Clone)]
pub struct StartSpec<S> {
    /// Tables that all shards share.
    pub shared: S,
    /// Peer policy.
    pub policy: Arc<Policy>,
    /// Users and secrets.
    pub credentials: Arc<Credentials>,
    /// Limits of the relay core.
    pub limits: Limits,
    /// Settings of every server; each gets its own shard's number.
    pub settings: Settings,
    /// TLS, where there is a certificate.
    pub tls: Option<Arc<TlsService>>,
    /// Sources that have to send a PROXY header.
    pub proxies: Vec<IpNet>,
    /// Proxies of HTTP, whose own connections do not count: their clients do.
    pub http_proxies: Vec<IpNet>,
    /// What takes HTTP streams.
    pub http: Option<HttpEntry>,
    /// Limits of connections.
    pub connections: ConnectionLimits,
    /// Count of the connections, with the limits for one address and for all.
    pub clients: Clients,
}

/// Limits of TCP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections that may be at their beginning, up to the end of a TLS handshake.
    pub handshakes: usize,
    /// How many of those may come from one IPv4 address or IPv6 /64; 0: unlimited.
    pub handshakes_per_ip: usize,
    /// How long the beginning may take.
    pub handshake_timeout: Duration,
    /// How long a stream without an allocation may go without a whole message.
    pub idle_timeout: Duration,
}

impl ConnectionLimits {
    /// Returns how many connections there may be in all under a limit of open files: all but a sixteenth, which is
    /// left to relays whoever connects.
    #[must_use]
    pub fn total(nofile: u64) -> usize {
        usize::try_from(nofile - nofile / 16).unwrap_or(usize::MAX).max(64)
    }
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            handshakes: 1024,
            handshakes_per_ip: 128,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// The end of a shard's thread.
#[derive(Debug)]
pub struct ShardEnd {
    /// Which shard.
    pub shard: ShardId,
    /// How it ended.
    pub how: Ending,
}

/// How a shard's thread ended.
#[derive(Debug)]
pub enum Ending {
    /// It was told to.
    Stopped,
    /// Waiting for sockets failed.
    Failed(io::Error),
    /// It met a bug of ours.
    Panicked,
}

/// Running shards and lobby. Dropping it ends the lobby only; [`Running::stop`] ends both.
pub struct Running {
    shards: Vec<ShardHandle>,
    lobby: Arc<LobbyStats>,
    accepting: Vec<JoinHandle<()>>,
    ends: mpsc::Receiver<ShardEnd>,
}

impl Bound {
    /// Starts a thread for each shard, and the lobby on a tokio runtime.
    pub fn start<S>(self, spec: StartSpec<S>, lobby: &Handle) -> io::Result<Running>
    where
        S: Shared + Send + 'static,
    {
        let _inside = lobby.enter();
        let alarms = self.shards.iter().map(|_| Ok(Arc::new(Alarm::new(Bell::new()?))));
        let alarms: Vec<_> = alarms.collect::<io::Result<_>>()?;
        let (report, ends) = mpsc::channel(alarms.len());
        let parking = ParkingLot::default();
        let mut shards = Vec::new();
        let parts = self.shards.into_iter().zip(mesh(&alarms)).zip(&alarms);
        for (i, ((listeners, (exits, entries)), alarm)) in parts.enumerate() {
            let id = ShardId(i as u8);
            let (handle, mailbox) = mailbox(id, Arc::clone(alarm));
            let alarm = Arc::clone(alarm);
            let seed = StdRng::try_from_os_rng().map_err(io::Error::other)?;
            let poll = Poll::new()?;
            let parts =
                Parts { id, listeners, exits, entries, mailbox, alarm, seed, poll, parking: parking.clone() };
            parts.spawn(spec.clone(), report.clone())?;
            shards.push(handle);
        }
        let lobby = Arc::new(Lobby {
            shards: shards.clone(),
            admission: spec.clients.0,
            handshakes: Admission::new(spec.connections.handshakes_per_ip, spec.connections.handshakes),
            handshake_timeout: spec.connections.handshake_timeout,
            tls: spec.tls,
            proxies: spec.proxies,
            http_proxies: spec.http_proxies,
            http: spec.http,
            stats: Arc::default(),
        });
        let mut accepting = Vec::new();
        for (listener, carrier) in self.tcp {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            accepting.push(tokio::spawn(accept(listener, carrier, Arc::clone(&lobby))));
        }
        Ok(Running { shards, lobby: Arc::clone(&lobby.stats), accepting, ends })
    }
}

impl Running {
    /// Returns the handles of the shards in their order.
    #[must_use]
    pub fn shards(&self) -> &[ShardHandle] {
        &self.shards
    }

    /// Returns the counters of the lobby.
    #[must_use]
    pub fn lobby(&self) -> &Arc<LobbyStats> {
        &self.lobby
    }

    /// Waits for a shard's thread to end, which none does before [`Running::stop`] unless something is wrong.
    pub async fn shard_ended(&mut self) -> Option<ShardEnd> {
        self.ends.recv().await
    }

    /// Accepts nothing more, and ends every shard when its answers are written.
    pub async fn stop(mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
        let told = self.shards.len();
        for shard in &self.shards {
            // A shard that is gone already cannot be told; the rest are.
            let _ = shard.command(Command::Stop).await;
        }
        let all_ended = async {
            for _ in 0..told {
                self.ends.recv().await;
            }
        };
        if tokio::time::timeout(FAREWELL, all_ended).await.is_err() {
            tracing::warn!("a shard did not end in time");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
    }
}

/// What a shard is made of, as far as it may move between threads.
struct Parts {
    id: ShardId,
    listeners: Vec<Listener>,
    exits: Exits,
    entries: Entries,
    mailbox: Mailbox,
    alarm: Arc<Alarm>,
    seed: StdRng,
    poll: Poll,
    parking: ParkingLot,
}

impl Parts {
    fn spawn<S>(self, spec: StartSpec<S>, report: mpsc::Sender<ShardEnd>) -> io::Result<()>
    where
        S: Shared + Send + 'static,
    {
        let shard = self.id;
        std::thread::Builder::new().name(format!("shard-{}", shard.0)).spawn(move || {
            let how = match panic::catch_unwind(panic::AssertUnwindSafe(|| self.run(spec))) {
                Ok(Ok(())) => Ending::Stopped,
                Ok(Err(error)) => Ending::Failed(error),
                Err(_) => Ending::Panicked,
            };
            // One place for each shard: this never waits, and fails only if nobody listens any more.
            let _ = report.try_send(ShardEnd { shard, how });
        })?;
        Ok(())
    }

    fn run<S: Shared>(self, spec: StartSpec<S>) -> io::Result<()> {
        let settings = Settings { shard: self.id, ..spec.settings };
        let rng = Seeded(self.seed);
        let names = Translation::new(spec.policy.relays());
        let server = Server::new(settings, spec.limits, spec.policy, spec.credentials, spec.shared, rng);
        let out = Outbound {
            poll: self.poll,
            listeners: self.listeners,
            relays: Relays::new(self.parking),
            streams: Streams::new(spec.connections.idle_timeout),
            exits: self.exits,
            names,
            stats: Default::default(),
            lost: Vec::new(),
            sender: Sender::new(),
            spare: Vec::new(),
        };
        Shard::new(self.id, server, out, self.entries, self.mailbox, self.alarm).run()
    }
}
