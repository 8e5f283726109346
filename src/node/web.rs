//! What HTTP is served with, and the way from it to the relay.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::auth::{self, ApiKeys, Minted, Origins};
use crate::config::{Config, Secret, ice_urls, state};
use crate::http::{Backend, Http, Input, Place, PublicKeys, Settings, Signaling, TokenKeys, TrustedProxies};
use crate::net::{BoundListener, Carrier, Clients, HttpEntry, clock};
use crate::node::hub::Issuer;
use crate::node::setup;
use crate::time::Now;
use crate::turn::RelayIp;

/// Random bytes in the subject of a credential that is for nobody in particular.
const SUBJECT_BYTES: usize = 12;

/// The daemon as HTTP sees it.
struct Node {
    secret: Option<Secret>,
    urls: Vec<String>,
    ready: Arc<AtomicBool>,
    signaling: Signaling,
    clients: Clients,
}

impl Backend for Node {
    fn now(&self) -> Now {
        clock::now()
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn mint(&self, subject: &str, expires_at: u64) -> Minted {
        let secret = self.secret.as_ref().expect("prepare leaves at least one secret");
        auth::mint(secret.as_bytes(), subject, expires_at)
    }

    fn ice_urls(&self) -> Vec<String> {
        self.urls.clone()
    }

    fn fresh_subject(&self) -> String {
        state::random_text(SUBJECT_BYTES)
    }

    fn signaling(&self) -> &Signaling {
        &self.signaling
    }

    fn enter(&self, client: IpAddr) -> Option<Place> {
        self.clients.enter(client).map(|place| Arc::new(place) as Place)
    }
}

/// HTTP as the daemon holds it.
pub(super) struct Web {
    http: Arc<Http>,
    ready: Arc<AtomicBool>,
    drain: Option<oneshot::Sender<()>>,
}

/// What the hub's task is made of besides the relay.
pub(super) struct HubParts {
    pub(super) issuer: Issuer,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) drain: oneshot::Receiver<()>,
}

impl Web {
    /// Makes the HTTP half of a daemon that has bound its listeners.
    pub(super) fn new(
        config: &Config,
        listeners: &[BoundListener],
        relays: &[RelayIp],
        clients: Clients,
        ticket_key: [u8; 32],
        public: Arc<PublicKeys>,
    ) -> (Web, HubParts) {
        let ready = Arc::new(AtomicBool::new(false));
        let urls: Vec<String> = urls(config, listeners, relays).iter().map(ToString::to_string).collect();
        let secret = config.auth_secrets.first().cloned();
        let tokens = Arc::new(token_keys(config).with_public(public));
        let (signaling, inputs) = Signaling::new();
        let (drain, drained) = oneshot::channel();
        let issuer = Issuer {
            tokens: Arc::clone(&tokens),
            secret: secret.clone(),
            urls: urls.clone(),
            credential_ttl: config.credential_ttl,
            max_credential_ttl: config.max_credential_ttl,
        };
        let node = Node { secret, urls, ready: Arc::clone(&ready), signaling, clients };
        let http = Arc::new(Http::new(settings(config, tokens, ticket_key), node));
        (Web { http, ready, drain: Some(drain) }, HubParts { issuer, inputs, drain: drained })
    }

    /// Returns what takes the streams of the lobby.
    pub(super) fn entry(&self) -> HttpEntry {
        let http = Arc::clone(&self.http);
        Arc::new(move |stream| {
            let http = Arc::clone(&http);
            tokio::spawn(async move {
                let (remote, is_over) = (stream.remote, stream.is_over);
                http.serve(stream, remote, is_over).await;
            });
        })
    }

    /// Says whether clients are taken.
    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Takes no more requests, closes the signaling connections, and waits for the answers that are begun.
    pub(super) async fn stop(&mut self) {
        self.set_ready(false);
        if let Some(drain) = self.drain.take() {
            // A hub that is gone has closed everything already.
            let _ = drain.send(());
        }
        self.http.stop().await;
    }
}

fn settings(config: &Config, tokens: Arc<TokenKeys>, ticket_key: [u8; 32]) -> Settings {
    let keys = config.api_keys.iter().map(|key| (key.secret.as_bytes(), key.scopes));
    Settings {
        keys: ApiKeys::new(keys),
        tokens,
        origins: Origins { allowed: config.allow_origins.clone() },
        proxies: TrustedProxies(config.trusted_proxies.clone()),
        credential_ttl: config.credential_ttl,
        max_credential_ttl: config.max_credential_ttl,
        max_message: setup::signal_limits(config).max_message,
        open: config.signal_open,
        token_in_url: config.token_in_url,
        demo: config.demo,
        local_only: config.demo && !config.demo_public,
        ticket_key,
    }
}

fn token_keys(config: &Config) -> TokenKeys {
    TokenKeys::new(config.token_secrets.iter().map(|key| (key.kid.as_deref(), key.secret.as_bytes())))
}

/// Returns the URLs that clients are told; the port of HTTPS takes TURN too and is the one that firewalls let out.
fn urls(config: &Config, listeners: &[BoundListener], relays: &[RelayIp]) -> Vec<crate::config::IceUrl> {
    let advertised: Vec<IpAddr> = relays.iter().map(|relay| relay.advertised).collect();
    let port = |carrier| {
        let bound = listeners.iter().find(|bound| bound.carrier == carrier);
        bound.map(|bound| bound.addr.port())
    };
    let ports = ice_urls::Ports {
        udp: port(Carrier::Udp),
        tcp: port(Carrier::Tcp),
        tls: port(Carrier::Https).or_else(|| port(Carrier::Tls)),
    };
    ice_urls::told(config, ports, &advertised)
}
