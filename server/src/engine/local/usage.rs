//! What topics take, counted as it changes, so that neither a limit nor an operator's question looks at every topic.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::Usage;

/// What one topic takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// 1 for a topic with history or members.
    pub(super) topics: usize,
    pub(super) publications: usize,
    pub(super) history_bytes: usize,
    pub(super) members: usize,
    pub(super) presence_bytes: usize,
}

/// What the topics of one handler take together, or the topics of all handlers.
#[derive(Debug, Default)]
pub(super) struct TopicUsage {
    topics: AtomicUsize,
    publications: AtomicUsize,
    history_bytes: AtomicUsize,
    members: AtomicUsize,
    presence_bytes: AtomicUsize,
}

impl TopicUsage {
    /// Counts that a topic takes `after` and no more `before`.
    pub(super) fn change(&self, before: &Counts, after: &Counts) {
        change(&self.topics, before.topics, after.topics);
        change(&self.publications, before.publications, after.publications);
        change(
            &self.history_bytes,
            before.history_bytes,
            after.history_bytes,
        );
        change(&self.members, before.members, after.members);
        change(
            &self.presence_bytes,
            before.presence_bytes,
            after.presence_bytes,
        );
    }

    pub(super) fn history_bytes(&self) -> usize {
        self.history_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn presence_bytes(&self) -> usize {
        self.presence_bytes.load(Ordering::Relaxed)
    }

    /// The usage, without keys and values.
    pub(super) fn told(&self) -> Usage {
        Usage {
            topics: self.topics.load(Ordering::Relaxed),
            publications: self.publications.load(Ordering::Relaxed),
            history_bytes: self.history_bytes(),
            members: self.members.load(Ordering::Relaxed),
            presence_bytes: self.presence_bytes(),
            ..Usage::default()
        }
    }
}

/// Most publications change no count: one is dropped for one that is kept.
fn change(count: &AtomicUsize, before: usize, after: usize) {
    if after != before {
        // Unsigned numbers wrap around, so this also subtracts.
        count.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }
}
