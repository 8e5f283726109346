//! The running daemon: builds the parts from the configuration, starts them and ends them.

mod setup;
mod web;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{self, Config};
pub use crate::http::{LONGEST_TOKEN_LIFETIME, TOKEN_LIFETIME, TokenKeys, claims};
pub use crate::net::Carrier;
use crate::net::interfaces::{self, HostAddresses};
use crate::net::{
    self, BindError, Bound, BoundListener, Command, ConnectionLimits, Running, ShardHandle, StartSpec,
    TlsService,
};
use crate::node::web::Web;
use crate::telemetry::LISTENING;
use crate::turn::{Family, RelayIp, Settings, ShardId};

/// Threads of the lobby. It does handshakes and rare things; the cores are the shards'.
const LOBBY_THREADS: usize = 2;

/// What a daemon that listens looks like from outside.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Bound listeners with their real ports.
    pub listeners: Vec<BoundListener>,
    /// Relay addresses.
    pub relays: Vec<RelayIp>,
}

/// Why the daemon did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate cannot be served.
    #[error("the certificate cannot be served: {0}")]
    Tls(#[from] rustls::Error),
    /// A media thread ended.
    #[error("a media thread ended unexpectedly: {0}")]
    Shard(String),
}

impl RunError {
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
        move |source| RunError::System { what, source }
    }
}

/// Runs the daemon until SIGTERM or SIGINT; `ready` is called when every socket is bound and served.
pub fn run(config: &Config, ready: impl FnOnce(&Ready)) -> Result<(), RunError> {
    let nofile = net::raise_nofile().map_err(RunError::system("the limit of open files cannot be read"))?;
    let relays = relay_ips(config);
    let shared = setup::shared_table(config, &relays);
    let bound = Bound::new(&setup::bind_spec(config))?;
    let listeners = bound.listeners().to_vec();
    let endpoints: Vec<SocketAddr> = listeners.iter().map(|listener| listener.addr).collect();
    let tls = match &config.certificate {
        Some(certificate) => Some(Arc::new(TlsService::new(Arc::clone(&certificate.certified_key))?)),
        None => None,
    };
    let connections = ConnectionLimits {
        per_ip: setup::count(config.limits.connections_per_ip) as usize,
        ..ConnectionLimits::for_nofile(nofile)
    };
    let host = host_addresses()?;
    let web = Web::new(config, &listeners, &relays);
    let spec = StartSpec {
        shared,
        policy: setup::policy(config, &relays, &host, &endpoints),
        credentials: setup::credentials(config),
        limits: setup::limits(config),
        settings: Settings {
            shard: ShardId(0),
            realm: config.realm.as_str().to_owned(),
            nonce_key: random_key()?,
            software: None,
        },
        relays: relays.clone(),
        tls,
        proxies: config.proxy_protocol.clone(),
        http: Some(web.entry()),
        connections,
    };
    let runtime = lobby().map_err(RunError::system("the lobby's threads cannot be started"))?;
    let ended = runtime.block_on(async {
        let signals = Signals::catch().map_err(RunError::system("signals cannot be caught"))?;
        let running = bound
            .start(spec, runtime.handle())
            .map_err(RunError::system("the media threads cannot be started"))?;
        for listener in &listeners {
            tracing::info!(target: LISTENING, "listening {} {}", listener.carrier.label(), listener.addr);
        }
        web.set_ready(true);
        tracing::info!(target: LISTENING, "ready");
        ready(&Ready { listeners, relays: relays.clone() });
        serve(running, signals, config, &relays, host, &endpoints, &web).await
    });
    runtime.shutdown_background();
    ended
}

/// Lets the parts work until a signal comes or one of them fails.
async fn serve(
    mut running: Running,
    mut signals: Signals,
    config: &Config,
    relays: &[RelayIp],
    mut host: HostAddresses,
    endpoints: &[SocketAddr],
    web: &Web,
) -> Result<(), RunError> {
    let (changed, mut changes) = tokio::sync::mpsc::channel(1);
    let watching = tokio::spawn(interfaces::watch_addresses(move || {
        // One that waits already stands for this one too.
        let _ = changed.try_send(());
    }));
    let outcome = loop {
        tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "stopping");
                break Ok(());
            }
            ended = running.shard_ended() => {
                break Err(RunError::Shard(format!("{ended:?}")));
            }
            Some(()) = changes.recv() => {
                let read = host_addresses()?;
                if read != host {
                    host = read;
                    tracing::info!("the addresses of this host changed");
                    let policy = setup::policy(config, relays, &host, endpoints);
                    tell_all(running.shards(), || Command::Policy(Arc::clone(&policy))).await;
                }
            }
        }
    };
    watching.abort();
    tokio::join!(web.stop(), running.stop());
    outcome
}

/// Gives every shard a command, again where it was too busy to answer in time: commands bear repeating.
async fn tell_all(shards: &[ShardHandle], command: impl Fn() -> Command) {
    const TRIES: usize = 50;
    for shard in shards {
        let mut tries = 0;
        while shard.command(command()).await.is_err() {
            tries += 1;
            if tries == TRIES {
                tracing::error!(shard = shard.id().0, "a media thread does not answer");
                break;
            }
        }
    }
}

/// Finds the relay addresses and says what is unusual about them.
fn relay_ips(config: &Config) -> Vec<RelayIp> {
    let routed = [Family::V4, Family::V6].into_iter().filter_map(interfaces::default_source);
    let detected: Vec<IpAddr> = routed.filter(|ip| !is_link_local(*ip)).collect();
    let relays = setup::relay_ips(config, &detected);
    if relays.is_empty() {
        tracing::warn!(
            "this host has no route to anywhere: relaying from 127.0.0.1, which no other host can reach; \
             give --relay-address"
        );
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        return vec![RelayIp { local: loopback, advertised: loopback }];
    }
    if config.relay_addresses.is_empty() {
        for relay in &relays {
            if let Some(warning) = config::private_relay_warning(relay.local, &config.external_addresses) {
                tracing::warn!("{warning}");
            }
        }
    }
    relays
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn host_addresses() -> Result<HostAddresses, RunError> {
    interfaces::host_addresses().map_err(RunError::system("the addresses of this host cannot be read"))
}

fn random_key() -> Result<[u8; 32], RunError> {
    let mut key = [0; 32];
    OsRng
        .try_fill_bytes(&mut key)
        .map_err(|error| RunError::system("no random numbers can be had")(io::Error::other(error)))?;
    Ok(key)
}

fn lobby() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(LOBBY_THREADS)
        .thread_name("lobby")
        .on_thread_start(net::lower_priority)
        .enable_all()
        .build()
}

/// The signals that end the daemon.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn catch() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
