//! How many bodies an address sends at once: none is judged before it has come, so that is what they may cost.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::signal::AddressKey;

/// Bodies of one address that are on their way at once.
const MOST: usize = 64;

/// The bodies on their way, by address.
#[derive(Default)]
pub(crate) struct Bodies(Mutex<HashMap<AddressKey, usize>>);

/// A body on its way.
pub(crate) struct Body {
    bodies: Arc<Bodies>,
    address: AddressKey,
}

impl Bodies {
    /// Counts one more body of an address; none if it sends as many as it may.
    pub(crate) fn begin(self: &Arc<Bodies>, address: AddressKey) -> Option<Body> {
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count == MOST {
            return None;
        }
        *count += 1;
        Some(Body { bodies: Arc::clone(self), address })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<AddressKey, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.bodies.counts().entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_sends_so_many_at_once_and_nothing_is_kept_of_it_afterwards() {
        let bodies = Arc::new(Bodies::default());
        let (one, other) = (AddressKey::V4(1), AddressKey::V4(2));
        let mut sent: Vec<_> = (0..MOST).map(|_| bodies.begin(one).unwrap()).collect();
        assert!(bodies.begin(one).is_none() && bodies.begin(other).is_some());
        sent.pop();
        assert!(bodies.begin(one).is_some());
        drop(sent);
        assert!(bodies.counts().is_empty());
    }
}
