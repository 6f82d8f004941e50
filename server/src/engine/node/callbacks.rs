//! What the node asks of handlers: their own form of a publication, and a message about a change of the members.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::Job;
use crate::engine::position::Position;
use crate::engine::{PresenceChange, TopicName};
use crate::sessions::prepared_message::PreparedMessage;

/// The callbacks of one generation of a handler. Both may take long, and are called on a thread that `run` chose.
#[derive(Default)]
pub(crate) struct HandlerCallbacks {
    pub(crate) envelope: Option<Box<Envelope>>,
    pub(crate) presence: Option<Box<Presence>>,
    /// Runs a job soon, and never in the call. `None`: [`NodeParts::run`](super::NodeParts::run) does.
    pub(crate) run: Option<Box<Run>>,
}

/// See [`HandlerCallbacks::run`].
pub(crate) type Run = dyn Fn(Job) + Send + Sync;

/// Makes the form in which a publication of a topic with history goes to its subscribers. `None`: as it is.
pub(crate) type Envelope = dyn Fn(&EnvelopeCall<'_>) -> Option<Arc<PreparedMessage>> + Send + Sync;

/// What an [`Envelope`] is called with.
#[derive(Debug)]
pub(crate) struct EnvelopeCall<'a> {
    pub(crate) topic: &'a TopicName,
    pub(crate) position: Position,
    pub(crate) message: &'a PreparedMessage,
    /// A session that joins has missed the publication. So it is called once more for each such session.
    pub(crate) is_replay: bool,
}

/// Makes the message that the subscribers of this server get about a change. `None`: none.
pub(crate) type Presence = dyn Fn(&PresenceChange) -> Option<Arc<PreparedMessage>> + Send + Sync;

/// The callbacks of all handlers.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    /// Of each handler the newest generation's. It is read for each publication with history.
    newest: ArcSwap<HashMap<Box<str>, Arc<HandlerCallbacks>>>,
    /// Of each handler all generations.
    all: Mutex<HashMap<Box<str>, Generations>>,
}

/// The callbacks of each generation of one handler, by its number, the newest last.
type Generations = Vec<(u64, Arc<HandlerCallbacks>)>;

impl Callbacks {
    pub(super) fn set(&self, owner: &str, generation: u64, callbacks: HandlerCallbacks) {
        self.change(owner, generation, Some(Arc::new(callbacks)));
    }

    pub(super) fn clear(&self, owner: &str, generation: u64) {
        self.change(owner, generation, None);
    }

    /// The callbacks that count for the topics of a handler.
    pub(super) fn of(&self, owner: &str) -> Option<Arc<HandlerCallbacks>> {
        self.newest.load().get(owner).cloned()
    }

    fn change(&self, owner: &str, generation: u64, callbacks: Option<Arc<HandlerCallbacks>>) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let generations = all.entry(owner.into()).or_default();
        generations.retain(|(number, _)| *number != generation);
        generations.extend(callbacks.map(|callbacks| (generation, callbacks)));
        generations.sort_by_key(|(number, _)| *number);
        if generations.is_empty() {
            all.remove(owner);
        }
        let newest = all.iter().filter_map(|(owner, generations)| {
            let (_, callbacks) = generations.last()?;
            Some((owner.clone(), callbacks.clone()))
        });
        self.newest.store(Arc::new(newest.collect()));
    }
}

impl fmt::Debug for HandlerCallbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerCallbacks")
            .field("envelope", &self.envelope.is_some())
            .field("presence", &self.presence.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_generation_is_called_and_after_it_the_one_before() {
        let callbacks = Callbacks::default();
        let with = |has_envelope: bool| HandlerCallbacks {
            envelope: has_envelope.then(|| Box::new(|_: &EnvelopeCall<'_>| None) as Box<Envelope>),
            ..HandlerCallbacks::default()
        };
        let has_envelope = || callbacks.of("chat").map(|it| it.envelope.is_some());

        callbacks.set("chat", 2, with(true));
        callbacks.set("chat", 1, with(false));
        assert_eq!(has_envelope(), Some(true));
        assert!(callbacks.of("echo").is_none());

        callbacks.clear("chat", 2);
        assert_eq!(has_envelope(), Some(false));
        callbacks.clear("chat", 1);
        assert_eq!(has_envelope(), None);
    }
}
