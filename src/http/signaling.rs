//! The way from connections and requests to the hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::auth::JoinToken;
use crate::http::line::Line;
use crate::http::problem::Problem;
use crate::signal::{AddressKey, CloseCode, ConnId, Created, EventsRefusal, FeedRefusal, Posted};

/// Inputs that wait for the hub at most; who has another one waits too.
const QUEUE: usize = 1024;

/// Something for the hub. Where there is an answer, nobody may wait for it any more.
pub enum Input {
    /// A frame came that is no message.
    Alive(ConnId),
    /// A binary message came.
    Binary(ConnId),
    /// A connection is dead.
    Closed(ConnId),
    /// `POST /v1/session`.
    Create {
        /// Whose limits it counts to.
        address: AddressKey,
        /// Join token of the `Authorization` header.
        bearer: Option<String>,
        /// Body.
        hello: String,
        /// Way back.
        answer: oneshot::Sender<Result<Created, CloseCode>>,
    },
    /// `GET /v1/session/events`.
    Events {
        /// Whose limits it counts to.
        address: AddressKey,
        /// Its name and the way to it.
        conn: Connection,
        /// Ticket of the URL.
        ticket: String,
        /// Last event that was seen.
        last_event_id: Option<u64>,
        /// Way back.
        answer: oneshot::Sender<Result<(), EventsRefusal>>,
    },
    /// `GET /v1/rooms/{room}/events`.
    Feed {
        /// Whose limits it counts to.
        address: AddressKey,
        /// Its name and the way to it.
        conn: Connection,
        /// Room.
        room: String,
        /// Who reads.
        reader: Reader,
        /// Last event that was seen.
        last_event_id: Option<String>,
        /// Way back.
        answer: oneshot::Sender<Result<(), FeedRefusal>>,
    },
    /// A WebSocket did what ends it.
    Misdeed(ConnId, CloseCode),
    /// A WebSocket was opened.
    Open {
        /// Whose limits it counts to.
        address: AddressKey,
        /// Its name and the way to it.
        conn: Connection,
        /// Token of the second protocol, or of the URL.
        bearer: Option<String>,
    },
    /// `POST /v1/session/messages`.
    Post {
        /// Whose limits it counts to.
        address: AddressKey,
        /// Resume secret.
        bearer: String,
        /// One message or an array.
        body: String,
        /// Way back.
        answer: oneshot::Sender<Posted>,
    },
    /// `POST /v1/rooms/{room}/messages`.
    Publish {
        /// Room.
        room: String,
        /// What is said, as JSON.
        body: String,
        /// Way back: the copies queued, or what is wrong with the body.
        answer: oneshot::Sender<Result<usize, &'static str>>,
    },
    /// A text message came.
    Text {
        /// From this connection.
        conn: ConnId,
        /// The message.
        text: Box<str>,
        /// Cost of what was written since the last report.
        written: usize,
    },
    /// Messages were written.
    Written(ConnId, usize),
}

/// Who reads a room's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Holder of an API key.
    Key,
    /// Anyone.
    Open,
    /// Holder of a ticket of this server, good until a Unix second.
    Ticket(u64),
    /// Holder of a verified token.
    Token(Box<JoinToken>),
}

/// A connection as the hub's task knows it.
#[derive(Clone)]
pub struct Connection {
    /// Its name.
    pub id: ConnId,
    /// The way to it.
    pub line: Arc<Line>,
}

/// The handle to the hub's task. Cloning it shares the same queue.
#[derive(Clone)]
pub struct Signaling {
    inputs: mpsc::Sender<Input>,
    next: Arc<AtomicU64>,
}

impl Signaling {
    /// Makes the handle, and what the hub's task reads.
    #[must_use]
    pub fn new() -> (Signaling, mpsc::Receiver<Input>) {
        let (inputs, queue) = mpsc::channel(QUEUE);
        (Signaling { inputs, next: Arc::default() }, queue)
    }

    /// Names a new connection.
    pub(crate) fn connection(&self) -> Connection {
        let id = ConnId(self.next.fetch_add(1, Ordering::Relaxed));
        Connection { id, line: Arc::default() }
    }

    /// Hands something over; it is lost when the hub is gone, and with it the whole daemon.
    pub(crate) async fn tell(&self, input: Input) {
        let _ = self.inputs.send(input).await;
    }

    /// Asks something.
    pub(crate) async fn ask<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        self.tell(input(answer)).await;
        answered.await.map_err(|_| Problem::NotReady)
    }
}
