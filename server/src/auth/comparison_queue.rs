//! The order in which passwords are compared: one of each network after the other.
//!
//! In the order of arrival, one network could have all others wait. What a network asks several times is compared
//! once.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::network::Network;
use super::verified::Tag;

/// Comparisons that wait for their turn, and those that are under way. `J` is what a comparison needs, and each `W`
/// is one that waits for its outcome.
pub(crate) struct ComparisonQueue<J, W> {
    /// How many may be under way.
    at_once: usize,
    under_way: usize,
    /// The networks that have comparisons without a turn yet, in the order of their turns.
    turns: VecDeque<Network>,
    /// The comparisons of these networks that have had no turn yet, in the order of arrival.
    asked: HashMap<Network, VecDeque<(Tag, J)>>,
    /// The waiters of each comparison, also while it is under way.
    waiters: HashMap<ComparisonKey, BTreeMap<WaiterNumber, W>>,
    next: u64,
}

/// What is compared, and for which network.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ComparisonKey {
    pub(crate) network: Network,
    pub(crate) tag: Tag,
}

/// Tells the waiters of a comparison apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaiterNumber(u64);

impl<J, W> ComparisonQueue<J, W> {
    pub(crate) fn new(at_once: usize) -> ComparisonQueue<J, W> {
        ComparisonQueue {
            at_once,
            under_way: 0,
            turns: VecDeque::new(),
            asked: HashMap::new(),
            waiters: HashMap::new(),
            next: 0,
        }
    }

    /// Whether this comparison waits for its turn or is under way.
    pub(crate) fn has(&self, key: ComparisonKey) -> bool {
        self.waiters.contains_key(&key)
    }

    /// Adds a waiter. `job` is called if the queue does not have the comparison yet.
    pub(crate) fn join(
        &mut self,
        key: ComparisonKey,
        waiter: W,
        job: impl FnOnce() -> J,
    ) -> WaiterNumber {
        let number = WaiterNumber(self.next);
        self.next += 1;
        if !self.has(key) {
            let asked = self.asked.entry(key.network).or_default();
            if asked.is_empty() {
                self.turns.push_back(key.network);
            }
            asked.push_back((key.tag, job()));
        }
        let waiters = self.waiters.entry(key).or_default();
        waiters.insert(number, waiter);
        number
    }

    /// Removes a waiter. Where it was the last one of a comparison that has had no turn, the comparison is removed too
    /// and returned.
    pub(crate) fn leave(&mut self, key: ComparisonKey, number: WaiterNumber) -> Option<J> {
        let waiters = self.waiters.get_mut(&key)?;
        waiters.remove(&number)?;
        if !waiters.is_empty() {
            return None;
        }
        let asked = self.asked.get_mut(&key.network)?;
        let at = asked.iter().position(|(tag, _)| *tag == key.tag)?;
        let (_, job) = asked.remove(at)?;
        if asked.is_empty() {
            self.asked.remove(&key.network);
            self.turns.retain(|network| *network != key.network);
        }
        self.waiters.remove(&key);
        Some(job)
    }

    /// Gives the next network its turn, unless as many comparisons as may be are under way.
    pub(crate) fn begin(&mut self) -> Option<(ComparisonKey, J)> {
        if self.under_way >= self.at_once {
            return None;
        }
        let network = self.turns.pop_front()?;
        let asked = self.asked.get_mut(&network)?;
        let (tag, job) = asked.pop_front()?;
        match asked.is_empty() {
            true => drop(self.asked.remove(&network)),
            false => self.turns.push_back(network),
        }
        self.under_way += 1;
        Some((ComparisonKey { network, tag }, job))
    }

    /// Notes that a comparison has ended, and returns its waiters.
    pub(crate) fn end(&mut self, key: ComparisonKey) -> impl Iterator<Item = W> + use<J, W> {
        self.under_way -= 1;
        let waiters = self.waiters.remove(&key).unwrap_or_default();
        waiters.into_values()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Queue = ComparisonQueue<&'static str, &'static str>;

    /// The key of a comparison like `a1`: the network `a`, and what it asks.
    fn key(name: &str) -> ComparisonKey {
        let [network, asked] = name.as_bytes() else {
            panic!("{name}");
        };
        ComparisonKey {
            network: Network::V4((*network).into()),
            tag: Tag((*asked).into()),
        }
    }

    /// What happens to a queue, and what follows.
    enum Step {
        /// A waiter of this name asks for a comparison.
        Join(&'static str, &'static str),
        /// The waiter that has joined as so many-th leaves, and this comparison is not wanted any more.
        Leave(&'static str, u64, Option<&'static str>),
        /// This comparison begins.
        Begin(Option<&'static str>),
        /// A comparison ends, and these waiters hear of it.
        End(&'static str, &'static [&'static str]),
    }

    fn run(at_once: usize, steps: &[Step]) -> Queue {
        let mut queue = Queue::new(at_once);
        for (at, step) in steps.iter().enumerate() {
            match *step {
                Step::Join(name, waiter) => {
                    queue.join(key(name), waiter, || name);
                }
                Step::Leave(name, number, expected) => {
                    let abandoned = queue.leave(key(name), WaiterNumber(number));
                    assert_eq!(abandoned, expected, "step {at}");
                }
                Step::Begin(expected) => {
                    let begun = queue.begin();
                    let of_key = begun.map(|(key, _)| key);
                    assert!(of_key == expected.map(key), "step {at}");
                    assert_eq!(begun.map(|(_, job)| job), expected, "step {at}");
                }
                Step::End(name, expected) => {
                    let heard: Vec<&str> = queue.end(key(name)).collect();
                    assert_eq!(heard, expected, "step {at}");
                }
            }
        }
        queue
    }

    use Step::{Begin, End, Join, Leave};

    #[test]
    fn networks_take_turns_however_much_one_of_them_asks() {
        run(
            9,
            &[
                Join("a1", ""),
                Join("a2", ""),
                Join("a3", ""),
                Join("a4", ""),
                Join("b1", ""),
                Begin(Some("a1")),
                Join("c1", ""),
                Begin(Some("b1")),
                // a2 was there before c1, and so was the turn of its network.
                Begin(Some("a2")),
                Join("b2", ""),
                Begin(Some("c1")),
                Begin(Some("a3")),
                Begin(Some("b2")),
                Begin(Some("a4")),
                Begin(None),
            ],
        );
    }

    #[test]
    fn only_so_many_are_under_way() {
        run(
            2,
            &[
                Join("a1", ""),
                Join("a2", ""),
                Join("b1", ""),
                Begin(Some("a1")),
                Begin(Some("b1")),
                Begin(None),
                End("b1", &[""]),
                Begin(Some("a2")),
                Begin(None),
                End("a1", &[""]),
                Begin(None),
            ],
        );
    }

    #[test]
    fn what_a_network_asks_twice_is_compared_once_and_all_hear_of_it() {
        run(
            9,
            &[
                Join("a1", "first"),
                Join("a1", "second"),
                Join("b1", "other network"),
                Begin(Some("a1")),
                Begin(Some("b1")),
                Begin(None),
                Join("a1", "while it is under way"),
                Begin(None),
                End("a1", &["first", "second", "while it is under way"]),
                // Asked again after its end, it is compared again.
                Join("a1", "late"),
                Begin(Some("a1")),
                End("b1", &["other network"]),
                End("a1", &["late"]),
            ],
        );
    }

    #[test]
    fn a_comparison_that_is_not_waited_for_any_more_takes_no_turn() {
        let queue = run(
            9,
            &[
                Join("a1", ""), // 0
                Join("a1", ""), // 1
                Join("b1", ""), // 2
                Join("b2", ""), // 3
                Leave("a1", 0, None),
                Leave("a1", 0, None),
                Leave("a1", 1, Some("a1")),
                Leave("b1", 2, Some("b1")),
                Begin(Some("b2")),
                // One that is under way ends by itself.
                Leave("b2", 3, None),
                Join("b2", "again"),
                Begin(None),
                End("b2", &["again"]),
                Leave("b2", 3, None),
                Begin(None),
            ],
        );
        assert!(queue.turns.is_empty() && queue.asked.is_empty() && queue.waiters.is_empty());
    }

    proptest! {
        /// A comparison waits for one turn of each other network at most, and for those before it of its own.
        #[test]
        fn no_network_waits_for_two_turns_of_another(
            asks in proptest::collection::vec((0..5u32, 0..50u128), 1..100)
        ) {
            let mut queue = ComparisonQueue::<(), ()>::new(usize::MAX);
            for (network, tag) in asks {
                let key = ComparisonKey { network: Network::V4(network), tag: Tag(tag) };
                queue.join(key, (), || ());
            }
            let mut begun: Vec<Network> = Vec::new();
            while let Some((key, ())) = queue.begin() {
                let before = begun.iter().rposition(|network| *network == key.network);
                let since = &begun[before.map_or(0, |before| before + 1)..];
                let has_two = (1..since.len()).any(|at| since[..at].contains(&since[at]));
                prop_assert!(!has_two, "{:?}, then {:?}", begun, key.network);
                begun.push(key.network);
            }
            prop_assert!(queue.asked.is_empty() && queue.turns.is_empty());
        }
    }
}
