//! One topic of which something is kept, or which other servers know: asks the engine, and serves the subscribers.
//!
//! The state is changed under its lock. What has to be done then is done without it, by one thread at a time: the calls
//! to the engine in their order, and what the subscribers get in its order. So no thread waits for another one's work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Node;
use super::topic_state::{Call, TopicState};
use crate::engine::{Done, Failure, HistoryFrom, Page, PageLimit, TopicName};

/// See the [module](self).
pub(super) struct NodeTopic {
    pub(super) name: TopicName,
    /// No other topic of this node has it.
    pub(super) number: u64,
    state: Mutex<TopicState>,
    /// Whether so much waits for the subscribers that nothing more is published.
    is_full: AtomicBool,
}

impl NodeTopic {
    pub(super) fn new(name: TopicName, number: u64, is_remote: bool) -> Arc<NodeTopic> {
        Arc::new(NodeTopic {
            name,
            number,
            state: Mutex::new(TopicState::new(is_remote)),
            is_full: AtomicBool::new(false),
        })
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Changes the state, and does what has to be done then.
    pub(super) fn update<T>(
        self: &Arc<Self>,
        node: &Node,
        change: impl FnOnce(&mut TopicState) -> T,
    ) -> T {
        let mut state = self.lock();
        let answer = change(&mut state);
        self.perform(node, state);
        answer
    }

    /// Does what has to be done after a change of the state.
    pub(super) fn perform(self: &Arc<Self>, node: &Node, mut state: MutexGuard<'_, TopicState>) {
        let calls = !state.is_calling && !state.calls.is_empty();
        state.is_calling |= calls;
        let turn = state.queue.begin();
        self.note_fullness(&state);
        node.known.note_due(self, &mut state, node.now_ms());
        drop(state);
        if calls {
            self.call_engine(node);
        }
        if let Some(turn) = turn {
            self.serve(node, turn, false);
        }
    }

    /// Makes the calls to the engine. One that is answered at once may lead to others, which are made as well.
    ///
    /// Other threads add calls meanwhile. So after some, another thread goes on.
    fn call_engine(self: &Arc<Self>, node: &Node) {
        for _ in 0..CALLS_MAX {
            let mut state = self.lock();
            let Some(call) = state.calls.pop_front() else {
                state.is_calling = false;
                return;
            };
            drop(state);
            self.call(node, call);
        }
        let (topic, weak) = (self.clone(), node.weak.clone());
        (node.run)(Box::new(move || {
            if let Some(node) = weak.upgrade() {
                topic.call_engine(&node);
            }
        }));
    }

    /// Makes one call to the engine.
    pub(super) fn call(self: &Arc<Self>, node: &Node, call: Call) {
        let (engine, topic) = (&node.engine, &self.name);
        match call {
            Call::Subscribe(question) => {
                let (name, has_hearer) = (topic.clone(), node.has_hearer(topic.as_topic()));
                let done = self.answer(node, move |state, answer, now_ms| {
                    state.started(question, answer, now_ms);
                    state.hear_of_members(&name, has_hearer, now_ms);
                });
                engine.subscribe(topic, done);
            }
            Call::Unsubscribe => engine.unsubscribe(topic),
            Call::ReadMissing(question, after) => {
                let done = self.answer(node, move |state, answer, now_ms| {
                    state.missing(question, answer, now_ms);
                });
                engine.history(topic, HistoryFrom::After(after), PAGE, done);
            }
            Call::ReadForJoins(read, from) => {
                let done = self.answer(node, move |state, answer, _| {
                    state.page_for_joins(read, answer);
                });
                // Where all sessions wait to be reached, only the end is asked for.
                let limit = match from {
                    HistoryFrom::UpTo { count: 0, .. } => NOTHING,
                    _ => PAGE,
                };
                engine.history(topic, from, limit, done);
            }
            Call::ListMembers((list, after)) => {
                let done = self.answer(node, move |state, answer, now_ms| {
                    state.members(list, answer, now_ms);
                });
                engine.present(topic, after, PAGE, done);
            }
            Call::ReadHead => {
                let done = self.answer(node, |state, answer: Result<Page, Failure>, now_ms| {
                    if let Ok(page) = answer {
                        state.head(page.head, now_ms);
                    }
                });
                engine.history(topic, HistoryFrom::Last(0), NOTHING, done);
            }
        }
    }

    /// Changes the state by the engine's answer, if the node still is.
    fn answer<T>(
        self: &Arc<Self>,
        node: &Node,
        change: impl FnOnce(&mut TopicState, Result<T, Failure>, u64) + Send + 'static,
    ) -> Done<T> {
        let (topic, node) = (self.clone(), node.weak.clone());
        Box::new(move |answer| {
            if let Some(node) = node.upgrade() {
                let now_ms = node.now_ms();
                topic.update(&node, |state| change(state, answer, now_ms));
            }
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, TopicState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_fullness(&self, state: &TopicState) {
        self.is_full.store(state.queue.is_full(), Ordering::Relaxed);
    }
}

/// How many calls to the engine a thread makes before another one goes on. All that a session can get is read by half as
/// many.
const CALLS_MAX: usize = 64;
/// How much is read from the engine at a time.
const PAGE: PageLimit = PageLimit {
    items: 1_024,
    bytes: 256 * 1024,
};
/// Only the end of the history is asked for.
const NOTHING: PageLimit = PageLimit { items: 0, bytes: 0 };
