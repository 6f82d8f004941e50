//! How many connections may begin in a second: of all, and of each address.
//!
//! Both are token buckets with a burst of one second. A bucket is kept as the time at which it is full again, so it
//! needs no clock while nothing comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::auth::network::Network;

/// The buckets of a server.
#[derive(Debug)]
pub(super) struct HandshakeRate {
    /// Times are nanoseconds since then.
    origin: Instant,
    /// When the bucket of all connections is full again.
    all: AtomicU64,
    addresses: Mutex<RecentAddresses>,
}

/// When the bucket of each address is full again.
///
/// A bucket is full after a second at the latest, so an entry is needed no longer. The entries of one second are
/// dropped together. No call takes longer because there are many.
#[derive(Debug, Default)]
struct RecentAddresses {
    /// Those that were looked at since `began`.
    current: HashMap<Network, u64>,
    /// Those of the time before.
    previous: HashMap<Network, u64>,
    began: u64,
}

impl HandshakeRate {
    pub(super) fn new() -> HandshakeRate {
        HandshakeRate {
            origin: Instant::now(),
            all: AtomicU64::new(0),
            addresses: Mutex::default(),
        }
    }

    /// Takes one of the handshakes that all may begin; false if there is none now.
    pub(super) fn take(&self, per_s: u64) -> bool {
        let now = self.now();
        let one_more = |full_at| after_one(full_at, now, per_s);
        let took = self
            .all
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        took.is_ok()
    }

    /// Takes one of the handshakes that the address may begin; false if it has none now.
    pub(super) fn take_of(&self, network: Network, per_s: u64) -> bool {
        let now = self.now();
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        addresses.take(network, per_s, now)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl RecentAddresses {
    fn take(&mut self, network: Network, per_s: u64, now: u64) -> bool {
        let age = now.saturating_sub(self.began);
        // Where many addresses come within a second, the oldest are forgotten early, and begin with a full bucket.
        if age >= SECOND || self.current.len() >= ADDRESSES_MAX {
            self.previous = std::mem::take(&mut self.current);
            self.began = now;
        }
        if age >= 2 * SECOND {
            self.previous = HashMap::new();
        }
        let known = self.current.get(&network);
        let known = known.or_else(|| self.previous.get(&network));
        match after_one(known.copied().unwrap_or(0), now, per_s) {
            Some(full_at) => {
                self.current.insert(network, full_at);
                true
            }
            None => false,
        }
    }
}

/// When a bucket that is full at `full_at` is full again after one more, or `None` if it is empty `now`.
fn after_one(full_at: u64, now: u64, per_s: u64) -> Option<u64> {
    let one = SECOND / per_s.clamp(1, SECOND);
    let after = full_at.max(now) + one;
    (after - now <= SECOND).then_some(after)
}

/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;
/// Addresses that are remembered of one second. Twice as many take about 5 MB.
const ADDRESSES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_one_second_at_once_and_fills_steadily() {
        for per_s in [1, 3, 7, 100, 10_000_000] {
            let (mut full_at, now) = (0, 5 * SECOND);
            let mut take = |now| {
                let after = after_one(full_at, now, per_s);
                full_at = after.unwrap_or(full_at);
                after.is_some()
            };
            let burst = per_s.min(1_000);
            assert!((0..burst).all(|_| take(now)), "{per_s}");
            if burst == per_s {
                assert!(!take(now), "{per_s}");
                assert!(!take(now + SECOND / per_s / 2), "{per_s}");
                assert!(take(now + SECOND / per_s + 1), "{per_s}");
            }
            let later = now + 10 * SECOND;
            assert!((0..burst).all(|_| take(later)), "{per_s}");
        }
    }

    #[test]
    fn each_address_has_a_bucket_of_its_own_across_the_seconds() {
        let mut addresses = RecentAddresses::default();
        let [a, b] = [1, 2].map(Network::V4);
        let now = 10 * SECOND;
        assert!(addresses.take(a, 2, now));
        assert!(addresses.take(a, 2, now));
        assert!(!addresses.take(a, 2, now));
        assert!(addresses.take(b, 2, now));
        // The entry is in the older half by then.
        let later = now + SECOND - 1;
        assert!(addresses.take(b, 2, later));
        assert!(addresses.take(a, 2, later));
        assert!(!addresses.take(a, 2, later));
        assert!(addresses.take(a, 2, later + 2));
        // What was known is looked up in the second after that, too.
        assert!(!addresses.take(a, 2, later + 3));
        assert!(addresses.take(a, 2, later + SECOND / 2 + 3));
    }

    #[test]
    fn a_swarm_of_addresses_takes_bounded_memory_and_is_forgotten() {
        let mut addresses = RecentAddresses::default();
        let now = 10 * SECOND;
        for number in 0..3 * ADDRESSES_MAX as u64 {
            assert!(addresses.take(Network::V6(number), 1, now));
        }
        assert!(addresses.current.len() <= ADDRESSES_MAX);
        assert!(addresses.previous.len() <= ADDRESSES_MAX);

        assert!(addresses.take(Network::Shared, 1, now + 3 * SECOND));
        assert_eq!(addresses.current.len() + addresses.previous.len(), 1);
        assert_eq!(addresses.previous.capacity(), 0);
    }
}
