//! What a generation is called for by the engine's side: the answers to its handler's own asks, the handler's form of a
//! publication, and its message about a change of members.
//!
//! It begins before the first session can, and ends with the last: no such call begins after `shutdown` has begun. Answers
//! wait for the return of `serving`.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Generation;
use crate::border::engine_calls::Made;
use crate::border::library::Plugin;
use crate::engine::node::callbacks::{Envelope, EnvelopeCall, HandlerCallbacks, Presence};
use crate::engine::position::Position;
use crate::sessions::prepared_message::PreparedMessage;

/// A call that belongs to no session. The generation is not shut down as long as there is one.
struct CallRef<'a>(&'a Arc<Generation>);

impl Generation {
    /// Has the handler hear the answers to its own asks from now on. `serving` has returned.
    pub(super) fn begin_hearing(self: &Arc<Self>) {
        let this = self.clone();
        self.context.begin_hearing(Arc::new(move |token, answer| {
            this.call_for_engine(|plugin| plugin.answered(token, answer));
        }));
    }

    /// Has the node call the generation for its topics from now on, unless a newer one is called. To be called before the
    /// table of routes leads to the generation.
    pub(crate) fn open_to_node(self: &Arc<Self>) {
        let has = self.plugin.vtable;
        let (making, telling, context) = (self.clone(), self.clone(), self.context);
        let callbacks = HandlerCallbacks {
            envelope: has.envelope.map(|_| {
                let panics = EnvelopePanics::default();
                let envelope: Box<Envelope> =
                    Box::new(move |call| making.make_envelope(call, &panics));
                envelope
            }),
            presence: has.presence.map(|_| {
                let presence: Box<Presence> =
                    Box::new(move |change| telling.make(|plugin| plugin.presence(change)));
                presence
            }),
            run: Some(Box::new(move |job| context.run_job(job))),
        };
        let shared = &self.context.shared;
        if callbacks.presence.is_some() {
            // The node hears of every topic with a subscriber.
            shared.begin_sweeps();
        }
        shared
            .node
            .set_callbacks(&self.handler, self.number, callbacks);
    }

    /// Has the generation called no more. Its last session is gone.
    pub(super) fn close_to_engine(&self) {
        let node = &self.context.shared.node;
        node.clear_callbacks(&self.handler, self.number);
        self.context.end_hearing();
    }

    /// Has the handler make its form of a publication, unless it has panicked for this one.
    fn make_envelope(
        self: &Arc<Self>,
        call: &EnvelopeCall<'_>,
        panics: &EnvelopePanics,
    ) -> Option<Arc<PreparedMessage>> {
        if call.is_replay && panics.has(&call.position) {
            return None;
        }
        match self.call_for_engine(|plugin| plugin.envelope(call))? {
            Made::Message(message) => Some(message),
            Made::Nothing | Made::Failed => None,
            Made::Panicked => {
                panics.note(call.position);
                // A history keeps the publication. It would take the handler out of service with every few sessions that
                // join, and newer code as well.
                if !call.is_replay {
                    self.context.record_panic();
                }
                None
            }
        }
    }

    /// Has the handler make a message. `None`: it makes none, fails, or is about to shut down.
    fn make(self: &Arc<Self>, call: impl FnOnce(&Plugin) -> Made) -> Option<Arc<PreparedMessage>> {
        match self.call_for_engine(call)? {
            Made::Message(message) => Some(message),
            Made::Nothing | Made::Failed => None,
            Made::Panicked => {
                self.context.record_panic();
                None
            }
        }
    }

    /// Makes a call, unless the generation is about to shut down.
    fn call_for_engine<T>(self: &Arc<Self>, call: impl FnOnce(&Plugin) -> T) -> Option<T> {
        let reference = self.enter_call()?;
        let outcome = call(&self.plugin);
        drop(reference);
        Some(outcome)
    }

    fn enter_call(self: &Arc<Self>) -> Option<CallRef<'_>> {
        if !self.references.enter() {
            return None;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        Some(CallRef(self))
    }
}

/// The publications for which `envelope` of one generation has panicked. They go as they are to the sessions that join.
#[derive(Debug, Default)]
struct EnvelopePanics(Mutex<HashSet<Position>>);

impl EnvelopePanics {
    fn has(&self, position: &Position) -> bool {
        self.lock().contains(position)
    }

    fn note(&self, position: Position) {
        let mut positions = self.lock();
        if positions.len() == ENVELOPE_PANICS_MAX {
            positions.clear();
        }
        positions.insert(position);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Position>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CallRef<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
        self.0.end_reference();
    }
}

/// After more, all are forgotten, and each is tried once more.
const ENVELOPE_PANICS_MAX: usize = 1024;
