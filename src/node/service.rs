//! What the service manager is told (sd_notify): nothing where there is none.

use std::time::Duration;

use sd_notify::NotifyState;

/// How often the status line is told where no watchdog asks for more.
const USUAL: Duration = Duration::from_secs(10);

/// The way to the service manager.
pub(super) struct Service {
    watchdog: Option<Duration>,
}

impl Service {
    /// Looks whether a watchdog waits for beats.
    pub(super) fn new() -> Service {
        Service { watchdog: sd_notify::watchdog_enabled() }
    }

    /// Returns how often a beat is due: three times before the watchdog bites.
    pub(super) fn every(&self) -> Duration {
        self.watchdog.map_or(USUAL, |watchdog| (watchdog / 3).min(USUAL))
    }

    /// Says that every socket is bound and served.
    pub(super) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// Says that every part answers, and what there is.
    pub(super) fn beat(&self, line: &str) {
        match self.watchdog {
            Some(_) => tell(&[NotifyState::Watchdog, NotifyState::Status(line)]),
            None => tell(&[NotifyState::Status(line)]),
        }
    }

    /// Says that the daemon ends.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
