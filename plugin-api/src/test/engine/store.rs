//! The values that the handler keeps.

use std::{collections::BTreeMap, time::Duration};

use super::{AnswerBuf, ItemBuf, page};
use crate::{abi, test::limits};

#[derive(Debug)]
pub(in crate::test) struct Store {
    entries: BTreeMap<String, Entry>,
    /// The last version that was given.
    version: u64,
    /// The most bytes of all keys and values.
    pub(in crate::test) bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    version: u64,
    ends: Option<Duration>,
}

/// The version that a value must have to be changed; `None` is any, 0 is no value.
pub(in crate::test) type Condition = Option<u64>;

impl Default for Store {
    fn default() -> Self {
        Store {
            entries: BTreeMap::new(),
            version: 0,
            bytes_max: limits::STORE_BYTES_MAX,
        }
    }
}

impl Store {
    pub(in crate::test) fn get(&mut self, key: &str, now: Duration) -> AnswerBuf {
        self.drop_over(now);
        let items: Vec<ItemBuf> = (self.entries.get_key_value(key).into_iter())
            .map(Entry::item)
            .collect();
        AnswerBuf {
            version: items.first().map_or(0, |item| item.version),
            items,
            ..AnswerBuf::default()
        }
    }

    pub(in crate::test) fn put(
        &mut self,
        key: &str,
        value: &[u8],
        only_if: Condition,
        ttl_ms: u64,
        now: Duration,
    ) -> AnswerBuf {
        if let Err(conflict) = self.check(key, only_if, now) {
            return conflict;
        }
        let others = self.entries.iter().filter(|(other, _)| *other != key);
        let bytes: usize = others
            .map(|(key, entry)| key.len() + entry.value.len())
            .sum();
        if bytes + key.len() + value.len() > self.bytes_max {
            return AnswerBuf::failed(abi::TOO_BIG);
        }
        self.version += 1;
        let entry = Entry {
            value: value.into(),
            version: self.version,
            ends: (ttl_ms > 0).then(|| now.saturating_add(Duration::from_millis(ttl_ms))),
        };
        self.entries.insert(key.into(), entry);
        AnswerBuf::version(self.version)
    }

    pub(in crate::test) fn delete(
        &mut self,
        key: &str,
        only_if: Condition,
        now: Duration,
    ) -> AnswerBuf {
        if let Err(conflict) = self.check(key, only_if, now) {
            return conflict;
        }
        self.entries.remove(key);
        self.version += 1;
        AnswerBuf::version(self.version)
    }

    pub(in crate::test) fn list(
        &mut self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        now: Duration,
    ) -> AnswerBuf {
        self.drop_over(now);
        let matching = self.entries.iter().filter(|(key, _)| {
            key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
        });
        let (items, has_more) = page(matching, limit, Entry::item);
        AnswerBuf {
            next: match items.last() {
                Some(last) if has_more => last.name.clone().into_bytes(),
                _ => Vec::new(),
            },
            items,
            ..AnswerBuf::default()
        }
    }

    /// Whether a value may be changed.
    fn check(&mut self, key: &str, only_if: Condition, now: Duration) -> Result<(), AnswerBuf> {
        self.drop_over(now);
        let current = self.entries.get(key).map_or(0, |entry| entry.version);
        match only_if {
            Some(version) if version != current => Err(AnswerBuf {
                version: current,
                ..AnswerBuf::failed(abi::CONFLICT)
            }),
            _ => Ok(()),
        }
    }

    /// Drops the values whose time is over.
    fn drop_over(&mut self, now: Duration) {
        self.entries
            .retain(|_, entry| entry.ends.is_none_or(|ends| ends > now));
    }
}

impl Entry {
    fn item((key, entry): (&String, &Entry)) -> ItemBuf {
        ItemBuf {
            name: key.clone(),
            value: entry.value.clone(),
            version: entry.version,
            ..ItemBuf::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn a_value_is_changed_only_if_it_has_the_version_that_is_named() {
        let mut store = Store::default();
        let first = store.put("a", b"1", Some(0), 0, NOW).version;
        for (only_if, status) in [
            (Some(0), abi::CONFLICT),
            (Some(first + 1), abi::CONFLICT),
            (Some(first), abi::OK),
            (Some(first), abi::CONFLICT),
            (None, abi::OK),
        ] {
            assert_eq!(
                store.put("a", b"2", only_if, 0, NOW).status,
                status,
                "{only_if:?}"
            );
        }
        let deleted = store.delete("a", None, NOW).version;
        assert!(store.put("a", b"3", Some(0), 0, NOW).version > deleted);
        assert_eq!(store.put("b", b"1", Some(9), 0, NOW).version, 0);
    }

    #[test]
    fn a_value_ends_with_its_time_and_a_put_renews_it() {
        let mut store = Store::default();
        let at = Duration::from_millis;
        store.put("a", b"1", None, 1000, NOW);
        store.put("a", b"2", None, 1000, at(500));

        assert_eq!(store.get("a", at(1499)).items.len(), 1);
        assert!(store.get("a", at(1500)).items.is_empty());
        store.put("a", b"3", Some(0), 0, at(1500));
        assert_eq!(store.get("a", Duration::MAX).items.len(), 1);
    }

    #[test]
    fn a_value_that_does_not_fit_changes_nothing() {
        let mut store = Store {
            bytes_max: 4,
            ..Store::default()
        };
        assert_eq!(store.put("a", b"123", None, 0, NOW).status, abi::OK);
        assert_eq!(store.put("b", b"", None, 0, NOW).status, abi::TOO_BIG);
        assert_eq!(store.put("a", b"1234", None, 0, NOW).status, abi::TOO_BIG);
        assert_eq!(store.get("a", NOW).items[0].value, b"123");
    }
}
