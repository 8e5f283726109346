//! The running daemon: builds the parts from the configuration, starts them and ends them.

mod hub;
mod jwks;
mod leases;
mod setup;
mod shards;
mod web;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::config::{self, Config, Tls};
use crate::http::PublicKeys;
pub use crate::http::{LONGEST_TOKEN_LIFETIME, TOKEN_LIFETIME, TokenKeys, claims};
pub use crate::net::Carrier;
use crate::net::interfaces::{self, HostAddresses};
use crate::net::{
    self, BindError, Bound, BoundListener, Clients, Command, ConnectionLimits, Running, StartSpec, TlsService,
};
use crate::node::jwks::Follower;
pub use crate::node::jwks::JwksError;
use crate::node::leases::Leases;
use crate::node::shards::tell_all;
use crate::node::web::{HubParts, Web};
use crate::telemetry::LISTENING;
use crate::turn::{Family, RelayIp, Settings, ShardId};

/// Threads of the lobby where there is more than one core. It does handshakes and rare things; the cores are the shards'.
const LOBBY_THREADS: usize = 2;

/// Pause after the host's addresses could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

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
    /// An external address is for a local one that no relay uses.
    #[error("--external-address names {0}, which is no relay address here: name it with --relay-address too")]
    External(IpAddr),
    /// The public keys of join tokens cannot be had.
    #[error("--token-jwks: {0}")]
    Jwks(#[from] JwksError),
    /// The signaling hub ended.
    #[error("the signaling hub ended unexpectedly: {0}")]
    Hub(String),
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
    let relays = relay_ips(config)?;
    let shared = setup::shared_table(config, &relays);
    let bound = Bound::new(&setup::bind_spec(config))?;
    let listeners = bound.listeners().to_vec();
    let endpoints: Vec<SocketAddr> = listeners.iter().map(|listener| listener.addr).collect();
    let tls = match &config.certificate {
        Some(certificate) => Some(Arc::new(TlsService::new(Arc::clone(&certificate.certified_key))?)),
        None => None,
    };
    let per_ip = setup::count(config.limits.connections_per_ip) as usize;
    let clients = Clients::new(per_ip, ConnectionLimits::total(nofile));
    let host = host_addresses()?;
    let public = Arc::new(PublicKeys::default());
    let (mut web, hub) =
        Web::new(config, &listeners, &relays, clients.clone(), random_key()?, Arc::clone(&public));
    let leases = shared.clone();
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
        tls: tls.clone(),
        proxies: config.proxy_protocol.clone(),
        http_proxies: config.trusted_proxies.clone(),
        http: Some(web.entry()),
        connections: ConnectionLimits::default(),
        clients,
    };
    let runtime = lobby().map_err(RunError::system("the lobby's threads cannot be started"))?;
    let ended = runtime.block_on(async {
        let signals = Signals::catch().map_err(RunError::system("signals cannot be caught"))?;
        let running = bound
            .start(spec, runtime.handle())
            .map_err(RunError::system("the media threads cannot be started"))?;
        if has_one_core() {
            // After the media threads, which would inherit it.
            net::lower_priority();
        }
        let leases = Leases::new(leases, setup::longest_credential(config), running.shards().to_vec());
        let HubParts { issuer, inputs, drain } = hub;
        let (settings, limits) = (setup::signal_settings(config), setup::signal_limits(config));
        let task = hub::Task::new(settings, limits, issuer, leases, inputs, drain);
        let mut hub = tokio::spawn(task.run());
        let jwks = config.token_jwks.as_ref().map(|source| jwks::follow(source, public)).transpose()?;
        for listener in &listeners {
            tracing::info!(target: LISTENING, "listening {} {}", listener.carrier.label(), listener.addr);
        }
        web.set_ready(true);
        tracing::info!(target: LISTENING, "ready");
        ready(&Ready { listeners, relays: relays.clone() });
        let parts = Parts { config, relays: &relays, endpoints: &endpoints, tls: tls.as_deref(), jwks };
        serve(running, signals, host, &parts, &mut web, &mut hub).await
    });
    runtime.shutdown_background();
    ended
}

/// What stays as it is while the daemon runs.
struct Parts<'a> {
    config: &'a Config,
    relays: &'a [RelayIp],
    endpoints: &'a [SocketAddr],
    tls: Option<&'a TlsService>,
    jwks: Option<Follower>,
}

/// Lets the parts work until a signal comes or one of them fails.
async fn serve(
    mut running: Running,
    mut signals: Signals,
    mut host: HostAddresses,
    parts: &Parts<'_>,
    web: &mut Web,
    hub: &mut JoinHandle<()>,
) -> Result<(), RunError> {
    let (changed, mut changes) = tokio::sync::mpsc::channel(1);
    let again = changed.clone();
    let watching = tokio::spawn(async move {
        let watched = interfaces::watch_addresses(|| {
            // One that waits already stands for this one too.
            let _ = changed.try_send(());
        })
        .await;
        tracing::error!(?watched, "changes of this host's addresses are not seen any more");
    });
    let outcome = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop(name) => {
                    tracing::info!(signal = name, "stopping");
                    break Ok(());
                }
                Signal::HangUp => {
                    reload_certificate(parts.config, parts.tls);
                    parts.jwks.iter().for_each(Follower::read_again);
                }
            },
            ended = running.shard_ended() => {
                break Err(RunError::Shard(format!("{ended:?}")));
            }
            ended = &mut *hub => {
                break Err(RunError::Hub(format!("{ended:?}")));
            }
            Some(()) = changes.recv() => {
                match host_addresses() {
                    Ok(read) if read == host => {}
                    Ok(read) => {
                        host = read;
                        tracing::info!("the addresses of this host changed");
                        let policy = setup::policy(parts.config, parts.relays, &host, parts.endpoints);
                        tell_all(running.shards(), || Command::Policy(Arc::clone(&policy))).await;
                    }
                    Err(error) => {
                        // No descriptor is free, perhaps: that passes, and calls go on meanwhile.
                        tracing::warn!("{error}");
                        let again = again.clone();
                        tokio::spawn(async move {
                            tokio::time::sleep(READ_AGAIN).await;
                            let _ = again.try_send(());
                        });
                    }
                }
            }
        }
    };
    watching.abort();
    tokio::join!(web.stop(), running.stop());
    outcome
}

/// Serves new connections with the certificate that the files hold now; one that is broken changes nothing.
fn reload_certificate(config: &Config, tls: Option<&TlsService>) {
    let (Tls::Files { cert, key }, Some(tls)) = (&config.tls, tls) else {
        return tracing::info!("there is no certificate file to read again");
    };
    match config::certificate::load(cert, key) {
        Ok(certificate) => {
            tls.replace(certificate.certified_key);
            tracing::info!("the certificate was read again");
        }
        Err(fault) => tracing::error!(problem = %fault.problem, "the certificate stays as it was"),
    }
}

/// Finds the relay addresses and says what is unusual about them.
fn relay_ips(config: &Config) -> Result<Vec<RelayIp>, RunError> {
    let routed = [Family::V4, Family::V6].into_iter().filter_map(interfaces::default_source);
    let detected: Vec<IpAddr> = routed.filter(|ip| !is_link_local(*ip)).collect();
    let relays = setup::relay_ips(config, &detected);
    let unused = config.external_addresses.iter().filter_map(|external| external.local);
    if let Some(local) = unused.into_iter().find(|local| relays.iter().all(|relay| relay.local != *local)) {
        return Err(RunError::External(local));
    }
    if relays.is_empty() {
        tracing::warn!(
            "this host has no route to anywhere: relaying from 127.0.0.1, which no other host can reach; \
             give --relay-address"
        );
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        return Ok(vec![RelayIp { local: loopback, advertised: loopback }]);
    }
    if config.relay_addresses.is_empty() {
        for relay in &relays {
            if let Some(warning) = config::private_relay_warning(relay.local, &config.external_addresses) {
                tracing::warn!("{warning}");
            }
        }
    }
    Ok(relays)
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
    if has_one_core() {
        return Builder::new_current_thread().enable_all().build();
    }
    Builder::new_multi_thread()
        .worker_threads(LOBBY_THREADS)
        .thread_name("lobby")
        .on_thread_start(net::lower_priority)
        .enable_all()
        .build()
}

/// Tells whether threads of the lobby would only wake each other, so that this one does its work.
fn has_one_core() -> bool {
    available_parallelism().is_ok_and(|cores| cores.get() == 1)
}

/// What a signal asks for.
enum Signal {
    /// To end.
    Stop(&'static str),
    /// To read the certificate and the public keys again.
    HangUp,
}

/// The signals that the daemon listens to.
struct Signals {
    hang_up: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn catch() -> io::Result<Signals> {
        Ok(Signals {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.hang_up.recv() => Signal::HangUp,
        }
    }
}
