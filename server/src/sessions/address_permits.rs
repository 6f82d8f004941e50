//! Permits of one address each: counts the connections of every address that has some.
//!
//! An address is a [`Network`], so the many addresses that IPv6 gives to one customer are one. There is an entry for
//! an address as long as it has a connection, so the table is never larger than the number of connections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::auth::network::Network;

/// Gives out permits and counts those that each address has.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressPermits(Arc<Mutex<HashMap<Network, Arc<Entry>>>>);

/// One connection of an address. Dropping it gives the permit back.
// One pointer, since each session has one.
#[derive(Debug)]
pub(crate) struct AddressPermit(Arc<Entry>);

#[derive(Debug)]
struct Entry {
    network: Network,
    /// Changed under the lock of the table only.
    taken: AtomicUsize,
    table: AddressPermits,
}

impl AddressPermits {
    /// A permit, if the address has fewer than `max` now.
    pub(crate) fn take(&self, network: Network, max: usize) -> Option<AddressPermit> {
        let mut table = self.lock();
        let taken = table.get(&network).map_or(0, |entry| entry.taken());
        if taken >= max {
            return None;
        }
        let entry = table.entry(network).or_insert_with(|| {
            Arc::new(Entry {
                network,
                taken: AtomicUsize::new(0),
                table: self.clone(),
            })
        });
        entry.taken.store(taken + 1, Ordering::Relaxed);
        Some(AddressPermit(entry.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Network, Arc<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let entry = &self.0;
        let mut table = entry.table.lock();
        let left = entry.taken().saturating_sub(1);
        entry.taken.store(left, Ordering::Relaxed);
        if left > 0 {
            return;
        }
        let last = table.remove(&entry.network);
        // After many addresses have come and gone, their room is given back, a half at a time.
        let capacity = table.capacity();
        if capacity > ROOM_KEPT && table.len() < capacity / 4 {
            table.shrink_to(capacity / 2);
        }
        drop(table);
        drop(last);
    }
}

/// Addresses for which there always is room.
const ROOM_KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_permits_and_gets_them_back() {
        let permits = AddressPermits::default();
        let [a, b] = [1, 2].map(Network::V4);
        let first = permits.take(a, 2).expect("the first");
        let second = permits.take(a, 2).expect("the second");
        assert!(permits.take(a, 2).is_none());
        assert!(permits.take(b, 1).is_some());
        assert!(permits.take(b, 1).is_some(), "it was given back at once");
        assert!(permits.take(b, 0).is_none());

        drop(first);
        assert!(permits.take(a, 1).is_none(), "the limit was lowered");
        drop(second);
        assert!(permits.take(a, 1).is_some());
    }

    #[test]
    fn an_address_takes_memory_only_while_it_has_a_connection() {
        let permits = AddressPermits::default();
        let all: Vec<AddressPermit> = (0..20_000)
            .filter_map(|number| permits.take(Network::V6(number), 1))
            .collect();
        assert_eq!(all.len(), 20_000);

        drop(all);

        let table = permits.lock();
        assert_eq!(table.len(), 0);
        assert!(table.capacity() <= 4 * ROOM_KEPT, "{}", table.capacity());
    }

    #[test]
    fn threads_that_take_and_give_back_count_right() {
        let permits = AddressPermits::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..2_000 {
                        drop(permits.take(Network::V4(number % 3), 3));
                    }
                });
            }
        });
        assert_eq!(permits.lock().len(), 0);
        let three = [(); 3].map(|()| permits.take(Network::V4(0), 3));
        assert!(three.iter().all(Option::is_some));
    }
}
