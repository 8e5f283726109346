//! The process-wide [`Shared`] table: quotas, ports, reservations, sessions and budgets.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::auth::SessionId;
use crate::bucket::{Bucket, byte_rate};
use crate::time::Mono;
use crate::turn::ids::{Family, PeerAddr, RelayAddr, RelayId, ShardId};
use crate::turn::limits::OPEN_ALLOCATIONS;
use crate::turn::peer_policy::RelayIp;
use crate::turn::ports::{PortPool, Tenant};
use crate::turn::shared::{
    Claim, PortError, PortWish, QuotaError, ReservationToken, Reserve, SessionLease, Shared, Taken,
};

/// Quotas and budgets of the whole process; zero means unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Allocations in all.
    pub allocations: u32,
    /// Allocations of one user.
    pub allocations_per_user: u32,
    /// Allocations of one IPv4 address or IPv6 /64.
    pub allocations_per_address: u32,
    /// Application bits a second of everything together.
    pub bitrate: u64,
    /// Application bits a second of one user.
    pub bitrate_per_user: u64,
}

/// Where relays may be.
#[derive(Clone, Copy, Debug)]
pub struct RelayRange {
    /// Address of the relays, at most one of a family.
    pub ip: RelayIp,
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

/// A handle to the table that all shards share, with what its holder calls the relay addresses.
#[derive(Clone)]
pub struct SharedTable {
    inner: Arc<Inner>,
    /// By the newest name first: allocations that have an older one keep it.
    names: Arc<[RelayIp]>,
}

struct Inner {
    v4: Option<PortPool>,
    v6: Option<PortPool>,
    rare: Mutex<Rare>,
}

struct Rare {
    quotas: Quotas,
    total: u32,
    by_user: HashMap<Arc<str>, User>,
    by_address: HashMap<IpAddr, u32>,
    reservations: BTreeMap<ReservationToken, Reservation>,
    sessions: HashMap<SessionId, SessionLease>,
    budget: Option<Bucket>,
    /// Users without an allocation whose budget is not known to be full again.
    recovering: VecDeque<Arc<str>>,
}

#[derive(Default)]
struct User {
    allocations: u32,
    budget: Option<Bucket>,
    is_recovering: bool,
}

struct Reservation {
    addr: RelayAddr,
    user: String,
    until: Mono,
}

/// An admitted allocation; gives its quota back when dropped.
pub struct QuotaGuard {
    table: SharedTable,
    user: Arc<str>,
    address: IpAddr,
}

/// A lease of bytes lasts about this part of a second at full rate.
const SLICES_A_SECOND: u64 = 50;
/// And is never less than several datagrams, so that slow rates do not take the lock for each.
const MIN_LEASE: u64 = 8192;

impl SharedTable {
    /// Makes the table of a process whose relays lie in `ranges`.
    #[must_use]
    pub fn new(ranges: &[RelayRange], quotas: Quotas) -> SharedTable {
        let pool = |family| {
            let range = ranges.iter().find(|range| Family::of(range.ip.advertised) == family)?;
            Some(PortPool::new(range.ip.local, range.first, range.last))
        };
        let rare = Rare {
            quotas,
            total: 0,
            by_user: HashMap::new(),
            by_address: HashMap::new(),
            reservations: BTreeMap::new(),
            sessions: HashMap::new(),
            budget: None,
            recovering: VecDeque::new(),
        };
        let inner = Inner { v4: pool(Family::V4), v6: pool(Family::V6), rare: Mutex::new(rare) };
        SharedTable { inner: Arc::new(inner), names: ranges.iter().map(|range| range.ip).collect() }
    }

    /// Puts other quotas in force for what comes.
    pub fn set_quotas(&self, quotas: Quotas) {
        self.rare().quotas = quotas;
    }

    /// Says how a signaling session stands, or that it is gone.
    pub fn set_session(&self, id: SessionId, lease: SessionLease) {
        let mut rare = self.rare();
        if lease == SessionLease::Gone {
            rare.sessions.remove(&id);
        } else {
            rare.sessions.insert(id, lease);
        }
    }

    /// Returns how many allocations there are.
    #[must_use]
    pub fn allocations(&self) -> u32 {
        self.rare().total
    }

    fn rare(&self) -> MutexGuard<'_, Rare> {
        // Nothing in here panics half-way through a change.
        self.inner.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self, family: Family) -> Option<&PortPool> {
        match family {
            Family::V4 => self.inner.v4.as_ref(),
            Family::V6 => self.inner.v6.as_ref(),
        }
    }

    fn pool_of(&self, addr: RelayAddr) -> Option<&PortPool> {
        self.pool(Family::of(addr.advertised.ip()))
    }

    /// Returns a port of a pool under its newest name.
    fn addr(&self, pool: &PortPool, port: u16) -> RelayAddr {
        let local = pool.local();
        let name = self.names.iter().find(|name| name.local == local);
        let advertised = name.map_or(local, |name| name.advertised);
        RelayAddr { local: SocketAddr::new(local, port), advertised: SocketAddr::new(advertised, port) }
    }

    fn enter(&self, rare: &mut Rare, claim: Claim<'_>) -> QuotaGuard {
        let user = match rare.by_user.get_key_value(claim.user) {
            Some((user, _)) => Arc::clone(user),
            None => Arc::from(claim.user),
        };
        let address = address_key(claim.client);
        rare.total += 1;
        rare.by_user.entry(Arc::clone(&user)).or_default().allocations += 1;
        *rare.by_address.entry(address).or_insert(0) += 1;
        QuotaGuard { table: self.clone(), user, address }
    }
}

impl Rare {
    /// Takes an allocation off a user. A budget in use stays until it is full again: to release and start over
    /// must not fill it.
    fn leave(&mut self, name: &Arc<str>) {
        let Some(user) = self.by_user.get_mut(name) else { return };
        user.allocations -= 1;
        if user.allocations > 0 {
            return;
        }
        if user.budget.is_none() {
            self.by_user.remove(name);
        } else if !user.is_recovering {
            user.is_recovering = true;
            self.recovering.push_back(Arc::clone(name));
        }
    }

    /// Looks at two users without an allocation; each got here by a lease at least, so that none are left over.
    fn forget_recovered(&mut self, now: Mono) {
        let bits = self.quotas.bitrate_per_user;
        let (rate, burst) = byte_rate(bits);
        for _ in 0..2 {
            let Some(name) = self.recovering.pop_front() else { return };
            let Some(user) = self.by_user.get_mut(&name) else { continue };
            let budget = user.budget.as_mut().filter(|_| bits > 0);
            let is_full = budget.is_none_or(|budget| budget.holds(now, rate, burst, burst));
            if user.allocations > 0 {
                user.is_recovering = false;
            } else if is_full {
                self.by_user.remove(&name);
            } else {
                self.recovering.push_back(name);
            }
        }
    }
}

impl Shared for SharedTable {
    type Guard = QuotaGuard;

    fn admit(&self, claim: Claim<'_>) -> Result<QuotaGuard, QuotaError> {
        let mut rare = self.rare();
        let quotas = rare.quotas;
        let of_user = rare.by_user.get(claim.user).map_or(0, |user| user.allocations);
        let of_address = rare.by_address.get(&address_key(claim.client)).copied().unwrap_or(0);
        if reached(of_user, quotas.allocations_per_user) {
            return Err(QuotaError::User);
        }
        let is_bound = claim.is_open && of_address >= OPEN_ALLOCATIONS;
        if is_bound || reached(of_address, quotas.allocations_per_address) {
            return Err(QuotaError::Address);
        }
        if reached(rare.total, quotas.allocations) {
            return Err(QuotaError::Total);
        }
        Ok(self.enter(&mut rare, claim))
    }

    fn rename(&mut self, names: &[RelayIp]) {
        self.names = names.into();
    }

    fn readmit(&self, claim: Claim<'_>) -> QuotaGuard {
        self.enter(&mut self.rare(), claim)
    }

    fn has_family(&self, family: Family) -> bool {
        self.pool(family).is_some()
    }

    fn take_port(
        &self,
        family: Family,
        wish: PortWish,
        owner: (ShardId, RelayId),
        reserve: Reserve<'_>,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Taken, PortError> {
        let pool = self.pool(family).ok_or(PortError::NoFamily)?;
        let mut rare = self.rare();
        let port = match wish {
            PortWish::Any => pool.pick(random, |_, _| true),
            PortWish::Even => pool.pick(random, |_, port| port.is_multiple_of(2)),
            PortWish::EvenAndReserve => {
                pool.pick(random, |pool, port| port.is_multiple_of(2) && pool.is_free(port + 1))
            }
        };
        let port = port.ok_or(PortError::NoneFree)?;
        pool.set(port, Tenant::Relay(owner.0, owner.1));
        let reserved = (wish == PortWish::EvenAndReserve).then(|| {
            let addr = self.addr(pool, port + 1);
            let token = ReservationToken(random().to_be_bytes());
            pool.set(port + 1, Tenant::Reserved);
            let reservation = Reservation { addr, user: reserve.user.to_owned(), until: reserve.until };
            rare.reservations.insert(token, reservation);
            (addr, token)
        });
        Ok(Taken { addr: self.addr(pool, port), reserved })
    }

    fn claim_reservation(
        &self,
        now: Mono,
        token: ReservationToken,
        user: &str,
        owner: (ShardId, RelayId),
    ) -> Result<RelayAddr, PortError> {
        let mut rare = self.rare();
        let reservation = rare.reservations.get(&token).filter(|held| held.user == user && now < held.until);
        let addr = reservation.ok_or(PortError::NoReservation)?.addr;
        rare.reservations.remove(&token);
        if let Some(pool) = self.pool_of(addr) {
            pool.set(addr.local.port(), Tenant::Relay(owner.0, owner.1));
        }
        Ok(addr)
    }

    fn expire_reservation(&self, token: ReservationToken) -> Option<RelayAddr> {
        let mut rare = self.rare();
        let addr = rare.reservations.remove(&token)?.addr;
        self.pool_of(addr)?.clear(addr.local.port());
        Some(addr)
    }

    fn retake_port(&self, addr: RelayAddr, owner: (ShardId, RelayId)) -> bool {
        let _rare = self.rare();
        let port = addr.local.port();
        match self.pool_of(addr) {
            Some(pool) if pool.is_free(port) && pool.local() == addr.local.ip() => {
                pool.set(port, Tenant::Relay(owner.0, owner.1));
                true
            }
            _ => false,
        }
    }

    fn release_port(&self, addr: RelayAddr) {
        let _rare = self.rare();
        if let Some(pool) = self.pool_of(addr) {
            pool.clear(addr.local.port());
        }
    }

    fn owner(&self, addr: PeerAddr) -> Option<(ShardId, RelayId)> {
        let pool = self.pool(Family::of(addr.ip()))?;
        let is_name = |name: &RelayIp| name.advertised == addr.ip() && name.local == pool.local();
        if !self.names.iter().any(is_name) {
            return None;
        }
        match pool.tenant(addr.0.port())? {
            Tenant::Relay(shard, relay) => Some((shard, relay)),
            Tenant::Reserved => None,
        }
    }

    fn session(&self, id: &SessionId) -> SessionLease {
        self.rare().sessions.get(id).copied().unwrap_or(SessionLease::Gone)
    }

    fn lease_bytes(&self, now: Mono, user: &str, want: u64) -> u64 {
        let mut rare = self.rare();
        rare.forget_recovered(now);
        let Quotas { bitrate, bitrate_per_user, .. } = rare.quotas;
        if bitrate == 0 && bitrate_per_user == 0 {
            return want;
        }
        let mut had = u64::MAX;
        if bitrate > 0 {
            let (rate, burst) = byte_rate(bitrate);
            let budget = rare.budget.get_or_insert_with(|| Bucket::full(now, burst));
            had = budget.take_up_to(now, rate, burst, lease(rate, want));
        }
        if bitrate_per_user > 0 && had > 0 {
            let (rate, burst) = byte_rate(bitrate_per_user);
            let ask = lease(rate, want).min(had);
            let of_user = rare.by_user.get_mut(user).map_or(0, |user| {
                let budget = user.budget.get_or_insert_with(|| Bucket::full(now, burst));
                budget.take_up_to(now, rate, burst, ask)
            });
            if let Some(budget) = rare.budget.as_mut().filter(|_| bitrate > 0) {
                budget.give_back(byte_rate(bitrate).1, had - of_user);
            }
            had = of_user;
        }
        had
    }

    fn has_budgets(&self) -> bool {
        let quotas = self.rare().quotas;
        quotas.bitrate > 0 || quotas.bitrate_per_user > 0
    }
}

impl Drop for QuotaGuard {
    fn drop(&mut self) {
        let mut rare = self.table.rare();
        rare.total -= 1;
        rare.leave(&self.user);
        if let Some(count) = rare.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                rare.by_address.remove(&self.address);
            }
        }
    }
}

fn reached(count: u32, quota: u32) -> bool {
    quota > 0 && count >= quota
}

/// Returns how many bytes to ask a budget for where `want` are needed now.
fn lease(rate: u64, want: u64) -> u64 {
    want.max(rate / SLICES_A_SECOND).max(MIN_LEASE)
}

/// An IPv6 client is its /64.
fn address_key(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn table(quotas: Quotas) -> SharedTable {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let ip = RelayIp { local: ip, advertised: ip };
        SharedTable::new(&[RelayRange { ip, first: 50_000, last: 50_009 }], quotas)
    }

    fn claim<'a>(user: &'a str, client: &str) -> Claim<'a> {
        Claim { user, client: client.parse().unwrap(), is_open: false }
    }

    #[test]
    fn quotas_hold_and_come_back_with_the_guard() {
        // T-8656-7.2-25
        let table = table(Quotas { allocations: 3, allocations_per_user: 2, ..Quotas::default() });
        let first = table.admit(claim("ann", "1.1.1.1")).unwrap();
        let _second = table.admit(claim("ann", "1.1.1.2")).unwrap();
        assert_eq!(table.admit(claim("ann", "1.1.1.3")).err(), Some(QuotaError::User));
        let _third = table.admit(claim("bob", "1.1.1.1")).unwrap();
        assert_eq!(table.admit(claim("bob", "1.1.1.1")).err(), Some(QuotaError::Total));
        drop(first);
        assert!(table.admit(claim("ann", "1.1.1.1")).is_ok());
    }

    #[test]
    fn an_ipv6_client_is_its_64_and_an_import_is_never_refused() {
        let table = table(Quotas { allocations_per_address: 1, ..Quotas::default() });
        let _first = table.admit(claim("ann", "2600::1")).unwrap();
        assert_eq!(table.admit(claim("bob", "2600::2")).err(), Some(QuotaError::Address));
        assert!(table.admit(claim("bob", "2600:0:0:1::2")).is_ok());
        let _again = table.readmit(claim("ann", "2600::1"));
        assert_eq!(table.allocations(), 2);
    }

    #[test]
    fn parallel_shards_never_exceed_a_quota() {
        let table = table(Quotas { allocations_per_user: 50, ..Quotas::default() });
        let start = Barrier::new(4);
        let held: Vec<_> = std::thread::scope(|scope| {
            let shards: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        (0..50).filter_map(|_| table.admit(claim("ann", "1.1.1.1")).ok()).collect::<Vec<_>>()
                    })
                })
                .collect();
            shards.into_iter().flat_map(|shard| shard.join().unwrap()).collect()
        });
        assert_eq!(held.len(), 50);
        drop(held);
        assert_eq!(table.allocations(), 0);
    }

    #[test]
    fn user_budget_is_leased_in_slices_and_refills() {
        let table = table(Quotas { bitrate_per_user: 8_000_000, ..Quotas::default() });
        let _guard = table.admit(claim("ann", "1.1.1.1")).unwrap();
        let at = |millis: u64| Mono(millis * 1_000_000);
        let leased = |now, table: &SharedTable| {
            std::iter::from_fn(|| Some(table.lease_bytes(now, "ann", 1000)).filter(|had| *had > 0))
                .sum::<u64>()
        };
        assert_eq!(leased(at(0), &table), 250_000);
        assert_eq!(leased(at(100), &table), 100_000);
        assert_eq!(table.lease_bytes(at(100), "nobody", 1000), 0);
    }

    #[test]
    fn releasing_and_starting_over_fills_no_budget_and_leaves_nothing() {
        let table = table(Quotas { bitrate_per_user: 80_000, ..Quotas::default() });
        let drain = |at| {
            let _guard = table.admit(claim("ann", "1.1.1.1")).unwrap();
            std::iter::from_fn(|| Some(table.lease_bytes(at, "ann", 1000)).filter(|had| *had > 0))
                .sum::<u64>()
        };
        let total: u64 = (0..10).map(|_| drain(Mono(0))).sum();
        assert_eq!(total, 65_536);
        let later = Mono(60_000_000_000);
        assert_eq!(drain(later), 65_536);
        let _bob = table.admit(claim("bob", "1.1.1.1")).unwrap();
        table.lease_bytes(later.after_secs(60), "bob", 1);
        assert!(!table.rare().by_user.contains_key("ann"));
        assert!(table.rare().recovering.is_empty());
    }

    #[test]
    fn what_the_user_may_not_take_returns_to_the_common_budget() {
        let quotas = Quotas { bitrate: 8_000_000, bitrate_per_user: 800_000, ..Quotas::default() };
        let table = table(quotas);
        let _ann = table.admit(claim("ann", "1.1.1.1")).unwrap();
        let _bob = table.admit(claim("bob", "1.1.1.1")).unwrap();
        let drain = |user| {
            std::iter::from_fn(|| Some(table.lease_bytes(Mono(0), user, 1000)).filter(|had| *had > 0))
                .sum::<u64>()
        };
        assert_eq!(drain("ann"), 65_536);
        assert_eq!(drain("bob"), 65_536);
    }
}
