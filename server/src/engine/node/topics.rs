//! The topics that the node knows, each found by its name without a key being made.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::due::DueTopics;
use super::topic::NodeTopic;
use super::topic_state::TopicState;
use crate::engine::TopicName;
use crate::sessions::topics::Topic;

/// See the [module](self).
pub(super) struct NodeTopics {
    is_remote: bool,
    /// Without any topic, nothing is looked up.
    count: AtomicUsize,
    hasher: Hashing,
    shards: [Mutex<Shard>; SHARDS],
    due: DueTopics,
    /// The number of the last topic that was made.
    last_number: AtomicU64,
}

/// By owner, then by name.
type Shard = HashMap<Box<str>, HashMap<Box<str>, Arc<NodeTopic>, Hashing>, Hashing>;

/// In tests, the order of the topics is that of every other run, so that a seed decides everything.
#[cfg(test)]
type Hashing = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;
#[cfg(not(test))]
type Hashing = std::hash::RandomState;

impl NodeTopics {
    pub(super) fn new(is_remote: bool) -> NodeTopics {
        NodeTopics {
            is_remote,
            count: AtomicUsize::new(0),
            hasher: Hashing::default(),
            shards: std::array::from_fn(|_| Mutex::default()),
            due: DueTopics::default(),
            last_number: AtomicU64::new(0),
        }
    }

    pub(super) fn find(&self, topic: Topic<'_>) -> Option<Arc<NodeTopic>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let shard = self.shard(topic);
        shard.get(topic.owner())?.get(topic.name()).cloned()
    }

    /// The topic, which is made if it is not known. It is not forgotten as long as `change` has it wanted.
    pub(super) fn find_or_make(&self, topic: Topic<'_>) -> Arc<NodeTopic> {
        let mut shard = self.shard(topic);
        let owned = shard.entry(topic.owner().into()).or_default();
        let found = owned.entry(topic.name().into()).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Release);
            let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
            NodeTopic::new(TopicName::new(topic), number, self.is_remote)
        });
        found.clone()
    }

    /// Forgets a topic, if nothing is lost by it.
    pub(super) fn forget(&self, known: &NodeTopic) {
        let topic = known.name.as_topic();
        let mut shard = self.shard(topic);
        let Some(owned) = shard.get_mut(topic.owner()) else {
            return;
        };
        let mut state = known.lock();
        if state.is_forgotten || !state.can_be_forgotten() {
            return;
        }
        state.is_forgotten = true;
        self.note_looked_at(known, &mut state);
        owned.remove(topic.name());
        if owned.is_empty() {
            shard.remove(topic.owner());
        }
        self.count.fetch_sub(1, Ordering::Release);
    }

    /// Notes when a topic is due, after a change of its state.
    pub(super) fn note_due(&self, known: &Arc<NodeTopic>, state: &mut TopicState, now_ms: u64) {
        if state.is_forgotten {
            return;
        }
        let due_ms = state.due_ms(now_ms);
        if due_ms != state.noted_due_ms {
            self.due.change(known, state.noted_due_ms, due_ms);
            state.noted_due_ms = due_ms;
        }
    }

    /// Takes topics that are due, at most so many. Each is to be looked at with [`TopicState::tick`].
    pub(super) fn take_due(&self, now_ms: u64, at_most: usize) -> Vec<Arc<NodeTopic>> {
        self.due.take(now_ms, at_most)
    }

    /// Notes that a topic is due no more, because it is looked at now.
    pub(super) fn note_looked_at(&self, known: &NodeTopic, state: &mut TopicState) {
        // Another thread may have noted it since it was taken.
        if let Some(at_ms) = state.noted_due_ms.take() {
            self.due.remove(known, at_ms);
        }
    }

    /// All topics that are known now.
    pub(super) fn all(&self) -> Vec<Arc<NodeTopic>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.values().flat_map(HashMap::values).cloned());
        }
        all
    }

    fn shard(&self, topic: Topic<'_>) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[self.hasher.hash_one(topic) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SHARDS: usize = 64;
