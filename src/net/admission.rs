//! How many connections there may be, in all and from one source.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts of the connections that live now.
#[derive(Debug)]
pub(crate) struct Admission {
    per_source: usize,
    total: usize,
    open: AtomicUsize,
    sources: Mutex<HashMap<IpAddr, usize, foldhash::fast::RandomState>>,
}

/// The connections of the whole process, for whoever knows a client that the lobby does not.
#[derive(Clone, Debug)]
pub struct Clients(pub(crate) Arc<Admission>);

impl Clients {
    /// Makes the count, empty; 0 of `per_ip` means unlimited.
    #[must_use]
    pub fn new(per_ip: usize, total: usize) -> Clients {
        Clients(Admission::new(per_ip, total))
    }

    /// Takes a place for a client behind a proxy, given back when it is dropped; none if it has as many as it may.
    #[must_use]
    pub fn enter(&self, ip: IpAddr) -> Option<ClientPlace> {
        self.0.enter_from(ip).map(ClientPlace)
    }
}

/// A place of a client behind a proxy.
#[derive(Debug)]
pub struct ClientPlace(#[expect(dead_code, reason = "held until it is dropped")] SourcePlace);

/// A place among all connections; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Admission>);

/// A place among those of one source; given back when dropped.
#[derive(Debug)]
pub(crate) struct SourcePlace {
    admission: Arc<Admission>,
    source: IpAddr,
}

impl Admission {
    /// Makes counters with their limits; 0 of `per_source` means unlimited.
    pub(crate) fn new(per_source: usize, total: usize) -> Arc<Admission> {
        let sources = Mutex::default();
        Arc::new(Admission { per_source, total, open: AtomicUsize::new(0), sources })
    }

    /// Takes a place among all; none if the process holds as many as it may.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        let place = Place(Arc::clone(self));
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        (before < self.total).then_some(place)
    }

    /// Takes a place for a source: an IPv4 address or an IPv6 /64.
    pub(crate) fn enter_from(self: &Arc<Self>, ip: IpAddr) -> Option<SourcePlace> {
        let source = source(ip);
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sources.entry(source).or_default();
        if self.per_source != 0 && *count >= self.per_source {
            return None;
        }
        *count += 1;
        Some(SourcePlace { admission: Arc::clone(self), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        let mut sources = self.admission.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = sources.entry(self.source) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let admission = Admission::new(2, 100);
        for (one, same, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"),
        ] {
            let first = admission.enter_from(ip(one)).unwrap();
            let _second = admission.enter_from(ip(same)).unwrap();
            assert!(admission.enter_from(ip(one)).is_none() && admission.enter_from(ip(other)).is_some());
            drop(first);
            assert!(admission.enter_from(ip(same)).is_some());
        }
        assert!(admission.sources.lock().unwrap().is_empty());
    }

    #[test]
    fn places_are_given_back() {
        let admission = Admission::new(0, 1);
        let place = admission.enter().unwrap();
        assert!(admission.enter().is_none());
        drop(place);
        assert!(admission.enter().is_some());
    }
}
