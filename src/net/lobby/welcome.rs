//! The beginning of one connection, up to its place on a shard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::net::admission::{Admission, Place};
use crate::net::bind::Carrier;
use crate::net::counters::{Close, LobbyStats};
use crate::net::engine::name;
use crate::net::lobby::http::{HttpBytes, HttpEntry, HttpPlaces, HttpStream};
use crate::net::lobby::opening::Opening;
use crate::net::lobby::proxy;
use crate::net::mailbox::ShardHandle;
use crate::net::stream::connection::{Handoff, Places};
use crate::net::tls::{TlsService, is_http};

/// What all connections have in common at their beginning.
pub(crate) struct Lobby {
    pub(crate) shards: Vec<ShardHandle>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) handshakes: Arc<Admission>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) tls: Option<Arc<TlsService>>,
    pub(crate) proxies: Vec<IpNet>,
    pub(crate) http_proxies: Vec<IpNet>,
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
        let is_http = matches!(carrier, Carrier::Http | Carrier::Https);
        let is_proxy = is_http && self.http_proxies.iter().any(|net| net.contains(&remote.ip()));
        let (mut source, mut beginning) = (None, None);
        if !is_proxy {
            source = self.admission.enter_from(remote.ip());
            // Whoever says nothing keeps its place until the time is up: one source must not keep them all.
            beginning = Some(self.handshakes.enter_from(remote.ip()).ok_or(Close::TooManyHandshakes)?);
        }
        let is_over = !is_proxy && source.is_none();
        if is_over && !is_http {
            return Err(Close::AddressConnections);
        }
        let one_too_many = beginning.take_if(|_| is_over);
        let places = Places { _total: total, _source: source, one_too_many };
        let mut first = [0];
        if stream.peek(&mut first).await.map_err(|_| Close::Io)? == 0 {
            return Err(Close::Client);
        }
        match (Opening::of(first[0]), carrier, &self.tls) {
            (Opening::Tls, Carrier::Https, Some(tls)) => {
                let acceptor = TlsAcceptor::from(tls.mixed());
                let accepted = acceptor.accept(stream).await.map_err(|_| Close::Tls)?;
                self.sort_out(accepted, remote, places).await
            }
            (Opening::Tls, Carrier::Tcp | Carrier::Tls, Some(tls)) => {
                let acceptor = TlsAcceptor::from(tls.config());
                let accepted = acceptor.accept(stream).await.map_err(|_| Close::Tls)?;
                let (stream, session) = accepted.into_inner();
                self.hand_over(stream, Some(Box::new(session)), remote, places)
            }
            (_, Carrier::Tls | Carrier::Https, _) => Err(Close::PlaintextRefused),
            (Opening::Stun, Carrier::Tcp, _) => self.hand_over(stream, None, remote, places),
            (Opening::Http, Carrier::Http, _) => {
                let local = stream.local_addr().map(name::canonical).map_err(|_| Close::Io)?;
                self.serve_http(HttpBytes::Plain(stream), remote, local, places)
            }
            (Opening::Tls | Opening::Stun | Opening::Http | Opening::Other, ..) => Err(Close::NotTurn),
        }
    }

    /// Tells HTTP from STUN inside TLS: by the agreed protocol, else by the first byte.
    async fn sort_out(
        &self,
        mut accepted: TlsStream<TcpStream>,
        remote: SocketAddr,
        places: Places,
    ) -> Result<(), Close> {
        let (socket, session) = accepted.get_ref();
        let local = socket.local_addr().map(name::canonical).map_err(|_| Close::Io)?;
        let is_http = match is_http(session.alpn_protocol()) {
            Some(is_http) => is_http,
            None => {
                let ahead = accepted.fill_buf().await.map_err(|_| Close::Tls)?;
                match Opening::of(*ahead.first().ok_or(Close::Client)?) {
                    Opening::Http => true,
                    Opening::Stun => false,
                    Opening::Tls | Opening::Other => return Err(Close::NotTurn),
                }
            }
        };
        if is_http {
            return self.serve_http(HttpBytes::Tls(Box::new(accepted)), remote, local, places);
        }
        let (stream, session) = accepted.into_inner();
        self.hand_over(stream, Some(Box::new(session)), remote, places)
    }

    fn serve_http(
        &self,
        stream: HttpBytes,
        remote: SocketAddr,
        local: SocketAddr,
        places: Places,
    ) -> Result<(), Close> {
        let http = self.http.as_ref().ok_or(Close::NotTurn)?;
        prepare_http(stream.socket()).map_err(|_| Close::Io)?;
        let is_over = places.one_too_many.is_some();
        if is_over {
            self.stats.count_close(Close::AddressConnections);
        }
        http(HttpStream { stream, remote, local, is_over, places: HttpPlaces(places) });
        Ok(())
    }

    fn hand_over(
        &self,
        stream: TcpStream,
        session: Option<Box<rustls::ServerConnection>>,
        remote: SocketAddr,
        places: Places,
    ) -> Result<(), Close> {
        if places.one_too_many.is_some() {
            return Err(Close::AddressConnections);
        }
        let local = stream.local_addr().map(name::canonical).map_err(|_| Close::Io)?;
        let socket = stream.into_std().map_err(|_| Close::Io)?;
        prepare(&socket).map_err(|_| Close::Io)?;
        let shard = self.shards.iter().min_by_key(|shard| shard.open_streams()).ok_or(Close::Shutdown)?;
        shard.hand_over(Handoff { socket, session, remote, local, places }).map_err(|_| Close::ShardFull)
    }
}

/// How long a client of HTTP may leave what it was sent unacknowledged or unread.
const UNREAD: Duration = Duration::from_secs(30);

/// A client that stops reading is found out by the kernel.
fn prepare_http(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_tcp_user_timeout(Some(UNREAD))
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
