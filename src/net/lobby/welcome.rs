//! The beginning of one connection, up to its place on a shard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::net::admission::{Admission, Place};
use crate::net::bind::Carrier;
use crate::net::counters::{Close, LobbyStats};
use crate::net::engine::name;
use crate::net::lobby::opening::Opening;
use crate::net::lobby::proxy;
use crate::net::mailbox::ShardHandle;
use crate::net::stream::connection::{Handoff, Places};
use crate::net::tls::TlsService;

/// What takes HTTP streams; called with one whose first byte is a letter and still unread.
pub type HttpEntry = Arc<dyn Fn(HttpStream) + Send + Sync>;

/// A stream that speaks HTTP. Its places among the connections are given back when it is dropped.
pub struct HttpStream {
    /// The stream, with nothing read from it.
    pub stream: TcpStream,
    /// Address of the client, as a PROXY header named it or as the kernel did.
    pub remote: SocketAddr,
    /// Address that the client connected to.
    pub local: SocketAddr,
    /// To be kept as long as the stream lives.
    pub places: HttpPlaces,
}

/// Places that an HTTP stream holds among the connections.
pub struct HttpPlaces(#[expect(dead_code, reason = "held until it is dropped")] Places);

/// What all connections have in common at their beginning.
pub(crate) struct Lobby {
    pub(crate) shards: Vec<ShardHandle>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) handshakes: Arc<Admission>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) tls: Option<Arc<TlsService>>,
    pub(crate) proxies: Vec<IpNet>,
    pub(crate) http: Option<HttpEntry>,
    pub(crate) stats: Arc<LobbyStats>,
}

impl Lobby {
    /// Sees a connection through its beginning; what does not come so far is closed and counted.
    pub(crate) async fn welcome(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        carrier: Carrier,
        place: Place,
    ) {
        let remote = name::canonical(remote);
        let Some(_place) = self.handshakes.enter() else {
            return self.stats.count_close(Close::TooManyHandshakes);
        };
        let begun =
            tokio::time::timeout(self.handshake_timeout, self.begin(stream, remote, carrier, place)).await;
        if let Err(why) = begun.unwrap_or(Err(Close::HandshakeTimeout)) {
            self.stats.count_close(why);
            tracing::debug!(client = %crate::telemetry::ClientAddr(remote), reason = why.label(), "connection closed");
        }
    }

    async fn begin(
        &self,
        mut stream: TcpStream,
        mut remote: SocketAddr,
        carrier: Carrier,
        total: Place,
    ) -> Result<(), Close> {
        if self.proxies.iter().any(|net| net.contains(&remote.ip())) {
            let named = proxy::read(&mut stream).await.map_err(|_| Close::ProxyHeader)?;
            remote = named.unwrap_or(remote);
        }
        let source = self.admission.enter_from(remote.ip()).ok_or(Close::AddressConnections)?;
        // Whoever says nothing keeps its place until the time is up: one source must not keep them all.
        let _beginning = self.handshakes.enter_from(remote.ip()).ok_or(Close::TooManyHandshakes)?;
        let places = Places { _total: total, _source: source };
        let mut first = [0];
        if stream.peek(&mut first).await.map_err(|_| Close::Io)? == 0 {
            return Err(Close::Client);
        }
        match (Opening::of(first[0]), carrier, &self.tls, &self.http) {
            (Opening::Tls, _, Some(tls), _) => {
                let acceptor = TlsAcceptor::from(tls.config());
                let accepted = acceptor.accept(stream).await.map_err(|_| Close::Tls)?;
                let (stream, session) = accepted.into_inner();
                self.hand_over(stream, Some(Box::new(session)), remote, places)
            }
            (_, Carrier::Tls, ..) => Err(Close::PlaintextRefused),
            (Opening::Stun, ..) => self.hand_over(stream, None, remote, places),
            (Opening::Http, _, _, Some(http)) => {
                let local = stream.local_addr().map(name::canonical).map_err(|_| Close::Io)?;
                http(HttpStream { stream, remote, local, places: HttpPlaces(places) });
                Ok(())
            }
            (Opening::Tls | Opening::Http | Opening::Other, ..) => Err(Close::NotTurn),
        }
    }

    fn hand_over(
        &self,
        stream: TcpStream,
        session: Option<Box<rustls::ServerConnection>>,
        remote: SocketAddr,
        places: Places,
    ) -> Result<(), Close> {
        let local = stream.local_addr().map(name::canonical).map_err(|_| Close::Io)?;
        let socket = stream.into_std().map_err(|_| Close::Io)?;
        prepare(&socket).map_err(|_| Close::Io)?;
        let shard = self.shards.iter().min_by_key(|shard| shard.open_streams()).ok_or(Close::Shutdown)?;
        shard.hand_over(Handoff { socket, session, remote, local, places }).map_err(|_| Close::ShardFull)
    }
}

/// Bytes that the kernel keeps unsent for a stream: what waits longer waits in our queue, where old data gives way.
const UNSENT: u32 = 64 << 10;

/// Small frames leave at once, and a client that is gone without a word is found out.
fn prepare(socket: &std::net::TcpStream) -> std::io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(20))
        .with_retries(4);
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_tcp_keepalive(&keepalive)
}
