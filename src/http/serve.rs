//! One stream: HTTP/1.1 or HTTP/2 on it, with times and sizes that nobody can stretch.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Request, Version, request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tower_service::Service;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::auth::Origins;
use crate::http::admin::AdminSocket;
use crate::http::api::{Api, Backend, Settings};
use crate::http::call::Hangup;
use crate::http::origin::{self, Judgment};
use crate::http::peer::Peer;
use crate::http::problem::Problem;
use crate::http::routes::routes;
use crate::http::stream::BoxedStream;
use crate::telemetry::ClientAddr;

/// How long the head of a request may take, the first included, and how long a connection may idle before the next.
const HEAD_TIME: Duration = Duration::from_secs(5);
const MAX_BUFFER: usize = 32 << 10;
const MAX_HEADERS: usize = 64;
const MAX_HEADER_LIST: u32 = 16 << 10;
const MAX_STREAMS: u32 = 64;
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_PATIENCE: Duration = Duration::from_secs(10);
/// How long answers may take that were begun before the stop.
const FAREWELL: Duration = Duration::from_secs(5);

/// The HTTP half of the daemon.
pub struct Http {
    api: Arc<Api>,
    routes: BoxedFilter<(Response,)>,
}

impl Http {
    /// Makes the service; nothing is served before [`Http::serve`].
    #[must_use]
    pub fn new(settings: Settings, backend: impl Backend) -> Http {
        let api = Arc::new(Api::new(settings, Box::new(backend)));
        let routes = routes(&api);
        Http { api, routes }
    }

    /// Serves one stream to its end, or until a WebSocket takes it; `remote` is who sent it, a PROXY
    /// header considered, and `is_over` says that it has too many connections.
    pub async fn serve<S>(&self, stream: S, remote: SocketAddr, is_over: bool)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.serve_from(stream, Source::Network { remote, is_over }).await;
    }

    /// Serves one stream of the admin socket to its end.
    pub async fn serve_admin<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.serve_from(stream, Source::AdminSocket).await;
    }

    async fn serve_from<S>(&self, stream: S, source: Source)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream: BoxedStream = Box::new(stream);
        let mut stop = self.api.stop.subscribe();
        let hangup = Hangup::default();
        let (heard, mut first) = watch::channel(false);
        let front = Front {
            api: Arc::clone(&self.api),
            routes: self.routes.clone(),
            source,
            heard,
            hangup: hangup.clone(),
        };
        let builder = builder();
        let serving =
            builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(front));
        let mut serving = pin!(serving);
        // The version is read without a time limit of its own; an HTTP/2 client may stay silent after its preface.
        let silence = async {
            let spoke = first.wait_for(|heard| *heard);
            tokio::time::timeout(HEAD_TIME, spoke).await.is_err()
        };
        let mut silence = pin!(silence);
        let (mut is_silent, mut is_stopping) = (None, false);
        loop {
            tokio::select! {
                ended = serving.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "an HTTP connection failed");
                    }
                    return;
                }
                silent = silence.as_mut(), if is_silent.is_none() => {
                    if silent {
                        return;
                    }
                    is_silent = Some(false);
                }
                () = hangup.0.notified() => return,
                _ = stop.wait_for(|stop| *stop), if !is_stopping => {
                    is_stopping = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }

    /// Puts other settings in force for requests that come from now on.
    pub fn replace(&self, settings: Settings) {
        self.api.replace(settings);
    }

    /// Takes no more requests and waits, for a while, until those begun are answered and the WebSockets closed.
    pub async fn stop(&self) {
        self.api.stop.send_replace(true);
        if tokio::time::timeout(FAREWELL, self.api.stop.closed()).await.is_err() {
            tracing::warn!("an HTTP answer did not end in time");
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_BUFFER)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buf_size(MAX_BUFFER);
    builder
}

/// Where a stream comes from.
#[derive(Clone, Copy)]
enum Source {
    AdminSocket,
    Network { remote: SocketAddr, is_over: bool },
}

/// What every request passes before the routes.
#[derive(Clone)]
struct Front {
    api: Arc<Api>,
    routes: BoxedFilter<(Response,)>,
    source: Source,
    heard: watch::Sender<bool>,
    hangup: Hangup,
}

impl Front {
    async fn answer(self, request: Request<Incoming>) -> Response {
        let (head, body) = request.into_parts();
        match self.source {
            Source::AdminSocket => self.answer_admin(head, body).await,
            Source::Network { remote, is_over } => self.answer_network(head, body, remote, is_over).await,
        }
    }

    async fn answer_admin(self, mut head: request::Parts, body: Incoming) -> Response {
        // Who may open the socket is on this host, whatever the headers say.
        let peer = self.api.settings().proxies.client((Ipv4Addr::LOCALHOST, 0).into(), &HeaderMap::new());
        head.extensions.insert(AdminSocket);
        self.route(head, body, peer).await
    }

    async fn answer_network(
        self,
        mut head: request::Parts,
        body: Incoming,
        remote: SocketAddr,
        is_over: bool,
    ) -> Response {
        let settings = self.api.settings();
        let proxies = &settings.proxies;
        let peer = proxies.client(remote, &head.headers);
        let host = proxies.host(remote, &head.headers);
        if settings.local_only && !origin::is_local(&head, host) {
            return Problem::Forbidden("with --demo this server answers to the name localhost alone")
                .response();
        }
        let mut origin = None;
        let is_api = head.uri.path().starts_with("/v1/");
        if is_api {
            // No page of elsewhere is the operator's.
            let own_alone = Origins { allowed: Vec::new() };
            let is_admin = head.uri.path().starts_with("/v1/admin/");
            let origins = if is_admin { &own_alone } else { &settings.origins };
            match origin::judge(origins, &head, host) {
                Judgment::Pass(found) => origin = found,
                Judgment::Answered(response) => return response,
            }
        }
        let place = proxies.trust(remote.ip()).then(|| self.api.backend.enter(peer.addr.ip()));
        if is_over || place.as_ref().is_some_and(Option::is_none) {
            return marked(one_too_many(), origin, is_api);
        }
        let place = place.flatten();
        if let Some(place) = place.clone() {
            head.extensions.insert(place);
        }
        let response = self.route(head, body, peer).await;
        // Held at least until there is an answer.
        drop(place);
        marked(response, origin, is_api)
    }

    async fn route(self, mut head: request::Parts, body: Incoming, peer: Peer) -> Response {
        // A stream of HTTP/2 shares its connection with others, which shall not end with it.
        let hangup = if head.version == Version::HTTP_2 { Hangup::default() } else { self.hangup };
        head.extensions.insert(peer);
        head.extensions.insert(hangup);
        let mut service = warp::service(self.routes);
        let Ok(response) = service.call(Request::from_parts(head, body)).await;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            tracing::debug!(client = %ClientAddr(peer.addr), status = status.as_u16(), "HTTP request refused");
        }
        response
    }
}

/// Puts what every answer says of itself on it.
fn marked(mut response: Response, origin: Option<HeaderValue>, is_api: bool) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    match origin {
        Some(origin) => origin::mark(headers, origin),
        None if is_api => origin::vary(headers),
        None => {}
    }
    response
}

/// Tells a client that it has too many connections, and closes this one.
fn one_too_many() -> Response {
    let mut response = Problem::TooManyConnections.response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

impl Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.heard.send_replace(true);
        let front = self.clone();
        Box::pin(async move { Ok(front.answer(request).await) })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;
    use crate::http::api::tests::{Fake, settings};

    fn open() -> (Arc<Http>, DuplexStream, JoinHandle<()>) {
        let http = Arc::new(Http::new(settings(), Fake::default()));
        let (client, server) = tokio::io::duplex(64 << 10);
        let serving = tokio::spawn({
            let http = Arc::clone(&http);
            async move { http.serve(server, "192.0.2.1:5".parse().unwrap(), false).await }
        });
        (http, client, serving)
    }

    async fn rest(client: &mut DuplexStream) -> String {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_never_finishes_its_first_request_is_closed() {
        for half in ["", "G", "GET / HTTP/1.1\r\nHost: a\r\n", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        {
            let begun = Instant::now();
            let (_http, mut client, serving) = open();
            client.write_all(half.as_bytes()).await.unwrap();
            serving.await.unwrap();
            assert_eq!(begun.elapsed().as_secs(), HEAD_TIME.as_secs(), "{half:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_idles_between_requests_is_closed() {
        let begun = Instant::now();
        let (_http, mut client, serving) = open();
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        serving.await.unwrap();
        assert!(rest(&mut client).await.starts_with("HTTP/1.1 200"));
        assert_eq!(begun.elapsed().as_secs(), HEAD_TIME.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_refused() {
        let (_http, mut client, _serving) = open();
        let head = b"POST /v1/credentials HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer all\r\n\
            Content-Type: application/json\r\nContent-Length: 5\r\n\r\n{";
        client.write_all(head).await.unwrap();
        let answer = rest(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"code\":\"timeout\""), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn heads_that_are_too_large_are_refused() {
        let many = (0..=MAX_HEADERS).map(|i| format!("a{i}: b\r\n")).collect::<String>();
        for headers in [many, format!("a: {}\r\n", "x".repeat(MAX_BUFFER))] {
            let (_http, mut client, _serving) = open();
            let request = format!("GET /healthz HTTP/1.1\r\n{headers}\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let answer = rest(&mut client).await;
            assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_stop_ends_connections_after_their_answers() {
        let (http, mut client, serving) = open();
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        client.read_exact(&mut first).await.unwrap();
        let begun = Instant::now();
        http.stop().await;
        serving.await.unwrap();
        assert_eq!((&first, begun.elapsed()), (b"HTTP/1.1 200", Duration::ZERO));
    }
}
