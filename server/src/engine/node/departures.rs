//! The sessions that have left a topic a moment ago. They may still get what was on its way to them.

use std::collections::HashMap;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Departures {
    /// Until when each counts, by session.
    until_ms: HashMap<u64, u64>,
    /// The first of these times, or an earlier one.
    first_ms: Option<u64>,
}

impl Departures {
    pub(super) fn note(&mut self, id: u64, now_ms: u64) {
        let until_ms = now_ms + COUNTS_FOR_MS;
        self.until_ms.insert(id, until_ms);
        self.first_ms.get_or_insert(until_ms);
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.until_ms.contains_key(&id)
    }

    /// Forgets those that do not count any more.
    pub(super) fn forget_old(&mut self, now_ms: u64) {
        self.until_ms.retain(|_, until_ms| *until_ms > now_ms);
        self.first_ms = self.until_ms.values().copied().min();
    }

    /// When there may be something to forget.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.first_ms
    }
}

/// What is published has reached its subscribers by then.
const COUNTS_FOR_MS: u64 = 5_000;
