//! The values that one handler keeps, by key.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::footprint::{b_tree_entry, shared};
use super::settings::StoreLimits;
use crate::engine::{Condition, Failure, KeptValue, PageLimit, StoreAnswer, StoreRequest};
use crate::process::clock::Moment;

/// The kept values of one handler.
#[derive(Debug, Default)]
pub(super) struct Store {
    entries: BTreeMap<Arc<str>, Entry>,
    /// The keys of values that end at some time, by that time and by version.
    ends: BTreeMap<(Moment, u64), Arc<str>>,
    /// The memory of all entries.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    value: Arc<[u8]>,
    version: u64,
    ends: Option<Moment>,
}

impl Store {
    /// Does what a handler asks. New versions come from `versions`, which has the last one that was given.
    ///
    /// # Errors
    /// [`Failure::Conflict`], [`Failure::TooBig`]. Nothing was changed.
    pub(super) fn ask(
        &mut self,
        request: StoreRequest,
        limits: StoreLimits,
        versions: &AtomicU64,
        now: Moment,
    ) -> Result<StoreAnswer, Failure> {
        match request {
            StoreRequest::Get { key } => {
                let found = self.entries.get_key_value(&*key);
                let found = found.filter(|(_, entry)| !entry.is_over(now));
                Ok(StoreAnswer::Value(
                    found.map(|(key, entry)| entry.told(key)),
                ))
            }
            StoreRequest::Put {
                key,
                value,
                only_if,
                time_to_live,
            } => {
                self.check(&key, only_if, now)?;
                self.make_room(&key, &value, time_to_live.is_some(), limits, now)?;
                self.remove(&key);
                let version = next(versions);
                let ends = time_to_live.map(|it| now.after(whole_ms(it)));
                self.insert(key.into(), value, version, ends);
                Ok(StoreAnswer::Changed(version))
            }
            StoreRequest::Delete { key, only_if } => {
                self.check(&key, only_if, now)?;
                self.remove(&key);
                Ok(StoreAnswer::Changed(next(versions)))
            }
            StoreRequest::List {
                prefix,
                after,
                limit,
            } => Ok(self.list(&prefix, after.as_deref(), limit, now)),
        }
    }

    /// Drops at most `count` values whose time is over. Returns whether there may be more.
    pub(super) fn drop_over(&mut self, now: Moment, count: usize) -> bool {
        (0..count).all(|_| self.drop_one_over(now))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The memory of all keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn check(&self, key: &str, only_if: Condition, now: Moment) -> Result<(), Failure> {
        let entry = self.entries.get(key).filter(|entry| !entry.is_over(now));
        let current = entry.map_or(0, |entry| entry.version);
        match only_if {
            Condition::Version(version) if version != current => Err(Failure::Conflict { current }),
            Condition::Version(_) | Condition::Always => Ok(()),
        }
    }

    /// Sees to it that a value can be put without passing a limit.
    fn make_room(
        &mut self,
        key: &str,
        value: &[u8],
        has_end: bool,
        limits: StoreLimits,
        now: Moment,
    ) -> Result<(), Failure> {
        if value.len() > limits.store_value_bytes_max {
            return Err(Failure::TooBig {
                limit: "store_value_bytes_max",
            });
        }
        let entry = entry_bytes(key, value, has_end);
        loop {
            let before = self.entries.get_key_value(key);
            let before = before.map_or(0, |(key, entry)| entry.bytes(key));
            // A value that takes no more than the one before is let in, even if the limit is a smaller one by now.
            if entry <= before || self.bytes - before + entry <= limits.store_bytes_max {
                return Ok(());
            }
            if !self.drop_one_over(now) {
                return Err(Failure::TooBig {
                    limit: "store_bytes_max",
                });
            }
        }
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: PageLimit,
        now: Moment,
    ) -> StoreAnswer {
        let begin = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let behind = self.entries.range::<str, _>((begin, Bound::Unbounded));
        let matching = behind.take_while(|(key, _)| key.starts_with(prefix));
        let (mut values, mut has_more, mut bytes) = (Vec::new(), false, 0);
        for (key, entry) in matching.filter(|(_, entry)| !entry.is_over(now)) {
            bytes += key.len() + entry.value.len();
            if !values.is_empty() && (values.len() >= limit.items || bytes > limit.bytes) {
                has_more = true;
                break;
            }
            values.push(entry.told(key));
        }
        StoreAnswer::Keys { values, has_more }
    }

    fn insert(&mut self, key: Arc<str>, value: Arc<[u8]>, version: u64, ends: Option<Moment>) {
        if let Some(ends) = ends {
            self.ends.insert((ends, version), key.clone());
        }
        let entry = Entry {
            value,
            version,
            ends,
        };
        self.bytes += entry.bytes(&key);
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes(key);
            if let Some(ends) = entry.ends {
                self.ends.remove(&(ends, entry.version));
            }
        }
    }

    /// Drops the value whose time was over first. False if no value's time is over.
    fn drop_one_over(&mut self, now: Moment) -> bool {
        let first = self.ends.first_key_value();
        let over = first.filter(|((ends, _), _)| *ends <= now);
        let Some(key) = over.map(|(_, key)| key.clone()) else {
            return false;
        };
        self.remove(&key);
        true
    }
}

impl Entry {
    fn is_over(&self, now: Moment) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    fn told(&self, key: &Arc<str>) -> KeptValue {
        KeptValue {
            key: key.clone(),
            value: self.value.clone(),
            version: self.version,
        }
    }

    fn bytes(&self, key: &str) -> usize {
        entry_bytes(key, &self.value, self.ends.is_some())
    }
}

/// The memory of an entry.
fn entry_bytes(key: &str, value: &[u8], has_end: bool) -> usize {
    let end = b_tree_entry(size_of::<((Moment, u64), Arc<str>)>());
    let entry = b_tree_entry(size_of::<(Arc<str>, Entry)>());
    shared(key.len()) + shared(value.len()) + entry + if has_end { end } else { 0 }
}

fn next(versions: &AtomicU64) -> u64 {
    versions.fetch_add(1, Ordering::Relaxed) + 1
}

/// A time in milliseconds, so that a value is never kept for less.
fn whole_ms(time: Duration) -> u64 {
    let ms = time.as_nanos().div_ceil(1_000_000);
    u64::try_from(ms).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
