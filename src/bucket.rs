//! Token bucket fed by the caller's clock.

#![warn(missing_docs)]

use std::time::Duration;

use crate::time::Mono;

/// Tokens that grow at a steady rate up to a burst.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Tokens at `at`, in 10^-9 of a token: what one nanosecond brings is a whole number of them.
    level: u64,
    at: Mono,
}

const SCALE: u128 = 1_000_000_000;

impl Bucket {
    /// Returns a bucket that is full at `now`.
    #[must_use]
    pub fn full(now: Mono, burst: u64) -> Bucket {
        Bucket { level: scaled(burst), at: now }
    }

    /// Takes `tokens` if they are there; `rate` is in tokens a second.
    pub fn take(&mut self, now: Mono, rate: u64, burst: u64, tokens: u64) -> bool {
        self.fill(now, rate, burst);
        let wanted = scaled(tokens);
        let enough = self.level >= wanted;
        if enough {
            self.level -= wanted;
        }
        enough
    }

    /// Takes up to `tokens` and returns how many were had.
    pub fn take_up_to(&mut self, now: Mono, rate: u64, burst: u64, tokens: u64) -> u64 {
        self.fill(now, rate, burst);
        let had = tokens.min((u128::from(self.level) / SCALE) as u64);
        self.level -= scaled(had);
        had
    }

    /// Returns whether the bucket holds at least `tokens`, without taking them.
    pub fn holds(&mut self, now: Mono, rate: u64, burst: u64, tokens: u64) -> bool {
        self.fill(now, rate, burst);
        self.level >= scaled(tokens)
    }

    /// Returns how long it takes until the bucket holds `tokens`, or is full if it never can.
    #[must_use]
    pub fn wait(&mut self, now: Mono, rate: u64, burst: u64, tokens: u64) -> Duration {
        self.fill(now, rate, burst);
        let missing = scaled(tokens.min(burst)).saturating_sub(self.level);
        Duration::from_nanos(missing.div_ceil(rate.max(1)))
    }

    /// Puts tokens back that were leased and not used.
    pub fn give_back(&mut self, burst: u64, tokens: u64) {
        self.level = self.level.saturating_add(scaled(tokens)).min(scaled(burst));
    }

    fn fill(&mut self, now: Mono, rate: u64, burst: u64) {
        let elapsed = now.since(self.at).as_nanos();
        let gained = elapsed.saturating_mul(u128::from(rate));
        let level = u128::from(self.level).saturating_add(gained).min(u128::from(scaled(burst)));
        self.level = level as u64;
        self.at = self.at.max(now);
    }
}

fn scaled(tokens: u64) -> u64 {
    u64::try_from(u128::from(tokens) * SCALE).unwrap_or(u64::MAX)
}

/// Returns bytes a second of a bit rate, and how many may be saved up: those of a quarter of a second, and never
/// less than one large datagram.
#[must_use]
pub fn byte_rate(bits: u64) -> (u64, u64) {
    let rate = (bits / 8).max(1);
    (rate, (rate / 4).max(65_536))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono(millis * 1_000_000)
    }

    #[test]
    fn burst_goes_through_and_then_the_rate_holds() {
        let mut bucket = Bucket::full(at(0), 10);
        assert_eq!((0..20).filter(|_| bucket.take(at(0), 5, 10, 1)).count(), 10);
        assert_eq!((0..1000).filter(|ms| bucket.take(at(*ms), 5, 10, 1)).count(), 4);
        assert!(bucket.take(at(1000), 5, 10, 1));
    }

    #[test]
    fn the_wait_is_just_long_enough() {
        let mut bucket = Bucket::full(at(0), 10);
        assert_eq!(bucket.wait(at(0), 4, 10, 10), Duration::ZERO);
        assert!(bucket.take(at(0), 4, 10, 10));
        let wait = bucket.wait(at(0), 4, 10, 3);
        assert_eq!(wait, Duration::from_millis(750));
        assert!(!bucket.take(at(749), 4, 10, 3));
        assert!(bucket.take(at(750), 4, 10, 3));
        assert_eq!(bucket.wait(at(750), 4, 10, 100), Duration::from_millis(2500));
    }

    #[test]
    fn time_that_runs_backwards_gives_nothing() {
        let mut bucket = Bucket::full(at(1000), 1);
        assert!(bucket.take(at(1000), 1, 1, 1));
        assert!(!bucket.take(at(0), 1, 1, 1));
        assert!(!bucket.take(at(1500), 1, 1, 1));
        assert!(bucket.take(at(2000), 1, 1, 1));
    }

    #[test]
    fn leases_are_partial_and_may_come_back() {
        let mut bucket = Bucket::full(at(0), 100);
        assert_eq!(bucket.take_up_to(at(0), 10, 100, 60), 60);
        assert_eq!(bucket.take_up_to(at(0), 10, 100, 60), 40);
        bucket.give_back(100, 30);
        assert_eq!(bucket.take_up_to(at(0), 10, 100, 60), 30);
    }
}
