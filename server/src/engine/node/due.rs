//! The topics that have something to do when time has passed, by the time of each. A tick looks at no other topic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::topic::NodeTopic;

/// See the [module](self).
#[derive(Default)]
pub(super) struct DueTopics(Mutex<BTreeMap<Due, Arc<NodeTopic>>>);

/// A time in milliseconds, and the number of a topic.
type Due = (u64, u64);

impl DueTopics {
    /// Notes that a topic is due at `after` and no more at `before`. `None` is never.
    pub(super) fn change(&self, topic: &Arc<NodeTopic>, before: Option<u64>, after: Option<u64>) {
        let mut due = self.lock();
        if let Some(before) = before {
            due.remove(&(before, topic.number));
        }
        if let Some(after) = after {
            due.insert((after, topic.number), topic.clone());
        }
    }

    /// Notes that a topic is due no more.
    pub(super) fn remove(&self, topic: &NodeTopic, at_ms: u64) {
        self.lock().remove(&(at_ms, topic.number));
    }

    /// Takes out topics that are due at `now_ms`, at most so many, in the order of their times.
    pub(super) fn take(&self, now_ms: u64, at_most: usize) -> Vec<Arc<NodeTopic>> {
        let mut due = self.lock();
        let mut taken = Vec::new();
        while taken.len() < at_most
            && let Some(first) = due.first_entry()
            && first.key().0 <= now_ms
        {
            taken.push(first.remove());
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Due, Arc<NodeTopic>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
