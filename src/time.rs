//! Plain time values: every core is told the time, none asks for it.

#![warn(missing_docs)]

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment in nanoseconds of `CLOCK_BOOTTIME`, as plain data that can be written down and replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mono(pub u64);

impl Mono {
    /// The far end of time, for what never falls due.
    pub const NEVER: Mono = Mono(u64::MAX);

    /// Returns the moment `span` later, saturating.
    #[must_use]
    pub fn after(self, span: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns the moment `secs` seconds later, saturating.
    #[must_use]
    pub fn after_secs(self, secs: u32) -> Mono {
        self.after(Duration::from_secs(u64::from(secs)))
    }

    /// Returns the time from `earlier` to this moment, or zero if it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns whole seconds of the clock.
    #[must_use]
    pub fn secs(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

/// The two clocks of one moment: monotonic for deadlines, Unix seconds for what credentials say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Monotonic time.
    pub mono: Mono,
    /// Unix time in seconds.
    pub unix: u64,
}

impl Now {
    /// Returns this moment moved on by `span` on both clocks.
    #[must_use]
    pub fn advanced(self, span: Duration) -> Now {
        let mono = self.mono.after(span);
        Now { mono, unix: self.unix + (mono.secs() - self.mono.secs()) }
    }
}
