//! What lies between an engine and the sessions of this server. It is the same for every engine.
//!
//! A handler's calls come here. What concerns a topic of which nothing is kept, on an engine that no other server uses,
//! goes to the subscribers at once. Everything else goes to the engine, and comes back from it by the [`Sink`].

mod arrived;
pub(crate) mod callbacks;
mod departures;
mod due;
mod joins;
mod members;
mod policies;
mod presence;
mod publish;
mod queue;
mod repeats;
mod roster;
mod run;
mod seen;
mod serve;
mod sink;
mod stream;
mod subscribe;
mod topic;
mod topic_state;
mod topics;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;

use self::callbacks::{Callbacks, HandlerCallbacks};
use self::members::OwnMembers;
use self::repeats::Repeats;
use self::topic::NodeTopic;
use self::topic_state::TopicState;
use self::topics::NodeTopics;
use super::position::{Position, Positions};
use super::{
    Capabilities, Done, Engine, EngineStatus, Failure, HistoryFrom, Origin, PageLimit, Sink,
    StoreAnswer, StoreRequest, TopicName, Usage,
};
use crate::config;
use crate::sessions::prepared_message::PreparedMessage;
use crate::sessions::topics::{Topic, Topics};

/// This server's side of an engine.
pub(crate) struct Node {
    topics: Arc<Topics>,
    engine: Arc<dyn Engine>,
    capabilities: Capabilities,
    policies: Arc<ArcSwap<config::Topics>>,
    /// Nothing is kept of any topic, and no other server publishes. So a publication asks for no policy.
    is_plain: AtomicBool,
    positions: Positions,
    origin: Origin,
    next_number: AtomicU64,
    callbacks: Callbacks,
    /// The topics that need more than the subscribers.
    known: NodeTopics,
    members: OwnMembers,
    repeats: Repeats,
    is_reachable: AtomicBool,
    run: Box<dyn Fn(Job) + Send + Sync>,
    /// How often publications were lost.
    gaps: AtomicU64,
    /// The time of the last tick.
    now_ms: AtomicU64,
    weak: Weak<Node>,
}

/// What a node is made of.
pub(crate) struct NodeParts {
    /// The subscribers of this server.
    pub(crate) topics: Arc<Topics>,
    /// [`Node::set_policies`] replaces them. An engine of this server reads them here, so that a change reaches both at once.
    pub(crate) policies: Arc<ArcSwap<config::Topics>>,
    pub(crate) origin: Origin,
    /// What positions are signed with. All servers that share an engine have the same.
    pub(crate) secret: [u8; 16],
    /// Runs a job soon, on a thread on which a handler's code may run, and never in the call.
    pub(crate) run: Box<dyn Fn(Job) + Send + Sync>,
}

/// Work for a thread on which a handler's code may run.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// From where a session wants the messages of a topic that it joins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JoinFrom<'a> {
    /// Behind this position. The border has refused what is no position for its length.
    pub(crate) after: Option<&'a [u8]>,
    /// Without a position, and where not everything behind it is there any more: with so many of the last messages.
    pub(crate) last: u64,
}

/// The answer to [`Node::subscribe_from`]. So many missed messages follow it, and then what is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Everything behind the position that was named follows, or none was named.
    pub(crate) is_recovered: bool,
    /// Of the last publication before those that are new; `None` for a topic without history.
    pub(crate) position: Option<Position>,
    pub(crate) missed: usize,
}

/// Called once, on any thread, before the missed messages are posted. It calls no handler's code.
pub(crate) type OnJoined = Box<dyn FnOnce(Result<Joined, Failure>) + Send>;

/// The answer to [`Node::history`].
#[derive(Clone, Debug, Default)]
pub(crate) struct HistoryPage {
    /// The oldest first.
    pub(crate) publications: Vec<(Position, Arc<PreparedMessage>)>,
    /// Nothing is missing behind the position that was named, or none was named. Otherwise the page is empty.
    pub(crate) is_complete: bool,
    /// More publications follow the last one.
    pub(crate) has_more: bool,
    /// The last publication of the topic. `None` if none was published.
    pub(crate) head: Option<Position>,
}

impl Node {
    /// A node, and its engine, which gets the node as its sink.
    pub(crate) fn new(
        parts: NodeParts,
        make_engine: impl FnOnce(Weak<dyn Sink>) -> Arc<dyn Engine>,
    ) -> Arc<Node> {
        Arc::new_cyclic(|node: &Weak<Node>| {
            let engine = make_engine(node.clone());
            let (capabilities, status) = (engine.capabilities(), engine.status());
            Node {
                topics: parts.topics,
                positions: Positions::new(parts.secret, status.kind),
                engine,
                capabilities,
                is_plain: AtomicBool::new(!capabilities.remote && parts.policies.load().is_plain()),
                policies: parts.policies,
                origin: parts.origin,
                next_number: AtomicU64::new(1),
                callbacks: Callbacks::default(),
                known: NodeTopics::new(capabilities.remote),
                members: OwnMembers::default(),
                repeats: Repeats::default(),
                is_reachable: AtomicBool::new(status.is_reachable),
                run: parts.run,
                gaps: AtomicU64::new(0),
                now_ms: AtomicU64::new(0),
                weak: node.clone(),
            }
        })
    }

    /// Reads a page of the publications of a topic, the oldest first: of those behind a position, or without one of the
    /// last `last`.
    pub(crate) fn history(
        &self,
        topic: Topic<'_>,
        after: Option<&[u8]>,
        last: u64,
        limit: PageLimit,
        done: Done<HistoryPage>,
    ) {
        if !self.has_history(topic) {
            return done(Err(Failure::Unsupported));
        }
        let name = TopicName::new(topic);
        let from = match after.map(|bytes| self.positions.read(&name, bytes)) {
            None => HistoryFrom::Last(last),
            Some(Ok(at)) => HistoryFrom::After(at),
            // Nothing is known of what came after it.
            Some(Err(_)) => HistoryFrom::Last(0),
        };
        let is_foreign = after.is_some() && matches!(from, HistoryFrom::Last(_));
        let (positions, topic) = (self.positions.clone(), name.clone());
        let done = move |page: Result<super::Page, Failure>| {
            let write = |at| positions.write(&topic, at);
            done(page.map(|page| {
                HistoryPage {
                    is_complete: page.is_complete && !is_foreign,
                    has_more: page.has_more && !is_foreign,
                    // The place before the first publication is none that was published.
                    head: page.head.filter(|at| at.offset > 0).map(write),
                    publications: (page.publications.into_iter())
                        .map(|past| (write(past.at), past.message))
                        .collect(),
                }
            }));
        };
        self.engine.history(&name, from, limit, Box::new(done));
    }

    /// Reads or changes the values that a handler keeps.
    pub(crate) fn store(&self, handler: &Arc<str>, request: StoreRequest, done: Done<StoreAnswer>) {
        if !self.capabilities.store {
            return done(Err(Failure::Unsupported));
        }
        self.engine.store(handler, request, done);
    }

    /// What the engine holds now for the topics and keys of one handler.
    pub(crate) fn usage(&self, handler: &str) -> Usage {
        self.engine.usage(handler)
    }

    /// What the engine holds now for all handlers and of the server's own topics.
    pub(crate) fn total_usage(&self) -> Usage {
        self.engine.total_usage()
    }

    /// Whether the engine is there, and what an operator should know of it.
    pub(crate) fn status(&self) -> EngineStatus {
        self.engine.status()
    }

    /// Has a generation of the handler `owner` called for its topics. The newest generation's callbacks count.
    ///
    /// They also count for what an older generation was called for and has not returned from: a call that never returns
    /// holds up its topic only until then.
    pub(crate) fn set_callbacks(&self, owner: &str, generation: u64, callbacks: HandlerCallbacks) {
        self.callbacks.set(owner, generation, callbacks);
        for known in self.known.all() {
            if *known.name.owner == *owner {
                known.take_over(self);
            }
        }
        self.note_hearer(owner);
    }

    /// Has a generation called no more. Those of another generation stay.
    pub(crate) fn clear_callbacks(&self, owner: &str, generation: u64) {
        self.callbacks.clear(owner, generation);
        self.note_hearer(owner);
    }

    /// Has the next tick look which topics of a handler need the members, by the callbacks that it has now.
    fn note_hearer(&self, owner: &str) {
        if !self.capabilities.remote {
            return;
        }
        for known in self.known.all() {
            if *known.name.owner == *owner {
                known.update(self, TopicState::look_again);
            }
        }
    }

    /// Follows the time, which tests make themselves. To be called every second or sooner.
    ///
    /// Each item of the iterator says how many topics were looked at, which took moments. The caller lets others run between
    /// two. A topic at which nothing is due is not looked at, however many there are.
    pub(crate) fn tick(&self, now_ms: u64) -> impl Iterator<Item = usize> {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        let (publications, members) = self.repeats.take(self.is_reachable(), now_ms);
        let publications = publications.into_iter();
        publications.for_each(|it| self.publish_or_repeat(it));
        let members = members.into_iter();
        members.for_each(|(topic, id)| self.enter_again(topic, id));
        std::iter::from_fn(move || {
            let due = self.known.take_due(now_ms, LOOKED_AT_TOGETHER);
            due.iter().for_each(|it| self.tick_topic(it, now_ms));
            (!due.is_empty()).then_some(due.len())
        })
    }

    fn tick_topic(&self, known: &Arc<NodeTopic>, now_ms: u64) {
        let topic = known.name.as_topic();
        let has_subscribers = self.topics.count(topic, 0) > 0;
        let has_hearer = self.capabilities.remote && self.has_hearer(topic);
        let is_forgettable = known.update(self, |state| {
            self.known.note_looked_at(known, state);
            state.tick(has_subscribers, now_ms);
            state.hear_of_members(&known.name, has_hearer, now_ms);
            state.is_forgettable
        });
        if is_forgettable {
            self.known.forget(known);
        }
    }

    /// How many topics have subscribers that need more than a publication, or had them a moment ago.
    #[cfg(test)]
    pub(crate) fn known_topics(&self) -> usize {
        self.known.all().len()
    }

    /// How often publications were lost for the subscribers of this server.
    pub(crate) fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    fn is_reachable(&self) -> bool {
        self.is_reachable.load(Ordering::Relaxed)
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// Changes the state of a topic, which is known from then on.
    fn change(&self, topic: Topic<'_>, change: impl FnOnce(&mut TopicState)) {
        loop {
            let known = self.known.find_or_make(topic);
            let mut state = known.lock();
            if !state.is_forgotten {
                change(&mut state);
                return known.perform(self, state);
            }
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Node");
        debug.field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// So many topics take a tick less than a tenth of a millisecond.
const LOOKED_AT_TOGETHER: usize = 64;
