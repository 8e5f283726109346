//! Commands to a shard, and the handle that gives them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::auth::{Credentials, SessionId};
use crate::net::counters::NetStats;
use crate::net::ring::Alarm;
use crate::net::stream::connection::Handoff;
use crate::turn::{Limits, Policy, ShardId, Stats};

/// How long a caller waits for a shard.
pub const PATIENCE: Duration = Duration::from_millis(100);

const COMMANDS: usize = 64;
const STREAMS: usize = 1024;

/// What a shard can be told.
#[derive(Debug)]
pub enum Command {
    /// A new peer policy; what stands is judged again by its next packet.
    Policy(Arc<Policy>),
    /// New users and secrets.
    Credentials(Arc<Credentials>),
    /// New limits.
    Limits(Limits),
    /// A signaling session was kicked: its allocations end.
    End(SessionId),
    /// No new allocations from now on.
    Drain,
    /// End the thread, and with it every allocation of the shard.
    Stop,
}

/// What a shard tells about itself.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which shard.
    pub shard: ShardId,
    /// Counters of the relay core.
    pub turn: Stats,
    /// Counters of sockets and streams.
    pub net: NetStats,
    /// Allocations that live now.
    pub allocations: usize,
    /// Streams that are open now.
    pub streams: usize,
    /// Datagrams that the kernel dropped at sockets that are open now, for want of room.
    pub kernel_drops: u64,
}

/// The shard did not take or carry out a command in time, or it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shard {} does not answer", .0.0)]
pub struct ShardBusy(pub ShardId);

pub(crate) enum Letter {
    Command(Command, oneshot::Sender<()>),
    Snapshot(oneshot::Sender<Snapshot>),
}

/// The shard's end.
pub(crate) struct Mailbox {
    pub(crate) letters: Receiver<Letter>,
    pub(crate) streams: Receiver<Handoff>,
    pub(crate) open_streams: Arc<AtomicUsize>,
}

/// A handle on a running shard.
#[derive(Clone)]
pub struct ShardHandle {
    id: ShardId,
    letters: SyncSender<Letter>,
    streams: SyncSender<Handoff>,
    alarm: Arc<Alarm>,
    open_streams: Arc<AtomicUsize>,
}

/// Makes a mailbox and the handle that fills it.
pub(crate) fn mailbox(id: ShardId, alarm: Arc<Alarm>) -> (ShardHandle, Mailbox) {
    let (letters, letters_in) = sync_channel(COMMANDS);
    let (streams, streams_in) = sync_channel(STREAMS);
    let open_streams = Arc::new(AtomicUsize::new(0));
    let mailbox =
        Mailbox { letters: letters_in, streams: streams_in, open_streams: Arc::clone(&open_streams) };
    (ShardHandle { id, letters, streams, alarm, open_streams }, mailbox)
}

impl ShardHandle {
    /// Returns which shard it is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Gives a command and waits until it is carried out.
    pub async fn command(&self, command: Command) -> Result<(), ShardBusy> {
        let (done, wait) = oneshot::channel();
        self.post(Letter::Command(command, done))?;
        self.answer(wait).await
    }

    /// Asks how the shard is.
    pub async fn snapshot(&self) -> Result<Snapshot, ShardBusy> {
        let (reply, wait) = oneshot::channel();
        self.post(Letter::Snapshot(reply))?;
        self.answer(wait).await
    }

    /// Returns how many streams the shard has or was given.
    pub(crate) fn open_streams(&self) -> usize {
        self.open_streams.load(Ordering::Relaxed)
    }

    /// Hands a stream over; it comes back if the shard takes no more.
    pub(crate) fn hand_over(&self, stream: Handoff) -> Result<(), ShardBusy> {
        self.open_streams.fetch_add(1, Ordering::Relaxed);
        if self.streams.try_send(stream).is_err() {
            self.open_streams.fetch_sub(1, Ordering::Relaxed);
            return Err(ShardBusy(self.id));
        }
        self.alarm.bell().ring();
        Ok(())
    }

    fn post(&self, letter: Letter) -> Result<(), ShardBusy> {
        self.letters.try_send(letter).map_err(|_| ShardBusy(self.id))?;
        self.alarm.bell().ring();
        Ok(())
    }

    async fn answer<T>(&self, wait: oneshot::Receiver<T>) -> Result<T, ShardBusy> {
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(ShardBusy(self.id)),
        }
    }
}
