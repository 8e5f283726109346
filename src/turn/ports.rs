//! The relayed ports of one address: who has which.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::turn::ids::{RelayId, ShardId};

/// One word a port: 0 is free, 1 is reserved, else shard, slot and generation of the relay.
///
/// Callers of what writes hold the shared table's lock; [`PortPool::tenant`] needs none.
pub(super) struct PortPool {
    local: IpAddr,
    first: u16,
    words: Box<[AtomicU64]>,
    free: AtomicUsize,
}

const FREE: u64 = 0;
const RESERVED: u64 = 1;
const SLOT_BITS: u32 = 24;

/// What stands in a port's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenant {
    /// The socket is parked for whoever brings the token.
    Reserved,
    /// A relay.
    Relay(ShardId, RelayId),
}

impl PortPool {
    /// Makes a pool of the ports from `first` to `last`.
    pub(super) fn new(local: IpAddr, first: u16, last: u16) -> PortPool {
        let words: Box<[AtomicU64]> = (first..=last).map(|_| AtomicU64::new(FREE)).collect();
        PortPool { local, first, free: AtomicUsize::new(words.len()), words }
    }

    /// Returns the address that relays bind to.
    pub(super) fn local(&self) -> IpAddr {
        self.local
    }

    /// Picks a free port at random (RFC 6056); `fits` narrows the choice.
    pub(super) fn pick(
        &self,
        random: &mut dyn FnMut() -> u64,
        fits: impl Fn(&PortPool, u16) -> bool,
    ) -> Option<u16> {
        const TRIES: usize = 16;
        if self.free.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let free_and_fit = |port: &u16| self.is_free(*port) && fits(self, *port);
        for _ in 0..TRIES {
            if let Some(port) = Some(self.random_port(random)).filter(free_and_fit) {
                return Some(port);
            }
        }
        // Few are left: the next one behind a random place.
        let start = usize::from(self.random_port(random) - self.first);
        (0..self.words.len())
            .map(|step| self.first + ((start + step) % self.words.len()) as u16)
            .find(free_and_fit)
    }

    pub(super) fn is_free(&self, port: u16) -> bool {
        self.word(port).is_some_and(|word| word.load(Ordering::Relaxed) == FREE)
    }

    /// Gives a port to a tenant.
    pub(super) fn set(&self, port: u16, tenant: Tenant) {
        let value = match tenant {
            Tenant::Reserved => RESERVED,
            Tenant::Relay(shard, relay) => pack(shard, relay),
        };
        if self.swap(port, value) == Some(FREE) {
            self.free.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Frees a port.
    pub(super) fn clear(&self, port: u16) {
        if self.swap(port, FREE).is_some_and(|before| before != FREE) {
            self.free.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says who has a port.
    pub(super) fn tenant(&self, port: u16) -> Option<Tenant> {
        match self.word(port)?.load(Ordering::Acquire) {
            FREE => None,
            RESERVED => Some(Tenant::Reserved),
            packed => {
                let slot = (packed >> 8) as u32 & ((1 << SLOT_BITS) - 1);
                let relay = RelayId { slot, generation: (packed >> 32) as u32 };
                Some(Tenant::Relay(ShardId(packed as u8), relay))
            }
        }
    }

    fn swap(&self, port: u16, value: u64) -> Option<u64> {
        self.word(port).map(|word| word.swap(value, Ordering::Release))
    }

    fn word(&self, port: u16) -> Option<&AtomicU64> {
        self.words.get(usize::from(port.checked_sub(self.first)?))
    }

    fn random_port(&self, random: &mut dyn FnMut() -> u64) -> u16 {
        // The range is far smaller than 2^64, so the remainder is as good as uniform.
        self.first + (random() % self.words.len() as u64) as u16
    }
}

fn pack(shard: ShardId, relay: RelayId) -> u64 {
    debug_assert!(relay.slot < 1 << SLOT_BITS && relay.generation > 0);
    u64::from(relay.generation) << 32 | u64::from(relay.slot) << 8 | u64::from(shard.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(first: u16, last: u16) -> PortPool {
        PortPool::new(IpAddr::from([192, 0, 2, 1]), first, last)
    }

    fn counter() -> impl FnMut() -> u64 {
        let mut state = 2_u64;
        move || {
            // SplitMix64: enough to spread a test's picks.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    #[test]
    fn every_port_is_found_and_then_none() {
        let pool = pool(50_000, 50_099);
        let mut random = counter();
        let relay = RelayId { slot: 77, generation: 9 };
        for _ in 0..100 {
            let port = pool.pick(&mut random, |_, _| true).unwrap();
            pool.set(port, Tenant::Relay(ShardId(3), relay));
            assert_eq!(pool.tenant(port), Some(Tenant::Relay(ShardId(3), relay)));
        }
        assert_eq!(pool.pick(&mut random, |_, _| true), None);
        pool.clear(50_042);
        assert_eq!(pool.pick(&mut random, |_, _| true), Some(50_042));
        assert_eq!(pool.tenant(49_999), None);
        assert_eq!(pool.tenant(50_100), None);
    }

    #[test]
    fn setting_twice_counts_once() {
        let pool = pool(50_000, 50_000);
        pool.set(50_000, Tenant::Reserved);
        pool.set(50_000, Tenant::Relay(ShardId(0), RelayId { slot: 0, generation: 1 }));
        pool.clear(50_000);
        pool.clear(50_000);
        assert_eq!(pool.free.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn ports_are_spread_over_the_range_without_a_pattern() {
        // T-8656-7.2-27: chi-square of 1000 picks over 16 bins stays under the 0.1 % bound of 15 degrees.
        let pool = pool(49_152, 65_535);
        let mut random = counter();
        let mut bins = [0_i64; 16];
        let mut ascents = 0;
        let mut last = 0;
        for _ in 0..1000 {
            let port = pool.pick(&mut random, |_, _| true).unwrap();
            bins[usize::from((port - 49_152) / 1024)] += 1;
            ascents += i64::from(port > last);
            last = port;
        }
        let chi: f64 = bins.iter().map(|n| ((n * 10 - 625) as f64).powi(2) / 6250.0).sum();
        assert!(chi < 37.7, "{chi} {bins:?}");
        assert!((400..600).contains(&ascents), "{ascents}");
    }
}
