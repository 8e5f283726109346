//! The WebSocket carrier (signaling.md §1 and §11).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};
use warp::Reply;
use warp::reply::Response;

use crate::bucket::Bucket;
use crate::http::api::{Api, Place};
use crate::http::call::Call;
use crate::http::line::Order;
use crate::http::problem::Problem;
use crate::http::signaling::{Connection, Input};
use crate::http::stream::BoxedStream;
use crate::signal::{AddressKey, CloseCode};

/// The one subprotocol, echoed alone.
const SUBPROTOCOL: &str = "signal.v1.json";
/// What precedes a join token among the subprotocols.
const BEARER: &str = "bearer.";
/// What the accept key is made with (RFC 6455 §1.3).
const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Buffer of a socket that is read; zero-filled, and so resident.
const READ_BUFFER: usize = 4 << 10;
/// What is gathered before a write, if a wake-up brings so much.
const WRITE_BUFFER: usize = 8 << 10;
/// Largest message where none is configured.
const LARGEST_MESSAGE: usize = 1 << 20;
/// Bytes written before the hub is told without any other reason; a part of its window.
const REPORT: usize = 16 << 10;
/// Control frames a second, and at once: more serve no client.
const CONTROL_RATE: (u64, u64) = (10, 50);
/// How long the farewell may take to leave.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a closed socket is still read, lest a reset swallow the close frame.
const LINGER: Duration = Duration::from_secs(1);

/// Answers the upgrade of `GET /v1/ws`, and goes on with the socket in a task of its own.
pub(crate) async fn upgrade(api: Arc<Api>, call: Call) -> Result<Response, Problem> {
    let key = websocket_key(&call.headers)?;
    let upgrade = call.upgrade.clone().ok_or(Problem::UpgradeRequired)?;
    let offered = || words(&call.headers, &SEC_WEBSOCKET_PROTOCOL);
    if !offered().any(|protocol| protocol == SUBPROTOCOL) {
        return Err(Problem::BadRequest(format!("offer the subprotocol {SUBPROTOCOL}")));
    }
    if !api.backend.is_ready() {
        return Err(Problem::NotReady);
    }
    let shown = offered().find_map(|protocol| protocol.strip_prefix(BEARER)).map(str::to_owned);
    let bearer = shown.or_else(|| call.token_in_url(&api));
    let address = AddressKey::of(call.peer.addr.ip());
    tokio::spawn(serve(Arc::clone(&api), upgrade, address, bearer, call.place));
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let accept = BASE64_STANDARD.encode(Sha1::digest(format!("{key}{ACCEPT_GUID}")));
    let accept = HeaderValue::from_str(&accept).map_err(|_| Problem::Internal)?;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

/// Returns the key of a handshake (RFC 6455 §4.2.1).
fn websocket_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let has = |name, wanted: &str| words(headers, &name).any(|word| word.eq_ignore_ascii_case(wanted));
    let is_upgrade = has(CONNECTION, "upgrade") && has(UPGRADE, "websocket");
    if !is_upgrade || headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Problem::UpgradeRequired);
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let is_key = |key: &&str| BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16);
    key.filter(is_key).ok_or_else(|| Problem::BadRequest("Sec-WebSocket-Key is 16 bytes in base64".into()))
}

fn words<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Takes the stream out of HTTP and serves it. A task of its own, so that nothing of the handshake stays.
async fn serve(
    api: Arc<Api>,
    upgrade: OnUpgrade,
    address: AddressKey,
    bearer: Option<String>,
    place: Option<Place>,
) {
    let Ok(upgraded) = upgrade.await else { return };
    let Ok(parts) = downcast::<TokioIo<BoxedStream>>(upgraded) else { return };
    let stream = parts.io.into_inner();
    // A copy: the bytes lie in the buffer of HTTP, which is large and would live as long as they do.
    let read = parts.read_buf.to_vec();
    drop(parts.read_buf);
    tokio::spawn(async move {
        let limit = Some(api.settings().max_message).filter(|limit| *limit != 0).unwrap_or(LARGEST_MESSAGE);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let ws = WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await;
        let conn = api.backend.signaling().connection();
        let opened = Input::Open { address, conn: conn.clone(), bearer };
        api.backend.signaling().tell(opened).await;
        let (_open, _place) = (api.stop.subscribe(), place);
        let control = Bucket::full(api.backend.now().mono, CONTROL_RATE.1);
        let mut socket = Socket {
            ws,
            conn,
            api: Arc::clone(&api),
            orders: VecDeque::new(),
            control,
            entered: 0,
            written: 0,
            is_dirty: false,
            is_deaf: false,
        };
        socket.talk().await;
    });
}

/// An open WebSocket.
struct Socket {
    ws: WebSocketStream<BoxedStream>,
    conn: Connection,
    api: Arc<Api>,
    /// What was taken from the line.
    orders: VecDeque<Order>,
    /// What is left for control frames.
    control: Bucket,
    /// Cost of the messages that are not yet flushed.
    entered: usize,
    /// Cost of those that are, and of which the hub does not know.
    written: usize,
    is_dirty: bool,
    /// Whether what comes is not understood any more.
    is_deaf: bool,
}

enum Step {
    Flushed(Result<(), Error>),
    Heard(Option<Result<Message, Error>>),
    Told,
}

impl Socket {
    async fn talk(&mut self) {
        loop {
            let step = poll_fn(|cx| self.poll_step(cx)).await;
            match step {
                Step::Told => match self.enter() {
                    Ok(None) => {}
                    Ok(Some(code)) => return self.part(code).await,
                    Err(_) => return self.lose().await,
                },
                Step::Flushed(Ok(())) => {
                    self.is_dirty = false;
                    self.written += mem::take(&mut self.entered);
                    if self.written >= REPORT {
                        let written = mem::take(&mut self.written);
                        self.tell(Input::Written(self.conn.id, written)).await;
                    }
                }
                Step::Flushed(Err(_)) => return self.lose().await,
                Step::Heard(Some(Ok(message))) => match self.input(message) {
                    Some(input) => self.tell(input).await,
                    None => return self.lose().await,
                },
                Step::Heard(Some(Err(error))) => match misdeed(&error) {
                    Some(code) => {
                        self.is_deaf = true;
                        self.tell(Input::Misdeed(self.conn.id, code)).await;
                    }
                    None => return self.lose().await,
                },
                Step::Heard(None) => return self.lose().await,
            }
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let line = &self.conn.line;
        let orders = &mut self.orders;
        if self.is_dirty {
            if let Poll::Ready(flushed) = self.ws.poll_flush_unpin(cx) {
                return Poll::Ready(Step::Flushed(flushed));
            }
            if line.poll_closing(cx, orders).is_ready() {
                return Poll::Ready(Step::Told);
            }
        } else if line.poll_take(cx, orders).is_ready() {
            return Poll::Ready(Step::Told);
        }
        if self.is_deaf { Poll::Pending } else { self.ws.poll_next_unpin(cx).map(Step::Heard) }
    }

    /// Puts messages into the buffer, to be flushed together. Returns the code if one order is to close.
    fn enter(&mut self) -> Result<Option<CloseCode>, Error> {
        for order in self.orders.drain(..) {
            match order {
                Order::Send(frame) => {
                    self.ws.start_send_unpin(Message::text(frame.text()))?;
                    self.entered += frame.cost();
                    self.is_dirty = true;
                }
                Order::Comment => {}
                Order::Close(code) => return Ok(Some(code)),
            }
        }
        Ok(None)
    }

    /// Returns what the hub is told of a message; none at the end.
    fn input(&mut self, message: Message) -> Option<Input> {
        let conn = self.conn.id;
        match message {
            Message::Text(text) => {
                Some(Input::Text { conn, text: text.as_str().into(), written: mem::take(&mut self.written) })
            }
            Message::Binary(_) => Some(Input::Binary(conn)),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                let now = self.api.backend.now().mono;
                if self.control.take(now, CONTROL_RATE.0, CONTROL_RATE.1, 1) {
                    Some(Input::Alive(conn))
                } else {
                    self.is_deaf = true;
                    Some(Input::Misdeed(conn, CloseCode::RateLimited))
                }
            }
            Message::Close(_) => None,
        }
    }

    /// Says goodbye as the hub wants it.
    async fn part(&mut self, code: CloseCode) {
        let frame = CloseFrame { code: code.number().into(), reason: code.label().into() };
        let leaving = async {
            self.ws.start_send_unpin(Message::Close(Some(frame))).ok()?;
            self.ws.flush().await.ok()
        };
        if let Ok(Some(())) = timeout(FAREWELL, leaving).await {
            // It may be the client's turn to close; bytes that nobody reads would make the kernel reset.
            let _ = timeout(LINGER, self.drain()).await;
            let _ = timeout(LINGER, self.ws.get_mut().shutdown()).await;
        }
    }

    async fn drain(&mut self) {
        if !self.is_deaf {
            while let Some(Ok(_)) = self.ws.next().await {}
        }
        let mut scrap = [0; 512];
        while self.ws.get_mut().read(&mut scrap).await.is_ok_and(|read| read > 0) {}
    }

    /// Ends after the client's close frame or a dead stream.
    async fn lose(&mut self) {
        self.tell(Input::Closed(self.conn.id)).await;
        let closing = async {
            // Sends the answer to a close frame.
            let _ = self.ws.flush().await;
            let _ = self.ws.get_mut().shutdown().await;
        };
        let _ = timeout(LINGER, closing).await;
    }

    async fn tell(&mut self, input: Input) {
        self.api.backend.signaling().tell(input).await;
    }
}

/// Returns the code for what the client did wrong; none if the stream is just dead.
#[expect(clippy::wildcard_enum_match_arm, reason = "which variants there are depends on features")]
fn misdeed(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Capacity(_) => Some(CloseCode::TooBig),
        Error::Utf8(_) => Some(CloseCode::BadUtf8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::ProtocolError),
        _ => None,
    }
}
