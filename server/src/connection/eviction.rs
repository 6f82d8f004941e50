//! Which connection gives way when permits are short: the oldest of those that wait.
//!
//! A connection is in a queue while its request head is not whole, while its password waits to be compared, or while
//! it has its answer and does not close. It leaves the queue by itself, or is evicted for a newcomer, which gets its permit.
//! A connection whose session begins in its first poll is never in a queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::auth::network::Network;
use crate::sessions::permits::Permit;

/// Connections that may be evicted.
#[derive(Clone, Debug, Default)]
pub(crate) struct EvictionQueue(Arc<Mutex<Queue<Candidate>>>);

/// What the queue keeps for a connection.
#[derive(Debug)]
struct Candidate {
    permit: Option<Permit>,
    /// Dropped when the connection is evicted, which tells the connection.
    _notice: oneshot::Sender<()>,
}

/// A connection's entry in the queue. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct QueueEntry {
    queue: EvictionQueue,
    number: u64,
    notice: oneshot::Receiver<()>,
}

impl EvictionQueue {
    /// Puts a connection of this network at the end. The queue keeps `permit` for it.
    pub(crate) fn enter(&self, network: Network, permit: Option<Permit>) -> QueueEntry {
        let (sender, notice) = oneshot::channel();
        let kept = Candidate {
            permit,
            _notice: sender,
        };
        let number = self.lock().push(network, kept);
        QueueEntry {
            queue: self.clone(),
            number,
            notice,
        }
    }

    /// Evicts a connection for one of the network `newcomer` and returns the permit that was kept for it, if there was one;
    /// `None` when the queue is empty. The network that has most entries loses one.
    pub(crate) fn evict(&self, newcomer: Network) -> Option<Option<Permit>> {
        let evicted = self.lock().evict(newcomer);
        evicted.map(|kept| kept.permit)
    }

    /// The number of connections in it.
    pub(crate) fn len(&self) -> usize {
        self.lock().all.len()
    }

    fn lock(&self) -> MutexGuard<'_, Queue<Candidate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueEntry {
    /// Ends when the connection is evicted.
    pub(crate) async fn evicted(&mut self) {
        // Nothing is ever sent: the sender is dropped with the permit.
        let _ = (&mut self.notice).await;
    }

    /// Leaves the queue with the permit that it kept; `None` when the connection was evicted.
    pub(crate) fn leave(self) -> Option<Permit> {
        let kept = self.queue.lock().remove(self.number);
        kept.and_then(|kept| kept.permit)
    }
}

impl Drop for QueueEntry {
    fn drop(&mut self) {
        // Dropped after the lock is released, since a permit does more than free memory.
        let left = self.queue.lock().remove(self.number);
        drop(left);
    }
}

/// The order of eviction. Knows nothing of connections.
#[derive(Debug)]
struct Queue<T> {
    /// By number, which is the order of arrival.
    all: BTreeMap<u64, (Network, T)>,
    by_network: HashMap<Network, BTreeSet<u64>>,
    next: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue {
            all: BTreeMap::new(),
            by_network: HashMap::new(),
            next: 0,
        }
    }
}

impl<T> Queue<T> {
    fn push(&mut self, network: Network, value: T) -> u64 {
        let number = self.next;
        self.next += 1;
        self.all.insert(number, (network, value));
        self.by_network.entry(network).or_default().insert(number);
        number
    }

    fn remove(&mut self, number: u64) -> Option<T> {
        let (network, value) = self.all.remove(&number)?;
        if let Some(numbers) = self.by_network.get_mut(&network) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_network.remove(&network);
            }
        }
        Some(value)
    }

    /// Removes the oldest entry of the network that has most entries, the newcomer counted in. If each has one, removes
    /// the oldest of all. So an attacker from some addresses closes its own connections before one of another address.
    ///
    /// Unix sockets and trusted proxies never have too many, since behind them are many clients.
    fn evict(&mut self, newcomer: Network) -> Option<T> {
        let networks = self.by_network.iter();
        let counted = networks.filter(|(network, _)| **network != Network::Shared);
        let counted = counted.map(|(network, numbers)| {
            let newcomers = usize::from(*network == newcomer);
            (numbers.len() + newcomers, Reverse(numbers.first().copied()))
        });
        let most = counted.max().filter(|(count, _)| *count > 1);
        let oldest = most.and_then(|(_, Reverse(first))| first);
        let oldest = oldest.or_else(|| self.all.keys().next().copied());
        self.remove(oldest?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        Network::of(Some(text.parse().expect(text)))
    }

    #[test]
    fn the_network_with_most_loses_its_oldest_and_where_each_has_one_the_oldest_goes() {
        let mut queue = Queue::default();
        let [a, b, c] = [1, 2, 3].map(Network::V4);
        for (network, name) in [(b, "b1"), (a, "a1"), (a, "a2"), (c, "c1"), (a, "a3")] {
            queue.push(network, name);
        }

        for (newcomer, evicted) in [
            (c, Some("a1")), // a has three
            (b, Some("b1")), // b would have two as well, and its first is older
            (a, Some("a2")), // a would have three
            (b, Some("c1")), // each has one
            (c, Some("a3")),
            (c, None),
        ] {
            assert_eq!(queue.evict(newcomer), evicted);
        }
    }

    #[test]
    fn attackers_of_some_addresses_do_not_evict_a_connection_of_another_one() {
        let mut queue = Queue::default();
        let healthy = queue.push(Network::V4(0), 0);
        for number in 1..=20 {
            queue.push(Network::V4(1 + number % 10), number);
        }

        for number in 0..1_000 {
            let attacker = Network::V4(1 + number % 10);
            queue.evict(attacker);
            queue.push(attacker, number);
        }

        assert_eq!(queue.remove(healthy), Some(0));
    }

    #[test]
    fn unix_sockets_and_proxies_have_no_share_to_exceed() {
        let mut queue = Queue::default();
        let a = Network::V4(1);
        for (network, name) in [
            (Network::Shared, "unix1"),
            (Network::Shared, "unix2"),
            (a, "a1"),
            (a, "a2"),
        ] {
            queue.push(network, name);
        }

        for (newcomer, evicted) in [
            (Network::Shared, Some("a1")), // a has two
            (Network::Shared, Some("unix1")),
            (Network::Shared, Some("unix2")),
        ] {
            assert_eq!(queue.evict(newcomer), evicted);
        }
    }

    #[tokio::test]
    async fn an_evicted_connection_gets_notice_and_its_permit_is_the_newcomers() {
        let permits = crate::sessions::permits::Permits::default();
        let queue = EvictionQueue::default();
        let mut first = queue.enter(network("10.0.0.1"), permits.take(2));
        let second = queue.enter(network("10.0.0.2"), permits.take(2));

        let permit = queue.evict(network("10.0.0.3")).flatten();

        first.evicted().await;
        assert!(first.leave().is_none());
        assert!(permit.is_some());
        assert!(permits.take(2).is_none(), "no more permits than there are");
        assert!(second.leave().is_some(), "the second was not evicted");
        assert!(queue.evict(network("10.0.0.3")).is_none());
        drop(permit);
        assert!(permits.take(1).is_some(), "both permits are back");
    }

    #[test]
    fn a_connection_that_ends_leaves_the_queue() {
        let permits = crate::sessions::permits::Permits::default();
        let queue = EvictionQueue::default();
        drop(queue.enter(network("10.0.0.1"), permits.take(1)));
        assert!(queue.evict(network("10.0.0.1")).is_none());
        assert!(permits.take(1).is_some());
        assert!(queue.lock().by_network.is_empty());
    }

    proptest! {
        /// The queue against a list that is searched from its start.
        #[test]
        fn the_queue_evicts_what_a_plain_list_would(
            steps in proptest::collection::vec((0..3u8, 0..5u32, 0..20usize), 0..200)
        ) {
            let mut queue = Queue::default();
            let mut list: Vec<(u64, Network)> = Vec::new();
            for (step, network, number) in steps {
                let network = Network::V4(network);
                match step {
                    0 => {
                        let number = queue.push(network, queue.next);
                        list.push((number, network));
                    }
                    1 if !list.is_empty() => {
                        let (number, _) = list.remove(number % list.len());
                        prop_assert_eq!(queue.remove(number), Some(number));
                        prop_assert_eq!(queue.remove(number), None);
                    }
                    _ => {
                        let has = |wanted: Network| {
                            let of_it = list.iter().filter(|(_, network)| *network == wanted);
                            of_it.count() + usize::from(wanted == network)
                        };
                        let most = list.iter().map(|(_, network)| has(*network)).max();
                        let at = list.iter().position(|(_, network)| Some(has(*network)) == most);
                        let expected = at.map(|at| list.remove(at).0);
                        prop_assert_eq!(queue.evict(network), expected);
                    }
                }
                prop_assert_eq!(queue.all.len(), list.len());
            }
        }
    }
}
