//! Kept values: claims 43 to 48.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Answer, Cluster, KINDS, answer};
use crate::engine::{Condition, Failure, KeptValue, PageLimit, StoreAnswer, StoreRequest};

fn ask(cluster: &Cluster, server: usize, request: StoreRequest) -> Answer<StoreAnswer> {
    let (answer, done) = answer();
    let handler: Arc<str> = "chat".into();
    cluster.servers[server % cluster.len()]
        .node
        .store(&handler, request, done);
    answer
}

fn put(key: &str, value: &str, only_if: Condition) -> StoreRequest {
    StoreRequest::Put {
        key: key.into(),
        value: value.as_bytes().into(),
        only_if,
        time_to_live: None,
    }
}

fn delete(key: &str) -> StoreRequest {
    StoreRequest::Delete {
        key: key.into(),
        only_if: Condition::Always,
    }
}

fn answered(cluster: &Cluster, server: usize, request: StoreRequest) -> StoreAnswer {
    let answer = ask(cluster, server, request);
    cluster.settle();
    answer.take().unwrap()
}

fn changed(cluster: &Cluster, server: usize, request: StoreRequest) -> u64 {
    match answered(cluster, server, request) {
        StoreAnswer::Changed(version) => version,
        other => panic!("{other:?}"),
    }
}

fn get(cluster: &Cluster, server: usize, key: &str) -> Option<KeptValue> {
    match answered(cluster, server, StoreRequest::Get { key: key.into() }) {
        StoreAnswer::Value(value) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn claim_43_of_a_hundred_puts_on_one_version_one_wins() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        for version in [
            0,
            changed(&cluster, 0, put("other", "x", Condition::Always)),
        ] {
            let key = if version == 0 { "new" } else { "other" };
            let put = |n: usize| put(key, &n.to_string(), Condition::Version(version));
            let answers: Vec<_> = (0..100).map(|n| ask(&cluster, n, put(n))).collect();
            cluster.settle();

            let answers: Vec<_> = answers.iter().map(Answer::take).collect();
            let won = answers.iter().position(Result::is_ok).expect("one wins");
            let Ok(StoreAnswer::Changed(current)) = answers[won] else {
                panic!("{:?}", answers[won]);
            };
            for (n, answer) in answers.iter().enumerate().filter(|(n, _)| *n != won) {
                let conflict = Err(Failure::Conflict { current });
                assert_eq!(answer, &conflict, "{kind:?} {n}");
            }
            let value = get(&cluster, 1, key).expect("it is kept");
            assert_eq!(*value.value, *won.to_string().as_bytes());
        }
    }
}

#[test]
fn claim_44_and_46_a_put_is_read_at_once_and_versions_grow_also_over_a_deletion() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let first = ask(&cluster, 0, put("key", "1", Condition::Always));
        let read = ask(&cluster, 0, StoreRequest::Get { key: "key".into() });
        cluster.settle();
        let Ok(StoreAnswer::Changed(first)) = first.take() else {
            panic!("{kind:?}");
        };
        let Ok(StoreAnswer::Value(Some(value))) = read.take() else {
            panic!("{kind:?}");
        };
        assert_eq!((&*value.value, value.version), (&b"1"[..], first));

        let deleted = changed(&cluster, 1, delete("key"));
        assert_eq!(get(&cluster, 2, "key"), None);
        let again = changed(&cluster, 3, put("key", "2", Condition::Version(0)));
        assert!(first < deleted && deleted < again, "{kind:?}");
    }
}

#[test]
fn claim_45_a_value_ends_with_its_time_to_live_on_all_servers() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let request = StoreRequest::Put {
            key: "key".into(),
            value: Arc::from(*b"1"),
            only_if: Condition::Always,
            time_to_live: Some(Duration::from_secs(5)),
        };
        changed(&cluster, 0, request);
        cluster.advance(4_000);
        assert!(get(&cluster, 1, "key").is_some(), "{kind:?}");
        cluster.advance(2_000);
        (0..5).for_each(|server| assert_eq!(get(&cluster, server, "key"), None, "{kind:?}"));
    }
}

#[test]
fn claim_47_over_the_limit_nothing_is_changed() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let version = changed(&cluster, 0, put("key", "1", Condition::Always));
        let large = ask(
            &cluster,
            1,
            put("key", &"x".repeat(70_000), Condition::Always),
        );
        cluster.settle();

        let limit = "store_value_bytes_max";
        assert_eq!(large.take(), Err(Failure::TooBig { limit }), "{kind:?}");
        assert_eq!(get(&cluster, 2, "key").unwrap().version, version);
    }
}

#[test]
fn claim_48_a_list_has_each_key_once_while_others_write() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let key = |n: usize| format!("k/{n:02}");
        for n in 0..40 {
            changed(&cluster, n, put(&key(n), "1", Condition::Always));
        }
        changed(&cluster, 0, put("other", "1", Condition::Always));

        let (mut found, mut after, mut page) = (Vec::new(), None, 0);
        loop {
            let limit = PageLimit {
                items: 7,
                bytes: 1 << 20,
            };
            let list = StoreRequest::List {
                prefix: "k/".into(),
                after: after.clone(),
                limit,
            };
            let StoreAnswer::Keys { values, has_more } = answered(&cluster, page, list) else {
                panic!("{kind:?}");
            };
            found.extend(values.iter().map(|value| value.key.to_string()));
            after = values.last().map(|value| Box::from(&*value.key));
            // Others change what was listed and what will be.
            changed(&cluster, page, put(&key(page), "2", Condition::Always));
            changed(&cluster, page, put(&key(39 - page), "2", Condition::Always));
            page += 1;
            if !has_more {
                break;
            }
        }
        assert_eq!(found, (0..40).map(key).collect::<Vec<_>>(), "{kind:?}");
    }
}
