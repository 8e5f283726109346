//! The streams of a shard: who they are, what they are owed, and when they have been idle for too long.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::net::counters::{Close, NetDrop, NetStats};
use crate::net::engine::poll::{Interest, Poll};
use crate::net::stream::connection::{Handoff, Phase, Stream};
use crate::net::stream::queue::{Kind, Overflow};
use crate::net::stream::transport::Transport;
use crate::net::token::Token;
use crate::time::Mono;
use crate::turn::{ClientPath, LinkId, Transport as Carrier};

/// How long a client that sends no more has to take its answers.
const ANSWERING: Duration = Duration::from_secs(5);

const STREAM_LINK: u32 = 1 << 31;

/// Name of a stream: its slot, and the generation of the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    stream: Option<Box<Stream>>,
}

/// Deadlines looked at in one call; the next wait is short while more are due.
const WORK: usize = 64;

/// The streams of a shard by their slot.
pub(crate) struct Streams {
    slots: Vec<Slot>,
    free: Vec<u32>,
    open: usize,
    dirty: Vec<StreamId>,
    ended: Vec<StreamId>,
    deadlines: BinaryHeap<Reverse<(Mono, StreamId)>>,
    idle: Duration,
}

/// Says whether a link is a stream, and not a socket that all clients share.
pub(crate) fn is_stream(link: LinkId) -> bool {
    link.0 & STREAM_LINK != 0
}

impl Streams {
    pub(crate) fn new(idle: Duration) -> Streams {
        Streams {
            slots: Vec::new(),
            free: Vec::new(),
            open: 0,
            dirty: Vec::new(),
            ended: Vec::new(),
            deadlines: BinaryHeap::new(),
            idle,
        }
    }

    /// Returns how many streams there are.
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    /// Takes over a stream from the lobby; none if it cannot be waited for.
    pub(crate) fn adopt(&mut self, poll: &Poll, handoff: Handoff, now: Mono) -> Option<StreamId> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        let id = StreamId { slot, generation: entry.generation };
        let transport = Transport::new(handoff.socket, handoff.session);
        if poll.add(&transport, id.token(), Interest::READ).is_err() {
            self.free.push(slot);
            return None;
        }
        let path = ClientPath {
            remote: handoff.remote,
            local: handoff.local,
            link: LinkId(STREAM_LINK | slot),
            transport: if transport.is_tls() { Carrier::Tls } else { Carrier::Tcp },
        };
        entry.stream = Some(Box::new(Stream::new(path, transport, handoff.places, now)));
        self.open += 1;
        self.deadlines.push(Reverse((now.after(self.idle), id)));
        Some(id)
    }

    /// Returns a stream; none if its name is stale or it has ended.
    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        slot.stream.as_deref_mut().filter(|stream| !matches!(stream.phase, Phase::Ended(_)))
    }

    /// Queues a frame for a client.
    pub(crate) fn push(&mut self, link: LinkId, kind: Kind, parts: [&[u8]; 3], stats: &mut NetStats) {
        let slot = link.0 & !STREAM_LINK;
        let id =
            StreamId { slot, generation: self.slots.get(slot as usize).map_or(0, |slot| slot.generation) };
        let Some(stream) = self.get_mut(id) else { return stats.count_drop(NetDrop::StreamGone) };
        match stream.queue.push(kind, parts) {
            Ok(dropped) => {
                (0..dropped).for_each(|_| stats.count_drop(NetDrop::SlowClientData));
                self.mark_dirty(id);
            }
            Err(Overflow) => self.end(id, Close::SlowClient),
        }
    }

    /// Has a stream written at the end of this wake-up.
    pub(crate) fn mark_dirty(&mut self, id: StreamId) {
        if let Some(stream) = self.get_mut(id)
            && !stream.is_dirty
        {
            stream.is_dirty = true;
            self.dirty.push(id);
        }
    }

    /// Stops reading a stream whose client sends no more, and ends it when its answers are written.
    pub(crate) fn finish(&mut self, id: StreamId, now: Mono) {
        let until = now.after(ANSWERING);
        if let Some(stream) = self.get_mut(id) {
            stream.phase = Phase::Answering(until);
            self.deadlines.push(Reverse((until, id)));
            self.mark_dirty(id);
        }
    }

    /// Ends a stream: nothing more is read or written.
    pub(crate) fn end(&mut self, id: StreamId, why: Close) {
        if let Some(stream) = self.get_mut(id) {
            stream.phase = Phase::Ended(why);
            self.ended.push(id);
        }
    }

    /// Writes what waits on the streams that were marked.
    pub(crate) fn flush(&mut self, poll: &Poll) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let Some(stream) = self.get_mut(id) else { continue };
            stream.is_dirty = false;
            let is_done = match stream.transport.write(&mut stream.queue) {
                Ok(is_done) => is_done,
                Err(_) => {
                    self.end(id, Close::Io);
                    continue;
                }
            };
            let is_open = stream.phase == Phase::Open;
            let interest = Interest { read: is_open, write: !is_done };
            let changed = stream.interest != interest;
            stream.interest = interest;
            if is_done && !is_open {
                self.end(id, Close::Client);
            } else if changed && poll.change(&stream.transport, id.token(), interest).is_err() {
                self.end(id, Close::Io);
            }
        }
        self.dirty = dirty;
    }

    /// Returns a stream that has ended; it stays named until it is released.
    pub(crate) fn next_ended(&mut self) -> Option<(StreamId, ClientPath, Close)> {
        let id = self.ended.pop()?;
        let stream = self.slots[id.slot as usize].stream.as_ref()?;
        match stream.phase {
            Phase::Ended(why) => Some((id, stream.path, why)),
            Phase::Open | Phase::Answering(_) => None,
        }
    }

    /// Closes a stream that has ended; from now on its slot and link may name another.
    pub(crate) fn release(&mut self, id: StreamId) {
        let slot = &mut self.slots[id.slot as usize];
        if let Some(mut stream) = slot.stream.take() {
            stream.transport.close();
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(id.slot);
            self.open -= 1;
        }
    }

    /// Returns when some stream has to be looked at.
    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// Ends streams that are due, but for those that `is_needed` keeps.
    pub(crate) fn end_idle(&mut self, now: Mono, mut is_needed: impl FnMut(&ClientPath) -> bool) {
        for _ in 0..WORK {
            let Some(&Reverse((at, id))) = self.deadlines.peek() else { return };
            if at > now {
                return;
            }
            self.deadlines.pop();
            let idle = self.idle;
            let Some(stream) = self.get_mut(id) else { continue };
            match stream.phase {
                Phase::Answering(until) if until <= now => self.end(id, Close::SlowClient),
                Phase::Answering(_) | Phase::Ended(_) => {}
                Phase::Open => {
                    if is_needed(&stream.path) {
                        stream.heard = now;
                    }
                    let next = stream.heard.after(idle);
                    if next <= now {
                        self.end(id, Close::Idle);
                    } else {
                        self.deadlines.push(Reverse((next, id)));
                    }
                }
            }
        }
    }

    /// Ends all streams, after writing what their sockets take at once.
    pub(crate) fn end_all(&mut self, poll: &Poll) {
        self.flush(poll);
        for slot in 0..self.slots.len() as u32 {
            let generation = self.slots[slot as usize].generation;
            self.end(StreamId { slot, generation }, Close::Shutdown);
        }
    }
}

impl StreamId {
    fn token(self) -> u64 {
        Token::Stream { slot: self.slot, generation: self.generation }.pack()
    }
}
