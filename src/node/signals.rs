//! The signals that the daemon listens to.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// What a signal asks for.
pub(super) enum Signal {
    /// To end.
    Stop(&'static str),
    /// To read the configuration again.
    HangUp,
}

/// The signals that the daemon listens to.
pub(super) struct Signals {
    hang_up: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn catch() -> io::Result<Signals> {
        Ok(Signals {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.hang_up.recv() => Signal::HangUp,
        }
    }
}
