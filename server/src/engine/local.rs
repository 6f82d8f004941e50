//! The engine in the memory of this process, for a server that works alone.
//!
//! Each call is done when it returns, and its answer was given. What is kept outlives handlers and sessions, and ends with
//! the process.
//!
//! - A topic's stream begins with its first publication or subscription. It is forgotten when no publication is left, no
//!   session is a member, and the sink does not want to hear of it. A later one has another epoch.
//! - What is beyond an age or a time to live is never answered. [`LocalEngine::sweep`] frees its memory.
//! - While nothing is kept, it has no task, and no memory but for its locks.

mod epochs;
mod footprint;
mod history;
mod outbox;
mod owners;
mod presence;
pub(crate) mod settings;
mod shed_log;
mod store;
mod table;
mod topic;
mod usage;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use self::epochs::Epochs;
use self::history::kept_bytes;
use self::outbox::Event;
use self::owners::Owners;
use self::settings::Settings;
use self::shed_log::ShedLog;
use self::table::TopicTable;
use self::topic::Topic;
use super::{
    Capabilities, Done, Engine, EngineStatus, Failure, HistoryFrom, Member, MembersPage, Page,
    PageLimit, Publication, Sink, Start, StoreAnswer, StoreRequest, StreamPosition, TopicName,
    Usage,
};
use crate::config::HistoryBounds;

/// An [`Engine`] for one server.
pub(crate) struct LocalEngine {
    this: Weak<LocalEngine>,
    sink: Weak<dyn Sink>,
    settings: Settings,
    topics: TopicTable,
    shed_log: ShedLog,
    owners: Owners,
    epochs: Epochs,
    /// The last version of a kept value.
    versions: AtomicU64,
    /// How often the settings have changed.
    changes: AtomicU64,
}

impl LocalEngine {
    /// An engine that keeps nothing yet, and what it tells.
    pub(crate) fn new(settings: Settings, sink: Weak<dyn Sink>) -> Arc<LocalEngine> {
        Arc::new_cyclic(|this| LocalEngine {
            this: this.clone(),
            sink,
            settings,
            topics: TopicTable::new(),
            shed_log: ShedLog::default(),
            owners: Owners::default(),
            epochs: Epochs::default(),
            versions: AtomicU64::new(0),
            changes: AtomicU64::new(0),
        })
    }

    /// Frees what is too old, for at most a millisecond or so. Returns whether there may be more.
    ///
    /// To be called each second, and again as long as there may be more. Other tasks can run in between.
    pub(crate) fn sweep(&self) -> bool {
        let now = (self.settings.now)();
        let (events, mut has_more) = self.topics.sweep(now);
        for event in events {
            self.tell(event);
        }
        for owner in self.owners.all() {
            has_more |= owner.store().drop_over(now, SWEEP_VALUES);
        }
        // A thread that frees leaves to the next publication what has come meanwhile, and there may be none.
        self.shed();
        let limits = (self.settings.limits)();
        self.shed_log.tell_rest(limits.history_bytes_max, now);
        has_more
    }

    /// Applies changed settings at once to what is kept. To be called after each change.
    pub(crate) fn apply_settings(&self) {
        self.changes.fetch_add(1, Ordering::Release);
        let now = (self.settings.now)();
        let mut events = Vec::new();
        self.topics.for_each(|topic| {
            let bounds = (self.settings.history)(topic.name());
            events.extend(topic.bound(bounds, &self.epochs, now));
        });
        events.into_iter().for_each(|event| self.tell(event));
        self.shed();
    }

    /// What the configuration says now of the history of a topic.
    fn bounds_of(&self, topic: &TopicName) -> Bounds {
        let as_of = self.changes.load(Ordering::Acquire);
        Bounds {
            history: (self.settings.history)(topic),
            as_of,
        }
    }

    /// What holds under the lock of the topic. A caller that has looked before a change must not undo it: the history that the
    /// topic has lost would go on without what was published meanwhile.
    fn bounds_now(&self, topic: &Topic, looked: Bounds) -> Option<HistoryBounds> {
        match looked.as_of == self.changes.load(Ordering::Acquire) {
            true => looked.history,
            false => (self.settings.history)(topic.name()),
        }
    }

    /// Publishes a message. Answers its position, if the topic has history.
    fn append(
        &self,
        publication: Publication,
        bounds: Bounds,
    ) -> Result<Option<StreamPosition>, Failure> {
        let now = (self.settings.now)();
        let name = publication.topic.clone();
        let publish = |topic: &mut Topic| {
            let bounds = self.bounds_now(topic, bounds);
            topic.publish(publication, bounds, &self.epochs, now)
        };
        let published = match bounds.history {
            Some(_) => self.topics.with(&name, &self.owners, publish),
            // Without history, a topic that is not there is one that no session hears of.
            None => match self.topics.with_known(&name, publish) {
                Some(published) => published,
                None => return Ok(None),
            },
        };
        let (at, event) = published?;
        self.shed();
        event.into_iter().for_each(|event| self.tell(event));
        Ok(at)
    }

    /// Refuses a publication that by itself is beyond a limit, so that no history would have it.
    fn check_kept(&self, publication: &Publication, bounds: &HistoryBounds) -> Result<(), Failure> {
        self.check_kept_bytes(publication, publication.message.payload().len(), bounds)
    }

    /// Refuses what a history cannot have, if the history could have a shorter message. A limit that keeps nothing refuses
    /// nothing.
    ///
    /// To deliver such a message would cost the history all that it has: positions have no holes.
    fn check_published(
        &self,
        publication: &Publication,
        bounds: &HistoryBounds,
    ) -> Result<(), Failure> {
        let refused = self.check_kept(publication, bounds);
        // Nearly every call ends here.
        if refused.is_ok() || self.check_kept_bytes(publication, 0, bounds).is_err() {
            return Ok(());
        }
        refused
    }

    /// Refuses a payload of so many bytes that by itself is beyond a limit.
    fn check_kept_bytes(
        &self,
        publication: &Publication,
        len: usize,
        bounds: &HistoryBounds,
    ) -> Result<(), Failure> {
        let bytes = kept_bytes(len);
        let bytes_max = (self.settings.limits)().history_bytes_max;
        let limit = match bytes {
            bytes if bytes > bounds.bytes => "bytes",
            bytes if bytes + Topic::least_bytes(&publication.topic) > bytes_max => {
                "history_bytes_max"
            }
            _ => return Ok(()),
        };
        Err(Failure::TooBig { limit })
    }

    /// Keeps all histories together within their limit. The log tells what they drop for it.
    fn shed(&self) {
        let bytes_max = (self.settings.limits)().history_bytes_max;
        if let Some(shed) = self.topics.shed(bytes_max) {
            self.shed_log.add(shed, bytes_max, (self.settings.now)());
        }
    }

    /// Tells the sink an event, and what waits behind it.
    fn tell(&self, mut event: Event) {
        for _ in 0..TURN {
            let told = catch_unwind(AssertUnwindSafe(|| {
                if let Some(sink) = self.sink.upgrade() {
                    event.tell(&*sink);
                }
            }));
            let topic = event.topic();
            if let Err(panic) = told {
                self.topics.with_known(topic, Topic::abandon_turn);
                resume_unwind(panic);
            }
            let next = self.topics.with_known(topic, Topic::next_event);
            match next.flatten() {
                Some(next) => event = next,
                None => return,
            }
        }
        // Other threads publish faster than the sink hears. This one has done its part.
        let engine = self.this.clone();
        (self.settings.run_later)(Box::new(move || {
            if let Some(engine) = engine.upgrade() {
                engine.tell(event);
            }
        }));
    }
}

/// What the configuration has said of the history of a topic, after so many changes of the settings.
#[derive(Clone, Copy)]
struct Bounds {
    history: Option<HistoryBounds>,
    as_of: u64,
}

impl Engine for LocalEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            total_order: true,
            history: true,
            presence: true,
            store: true,
            durable: false,
            remote: false,
        }
    }

    fn publish(&self, publication: Publication) -> Result<(), Failure> {
        let bounds = self.bounds_of(&publication.topic);
        if let Some(bounds) = &bounds.history {
            self.check_published(&publication, bounds)?;
        }
        self.append(publication, bounds).map(|_| ())
    }

    fn publish_acked(&self, publication: Publication, done: Done<StreamPosition>) {
        let bounds = self.bounds_of(&publication.topic);
        let answer = match &bounds.history {
            None => Err(Failure::Unsupported),
            Some(history) => self
                .check_kept(&publication, history)
                .and_then(|()| self.append(publication, bounds)),
        };
        done(answer.and_then(|at| at.ok_or(Failure::Unsupported)));
    }

    fn subscribe(&self, topic: &TopicName, done: Done<Start>) {
        let bounds = self.bounds_of(topic);
        let now = (self.settings.now)();
        let (start, event) = self.topics.with(topic, &self.owners, |topic| {
            let bounds = self.bounds_now(topic, bounds);
            topic.subscribe(bounds, &self.epochs, now)
        });
        event.into_iter().for_each(|event| self.tell(event));
        done(Ok(start));
    }

    fn unsubscribe(&self, topic: &TopicName) {
        self.topics.with_known(topic, Topic::unsubscribe);
    }

    fn history(&self, topic: &TopicName, from: HistoryFrom, limit: PageLimit, done: Done<Page>) {
        let bounds = self.bounds_of(topic);
        let now = (self.settings.now)();
        let found = self.topics.with_known(topic, |topic| {
            let bounds = self.bounds_now(topic, bounds);
            let event = topic.bound(bounds, &self.epochs, now);
            (topic.history(from, limit, now), event)
        });
        let nothing = Page {
            is_complete: bounds.history.is_some() && matches!(from, HistoryFrom::Last(_)),
            ..Page::default()
        };
        let (page, event) = found.unwrap_or((nothing, None));
        event.into_iter().for_each(|event| self.tell(event));
        done(Ok(page));
    }

    fn enter(&self, topic: &TopicName, member: Member, done: Done<u64>) {
        let limits = (self.settings.limits)();
        if member.value.len() > limits.presence_value_bytes_max {
            return done(Err(Failure::TooBig {
                limit: "presence_value_bytes_max",
            }));
        }
        let usage = self.topics.usage();
        let entered = self.topics.with(topic, &self.owners, |it| {
            let others = usage.presence_bytes();
            it.enter(member, others, limits.presence_bytes_max)
        });
        let answer = entered.map(|(version, event)| {
            event.into_iter().for_each(|event| self.tell(event));
            version
        });
        done(answer);
    }

    fn leave(&self, topic: &TopicName, id: u64) {
        let left = self.topics.with_known(topic, |topic| topic.leave(id));
        left.flatten().into_iter().for_each(|it| self.tell(it));
    }

    fn present(
        &self,
        topic: &TopicName,
        after: Option<u64>,
        limit: PageLimit,
        done: Done<MembersPage>,
    ) {
        let page = self.topics.with_known(topic, |it| it.present(after, limit));
        let empty = || MembersPage {
            version: self.topics.version(),
            ..MembersPage::default()
        };
        done(Ok(page.unwrap_or_else(empty)));
    }

    fn store(&self, handler: &Arc<str>, request: StoreRequest, done: Done<StoreAnswer>) {
        let limits = (self.settings.store)(handler);
        let now = (self.settings.now)();
        let owner = self.owners.get(handler);
        let answer = owner.store().ask(request, limits, &self.versions, now);
        done(answer);
    }

    fn usage(&self, handler: &str) -> Usage {
        let Some(owner) = self.owners.find(handler) else {
            return Usage::default();
        };
        let store = owner.store();
        Usage {
            keys: store.len(),
            store_bytes: store.bytes(),
            ..owner.topics.told()
        }
    }

    fn total_usage(&self) -> Usage {
        let mut usage = self.topics.usage().told();
        for owner in self.owners.all() {
            let store = owner.store();
            usage.keys += store.len();
            usage.store_bytes += store.bytes();
        }
        usage
    }

    fn status(&self) -> EngineStatus {
        EngineStatus {
            kind: "local",
            is_reachable: true,
        }
    }
}

impl fmt::Debug for LocalEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalEngine")
            .field("usage", &self.total_usage())
            .finish_non_exhaustive()
    }
}

/// The events that a thread tells the sink before it leaves the rest to another one.
const TURN: usize = 64;
const SWEEP_VALUES: usize = 1_000;

#[cfg(all(test, not(any(miri, sanitized))))]
mod memory_tests;
#[cfg(test)]
mod tests;
