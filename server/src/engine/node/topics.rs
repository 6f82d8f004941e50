//! The topics that the node knows, each found by its name without a key being made.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::topic::NodeTopic;
use crate::engine::TopicName;
use crate::sessions::topics::Topic;

/// See the [module](self).
pub(super) struct NodeTopics {
    is_remote: bool,
    /// Without any topic, nothing is looked up.
    count: AtomicUsize,
    hasher: Hashing,
    shards: [Mutex<Shard>; SHARDS],
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
            NodeTopic::new(TopicName::new(topic), self.is_remote)
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
        owned.remove(topic.name());
        if owned.is_empty() {
            shard.remove(topic.owner());
        }
        self.count.fetch_sub(1, Ordering::Release);
    }

    /// All topics that are known now.
    pub(super) fn all(&self) -> Vec<Arc<NodeTopic>> {
        (0..SHARDS).flat_map(|part| self.part(part)).collect()
    }

    /// One of [`SHARDS`] parts of the topics that are known now.
    pub(super) fn part(&self, part: usize) -> Vec<Arc<NodeTopic>> {
        let shard = self.shards[part]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let topics = shard.values().flat_map(HashMap::values);
        topics.cloned().collect()
    }

    fn shard(&self, topic: Topic<'_>) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[self.hasher.hash_one(topic) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Topics of one part are looked at together.
pub(super) const SHARDS: usize = 64;
