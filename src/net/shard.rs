//! A shard: one thread, one loop, one server. What to do with packets, and when.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngCore;
use rand::rngs::StdRng;

use crate::net::clock;
use crate::net::counters::{Close, NetDrop};
use crate::net::engine::poll::Interest;
use crate::net::engine::receive::{self, Inbox, Receiver};
use crate::net::journal;
use crate::net::mailbox::{Command, Letter, Mailbox, Snapshot};
use crate::net::outbound::{Outbound, Outbox};
use crate::net::relay::Translation;
use crate::net::ring::{Alarm, Entries};
use crate::net::stream::connection::Phase;
use crate::net::stream::table::StreamId;
use crate::net::token::Token;
use crate::stun::{Frame, next_frame};
use crate::turn::{
    Action, ClientPath, DropReason, Event, LinkId, Now, RelayId, Rng, Server, ShardId, Shared, Transport,
    Verdict,
};

/// Letters and streams taken in one wake-up.
const MAIL_BUDGET: usize = 64;

/// Calls of `handle_timeout` in one wake-up; each does bounded work itself.
const TIMEOUT_BUDGET: usize = 16;

/// Buffers that have to be free before a relay socket is read.
const RELAY_ROOM: usize = 8;

/// Senseless messages in a row after which a stream is closed (RFC 5766 §4).
const BAD_RUN: u8 = 8;

/// Largest message that is waited for on a stream without an allocation: nobody keeps 64 KiB for a stranger.
const LARGEST_UNPROVEN: usize = 4096;

/// Bytes read at once from a stream without an allocation.
const READ_UNPROVEN: usize = 4096;

/// Bytes of answers that a stream without an allocation may leave unread and still ask for more.
const UNREAD_UNPROVEN: usize = 16 << 10;

/// Holds the beginning of a message, what a stream is read at once, and what TLS has decrypted beside.
const SCRATCH: usize = 192 << 10;

/// The operating system's randomness, stretched.
pub(crate) struct Seeded(pub(crate) StdRng);

impl Rng for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

/// One media thread's all.
pub(crate) struct Shard<S: Shared> {
    pub(crate) id: ShardId,
    pub(crate) server: Server<S, Seeded>,
    pub(crate) out: Outbound,
    pub(crate) entries: Entries,
    pub(crate) mailbox: Mailbox,
    pub(crate) alarm: Arc<Alarm>,
    inbox: Inbox,
    receiver: Receiver,
    scratch: Box<[u8]>,
    now: Now,
}

impl<S: Shared> Shard<S> {
    pub(crate) fn new(
        id: ShardId,
        server: Server<S, Seeded>,
        out: Outbound,
        entries: Entries,
        mailbox: Mailbox,
        alarm: Arc<Alarm>,
    ) -> Shard<S> {
        let scratch = vec![0; SCRATCH].into_boxed_slice();
        let (inbox, receiver) = (Inbox::new(), Receiver::new());
        Shard { id, server, out, entries, mailbox, alarm, inbox, receiver, scratch, now: clock::now() }
    }

    /// Runs until it is told to stop.
    pub(crate) fn run(mut self) -> std::io::Result<()> {
        self.out.poll.add(self.alarm.bell(), Token::Bell.pack(), Interest::READ)?;
        for (i, listener) in self.out.listeners.iter().enumerate() {
            self.out.poll.add(&listener.socket, Token::Listener(i as u32).pack(), Interest::READ)?;
        }
        self.server.subscribe(tracing::enabled!(tracing::Level::INFO));
        loop {
            self.wait()?;
            self.now = clock::now();
            self.read_datagrams();
            self.read_streams();
            self.read_rings();
            if let Some(stop) = self.read_mail() {
                self.stop();
                let _ = stop.send(());
                return Ok(());
            }
            self.run_timeouts();
            self.write_streams();
            self.write_journal();
            self.out.exits.wake_readers();
        }
    }

    fn wait(&mut self) -> std::io::Result<()> {
        let due = [self.server.poll_timeout(), self.out.streams.next_deadline()];
        let mut timeout = due.into_iter().flatten().min().map(|at| at.since(self.now.mono));
        self.alarm.fall_asleep();
        if !self.entries.is_empty() {
            timeout = Some(Duration::ZERO);
        }
        let waited = self.out.poll.wait(timeout);
        self.alarm.wake_up();
        waited
    }

    fn read_datagrams(&mut self) {
        let Shard { server, out, inbox, receiver, now, .. } = self;
        let mut at = 0;
        while at < out.poll.ready() {
            let (mut room, answers) = inbox.room();
            let mut outbox = out.outbox(answers);
            while at < out.poll.ready() {
                let (want, reader) = match Token::unpack(out.poll.event(at).token) {
                    Token::Listener(index) => (receive::BATCH, Some(Source::Listener(index))),
                    Token::Relay(relay) => (RELAY_ROOM, Some(Source::Relay(relay))),
                    Token::Bell | Token::Stream { .. } => (0, None),
                };
                if room.len() < want {
                    break;
                }
                at += 1;
                if let Some(source) = reader {
                    read_socket(server, out, receiver, *now, source, &mut room, &mut outbox);
                }
            }
            out.finish(outbox);
            report_lost(server, out, *now);
            *now = clock::now();
        }
    }

    fn read_streams(&mut self) {
        for at in 0..self.out.poll.ready() {
            let event = self.out.poll.event(at);
            match Token::unpack(event.token) {
                Token::Stream { slot, generation } => {
                    let id = StreamId { slot, generation };
                    if event.writable || event.failed {
                        self.out.streams.mark_dirty(id);
                    }
                    if event.readable {
                        self.read_stream(id);
                    }
                }
                Token::Bell => self.alarm.bell().silence(),
                Token::Listener(_) | Token::Relay(_) => {}
            }
        }
    }

    fn read_stream(&mut self, id: StreamId) {
        let Shard { server, out, scratch, now, .. } = self;
        let Some(stream) = out.streams.get_mut(id).filter(|stream| stream.phase == Phase::Open) else {
            return;
        };
        let is_proven = server.has_allocation(&stream.path);
        if !is_proven && stream.queue.waiting() > UNREAD_UNPROVEN {
            return out.streams.end(id, Close::SlowClient);
        }
        let (filled, mut end) = stream.read(scratch, if is_proven { SCRATCH } else { READ_UNPROVEN });
        let (path, wants_write) = (stream.path, stream.transport.wants_write());
        let bytes = &scratch[..filled];
        let mut outbox = out.outbox(&mut []);
        let mut at = 0;
        while let Some(stream) = out.streams.get_mut(id) {
            match next_frame(&bytes[at..]) {
                Frame::Whole { len, total } => {
                    let verdict = server.handle_client(*now, path, &bytes[at..at + len]);
                    stream.bad_run = if makes_no_sense(&verdict) { stream.bad_run + 1 } else { 0 };
                    if stream.bad_run == BAD_RUN {
                        end = Some(Close::BadMessages);
                        break;
                    }
                    settle(server, out, *now, verdict, &mut outbox);
                    at += total;
                }
                Frame::Partial { total } if total > LARGEST_UNPROVEN && !server.has_allocation(&path) => {
                    end = Some(Close::TooLarge);
                    break;
                }
                Frame::Partial { .. } => break,
                Frame::OutOfStep => {
                    end = Some(Close::OutOfStep);
                    break;
                }
            }
        }
        out.finish(outbox);
        if let Some(stream) = out.streams.get_mut(id) {
            stream.keep(&bytes[at..]);
            if at > 0 {
                stream.heard = now.mono;
            }
        }
        if wants_write {
            out.streams.mark_dirty(id);
        }
        match end {
            Some(Close::Client) => out.streams.finish(id, now.mono),
            Some(why) => out.streams.end(id, why),
            None => {}
        }
        report_lost(server, out, *now);
    }

    fn read_rings(&mut self) {
        let Shard { server, out, entries, now, .. } = self;
        for ring in 0..entries.incoming() {
            entries.read(ring, |packets| {
                let mut outbox = out.outbox(&mut []);
                for passed in packets {
                    out.stats.hairpin_in += 1;
                    let verdict = server.handle_peer(*now, passed.relay, passed.from, passed.payload);
                    settle(server, out, *now, verdict, &mut outbox);
                }
                out.finish(outbox);
            });
        }
        report_lost(server, out, *now);
    }

    /// Reads the mailbox; returns whom to tell when the shard has stopped.
    fn read_mail(&mut self) -> Option<tokio::sync::oneshot::Sender<()>> {
        let mut budget = MAIL_BUDGET;
        while budget > 0
            && let Ok(letter) = self.mailbox.letters.try_recv()
        {
            budget -= 1;
            match letter {
                Letter::Snapshot(reply) => {
                    let _ = reply.send(self.snapshot());
                }
                Letter::Command(Command::Stop, done) => return Some(done),
                Letter::Command(command, done) => {
                    self.obey(command);
                    let _ = done.send(());
                }
            }
        }
        while budget > 0
            && let Ok(handoff) = self.mailbox.streams.try_recv()
        {
            budget -= 1;
            match self.out.streams.adopt(&self.out.poll, handoff, self.now.mono) {
                Some(id) => {
                    self.out.stats.streams_opened += 1;
                    self.read_stream(id);
                }
                None => {
                    self.out.stats.count_close(Close::Io);
                    self.mailbox.open_streams.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        if budget == 0 {
            self.alarm.bell().ring();
        }
        None
    }

    fn obey(&mut self, command: Command) {
        let event = match command {
            Command::Policy(policy) => {
                self.out.names = Translation::new(policy.relays());
                Event::Policy(policy)
            }
            Command::Credentials(credentials) => Event::Credentials(credentials),
            Command::Limits(limits) => Event::Limits(limits),
            Command::End(session) => Event::End(session),
            Command::Drain => Event::Drain,
            Command::Stop => return,
        };
        feed(&mut self.server, &mut self.out, self.now, event);
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            shard: self.id,
            turn: self.server.stats().clone(),
            net: self.out.stats.clone(),
            allocations: self.server.allocations().count(),
            streams: self.out.streams.len(),
            kernel_drops: self.out.kernel_drops(),
        }
    }

    fn run_timeouts(&mut self) {
        let Shard { server, out, now, .. } = self;
        for _ in 0..TIMEOUT_BUDGET {
            if server.poll_timeout().is_none_or(|at| at > now.mono) {
                break;
            }
            server.handle_timeout(*now);
            drain_alone(server, out, *now);
        }
        out.streams.end_idle(now.mono, |path| server.has_allocation(path));
    }

    fn write_streams(&mut self) {
        self.out.streams.flush(&self.out.poll);
        while let Some((id, path, why)) = self.out.streams.next_ended() {
            feed(&mut self.server, &mut self.out, self.now, Event::ClientClosed(path));
            self.out.streams.release(id);
            self.out.stats.count_close(why);
            self.mailbox.open_streams.fetch_sub(1, Ordering::Relaxed);
            tracing::debug!(client = %crate::telemetry::ClientAddr(path.remote), reason = why.label(), "stream closed");
        }
    }

    fn write_journal(&mut self) {
        while let Some(change) = self.server.poll_change() {
            journal::note(self.id, &change);
        }
    }

    fn stop(&mut self) {
        self.out.streams.end_all(&self.out.poll);
        self.write_streams();
        self.write_journal();
    }
}

#[derive(Clone, Copy)]
enum Source {
    Listener(u32),
    Relay(RelayId),
}

fn read_socket<'b, S: Shared>(
    server: &mut Server<S, Seeded>,
    out: &mut Outbound,
    receiver: &mut Receiver,
    now: Now,
    source: Source,
    room: &mut receive::Room<'b>,
    outbox: &mut Outbox<'b>,
) {
    let received = match source {
        Source::Listener(index) => {
            let Some(listener) = out.listeners.get(index as usize) else { return };
            receiver.receive(listener.socket.as_fd(), room, receive::BATCH, listener.is_wildcard())
        }
        Source::Relay(relay) => {
            let Some((socket, _)) = out.relays.get(relay) else { return };
            receiver.receive(socket.as_fd(), room, receive::BATCH, false)
        }
    };
    let batch = match received {
        Ok(batch) => batch,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
        Err(error) => {
            tracing::debug!(%error, "reading a socket failed");
            out.stats.count_drop(NetDrop::ReceiveFailed);
            if let Source::Relay(relay) = source {
                out.lost.push(relay);
            }
            return;
        }
    };
    out.stats.received += batch.len() as u64;
    for datagram in batch.datagrams() {
        if datagram.truncated {
            out.stats.count_drop(NetDrop::Truncated);
            continue;
        }
        let verdict = match source {
            Source::Listener(index) => {
                let local = out.listeners[index as usize].local(datagram.to);
                server.handle_client(now, udp_path(datagram.from, local, index), datagram.bytes)
            }
            Source::Relay(relay) => {
                server.handle_peer(now, relay, out.names.source(datagram.from), datagram.bytes)
            }
        };
        settle(server, out, now, verdict, outbox);
    }
}

/// Whether a message was none that a client in step with the stream would send.
fn makes_no_sense(verdict: &Verdict<'_>) -> bool {
    match verdict {
        Verdict::Dropped(reason) => matches!(
            reason,
            DropReason::FingerprintMismatch
                | DropReason::NotStun
                | DropReason::StunMalformed
                | DropReason::UnknownClient
        ),
        Verdict::ToPeer { .. } | Verdict::ToClient { .. } | Verdict::ToShard { .. } | Verdict::Queued => {
            false
        }
    }
}

fn udp_path(remote: SocketAddr, local: SocketAddr, index: u32) -> ClientPath {
    ClientPath { remote, local, link: LinkId(index), transport: Transport::Udp }
}

fn settle<'b, S: Shared>(
    server: &mut Server<S, Seeded>,
    out: &mut Outbound,
    now: Now,
    verdict: Verdict<'b>,
    outbox: &mut Outbox<'b>,
) {
    match verdict {
        Verdict::Queued => drain(server, out, now, outbox),
        Verdict::ToPeer { .. } | Verdict::ToClient { .. } | Verdict::ToShard { .. } | Verdict::Dropped(_) => {
            out.carry_out(verdict, outbox);
        }
    }
}

/// Carries out every action that waits, before the next input.
fn drain<S: Shared>(server: &mut Server<S, Seeded>, out: &mut Outbound, now: Now, outbox: &mut Outbox<'_>) {
    while let Some(action) = server.poll_action() {
        match action {
            Action::Answer { to, bytes } => out.answer(&to, bytes, outbox),
            Action::OpenRelay { relay, addr, source } => {
                let result = out.relays.open(&out.poll, relay, addr, source);
                server.handle(now, Event::RelayOpened { relay, result });
            }
            Action::CloseRelay { relay } => {
                // What waits to be sent names the socket by its number.
                out.flush(outbox);
                out.relays.close(relay);
            }
            Action::CloseReserved { addr } => out.relays.close_reserved(addr),
        }
    }
}

fn drain_alone<S: Shared>(server: &mut Server<S, Seeded>, out: &mut Outbound, now: Now) {
    let mut outbox = out.outbox(&mut []);
    drain(server, out, now, &mut outbox);
    out.finish(outbox);
}

fn feed<S: Shared>(server: &mut Server<S, Seeded>, out: &mut Outbound, now: Now, event: Event) {
    server.handle(now, event);
    drain_alone(server, out, now);
}

fn report_lost<S: Shared>(server: &mut Server<S, Seeded>, out: &mut Outbound, now: Now) {
    while let Some(relay) = out.lost.pop() {
        feed(server, out, now, Event::PeerError { relay });
    }
}
