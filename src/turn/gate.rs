//! The budget of answers to sources that have proven nothing (`SECURITY.md`).

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;

use foldhash::fast::FixedState;

use crate::bucket::Bucket;
use crate::time::Mono;

const ENTRIES: usize = 1 << 14;
const BURST: u64 = 200;
/// How much more a whole network may get than one address in it.
const WIDE: u64 = 10;

/// A table of fixed size: a new source overwrites what stands in its place, nothing is ever added.
pub(super) struct Gate {
    hasher: FixedState,
    entries: Box<[Entry]>,
}

#[derive(Clone, Copy)]
struct Entry {
    tag: u64,
    bucket: Bucket,
}

/// Which network a bucket belongs to.
#[derive(Clone, Copy, Hash)]
enum Network {
    /// An IPv4 address or an IPv6 /64.
    Narrow(u128),
    /// An IPv4 /24 or an IPv6 /48.
    Wide(u128),
}

impl Gate {
    pub(super) fn new(seed: u64) -> Gate {
        let empty = Entry { tag: 0, bucket: Bucket::full(Mono(0), 0) };
        Gate { hasher: FixedState::with_seed(seed), entries: vec![empty; ENTRIES].into_boxed_slice() }
    }

    /// Takes one answer from the budgets of an address and its network; `rate` 0 means no limit.
    pub(super) fn admits(&mut self, now: Mono, source: IpAddr, rate: u32) -> bool {
        if rate == 0 {
            return true;
        }
        let rate = u64::from(rate);
        let (narrow, wide) = networks(source);
        let (narrow, wide) = (self.place(now, narrow, BURST), self.place(now, wide, BURST * WIDE));
        self.entries[narrow].bucket.holds(now, rate, BURST, 1)
            && self.entries[wide].bucket.take(now, rate * WIDE, BURST * WIDE, 1)
            && self.entries[narrow].bucket.take(now, rate, BURST, 1)
    }

    /// Returns whether an address or its network has no answer left, without taking one.
    pub(super) fn is_spent(&mut self, now: Mono, source: IpAddr, rate: u32) -> bool {
        if rate == 0 {
            return false;
        }
        let rate = u64::from(rate);
        let (narrow, wide) = networks(source);
        let (narrow, wide) = (self.place(now, narrow, BURST), self.place(now, wide, BURST * WIDE));
        !self.entries[narrow].bucket.holds(now, rate, BURST, 1)
            || !self.entries[wide].bucket.holds(now, rate * WIDE, BURST * WIDE, 1)
    }

    fn place(&mut self, now: Mono, network: Network, burst: u64) -> usize {
        let tag = self.hasher.hash_one(network) | 1;
        // Each kind has a half of its own, so that an address never displaces its own network.
        let half = match network {
            Network::Narrow(_) => 0,
            Network::Wide(_) => ENTRIES / 2,
        };
        let place = half + (tag >> 32) as usize % (ENTRIES / 2);
        if self.entries[place].tag != tag {
            self.entries[place] = Entry { tag, bucket: Bucket::full(now, burst) };
        }
        place
    }
}

fn networks(source: IpAddr) -> (Network, Network) {
    match source {
        IpAddr::V4(ip) => {
            let bits = u128::from(u32::from(ip)) | 1 << 127;
            (Network::Narrow(bits), Network::Wide(bits >> 8))
        }
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            (Network::Narrow(bits >> 64), Network::Wide(bits >> 80))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(gate: &mut Gate, sources: impl Iterator<Item = String>) -> usize {
        sources.filter(|ip| gate.admits(Mono(0), ip.parse().unwrap(), 50)).count()
    }

    #[test]
    fn an_address_gets_its_burst_and_then_its_rate() {
        let mut gate = Gate::new(1);
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        let at = |millis: u64| Mono(millis * 1_000_000);
        assert_eq!((0..300).filter(|_| gate.admits(at(0), source, 50)).count(), 200);
        assert_eq!((1..=1000).filter(|ms| gate.admits(at(*ms), source, 50)).count(), 50);
        assert!((0..1000).all(|_| gate.admits(at(0), source, 0)));
    }

    #[test]
    fn first_request_of_every_source_is_admitted() {
        let sources = (0..200_000_u32).map(|i| std::net::Ipv4Addr::from(i << 8 | 1).to_string());
        assert_eq!(admitted(&mut Gate::new(1), sources), 200_000);
    }

    #[test]
    fn a_64_counts_as_one_address_and_a_network_has_ten_times_the_budget() {
        assert_eq!(admitted(&mut Gate::new(1), (0..300).map(|i| format!("2001:db8::{i:x}"))), 200);
        let sweep = (0..100).flat_map(|_| (0..256).map(|i| format!("192.0.2.{i}")));
        assert_eq!(admitted(&mut Gate::new(1), sweep), 2000);
    }
}
