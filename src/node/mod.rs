//! The running daemon: builds the parts from the configuration, starts them and ends them.

mod admin;
mod daemon;
mod desk;
mod error;
mod host;
mod hub;
mod jwks;
mod leases;
pub mod operator;
mod service;
mod setup;
mod shards;
mod signals;
mod stamp;
mod web;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::available_parallelism;

use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::config::{self, Config};
use crate::http::PublicKeys;
pub use crate::http::{LONGEST_TOKEN_LIFETIME, TOKEN_LIFETIME, TokenKeys, claims};
pub use crate::net::Carrier;
use crate::net::interfaces;
use crate::net::{self, Bound, BoundListener, Clients, ConnectionLimits, StartSpec, TlsService, clock};
pub use crate::node::admin::AdminError;
use crate::node::daemon::Daemon;
pub use crate::node::daemon::ReadConfig;
pub use crate::node::error::RunError;
use crate::node::host::host_addresses;
pub use crate::node::jwks::JwksError;
use crate::node::leases::Leases;
use crate::node::service::Service;
use crate::node::signals::Signals;
use crate::node::web::{HubParts, Web, WebParts};
use crate::telemetry::LISTENING;
use crate::turn::{Family, RelayIp, Settings, ShardId};

/// Threads of the lobby where there is more than one core. It does handshakes and rare things; the cores are the shards'.
const LOBBY_THREADS: usize = 2;

/// What a daemon that listens looks like from outside.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Bound listeners with their real ports.
    pub listeners: Vec<BoundListener>,
    /// Relay addresses.
    pub relays: Vec<RelayIp>,
}

/// Runs the daemon until SIGTERM or SIGINT; `read` reads the configuration again, and `ready` is called when every
/// socket is bound and served.
pub fn run(config: &Config, read: ReadConfig, ready: impl FnOnce(&Ready)) -> Result<(), RunError> {
    let begun = clock::now().mono;
    let nofile = net::raise_nofile().map_err(RunError::system("the limit of open files cannot be read"))?;
    let relays = relay_ips(config)?;
    let shared = setup::shared_table(config, &relays);
    let bound = Bound::new(&setup::bind_spec(config))?;
    let admin = admin::bind(config.admin_socket.as_ref())?;
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
    let (desk, wishes) = mpsc::channel(desk::QUEUE);
    let ticket_key = random_key()?;
    let parts = WebParts { clients: clients.clone(), ticket_key, public: Arc::clone(&public), desk };
    let (web, hub) = Web::new(config, &listeners, &relays, parts);
    let spec = StartSpec {
        shared: shared.clone(),
        policy: setup::policy(config, &relays, &host, &endpoints),
        credentials: setup::credentials(config),
        limits: setup::limits(config),
        settings: Settings {
            shard: ShardId(0),
            realm: config.realm.as_str().to_owned(),
            nonce_key: random_key()?,
            software: None,
        },
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
        let leases =
            Leases::new(shared.clone(), setup::longest_credential(config), running.shards().to_vec());
        let HubParts { issuer, inputs, drain } = hub;
        let (settings, limits) = (setup::signal_settings(config), setup::signal_limits(config));
        let (errands, hubs_errands) = mpsc::channel(desk::QUEUE);
        let task = hub::Task::new(settings, limits, issuer, leases, inputs, hubs_errands, drain);
        let hub = tokio::spawn(task.run());
        let jwks = config.token_jwks.as_ref().map(|source| jwks::follow(source, public)).transpose()?;
        let admin = admin.map(|socket| socket.serve(web.http())).transpose()?;
        for listener in &listeners {
            tracing::info!(target: LISTENING, "listening {} {}", listener.carrier.label(), listener.addr);
        }
        web.set_ready(true);
        let service = Service::new();
        service.ready();
        tracing::info!(target: LISTENING, "ready");
        ready(&Ready { listeners: listeners.clone(), relays: relays.clone() });
        let (config, host) = (config.clone(), host);
        let daemon = Daemon {
            config,
            read,
            relays,
            listeners,
            host,
            shared,
            tls,
            jwks,
            errands,
            wishes,
            running,
            web,
            hub,
            service,
            begun,
        };
        let ended = daemon.run(signals).await;
        drop(admin);
        ended
    });
    runtime.shutdown_background();
    ended
}

/// Finds the relay addresses and says what is unusual about them.
fn relay_ips(config: &Config) -> Result<Vec<RelayIp>, RunError> {
    let routed = [Family::V4, Family::V6].into_iter().filter_map(interfaces::default_source);
    let detected: Vec<IpAddr> = routed.filter(|ip| !is_link_local(*ip)).collect();
    let relays = setup::relay_ips(config, &detected);
    if let Some(local) = setup::unused_locals(config, &relays).next() {
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
