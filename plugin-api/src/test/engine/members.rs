//! The members of one topic.

use std::{collections::BTreeMap, ops::Bound};

use crate::abi::answer::{CHANGED, JOINED};

#[derive(Debug, Default)]
pub(super) struct Members {
    values: BTreeMap<u64, Vec<u8>>,
    /// The number of changes.
    version: u64,
}

impl Members {
    /// Adds a member, or gives it another value. Answers what has changed, if anything.
    pub(super) fn enter(&mut self, id: u64, value: &[u8]) -> Option<u32> {
        let before = self.values.insert(id, value.into());
        let kind = match before {
            Some(before) if before == value => return None,
            Some(_) => CHANGED,
            None => JOINED,
        };
        self.version += 1;
        Some(kind)
    }

    /// Removes a member; answers the value that it had.
    pub(super) fn leave(&mut self, id: u64) -> Option<Vec<u8>> {
        let value = self.values.remove(&id)?;
        self.version += 1;
        Some(value)
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.values.contains_key(&id)
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn bytes(&self) -> usize {
        self.values.values().map(Vec::len).sum()
    }

    /// The members behind one, by their ids.
    pub(super) fn after(&self, after: Option<u64>) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.values.range((from, Bound::Unbounded));
        found.map(|(id, value)| (*id, value.clone()))
    }
}
