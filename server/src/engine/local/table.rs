//! All topics, by name.
//!
//! A topic is locked together with a 64th of all others, for as long as one of its functions takes. The sink and the
//! answers are called without a lock.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use hashbrown::HashTable;

use super::outbox::Event;
use super::owners::Owners;
use super::shed_log::Shed;
use super::topic::Topic;
use super::usage::TopicUsage;
use crate::engine::TopicName;
use crate::process::clock::Moment;

/// Every topic of which there is something.
#[derive(Debug)]
pub(super) struct TopicTable {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    usage: TopicUsage,
    /// No topic that was forgotten has a list of members of a later version. New topics begin with it, so that the
    /// version of one topic never goes back.
    version: AtomicU64,
    /// The shard in which [`shed`](Self::shed) goes on.
    next_shard: Mutex<usize>,
}

#[derive(Debug, Default)]
struct Shard {
    /// Each entry is only a pointer, since a topic knows its name: where topics come and go, up to three quarters of the
    /// entries are not used.
    topics: HashTable<Box<Topic>>,
    marks: Marks,
}

/// What is known of the topics of a shard without a look at each.
#[derive(Debug, Default)]
struct Marks {
    /// The topics that are to be swept, by the time that each has noted.
    due: BTreeSet<(Moment, TopicName)>,
    /// What the largest history takes, or more.
    largest: usize,
}

impl TopicTable {
    pub(super) fn new() -> TopicTable {
        TopicTable {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            usage: TopicUsage::default(),
            version: AtomicU64::new(0),
            next_shard: Mutex::new(0),
        }
    }

    /// What the topics of all handlers take.
    pub(super) fn usage(&self) -> &TopicUsage {
        &self.usage
    }

    /// The version with which the members of a new topic begin.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Does something with a topic, which is made if it is not there. It is forgotten if nothing is left of it then.
    pub(super) fn with<T>(
        &self,
        name: &TopicName,
        owners: &Owners,
        act: impl FnOnce(&mut Topic) -> T,
    ) -> T {
        let hash = self.hasher.hash_one(name);
        let Shard { topics, marks } = &mut *self.shard(hash);
        let entry = topics.entry(
            hash,
            |topic| topic.name() == name,
            |topic| self.hasher.hash_one(topic.name()),
        );
        let mut entry = entry.or_insert_with(|| {
            let owner = owners.get(&name.owner);
            // All topics of an owner share its name.
            let name = TopicName {
                owner: owner.name.clone(),
                name: name.name.clone(),
            };
            Box::new(Topic::new(owner, name, self.version()))
        });
        let answer = act(entry.get_mut());
        if !self.note(entry.get_mut(), marks) {
            entry.remove();
            self.shrink(topics);
        }
        answer
    }

    /// Does something with a topic, if it is there.
    pub(super) fn with_known<T>(
        &self,
        name: &TopicName,
        act: impl FnOnce(&mut Topic) -> T,
    ) -> Option<T> {
        let hash = self.hasher.hash_one(name);
        let Shard { topics, marks } = &mut *self.shard(hash);
        let mut entry = topics.find_entry(hash, |it| it.name() == name).ok()?;
        let answer = act(entry.get_mut());
        if !self.note(entry.get_mut(), marks) {
            entry.remove();
            self.shrink(topics);
        }
        Some(answer)
    }

    /// Has topics of which something is too old at `now` drop that. Returns what the sink has to hear, and whether there may
    /// be more to drop.
    pub(super) fn sweep(&self, now: Moment) -> (Vec<Event>, bool) {
        let (mut events, mut left) = (Vec::new(), SWEPT);
        for shard in &self.shards {
            while self.sweep_one(&mut lock(shard), now, &mut left, &mut events) {
                if left == 0 {
                    return (events, true);
                }
            }
        }
        (events, false)
    }

    /// Sweeps the topic of a shard that is due first. It counts `left` down by one and by the publications that it drops.
    /// False if no topic is due.
    fn sweep_one(
        &self,
        shard: &mut Shard,
        now: Moment,
        left: &mut usize,
        events: &mut Vec<Event>,
    ) -> bool {
        let Shard { topics, marks } = shard;
        if marks.due.first().is_none_or(|(at, _)| *at > now) {
            return false;
        }
        let Some((_, name)) = marks.due.pop_first() else {
            return false;
        };
        let hash = self.hasher.hash_one(&name);
        if let Ok(mut entry) = topics.find_entry(hash, |it| *it.name() == name) {
            let topic = entry.get_mut();
            topic.set_due(None);
            let (dropped, event) = topic.sweep(now, *left);
            events.extend(event);
            *left = left.saturating_sub(dropped + 1);
            if !self.note(topic, marks) {
                entry.remove();
                self.shrink(topics);
            }
        }
        true
    }

    /// Changes every topic. `change` is called while topics are locked, so it asks the engine nothing.
    pub(super) fn for_each(&self, mut change: impl FnMut(&mut Topic)) {
        for shard in self.shards() {
            self.change_all(shard, &mut change);
        }
    }

    /// Has histories drop publications until all together take no more than `bytes_max`.
    ///
    /// Only those drop some that take at least half as much as the largest one. So a topic with many messages pays by
    /// itself for what it gets, and the few messages of a quiet one stay. Among those that pay, the oldest publications
    /// go first, as far as a look at one shard can tell.
    ///
    /// Returns what was dropped, if something was.
    pub(super) fn shed(&self, bytes_max: usize) -> Option<Shed> {
        let bytes = self.usage.history_bytes();
        if bytes <= bytes_max {
            return None;
        }
        // A little more than needed, so that a look at the topics of a shard serves many publications.
        let target = bytes_max - (bytes_max / SHED_PART).min(SHED_BYTES_MAX);
        // What others publish meanwhile, they shed next.
        self.free(target, bytes - target)
    }

    /// Has histories drop publications until all together take no more than `target`, or until so many bytes are freed:
    /// other threads may publish as fast as this one frees.
    pub(super) fn free(&self, target: usize, at_most: usize) -> Option<Shed> {
        let mut next_shard = match self.next_shard.try_lock() {
            Ok(next_shard) => next_shard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another thread is about it.
            Err(TryLockError::WouldBlock) => return None,
        };
        let mut dropped: Option<Shed> = None;
        loop {
            let freed = dropped.as_ref().map_or(0, |dropped| dropped.bytes);
            let too_much = self.usage.history_bytes().saturating_sub(target);
            let too_much = too_much.min(at_most.saturating_sub(freed));
            let largest: Vec<usize> = self.shards().map(|shard| shard.marks.largest).collect();
            let most = largest.iter().copied().max().unwrap_or(0);
            if too_much == 0 || most == 0 {
                break;
            }
            let at_least = most.div_ceil(2);
            let mut order = (0..SHARDS).map(|index| (*next_shard + index) % SHARDS);
            let Some(index) = order.find(|&index| largest[index] >= at_least) else {
                break;
            };
            *next_shard = (index + 1) % SHARDS;
            let mut shard = lock(&self.shards[index]);
            let of_shard = shard.shed(too_much, at_least, &self.usage);
            // Topics of which nothing is left are forgotten, and the largest one is found.
            self.change_all(shard, |_| ());
            dropped = match (dropped, of_shard) {
                (Some(dropped), Some(of_shard)) => Some(dropped.with(of_shard)),
                (dropped, of_shard) => dropped.or(of_shard),
            };
        }
        dropped
    }

    /// Changes every topic of a shard, and forgets those of which nothing is left.
    fn change_all(&self, mut shard: MutexGuard<'_, Shard>, mut change: impl FnMut(&mut Topic)) {
        let Shard { topics, marks } = &mut *shard;
        marks.largest = 0;
        topics.retain(|topic| {
            change(topic);
            self.note(topic, marks)
        });
        self.shrink(topics);
    }

    /// Gives back memory of the topics of a shard, where most of it is not used.
    fn shrink(&self, topics: &mut HashTable<Box<Topic>>) {
        let len = topics.len();
        if len < topics.capacity() / 4 {
            topics.shrink_to(len * 2, |topic| self.hasher.hash_one(topic.name()));
        }
    }

    /// Counts what a topic takes after a change, and when it is due. False if nothing is left of it.
    fn note(&self, topic: &mut Topic, marks: &mut Marks) -> bool {
        let is_left = !topic.is_idle();
        match topic.look_at() {
            _ if !is_left => {
                marks.set_due(topic, None);
                self.version.fetch_max(topic.version(), Ordering::Relaxed);
            }
            // A time that is too early is corrected by a sweep. So most publications leave it alone.
            Some(due) if topic.due().is_none_or(|noted| due < noted) => {
                marks.set_due(topic, Some(due));
            }
            _ => {}
        }
        topic.count(&self.usage);
        marks.largest = marks.largest.max(topic.history_bytes());
        is_left
    }

    fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(lock)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The table of a shard uses the lowest bits and the highest ones.
        lock(&self.shards[(hash >> 32) as usize % SHARDS])
    }
}

impl Shard {
    /// Drops publications of topics whose histories take at least `at_least`, the oldest first, until `too_much` is freed.
    /// Returns what was dropped, if something was.
    fn shed(&mut self, too_much: usize, at_least: usize, usage: &TopicUsage) -> Option<Shed> {
        let topics = self.topics.iter_mut();
        let mut large: Vec<&mut Box<Topic>> = topics
            .filter(|topic| topic.history_bytes() >= at_least)
            .collect();
        let oldest = large.iter().zip(0_usize..);
        let oldest = oldest.filter_map(|(topic, index)| Some(Reverse((topic.oldest()?, index))));
        let mut oldest: BinaryHeap<_> = oldest.collect();
        let mut freed_of = vec![0; large.len()];
        let (mut freed, mut publications) = (0, 0);
        while freed < too_much
            && let Some(Reverse((_, index))) = oldest.pop()
        {
            let topic = &mut large[index];
            let (bytes, len) = (topic.history_bytes(), topic.publications());
            topic.drop_oldest();
            topic.count(usage);
            freed_of[index] += bytes - topic.history_bytes();
            freed += bytes - topic.history_bytes();
            publications += len - topic.publications();
            if topic.history_bytes() >= at_least
                && let Some(at) = topic.oldest()
            {
                oldest.push(Reverse((at, index)));
            }
        }
        let bytes_of = freed_of.into_iter().zip(&large);
        let (most, topic) = bytes_of.max_by_key(|(bytes, _)| *bytes)?;
        (publications > 0).then(|| Shed {
            publications,
            bytes: freed,
            most: (topic.name().clone(), most),
        })
    }
}

impl Marks {
    fn set_due(&mut self, topic: &mut Topic, due: Option<Moment>) {
        if let Some(noted) = topic.due() {
            self.due.remove(&(noted, topic.name().clone()));
        }
        if let Some(due) = due {
            self.due.insert((due, topic.name().clone()));
        }
        topic.set_due(due);
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

const SHARDS: usize = 64;
/// The topics and publications that one sweep looks at.
const SWEPT: usize = 1_000;
/// Histories that are beyond their limit drop this part of it at a time, and at most so many bytes.
const SHED_PART: usize = 256;
const SHED_BYTES_MAX: usize = 1024 * 1024;
