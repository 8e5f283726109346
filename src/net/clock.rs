//! The one file that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}
