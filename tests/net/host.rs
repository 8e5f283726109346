//! A server of two shards for one test.

use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::runtime::Handle;
use turnpike::auth::Credentials;
use turnpike::net::{
    BindSpec, Bound, Carrier, Clients, ConnectionLimits, Listen, NetDrop, Running, ShardBusy, Snapshot,
    StartSpec, TlsService,
};
use turnpike::turn::{
    Limits, OwnAddresses, Policy, Quotas, RelayIp, RelayRange, Settings, ShardId, SharedTable,
};

pub(crate) const REALM: &str = "test";
pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "secret";

/// Far longer than anything here takes, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(20);

/// What differs between the servers of the tests.
pub(crate) struct Wish {
    pub(crate) listen: &'static str,
    pub(crate) tls_only: bool,
    pub(crate) proxies: &'static [&'static str],
    pub(crate) connections: ConnectionLimits,
    /// Connections from one address, and in all.
    pub(crate) clients: (usize, usize),
}

impl Default for Wish {
    fn default() -> Wish {
        Wish {
            listen: "127.0.0.1:0",
            tls_only: false,
            proxies: &[],
            connections: ConnectionLimits::default(),
            clients: (1000, 512),
        }
    }
}

/// A running server.
pub(crate) struct Host {
    pub(crate) running: Running,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Host {
    pub(crate) fn start(wish: Wish) -> Host {
        let listen = Listen {
            addr: wish.listen.parse().unwrap(),
            udp: true,
            tcp: true,
            stream: if wish.tls_only { Carrier::Tls } else { Carrier::Tcp },
            may_fall_back: false,
            may_be_missing: false,
        };
        let bound = Bound::new(&BindSpec { listeners: vec![listen], workers: 2 }).unwrap();
        let addr = |carriers: &[Carrier]| {
            let found = bound.listeners().iter().find(|listener| carriers.contains(&listener.carrier));
            found.unwrap().addr
        };
        let (udp, tcp) = (addr(&[Carrier::Udp]), addr(&[Carrier::Tcp, Carrier::Tls]));
        let (certificate, key) = certificate();
        let running = bound.start(spec(&wish, udp, key), &Handle::current()).unwrap();
        Host { running, udp, tcp, certificate }
    }

    pub(crate) async fn snapshots(&self) -> Vec<Snapshot> {
        let mut all = Vec::new();
        for shard in self.running.shards() {
            // A busy machine may keep a shard from answering within its limit.
            let answered = async {
                loop {
                    match shard.snapshot().await {
                        Ok(snapshot) => break snapshot,
                        Err(ShardBusy(_)) => tokio::task::yield_now().await,
                    }
                }
            };
            all.push(within(answered, || "a shard gives no snapshot".to_owned()).await);
        }
        all
    }

    /// Asks until the snapshots show something.
    #[track_caller]
    pub(crate) fn until(&self, shows: impl Fn(&[Snapshot]) -> bool) -> impl Future<Output = Vec<Snapshot>> {
        let caller = Location::caller();
        async move {
            let last = Cell::new(Vec::new());
            let shown = async {
                loop {
                    let all = self.snapshots().await;
                    if shows(&all) {
                        return all;
                    }
                    last.set(all);
                    tokio::task::yield_now().await;
                }
            };
            within(shown, || format!("{caller}: not shown by {:#?}", last.take())).await
        }
    }
}

/// Waits for what happens within moments, and fails with a message where it does not.
pub(crate) async fn within<T>(happens: impl Future<Output = T>, what: impl FnOnce() -> String) -> T {
    match tokio::time::timeout(LIMIT, happens).await {
        Ok(result) => result,
        Err(_) => panic!("{}, not within {LIMIT:?}", what()),
    }
}

pub(crate) fn dropped(all: &[Snapshot], reason: NetDrop) -> u64 {
    all.iter().map(|shard| shard.net.dropped(reason)).sum()
}

fn spec(wish: &Wish, listener: SocketAddr, key: Arc<CertifiedKey>) -> StartSpec<SharedTable> {
    let relays = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        .map(|ip| RelayIp { local: ip, advertised: ip });
    let ranges = relays.map(|ip| RelayRange { ip, first: 49_152, last: 65_535 });
    let own = OwnAddresses {
        relays: relays.to_vec(),
        local: relays.map(|ip| ip.local).to_vec(),
        broadcast: Vec::new(),
        routed: Vec::new(),
        endpoints: vec![listener],
    };
    let allow = ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap());
    StartSpec {
        shared: SharedTable::new(&ranges, Quotas::default()),
        policy: Arc::new(Policy::new(&allow, &[], own)),
        credentials: Arc::new(Credentials::new(REALM, [(USER, PASSWORD)], [])),
        limits: Limits { unauthenticated_rate: 0, ..Limits::default() },
        settings: Settings { shard: ShardId(0), realm: REALM.into(), nonce_key: [7; 32], software: None },
        tls: Some(Arc::new(TlsService::new(key).unwrap())),
        proxies: wish.proxies.iter().map(|net| net.parse().unwrap()).collect(),
        http_proxies: Vec::new(),
        http: None,
        connections: wish.connections,
        clients: Clients::new(wish.clients.0, wish.clients.1),
    }
}

fn certificate() -> (CertificateDer<'static>, Arc<CertifiedKey>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let chain = vec![made.cert.der().clone()];
    let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).unwrap();
    (made.cert.der().clone(), Arc::new(certified))
}

/// Short limits, for tests that wait for them to pass.
pub(crate) fn hasty() -> ConnectionLimits {
    ConnectionLimits {
        handshake_timeout: Duration::from_millis(150),
        idle_timeout: Duration::from_millis(150),
        ..ConnectionLimits::default()
    }
}
