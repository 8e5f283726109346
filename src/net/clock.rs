//! The one file that reads the clock.

use crate::time::{Mono, Now};

/// Returns this moment on both clocks; the monotonic one goes on while the host sleeps.
#[must_use]
pub fn now() -> Now {
    let boot = read(libc::CLOCK_BOOTTIME);
    Now { mono: Mono(seconds(&boot) * 1_000_000_000 + nanoseconds(&boot)), unix: unix_now() }
}

/// Returns seconds since 1970.
#[must_use]
pub fn unix_now() -> u64 {
    seconds(&read(libc::CLOCK_REALTIME))
}

fn seconds(time: &libc::timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0)
}

fn nanoseconds(time: &libc::timespec) -> u64 {
    u64::try_from(time.tv_nsec).unwrap_or(0)
}

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec that the kernel fills; both clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_forward() {
        let (first, second) = (now(), now());
        assert!(first.mono > Mono(0) && second.mono >= first.mono);
        assert!(first.unix > 1_700_000_000 && second.unix >= first.unix);
    }
}
