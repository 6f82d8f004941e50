mod kept;
mod limits;
mod order;
mod streams;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use super::settings::TopicLimits;
use super::*;
use crate::engine::{ChangeKind, Condition, Origin, PresenceChange};
use crate::process::clock::Moment;
use crate::sessions::prepared_message::PreparedMessage;
use crate::ws::frame;

const UNBOUNDED: HistoryBounds = HistoryBounds {
    count: usize::MAX,
    age_ms: u64::MAX,
    bytes: usize::MAX,
};
const ALL: PageLimit = PageLimit {
    items: usize::MAX,
    bytes: usize::MAX,
};
const LIMITS: TopicLimits = TopicLimits {
    history_bytes_max: 1 << 20,
    presence_bytes_max: 1 << 20,
    presence_value_bytes_max: 100,
};

/// An engine with a clock and a configuration that a test sets, and what its sink hears.
struct Fixture {
    engine: Arc<LocalEngine>,
    sink: Arc<Ear>,
    now_ms: Arc<AtomicU64>,
    history: Arc<Mutex<Option<HistoryBounds>>>,
    next_number: AtomicU64,
}

/// A sink that notes what it hears, and calls the engine from inside if a test wants it to.
#[derive(Default)]
struct Ear {
    heard: Mutex<Vec<Heard>>,
    is_called: AtomicBool,
    then: OnceLock<Box<Reaction>>,
}

type Reaction = dyn Fn(&Heard) + Send + Sync;

#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Publication(Vec<u8>, Option<u64>),
    Presence(u64, ChangeKind, u64),
    /// The end of the new stream.
    StreamChanged(Option<u64>),
}

impl Ear {
    fn hear(&self, heard: Heard) {
        let overlaps = self.is_called.swap(true, Ordering::AcqRel);
        assert!(!overlaps, "the sink is called once at a time for a topic");
        self.heard.lock().unwrap().push(heard.clone());
        self.is_called.store(false, Ordering::Release);
        if let Some(then) = self.then.get() {
            then(&heard);
        }
    }

    fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

impl Sink for Ear {
    fn publication(&self, publication: &Publication, at: Option<StreamPosition>) {
        let payload = publication.message.payload().to_vec();
        self.hear(Heard::Publication(payload, at.map(|at| at.offset)));
    }

    fn gap(&self, _topic: &TopicName) {}

    fn stream_changed(&self, _topic: &TopicName, head: Option<StreamPosition>) {
        self.hear(Heard::StreamChanged(head.map(|at| at.offset)));
    }

    fn presence(&self, change: &PresenceChange) {
        self.hear(Heard::Presence(
            change.version,
            change.kind,
            change.member.id,
        ));
    }

    fn reachable(&self, _is_reachable: bool) {}
}

impl Fixture {
    /// Every topic has this history.
    fn new(history: Option<HistoryBounds>) -> Fixture {
        Fixture::with(history, LIMITS)
    }

    fn with(history: Option<HistoryBounds>, limits: TopicLimits) -> Fixture {
        let (sink, now_ms) = (Arc::new(Ear::default()), Arc::new(AtomicU64::new(0)));
        let (history, clock) = (Arc::new(Mutex::new(history)), now_ms.clone());
        let of_topics = history.clone();
        let settings = Settings {
            history: Box::new(move |_| *of_topics.lock().unwrap()),
            limits: Box::new(move || limits),
            now: Box::new(move || Moment::ORIGIN.after(clock.load(Ordering::Relaxed))),
            ..Settings::default()
        };
        let weak: Weak<Ear> = Arc::downgrade(&sink);
        Fixture {
            engine: LocalEngine::new(settings, weak),
            sink,
            now_ms,
            history,
            next_number: AtomicU64::new(1),
        }
    }

    fn publication(&self, topic: &TopicName, payload: &[u8]) -> Publication {
        Publication {
            topic: topic.clone(),
            origin: Origin {
                node: 0,
                incarnation: 5,
            },
            number: self.next_number.fetch_add(1, Ordering::Relaxed),
            except: 0,
            message: PreparedMessage::new(frame::TEXT, payload, false),
        }
    }

    fn publish(&self, topic: &TopicName, payload: &[u8]) -> Result<StreamPosition, Failure> {
        let publication = self.publication(topic, payload);
        answer(|done| self.engine.publish_acked(publication, done))
    }

    fn subscribe(&self, topic: &TopicName) -> Option<StreamPosition> {
        let start = answer(|done| self.engine.subscribe(topic, done));
        start.expect("a start").head
    }

    fn enter(&self, topic: &TopicName, id: u64, value: &[u8]) -> Result<u64, Failure> {
        let value = value.into();
        answer(|done| self.engine.enter(topic, Member { id, value }, done))
    }

    fn page(&self, topic: &TopicName, from: HistoryFrom) -> Page {
        answer(|done| self.engine.history(topic, from, ALL, done)).expect("a page")
    }

    fn present(&self, topic: &TopicName) -> MembersPage {
        answer(|done| self.engine.present(topic, None, ALL, done)).expect("a list")
    }

    fn sweep(&self) {
        while self.engine.sweep() {}
    }

    fn usage(&self) -> Usage {
        self.engine.usage("chat")
    }

    fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

/// The answer that a call gives before it returns.
pub(super) fn answer<T: Send + 'static>(ask: impl FnOnce(Done<T>)) -> Result<T, Failure> {
    let (sender, receiver) = mpsc::channel();
    ask(Box::new(move |answer| sender.send(answer).unwrap()));
    receiver.try_recv().expect("an answer in the call")
}

fn topic(name: &str) -> TopicName {
    TopicName {
        owner: "chat".into(),
        name: name.into(),
    }
}

fn heard(payload: &str, offset: u64) -> Heard {
    Heard::Publication(payload.into(), Some(offset))
}

fn put(it: &Fixture, key: &str, only_if: Condition) -> Result<u64, Failure> {
    put_for(it, key, only_if, None)
}

fn put_for(
    it: &Fixture,
    key: &str,
    only_if: Condition,
    time_to_live: Option<Duration>,
) -> Result<u64, Failure> {
    let put = StoreRequest::Put {
        key: key.into(),
        value: b"value"[..].into(),
        only_if,
        time_to_live,
    };
    match answer(|done| it.engine.store(&"chat".into(), put, done))? {
        StoreAnswer::Changed(version) => Ok(version),
        other => panic!("{other:?}"),
    }
}
