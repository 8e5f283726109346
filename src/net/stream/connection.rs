//! One established stream of a client.

use std::net::{SocketAddr, TcpStream};

use rustls::ServerConnection;

use crate::net::admission::{Place, SourcePlace};
use crate::net::counters::Close;
use crate::net::engine::poll::Interest;
use crate::net::stream::queue::WriteQueue;
use crate::net::stream::transport::Transport;
use crate::time::Mono;
use crate::turn::ClientPath;

/// What the lobby hands to a shard.
pub(crate) struct Handoff {
    pub(crate) socket: TcpStream,
    pub(crate) session: Option<Box<ServerConnection>>,
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) places: Places,
}

/// Places that a stream holds as long as it lives.
pub(crate) struct Places {
    pub(crate) _total: Place,
    /// None for a proxy, whose clients count instead, and for one too many.
    pub(crate) _source: Option<SourcePlace>,
    /// Place among the beginnings of its source, held by one too many until it is told so.
    pub(crate) one_too_many: Option<SourcePlace>,
}

/// How far a stream is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is read and written.
    Open,
    /// The client sends no more; what was asked is still answered, until that time.
    Answering(Mono),
    /// Nothing more is read or written.
    Ended(Close),
}

/// An established stream.
pub(crate) struct Stream {
    pub(crate) path: ClientPath,
    pub(crate) transport: Transport,
    pub(crate) queue: WriteQueue,
    pub(crate) phase: Phase,
    pub(crate) interest: Interest,
    pub(crate) is_dirty: bool,
    /// When the last whole message came.
    pub(crate) heard: Mono,
    /// Messages in a row that made no sense.
    pub(crate) bad_run: u8,
    /// The beginning of a message; holds no memory between messages.
    partial: Vec<u8>,
    _places: Places,
}

impl Stream {
    pub(crate) fn new(path: ClientPath, transport: Transport, places: Places, now: Mono) -> Stream {
        Stream {
            path,
            transport,
            queue: WriteQueue::default(),
            phase: Phase::Open,
            interest: Interest::READ,
            is_dirty: false,
            heard: now,
            bad_run: 0,
            partial: Vec::new(),
            _places: places,
        }
    }

    /// Puts the beginning that is kept and what can be read now, about `most` bytes, into `scratch`.
    pub(crate) fn read(&mut self, scratch: &mut [u8], most: usize) -> (usize, Option<Close>) {
        let kept = self.partial.len();
        scratch[..kept].copy_from_slice(&self.partial);
        let (count, end) = self.transport.read(&mut scratch[kept..], most);
        (kept + count, end)
    }

    /// Keeps the beginning of a message until the rest has come.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
            self.partial.reserve_exact(rest.len());
            self.partial.extend_from_slice(rest);
        }
    }
}
