//! The daemon while it runs: signals, wishes, changes of the host, and the configuration that is in force.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::interval;

use crate::config::diff::{self, Difference};
use crate::config::{self, Config, Tls};
use crate::http::{Changes, Reloaded};
use crate::net::interfaces::{self, HostAddresses};
use crate::net::{BoundListener, Command, Running, Snapshot, TlsService, clock};
use crate::node::desk::Wish;
use crate::node::error::RunError;
use crate::node::host::host_addresses;
use crate::node::hub::Errand;
use crate::node::jwks::Follower;
use crate::node::service::Service;
use crate::node::setup;
use crate::node::shards::tell_all;
use crate::node::signals::{Signal, Signals};
use crate::node::stamp::{LOOK_EVERY, Stamp};
use crate::node::web::Web;
use crate::signal::{Carrier, Stats};
use crate::telemetry;
use crate::time::Mono;
use crate::turn::{RelayIp, SharedTable};

/// Reads the configuration anew, files and secrets included; else every mistake.
pub type ReadConfig = Arc<dyn Fn() -> Result<Config, Vec<String>> + Send + Sync>;

/// Pause after the host's addresses could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A daemon whose parts all work.
pub(super) struct Daemon {
    /// What is in force.
    pub(super) config: Config,
    pub(super) read: ReadConfig,
    /// By the newest name first, as long as this process lives.
    pub(super) relays: Vec<RelayIp>,
    pub(super) listeners: Vec<BoundListener>,
    pub(super) host: HostAddresses,
    pub(super) shared: SharedTable,
    pub(super) tls: Option<Arc<TlsService>>,
    pub(super) jwks: Option<Follower>,
    pub(super) errands: mpsc::Sender<Errand>,
    pub(super) wishes: mpsc::Receiver<Wish>,
    pub(super) running: Running,
    pub(super) web: Web,
    pub(super) hub: JoinHandle<()>,
    pub(super) service: Service,
    pub(super) begun: Mono,
}

/// How a daemon is, as far as its parts answer.
struct Pulse {
    shards: Vec<Snapshot>,
    stats: Stats,
}

impl Daemon {
    /// Lets the parts work until a signal comes or one of them fails.
    pub(super) async fn run(mut self, mut signals: Signals) -> Result<(), RunError> {
        let (changed, mut changes) = mpsc::channel(1);
        let again = changed.clone();
        let watching = tokio::spawn(async move {
            let watched = interfaces::watch_addresses(|| {
                // One that waits already stands for this one too.
                let _ = changed.try_send(());
            })
            .await;
            tracing::error!(?watched, "changes of this host's addresses are not seen any more");
        });
        let mut beats = interval(self.service.every());
        let mut looks = interval(LOOK_EVERY);
        let mut stamps = self.certificate_stamps();
        let outcome = loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop(name) => {
                        tracing::info!(signal = name, "stopping");
                        break Ok(());
                    }
                    Signal::HangUp => {
                        self.jwks.iter().for_each(Follower::read_again);
                        let _ = self.reload().await;
                    }
                },
                Some(wish) = self.wishes.recv() => match wish {
                    Wish::Reload(answer) => {
                        self.jwks.iter().for_each(Follower::read_again);
                        let _ = answer.send(self.reload().await);
                    }
                    Wish::Status(answer) => _ = answer.send(self.status().await),
                },
                ended = self.running.shard_ended() => {
                    break Err(RunError::Shard(format!("{ended:?}")));
                }
                ended = &mut self.hub => {
                    break Err(RunError::Hub(format!("{ended:?}")));
                }
                Some(()) = changes.recv() => {
                    if let Err(error) = self.look_at_host().await {
                        // No descriptor is free, perhaps: that passes, and calls go on meanwhile.
                        tracing::warn!("{error}");
                        let again = again.clone();
                        tokio::spawn(async move {
                            tokio::time::sleep(READ_AGAIN).await;
                            let _ = again.try_send(());
                        });
                    }
                }
                _ = beats.tick() => {
                    // A part that does not answer withholds the beat.
                    if let Some(pulse) = self.pulse().await {
                        self.service.beat(&pulse.line());
                    }
                }
                _ = looks.tick() => {
                    let found = self.certificate_stamps();
                    if found != stamps {
                        stamps = found;
                        self.reload_certificate();
                    }
                }
            }
        };
        self.service.stopping();
        watching.abort();
        tokio::join!(self.web.stop(), self.running.stop());
        outcome
    }

    /// Reads the configuration again and puts in force what can be; a mistake changes nothing.
    async fn reload(&mut self) -> Reloaded {
        let reloaded = self.try_reload().await;
        match &reloaded {
            Ok(Changes { changed, restart }) => {
                tracing::info!(?changed, ?restart, "the configuration was read again")
            }
            Err(mistakes) => {
                for mistake in mistakes {
                    tracing::error!(%mistake, "the configuration stays as it was");
                }
            }
        }
        reloaded
    }

    async fn try_reload(&mut self) -> Reloaded {
        let read = Arc::clone(&self.read);
        let new = tokio::task::spawn_blocking(move || read()).await;
        let new = new.map_err(|_| vec!["the configuration cannot be read: a bug of ours".to_owned()])??;
        let difference = Difference::between(&self.config, &new);
        let config = diff::adopt(&self.config, new);
        let relays = self.renamed(&config)?;
        if !difference.live.is_empty() {
            self.put_in_force(config, relays).await;
        }
        Ok(Changes { changed: difference.live, restart: difference.restart })
    }

    /// Returns the relay addresses as a configuration advertises them, older names last.
    fn renamed(&self, config: &Config) -> Result<Vec<RelayIp>, Vec<String>> {
        let unused = setup::unused_locals(config, &self.relays);
        let unused: Vec<String> = unused.map(|local| RunError::External(local).to_string()).collect();
        if !unused.is_empty() {
            return Err(unused);
        }
        let mut locals: Vec<_> = Vec::new();
        for relay in &self.relays {
            if !locals.contains(&relay.local) {
                locals.push(relay.local);
            }
        }
        let mut relays = setup::relay_ips(config, &locals);
        for old in &self.relays {
            if !relays.contains(old) {
                relays.push(*old);
            }
        }
        Ok(relays)
    }

    async fn put_in_force(&mut self, config: Config, relays: Vec<RelayIp>) {
        self.config = config;
        self.relays = relays;
        telemetry::set_levels(&self.config.log);
        self.shared.set_quotas(setup::quotas(&self.config));
        let (credentials, limits) = (setup::credentials(&self.config), setup::limits(&self.config));
        tell_all(self.running.shards(), || Command::Credentials(Arc::clone(&credentials))).await;
        tell_all(self.running.shards(), || Command::Limits(limits.clone())).await;
        self.tell_policy().await;
        if let (Some(tls), Some(certificate)) = (&self.tls, &self.config.certificate) {
            tls.replace(Arc::clone(&certificate.certified_key));
        }
        let issuer = self.web.renew(&self.config, &self.relays);
        let renewal = Errand::Renew {
            issuer: Box::new(issuer),
            limits: setup::signal_limits(&self.config),
            longest_credential: setup::longest_credential(&self.config),
        };
        // A hub that is gone ends the daemon anyway.
        let _ = self.errands.send(renewal).await;
    }

    async fn tell_policy(&self) {
        let endpoints: Vec<_> = self.listeners.iter().map(|listener| listener.addr).collect();
        let policy = setup::policy(&self.config, &self.relays, &self.host, &endpoints);
        tell_all(self.running.shards(), || Command::Policy(Arc::clone(&policy))).await;
    }

    async fn look_at_host(&mut self) -> Result<(), RunError> {
        let read = host_addresses()?;
        if read != self.host {
            self.host = read;
            tracing::info!("the addresses of this host changed");
            self.tell_policy().await;
        }
        Ok(())
    }

    /// Says which files the certificate is in now.
    fn certificate_stamps(&self) -> Option<[Stamp; 2]> {
        let Tls::Files { cert, key } = &self.config.tls else { return None };
        Some([Stamp::of(cert), Stamp::of(key)])
    }

    /// Serves new connections with the certificate that the files hold now; one that is broken changes nothing.
    fn reload_certificate(&mut self) {
        let (Tls::Files { cert, key }, Some(tls)) = (&self.config.tls, &self.tls) else { return };
        match config::certificate::load(cert, key) {
            Ok(certificate) => {
                tls.replace(Arc::clone(&certificate.certified_key));
                self.config.certificate = Some(certificate);
                tracing::info!("the certificate was read again");
            }
            // One file may have been written and the other not yet.
            Err(fault) => tracing::warn!(problem = %fault.problem, "the certificate stays as it was"),
        }
    }

    /// Asks every part; none if one does not answer.
    async fn pulse(&self) -> Option<Pulse> {
        let mut shards = Vec::new();
        for shard in self.running.shards() {
            shards.push(shard.snapshot().await.ok()?);
        }
        let (answer, stats) = oneshot::channel();
        self.errands.send(Errand::Count(answer)).await.ok()?;
        let stats = tokio::time::timeout(READ_AGAIN, stats).await.ok()?.ok()?;
        Some(Pulse { shards, stats })
    }

    async fn status(&self) -> String {
        let pulse = self.pulse().await;
        let listeners = self.listeners.iter().map(|listener| {
            serde_json::json!({"protocol": listener.carrier.label(), "address": listener.addr.to_string()})
        });
        let relays = self.relays.iter().map(|relay| {
            serde_json::json!({"local": relay.local.to_string(), "advertised": relay.advertised.to_string()})
        });
        let mut status = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": clock::now().mono.since(self.begun).as_secs(),
            "healthy": pulse.is_some(),
            "listeners": listeners.collect::<Vec<_>>(),
            "relays": relays.collect::<Vec<_>>(),
        });
        if let (Some(pulse), Some(status)) = (pulse, status.as_object_mut()) {
            for (name, count) in pulse.counts() {
                status.insert(name.to_owned(), count.into());
            }
        }
        status.to_string()
    }
}

impl Pulse {
    fn counts(&self) -> [(&'static str, u64); 7] {
        let of_shards = |count: fn(&Snapshot) -> usize| self.shards.iter().map(count).sum::<usize>() as u64;
        [
            ("allocations", of_shards(|shard| shard.allocations)),
            ("turn_streams", of_shards(|shard| shard.streams)),
            ("sessions", self.stats.sessions),
            ("rooms", self.stats.rooms),
            ("websockets", self.stats.connections(Carrier::WebSocket)),
            ("event_streams", self.stats.connections(Carrier::Sse)),
            ("feeds", self.stats.connections(Carrier::Feed)),
        ]
    }

    /// Returns the line that the service manager shows.
    fn line(&self) -> String {
        let [(_, allocations), _, (_, sessions), (_, rooms), ..] = self.counts();
        format!("{allocations} allocations, {sessions} signaling sessions in {rooms} rooms")
    }
}
