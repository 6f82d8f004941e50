use std::collections::HashMap;

use super::*;
use crate::testing::seeds::{Dice, for_seeds};

const WIDE: StoreLimits = StoreLimits {
    store_bytes_max: usize::MAX,
    store_value_bytes_max: usize::MAX,
};
const ALL: PageLimit = PageLimit {
    items: usize::MAX,
    bytes: usize::MAX,
};

/// A store with its clock.
struct Fixture {
    store: Store,
    versions: AtomicU64,
    limits: StoreLimits,
    now_ms: u64,
}

impl Fixture {
    fn new(limits: StoreLimits) -> Fixture {
        Fixture {
            store: Store::default(),
            versions: AtomicU64::new(0),
            limits,
            now_ms: 0,
        }
    }

    fn ask(&mut self, request: StoreRequest) -> Result<StoreAnswer, Failure> {
        let now = Moment::ORIGIN.after(self.now_ms);
        self.store.ask(request, self.limits, &self.versions, now)
    }

    /// Puts a value, and answers its version.
    fn put(&mut self, key: &str, value: &[u8], only_if: Condition) -> Result<u64, Failure> {
        self.put_for(key, value, only_if, None)
    }

    fn put_for(
        &mut self,
        key: &str,
        value: &[u8],
        only_if: Condition,
        ms: Option<u64>,
    ) -> Result<u64, Failure> {
        changed(self.ask(StoreRequest::Put {
            key: key.into(),
            value: value.into(),
            only_if,
            time_to_live: ms.map(Duration::from_millis),
        }))
    }

    fn delete(&mut self, key: &str, only_if: Condition) -> Result<u64, Failure> {
        let key = key.into();
        changed(self.ask(StoreRequest::Delete { key, only_if }))
    }

    fn get(&mut self, key: &str) -> Option<(Vec<u8>, u64)> {
        match self.ask(StoreRequest::Get { key: key.into() }) {
            Ok(StoreAnswer::Value(value)) => value.map(|it| (it.value.to_vec(), it.version)),
            other => panic!("{other:?}"),
        }
    }

    fn list(&mut self, prefix: &str, after: Option<&str>, limit: PageLimit) -> (Vec<String>, bool) {
        let request = StoreRequest::List {
            prefix: prefix.into(),
            after: after.map(Box::from),
            limit,
        };
        match self.ask(request) {
            Ok(StoreAnswer::Keys { values, has_more }) => {
                let keys = values.iter().map(|it| it.key.to_string());
                (keys.collect(), has_more)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn changed(answer: Result<StoreAnswer, Failure>) -> Result<u64, Failure> {
    match answer {
        Ok(StoreAnswer::Changed(version)) => Ok(version),
        Ok(other) => panic!("{other:?}"),
        Err(failure) => Err(failure),
    }
}

#[test]
fn a_condition_names_the_version_that_a_value_has() {
    use Condition::{Always, Version};
    let conflict = |current| Err(Failure::Conflict { current });
    let mut it = Fixture::new(WIDE);

    assert_eq!(it.put("a", b"1", Version(7)), conflict(0));
    assert_eq!(it.put("a", b"1", Version(0)), Ok(1));
    assert_eq!(it.put("a", b"2", Version(0)), conflict(1));
    assert_eq!(it.put("a", b"2", Version(1)), Ok(2));
    assert_eq!(it.put("a", b"3", Version(1)), conflict(2));
    assert_eq!(it.put("a", b"3", Always), Ok(3));
    assert_eq!(it.get("a"), Some((b"3".to_vec(), 3)));

    assert_eq!(it.delete("a", Version(2)), conflict(3));
    assert_eq!(it.delete("a", Version(0)), conflict(3));
    assert_eq!(it.delete("a", Version(3)), Ok(4));
    assert_eq!(it.get("a"), None);
    assert_eq!(it.delete("a", Version(3)), conflict(0));
    assert_eq!(it.delete("a", Version(0)), Ok(5));
    assert_eq!(it.delete("a", Always), Ok(6));
    assert_eq!(it.put("a", b"4", Version(0)), Ok(7));
}

#[test]
fn a_value_is_gone_when_its_time_is_over_though_its_memory_is_not_free_yet() {
    let mut it = Fixture::new(WIDE);
    it.put_for("a", b"1", Condition::Always, Some(1_000))
        .unwrap();
    it.put_for("b", b"1", Condition::Always, Some(0)).unwrap();
    it.put("c", b"1", Condition::Always).unwrap();
    // The last put says how long a value is kept.
    it.put_for("d", b"1", Condition::Always, Some(10)).unwrap();
    let version = it.put("d", b"2", Condition::Always).unwrap();

    it.now_ms = 999;
    assert!(it.get("a").is_some() && it.get("b").is_none());
    it.now_ms = 1_000;

    assert_eq!(it.get("a"), None);
    assert_eq!(it.get("d"), Some((b"2".to_vec(), version)));
    assert_eq!(
        it.list("", None, ALL),
        (vec!["c".to_owned(), "d".to_owned()], false)
    );
    assert_eq!(
        it.delete("a", Condition::Version(1)),
        Err(Failure::Conflict { current: 0 })
    );
    assert_eq!(it.store.len(), 4);
    let now = Moment::ORIGIN.after(it.now_ms);
    assert!(it.store.drop_over(now, 1), "one of two");
    assert!(!it.store.drop_over(now, 2));
    assert_eq!((it.store.len(), it.store.ends.len()), (2, 0));
    assert!(it.put("a", b"", Condition::Version(0)).is_ok());
}

#[test]
fn a_refused_put_says_the_limit_and_changes_nothing() {
    let two = 2 * entry_bytes("a", &[0; 50], false);
    let mut it = Fixture::new(StoreLimits {
        store_bytes_max: two,
        store_value_bytes_max: 100,
    });
    let refused = |limit| Err(Failure::TooBig { limit });
    it.put("a", &[1; 50], Condition::Always).unwrap();
    it.put("b", &[2; 50], Condition::Always).unwrap();
    assert_eq!(it.store.bytes(), two);

    let all = Condition::Always;
    assert_eq!(
        it.put("a", &[3; 101], all),
        refused("store_value_bytes_max")
    );
    assert_eq!(it.put("a", &[3; 100], all), refused("store_bytes_max"));
    assert_eq!(it.put("c", b"", all), refused("store_bytes_max"));

    assert_eq!(it.get("a"), Some((vec![1; 50], 1)));
    assert_eq!(it.get("b"), Some((vec![2; 50], 2)));
    assert_eq!((it.get("c"), it.store.bytes()), (None, two));
    // A value of this size or a smaller one is let in, even above a limit that is less by now.
    it.limits.store_bytes_max = 1;
    assert_eq!(it.put("a", &[4; 50], all), Ok(3));
    assert_eq!(it.put("a", &[5; 40], all), Ok(4));
}

#[test]
fn values_whose_time_is_over_give_way_to_a_put() {
    let of_one = entry_bytes("a", &[0; 50], true);
    let mut it = Fixture::new(StoreLimits {
        store_bytes_max: 2 * of_one,
        ..WIDE
    });
    let all = Condition::Always;
    it.put_for("a", &[0; 50], all, Some(10)).unwrap();
    it.put_for("b", &[0; 50], all, Some(20)).unwrap();

    it.now_ms = 9;
    assert!(it.put("c", &[0; 50], all).is_err());
    it.now_ms = 10;
    assert!(it.put("c", &[0; 50], all).is_ok());

    assert_eq!(it.list("", None, ALL).0, ["b", "c"]);
}

#[test]
fn a_list_is_in_the_order_of_bytes_and_begins_behind_a_key() {
    let mut it = Fixture::new(WIDE);
    for key in ["b", "a/é", "a/", "a0", "a/b", "a", "a/a", "A"] {
        it.put(key, b"123", Condition::Always).unwrap();
    }
    for (prefix, after, items, bytes, keys, has_more) in [
        ("a/", None, 9, 99, &["a/", "a/a", "a/b", "a/é"][..], false),
        ("a/", Some("a/a"), 9, 99, &["a/b", "a/é"], false),
        ("a/", Some("a/aa"), 9, 99, &["a/b", "a/é"], false),
        ("a/", Some("a/é"), 9, 99, &[], false),
        ("a/", Some("A"), 2, 99, &["a/", "a/a"], true),
        ("a/", Some("b"), 9, 99, &[], false),
        ("a/", None, 0, 0, &["a/"], true),
        ("a/", None, 9, 11, &["a/", "a/a"], true),
        ("a/", None, 9, 10, &["a/"], true),
        ("", None, 3, 99, &["A", "a", "a/"], true),
        ("z", None, 9, 99, &[], false),
    ] {
        let found = it.list(prefix, after, PageLimit { items, bytes });
        assert_eq!(found.0, keys, "{prefix} {after:?}");
        assert_eq!(found.1, has_more, "{prefix} {after:?}");
    }
}

#[test]
fn pages_have_each_key_once_while_others_write() {
    for_seeds(0..500, |dice| {
        let mut it = Fixture::new(WIDE);
        let lasting: Vec<String> = (0..20).map(|key| format!("k{key}")).collect();
        for key in &lasting {
            it.put(key, b"", Condition::Always).unwrap();
        }

        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let items = 1 + dice.below(5) as usize;
            let limit = PageLimit {
                items,
                bytes: 9_000,
            };
            let (keys, has_more) = it.list("k", after.as_deref(), limit);
            after = keys.last().cloned().or(after);
            listed.extend(keys);
            if !has_more {
                break;
            }
            let others = format!("k{}x", dice.below(20));
            it.put(&others, b"1", Condition::Always).unwrap();
            it.put(dice.pick::<String>(&lasting), b"2", Condition::Always)
                .unwrap();
            let _ = it.delete(&format!("k{}x", dice.below(20)), Condition::Always);
        }

        assert!(listed.is_sorted_by(|one, next| one < next), "{listed:?}");
        assert!(lasting.iter().all(|key| listed.contains(key)));
    });
}

/// A value with its version and its end.
type Kept = (Vec<u8>, u64, Option<u64>);

#[test]
fn any_sequence_of_requests_has_the_answers_of_a_plain_table() {
    for_seeds(0..2_000, |dice| {
        let mut it = Fixture::new(StoreLimits {
            store_bytes_max: 1_200,
            store_value_bytes_max: 60,
        });
        let mut model: HashMap<String, Kept> = HashMap::new();
        let mut last_version = 0;
        for _ in 0..40 {
            it.now_ms += dice.below(20);
            let now_ms = it.now_ms;
            if dice.below(5) == 0 {
                it.store.drop_over(Moment::ORIGIN.after(now_ms), 2);
            }
            model.retain(|_, (_, _, ends)| ends.is_none_or(|ends| ends > now_ms));
            let key = ["a", "b", "ab", "abc", "é"][dice.below(5) as usize];
            let current = model.get(key).map_or(0, |(_, version, _)| *version);
            let only_if = match dice.below(3) {
                0 => Condition::Always,
                1 => Condition::Version(current),
                _ => Condition::Version(dice.below(last_version + 2)),
            };
            let holds = [Condition::Always, Condition::Version(current)].contains(&only_if);
            match dice.below(4) {
                0 => {
                    let kept = model.get(key);
                    let kept = kept.map(|(value, version, _)| (value.clone(), *version));
                    assert_eq!(it.get(key), kept);
                }
                1 => {
                    let answer = it.delete(key, only_if);
                    if !holds {
                        assert_eq!(answer, Err(Failure::Conflict { current }));
                        continue;
                    }
                    last_version = newer(answer, last_version);
                    model.remove(key);
                }
                2 => {
                    let value = vec![last_version as u8; dice.below(70) as usize];
                    let ms = [None, Some(dice.below(90))][dice.below(2) as usize];
                    let answer = it.put_for(key, &value, only_if, ms);
                    if !holds {
                        assert_eq!(answer, Err(Failure::Conflict { current }));
                        continue;
                    }
                    let ends = ms.map(|ms| now_ms + ms);
                    match refusal(&model, key, &value, ends) {
                        Some(limit) => assert_eq!(answer, Err(Failure::TooBig { limit })),
                        None => {
                            last_version = newer(answer, last_version);
                            model.insert(key.to_owned(), (value, last_version, ends));
                        }
                    }
                }
                _ => compare_list(&mut it, &model, dice),
            }
        }
        let now = Moment::ORIGIN.after(it.now_ms);
        it.store.drop_over(now, usize::MAX);
        model.retain(|_, (_, _, ends)| ends.is_none_or(|ends| Moment::ORIGIN.after(ends) > now));
        assert_eq!(it.store.bytes(), model_bytes(&model));
        assert_eq!(it.store.len(), model.len());
        let ends = model.values().filter(|(_, _, ends)| ends.is_some());
        assert_eq!(it.store.ends.len(), ends.count());
    });
}

#[track_caller]
fn newer(answer: Result<u64, Failure>, last_version: u64) -> u64 {
    let version = answer.expect("a version");
    assert!(version > last_version);
    version
}

/// The limit that a put would pass.
fn refusal(
    model: &HashMap<String, Kept>,
    key: &str,
    value: &[u8],
    ends: Option<u64>,
) -> Option<&'static str> {
    if value.len() > 60 {
        return Some("store_value_bytes_max");
    }
    let mut after = model.clone();
    let before = after.remove(key);
    let before = before.map_or(0, |(value, _, ends)| {
        entry_bytes(key, &value, ends.is_some())
    });
    let bytes = entry_bytes(key, value, ends.is_some());
    let is_too_much = bytes > before && model_bytes(&after) + bytes > 1_200;
    is_too_much.then_some("store_bytes_max")
}

fn model_bytes(model: &HashMap<String, Kept>) -> usize {
    let entries = model.iter();
    entries
        .map(|(key, (value, _, ends))| entry_bytes(key, value, ends.is_some()))
        .sum()
}

fn compare_list(it: &mut Fixture, model: &HashMap<String, Kept>, dice: &mut Dice) {
    let prefix = *dice.pick(&["", "a", "ab", "x"]);
    let after = *dice.pick(&[None, Some("a"), Some("abb"), Some("é")]);
    let items = 1 + dice.below(4) as usize;
    let mut keys: Vec<String> = model.keys().cloned().collect();
    keys.retain(|key| key.starts_with(prefix) && after.is_none_or(|after| **key > *after));
    keys.sort();
    let has_more = keys.len() > items;
    keys.truncate(items);

    let limit = PageLimit {
        items,
        bytes: 9_000,
    };
    assert_eq!(it.list(prefix, after, limit), (keys, has_more));
}
