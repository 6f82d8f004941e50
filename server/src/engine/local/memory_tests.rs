//! The process takes as much memory as the limits say, within a tenth. `WSHD_LONG=1 cargo test -p wshd --lib memory_tests --
//! --nocapture` is the long form, with a million publications, a hundred thousand topics, and a hundred thousand keys.
//!
//! Each measurement has a process of its own: this program, with one test.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::settings::{Settings, StoreLimits, TopicLimits};
use super::*;
use crate::engine::{Condition, Origin};
use crate::sessions::prepared_message::PreparedMessage;
use crate::testing::seeds::Dice;
use crate::ws::frame;

/// Set in the process that is measured.
const MEASURED: &str = "WSHD_MEASURED";
const UNBOUNDED: HistoryBounds = HistoryBounds {
    count: usize::MAX,
    age_ms: u64::MAX,
    bytes: usize::MAX,
};

/// How often a test does what it does, in its short and in its long form.
fn times(short: usize, long: usize) -> usize {
    let is_long = std::env::var_os("WSHD_LONG").is_some_and(|value| value != "0");
    if is_long { long } else { short }
}

/// What every process takes more or less, such as for the messages that a thread keeps. It is little beside what the long
/// form keeps, which has to be within a tenth with it.
fn noise_bytes() -> usize {
    times(512 * 1024, 0)
}

/// Has `fill` run in a process of its own. It returns what the memory is to be. Asserts that the process takes this much
/// more afterwards, within a tenth.
fn takes(test: &str, fill: impl FnOnce() -> (usize, Box<dyn Send>)) {
    if std::env::var_os(MEASURED).is_none() {
        let program = std::env::current_exe().expect("this test's own path");
        let name = format!("engine::local::memory_tests::{test}");
        let mut command = Command::new(program);
        command.args([&name, "--exact", "--nocapture", "--test-threads=1"]);
        let output = command.env(MEASURED, "1").output().expect("a process");
        let said = String::from_utf8_lossy(&output.stderr);
        eprint!("{said}");
        assert!(output.status.success(), "{said}");
        assert!(said.contains("KiB"), "no test was run: {said}");
        return;
    }
    let before = resident_bytes();
    let (expected, _kept) = fill();
    let taken = resident_bytes() - before;
    eprintln!(
        "{test}: {} KiB expected, {} KiB taken, {:+.1} %",
        expected / 1024,
        taken / 1024,
        (taken as f64 / expected as f64 - 1.0) * 100.0
    );
    assert!(taken <= expected + expected / 10 + noise_bytes());
    assert!(taken + noise_bytes() >= expected - expected / 10);
}

/// The memory of this process that is not only reserved.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the state of this process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: usize = kib.and_then(|kib| kib.parse().ok()).expect("RssAnon");
    kib * 1024
}

struct Filled {
    engine: Arc<LocalEngine>,
    next_number: u64,
    dice: Dice,
}

/// An engine whose limits are all this one.
fn engine(bytes_max: usize, history: HistoryBounds) -> Filled {
    let limits = TopicLimits {
        history_bytes_max: bytes_max,
        presence_bytes_max: bytes_max,
        presence_value_bytes_max: bytes_max,
    };
    let store = StoreLimits {
        store_bytes_max: bytes_max,
        store_value_bytes_max: bytes_max,
    };
    let settings = Settings {
        history: Box::new(move |_| Some(history)),
        limits: Box::new(move || limits),
        store: Box::new(move |_| store),
        ..Settings::default()
    };
    let no_sink: Weak<NoSink> = Weak::new();
    Filled {
        engine: LocalEngine::new(settings, no_sink),
        next_number: 1,
        dice: Dice::new(1),
    }
}

struct NoSink;

impl Sink for NoSink {
    fn publication(&self, _: &Publication, _: Option<StreamPosition>) {}
    fn gap(&self, _: &TopicName) {}
    fn stream_changed(&self, _: &TopicName, _: Option<StreamPosition>) {}
    fn presence(&self, _: &crate::engine::PresenceChange) {}
    fn reachable(&self, _: bool) {}
}

impl Filled {
    fn publish(&mut self, topic: &str, len: usize) {
        let publication = Publication {
            topic: topic_name(topic),
            origin: Origin {
                node: 0,
                incarnation: 5,
            },
            number: self.next_number,
            except: 0,
            message: PreparedMessage::new(frame::TEXT, &vec![b'a'; len], true),
        };
        self.next_number += 1;
        self.engine.publish(publication).expect("space");
    }

    /// Lengths as of chat: most are short, and a few are not.
    fn any_len(&mut self) -> usize {
        match self.dice.below(50) {
            0 => self.dice.below(8_000) as usize,
            _ => self.dice.below(200) as usize,
        }
    }

    fn put(&mut self, key: &str, len: usize, seconds: Option<u64>) -> Result<StoreAnswer, Failure> {
        let request = StoreRequest::Put {
            key: key.into(),
            value: vec![b'a'; len].into(),
            only_if: Condition::Always,
            time_to_live: seconds.map(Duration::from_secs),
        };
        super::tests::answer(|done| self.engine.store(&"chat".into(), request, done))
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName {
        owner: "chat".into(),
        name: name.into(),
    }
}

#[test]
fn a_million_publications_of_one_topic_take_the_bytes_of_its_bound() {
    takes(
        "a_million_publications_of_one_topic_take_the_bytes_of_its_bound",
        || {
            let bytes = 1 << times(23, 26);
            let mut it = engine(usize::MAX, HistoryBounds { bytes, ..UNBOUNDED });
            for _ in 0..times(100_000, 1_000_000) {
                let len = it.any_len();
                it.publish("lobby", len);
            }
            (bytes, Box::new(it))
        },
    );
}

#[test]
fn a_million_publications_of_a_thousand_topics_take_what_all_may_take() {
    takes(
        "a_million_publications_of_a_thousand_topics_take_what_all_may_take",
        || {
            let bytes = 1 << times(23, 26);
            let mut it = engine(bytes, UNBOUNDED);
            for _ in 0..times(100_000, 1_000_000) {
                // Some topics are busier than others.
                let topic = it.dice.below(1_000).min(it.dice.below(1_000));
                let len = it.any_len();
                it.publish(&topic.to_string(), len);
            }
            (bytes, Box::new(it))
        },
    );
}

#[test]
fn a_hundred_thousand_topics_take_what_all_may_take() {
    takes("a_hundred_thousand_topics_take_what_all_may_take", || {
        let topics = times(20_000, 100_000);
        // More than the half of them can have.
        let bytes = topics * 400;
        let mut it = engine(bytes, UNBOUNDED);
        for topic in 0..topics {
            for _ in 0..=topic % 3 {
                it.publish(&format!("room {topic}"), 20);
            }
        }
        (bytes, Box::new(it))
    });
}

#[test]
fn a_hundred_thousand_topics_take_what_is_counted() {
    takes("a_hundred_thousand_topics_take_what_is_counted", || {
        let mut it = engine(usize::MAX, UNBOUNDED);
        for topic in 0..times(20_000, 100_000) {
            for _ in 0..=topic % 3 {
                it.publish(&format!("room {topic}"), 20);
            }
        }
        let bytes = it.engine.usage("chat").history_bytes;
        (bytes, Box::new(it))
    });
}

#[test]
fn topics_that_come_and_go_leave_nothing_behind() {
    takes("topics_that_come_and_go_leave_nothing_behind", || {
        let bytes = 1 << times(22, 24);
        let age_ms = 24 * 3_600_000;
        let bounds = HistoryBounds {
            age_ms,
            ..UNBOUNDED
        };
        let mut it = engine(bytes, bounds);
        for topic in 0..times(50_000, 500_000) {
            it.publish(&format!("room {topic}"), 20);
        }
        (bytes, Box::new(it))
    });
}

#[test]
fn a_hundred_thousand_members_take_what_all_may_take() {
    takes("a_hundred_thousand_members_take_what_all_may_take", || {
        let bytes = 130 * times(20_000, 100_000);
        let it = engine(bytes, UNBOUNDED);
        let enter = |id: u64| {
            let topic = topic_name(&format!("room {}", id % 100));
            let value = vec![b'a'; (id % 80) as usize].into();
            super::tests::answer(|done| it.engine.enter(&topic, Member { id, value }, done))
        };
        let refused = (1..).find_map(|id| enter(id).err());
        let limit = "presence_bytes_max";
        assert_eq!(refused, Some(Failure::TooBig { limit }));
        (bytes, Box::new(it))
    });
}

#[test]
fn a_hundred_thousand_keys_in_order_take_what_a_handler_may_take() {
    takes(
        "a_hundred_thousand_keys_in_order_take_what_a_handler_may_take",
        || {
            let bytes = 200 * times(20_000, 100_000);
            let mut it = engine(bytes, UNBOUNDED);
            let refused = (0..).find_map(|key| it.put(&format!("user:{key:08}"), 20, None).err());
            let limit = "store_bytes_max";
            assert_eq!(refused, Some(Failure::TooBig { limit }));
            (bytes, Box::new(it))
        },
    );
}

#[test]
fn a_hundred_thousand_keys_in_any_order_take_what_a_handler_may_take() {
    takes(
        "a_hundred_thousand_keys_in_any_order_take_what_a_handler_may_take",
        || {
            let keys = times(20_000, 100_000) as u64;
            let bytes = 250 * keys as usize;
            let mut it = engine(bytes, UNBOUNDED);
            // Keys are put again and again, with other lengths, and half of them with an end.
            for _ in 0..4 * keys {
                let key = it.dice.below(2 * keys);
                let len = it.dice.below(100) as usize;
                let seconds = key.is_multiple_of(2).then_some(3_600 + key);
                let _ = it.put(&format!("user:{key}"), len, seconds);
            }
            (bytes, Box::new(it))
        },
    );
}
