//! What HTTP is served with, and the way from it to the relay.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use crate::auth::{self, ApiKeys, Minted, Origins};
use crate::config::{Config, Secret, ice_urls, state};
use crate::http::{
    Answer, Backend, Http, Input, Place, PublicKeys, Reloaded, Settings, Signaling, TokenKeys, TrustedProxies,
};
use crate::net::{BoundListener, Carrier, Clients, HttpEntry, clock};
use crate::node::desk::Wish;
use crate::node::hub::Issuer;
use crate::node::setup;
use crate::time::Now;
use crate::turn::RelayIp;

/// Random bytes in the subject of a credential that is for nobody in particular.
const SUBJECT_BYTES: usize = 12;

/// What credentials are minted with and where clients are sent.
struct Minting {
    secret: Option<Secret>,
    urls: Vec<String>,
}

/// The daemon as HTTP sees it.
struct Node {
    minting: Arc<ArcSwap<Minting>>,
    ready: Arc<AtomicBool>,
    signaling: Signaling,
    clients: Clients,
    desk: mpsc::Sender<Wish>,
}

impl Backend for Node {
    fn now(&self) -> Now {
        clock::now()
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn mint(&self, subject: &str, expires_at: u64) -> Minted {
        let minting = self.minting.load();
        let secret = minting.secret.as_ref().expect("prepare leaves at least one secret");
        auth::mint(secret.as_bytes(), subject, expires_at)
    }

    fn ice_urls(&self) -> Vec<String> {
        self.minting.load().urls.clone()
    }

    fn fresh_subject(&self) -> String {
        state::random_text(SUBJECT_BYTES)
    }

    fn signaling(&self) -> &Signaling {
        &self.signaling
    }

    fn reload(&self) -> Answer<Reloaded> {
        self.wish(Wish::Reload)
    }

    fn status(&self) -> Answer<String> {
        self.wish(Wish::Status)
    }

    fn enter(&self, client: IpAddr) -> Option<Place> {
        self.clients.enter(client).map(|place| Arc::new(place) as Place)
    }
}

impl Node {
    /// Asks the daemon; nothing comes back once it stops.
    fn wish<T: Send + 'static>(&self, wish: fn(oneshot::Sender<T>) -> Wish) -> Answer<T> {
        let desk = self.desk.clone();
        Box::pin(async move {
            let (answer, wait) = oneshot::channel();
            desk.send(wish(answer)).await.ok()?;
            wait.await.ok()
        })
    }
}

/// HTTP as the daemon holds it.
pub(super) struct Web {
    http: Arc<Http>,
    ready: Arc<AtomicBool>,
    drain: Option<oneshot::Sender<()>>,
    minting: Arc<ArcSwap<Minting>>,
    public: Arc<PublicKeys>,
    ticket_key: [u8; 32],
    listeners: Vec<BoundListener>,
}

/// What HTTP is made of besides the configuration.
pub(super) struct WebParts {
    pub(super) clients: Clients,
    pub(super) ticket_key: [u8; 32],
    pub(super) public: Arc<PublicKeys>,
    pub(super) desk: mpsc::Sender<Wish>,
}

/// What the hub's task is made of besides the relay.
pub(super) struct HubParts {
    pub(super) issuer: Issuer,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) drain: oneshot::Receiver<()>,
}

/// What terms a configuration sets for HTTP and the hub.
struct Terms {
    minting: Minting,
    issuer: Issuer,
    settings: Settings,
}

impl Web {
    /// Makes the HTTP half of a daemon that has bound its listeners.
    pub(super) fn new(
        config: &Config,
        listeners: &[BoundListener],
        relays: &[RelayIp],
        parts: WebParts,
    ) -> (Web, HubParts) {
        let WebParts { clients, ticket_key, public, desk } = parts;
        let ready = Arc::new(AtomicBool::new(false));
        let (signaling, inputs) = Signaling::new();
        let (drain, drained) = oneshot::channel();
        let Terms { minting, issuer, settings } = terms(config, listeners, relays, &public, ticket_key);
        let minting = Arc::new(ArcSwap::from_pointee(minting));
        let node =
            Node { minting: Arc::clone(&minting), ready: Arc::clone(&ready), signaling, clients, desk };
        let http = Arc::new(Http::new(settings, node));
        let (drain, listeners) = (Some(drain), listeners.to_vec());
        let web = Web { http, ready, drain, minting, public, ticket_key, listeners };
        (web, HubParts { issuer, inputs, drain: drained })
    }

    /// Puts another configuration in force for requests that come from now on. Returns what the hub is to go by.
    pub(super) fn renew(&self, config: &Config, relays: &[RelayIp]) -> Issuer {
        let terms = terms(config, &self.listeners, relays, &self.public, self.ticket_key);
        self.minting.store(Arc::new(terms.minting));
        self.http.replace(terms.settings);
        terms.issuer
    }

    /// Returns what serves the streams of the admin socket.
    pub(super) fn http(&self) -> Arc<Http> {
        Arc::clone(&self.http)
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

fn terms(
    config: &Config,
    listeners: &[BoundListener],
    relays: &[RelayIp],
    public: &Arc<PublicKeys>,
    ticket_key: [u8; 32],
) -> Terms {
    let urls: Vec<String> = urls(config, listeners, relays).iter().map(ToString::to_string).collect();
    let secret = config.auth_secrets.first().cloned();
    let tokens = Arc::new(token_keys(config).with_public(Arc::clone(public)));
    let issuer = Issuer {
        tokens: Arc::clone(&tokens),
        secret: secret.clone(),
        urls: urls.clone(),
        credential_ttl: config.credential_ttl,
        max_credential_ttl: config.max_credential_ttl,
    };
    Terms { minting: Minting { secret, urls }, issuer, settings: settings(config, tokens, ticket_key) }
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
