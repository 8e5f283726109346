//! Server-sent events: what the hub has for a connection as the body of a response (signaling.md §8).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use rand::Rng as _;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use warp::Reply;
use warp::reply::Response;

use crate::http::api::{Api, Place};
use crate::http::call::Hangup;
use crate::http::line::Order;
use crate::http::signaling::{Connection, Input, Signaling};
use crate::signal::Frame;

/// Bytes written before the hub is told; a part of its window.
const REPORT: usize = 16 << 10;
/// When a client comes back after the end of a stream, in milliseconds: all at once would be a flood.
const RETRY_MS: std::ops::Range<u32> = 1000..3000;
/// How long what was said before the end may take to leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// Makes the response whose body lives as long as the connection; `hangup` ends one that is not read.
pub(crate) fn response(api: &Arc<Api>, conn: Connection, hangup: Hangup, place: Option<Place>) -> Response {
    let (ended, body_ended) = watch::channel(());
    let line = Arc::clone(&conn.line);
    tokio::spawn(async move {
        let mut ended = body_ended;
        let closing = std::future::poll_fn(|cx| line.poll_watch(cx));
        tokio::select! {
            () = closing => {
                if timeout(FAREWELL, ended.changed()).await.is_err() {
                    hangup.0.notify_one();
                }
            }
            _ = ended.changed() => {}
        }
    });
    let retry = rand::rng().random_range(RETRY_MS);
    let events = Events {
        conn,
        hub: api.backend.signaling().clone(),
        head: format!("retry: {retry}\n\n"),
        entered: 0,
        is_over: false,
        _ended: ended,
        _place: place,
    };
    let mut response = warp::reply::stream(events).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

struct Events {
    conn: Connection,
    hub: Signaling,
    /// What comes before the first event.
    head: String,
    /// Cost of the messages of which the hub does not know that they were written.
    entered: usize,
    is_over: bool,
    _ended: watch::Sender<()>,
    _place: Option<Place>,
}

impl Stream for Events {
    type Item = Result<String, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.entered >= REPORT {
            let written = Input::Written(self.conn.id, mem::take(&mut self.entered));
            tell(&self.hub, written);
        }
        if !self.head.is_empty() {
            return Poll::Ready(Some(Ok(mem::take(&mut self.head))));
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        let mut orders = VecDeque::new();
        if self.conn.line.poll_take(cx, &mut orders).is_pending() {
            return Poll::Pending;
        }
        let mut text = String::new();
        for order in orders {
            match order {
                Order::Send(frame) => {
                    self.entered += frame.cost();
                    push_event(&mut text, &frame);
                }
                Order::Comment => text.push_str(":\n\n"),
                Order::Close(_) => {
                    self.is_over = true;
                    break;
                }
            }
        }
        if text.is_empty() { Poll::Ready(None) } else { Poll::Ready(Some(Ok(text))) }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        tell(&self.hub, Input::Closed(self.conn.id));
    }
}

/// Tells the hub something without waiting; what a stopped runtime does not carry is of no use any more.
fn tell(hub: &Signaling, input: Input) {
    let hub = hub.clone();
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move { hub.tell(input).await });
    }
}

fn push_event(out: &mut String, frame: &Frame) {
    if let Some(id) = frame.event_id() {
        out.push_str("id: ");
        out.push_str(&id);
        out.push('\n');
    }
    out.push_str("event: ");
    out.push_str(frame.tell().label());
    out.push_str("\ndata: ");
    let from = out.len();
    frame.write(out);
    // Line ends can only stand between the tokens of JSON, where a space means the same.
    if out[from..].contains(['\n', '\r']) {
        let line = out[from..].replace(['\n', '\r'], " ");
        out.truncate(from);
        out.push_str(&line);
    }
    out.push_str("\n\n");
}
