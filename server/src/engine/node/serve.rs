//! Gives the subscribers of a topic what lies in its queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::warn;

use super::callbacks::{EnvelopeCall, HandlerCallbacks};
use super::joins::Ready;
use super::queue::{Delivery, Item, Next};
use super::topic::NodeTopic;
use super::{Job, Joined, Node};
use crate::engine::{PastPublication, PresenceChange, StreamPosition};
use crate::sessions::mailbox::letter::Letter;
use crate::sessions::mailbox::{Mailbox, RoomSetAside};
use crate::sessions::prepared_message::PreparedMessage;

/// A handler's call for one item, which is made without a lock.
enum HandlerCall {
    /// To make the form of a publication that goes on now.
    Envelope(StreamPosition, Arc<PreparedMessage>),
    /// To make the form of each publication that a session has missed.
    Replay(Vec<(StreamPosition, Arc<PreparedMessage>)>),
    /// To make a message about a change of the members.
    Presence(PresenceChange),
}

impl HandlerCall {
    /// The call for an item. An item that no handler is called for has an empty one.
    fn of(item: &Item) -> HandlerCall {
        match item {
            Item::Publication(Delivery {
                at: Some(at),
                message,
                ..
            }) => HandlerCall::Envelope(*at, message.clone()),
            Item::Join(ready) => HandlerCall::Replay(
                ready
                    .for_session()
                    .map(|past| (past.at, past.message.clone()))
                    .collect(),
            ),
            Item::Change(change) => HandlerCall::Presence(change.clone()),
            Item::Publication(_) | Item::Refused(..) | Item::Gap => HandlerCall::Replay(Vec::new()),
        }
    }

    /// Calls the handler. Returns the messages for the subscribers, in the order of the publications.
    fn make(self, topic: &NodeTopic, node: &Node, callbacks: &HandlerCallbacks) -> Messages {
        match self {
            HandlerCall::Envelope(at, message) => {
                vec![topic.form_of(node, at, message, false, callbacks)]
            }
            HandlerCall::Replay(publications) => publications
                .into_iter()
                .map(|(at, message)| topic.form_of(node, at, message, true, callbacks))
                .collect(),
            HandlerCall::Presence(change) => {
                let presence = callbacks.presence.as_ref();
                presence
                    .and_then(|presence| presence(&change))
                    .into_iter()
                    .collect()
            }
        }
    }
}

impl NodeTopic {
    /// Serves the subscribers, in a turn that the queue has given.
    ///
    /// `may_call` says whether a handler may be called on this thread. A publisher's thread may not: it runs a handler's
    /// code already, which waits for its call to return.
    pub(super) fn serve(self: &Arc<Self>, node: &Node, turn: u64, may_call: bool) {
        let mut room = TURN_MAX;
        loop {
            let mut state = self.lock();
            self.note_fullness(&state);
            // Under the lock: what newer code does not see in a call of older code, goes on with the newer.
            let callbacks = node.callbacks.of(&self.name.owner);
            let callbacks = callbacks.as_deref();
            match state.queue.next(turn, may_call, room, callbacks) {
                Next::Nothing => return,
                Next::AskAnother => {
                    drop(state);
                    return self.serve_later(node, turn, callbacks);
                }
                Next::Give(items) => {
                    drop(state);
                    room -= items.len();
                    self.give_all(node, items);
                }
                Next::Call(item) => {
                    let call = HandlerCall::of(item);
                    drop(state);
                    room -= 1;
                    let messages = callbacks.map(|callbacks| call.make(self, node, callbacks));
                    // The handler may have taken so long that newer code goes on in its place.
                    let Some(item) = self.lock().queue.called(turn) else {
                        return;
                    };
                    let bytes = item.bytes();
                    self.give(node, item, messages);
                    self.lock().queue.release(1, bytes);
                }
            }
        }
    }

    /// Has newer code go on, if an older version of the handler is called for an item, or is about to be.
    pub(super) fn take_over(self: &Arc<Self>, node: &Node) {
        let turn = self.lock().queue.take_over();
        if let Some(turn) = turn {
            let callbacks = node.callbacks.of(&self.name.owner);
            self.serve_later(node, turn, callbacks.as_deref());
        }
    }

    /// Has another thread go on, on which the handler may be called.
    fn serve_later(self: &Arc<Self>, node: &Node, turn: u64, callbacks: Option<&HandlerCallbacks>) {
        let (topic, weak) = (self.clone(), node.weak.clone());
        let serve: Job = Box::new(move || {
            if let Some(node) = weak.upgrade()
                && topic.lock().queue.begin_asked(turn)
            {
                topic.serve(&node, turn, true);
            }
        });
        match callbacks.and_then(|callbacks| callbacks.run.as_ref()) {
            Some(run) => run(serve),
            None => (node.run)(serve),
        }
    }

    /// Gives items for which no handler is called.
    fn give_all(&self, node: &Node, items: VecDeque<Item>) {
        let (count, mut bytes) = (items.len(), 0);
        // Publications that follow one another leave together, so that a subscriber's socket is written once for all.
        let mut together = Vec::new();
        for item in items {
            bytes += item.bytes();
            match item {
                Item::Publication(Delivery {
                    message, except, ..
                }) if count > 1 => together.push((message, except)),
                other => {
                    self.deliver(node, &mut together);
                    self.give(node, other, None);
                }
            }
        }
        self.deliver(node, &mut together);
        self.lock().queue.release(count, bytes);
    }

    fn deliver(&self, node: &Node, publications: &mut Vec<(Arc<PreparedMessage>, u64)>) {
        if !publications.is_empty() {
            node.topics.deliver(self.name.as_topic(), publications);
            publications.clear();
        }
    }

    /// Gives an item. `messages` is what a handler has made for it.
    fn give(&self, node: &Node, item: Item, messages: Option<Messages>) {
        match item {
            Item::Publication(delivery) => {
                let made = messages.and_then(|messages| messages.into_iter().next());
                let message = made.unwrap_or(delivery.message);
                let topic = self.name.as_topic();
                node.topics.publish(topic, &message, delivery.except);
            }
            Item::Join(ready) => self.join(node, ready, messages),
            Item::Refused(answer, failure) => answer(Err(failure)),
            Item::Change(_) => {
                for message in messages.unwrap_or_default() {
                    node.topics.publish(self.name.as_topic(), &message, 0);
                }
            }
            Item::Gap => {
                node.gaps.fetch_add(1, Ordering::Relaxed);
                let (handler, topic) = (&*self.name.owner, &*self.name.name);
                warn!(
                    handler,
                    topic, "publications are lost, and the engine does not have them any more"
                );
            }
        }
    }

    /// Makes a session a subscriber: first its answer, then what it has missed.
    fn join(&self, node: &Node, ready: Ready, messages: Option<Messages>) {
        let messages = messages.unwrap_or_else(|| {
            let missed = ready.for_session();
            missed.map(|past| past.message.clone()).collect()
        });
        let Ready { join, at, .. } = ready;
        let mailbox = &join.mailbox;
        let is_wanted = self.lock().is_queued(mailbox.id, join.number);
        let wanted = if is_wanted { messages } else { Vec::new() };
        // Until the messages are posted: other topics are joined on other threads meanwhile.
        let (missed, is_complete, _room) = newest_that_fit(mailbox, wanted, join.last);
        let joined = match is_wanted {
            true => Joined {
                is_recovered: join.is_recovered && (is_complete || !join.has_position),
                position: at.map(|at| node.positions.write(&self.name, at)),
                missed: missed.len(),
            },
            false => join.given_up(),
        };
        if self.lock().has_left(mailbox.id) {
            // What it still gets for its earlier subscription comes before the answer of this one.
            node.topics.finish(self.name.as_topic());
        }
        if let Some(answer) = join.answer {
            answer(Ok(joined));
        }
        if !is_wanted {
            return;
        }
        missed.iter().for_each(|message| mailbox.publish(message));
        let topic = self.name.as_topic();
        node.topics.subscribe(topic, mailbox);
        let is_wanted = self.lock().note_joined(mailbox.id, join.number);
        // The topic was left meanwhile, or the session is over.
        if !is_wanted || mailbox.is_over() {
            node.topics.unsubscribe(topic, mailbox.id);
        }
    }

    /// The form in which a publication goes to the sessions.
    fn form_of(
        &self,
        node: &Node,
        at: StreamPosition,
        message: Arc<PreparedMessage>,
        is_replay: bool,
        callbacks: &HandlerCallbacks,
    ) -> Arc<PreparedMessage> {
        let Some(envelope) = &callbacks.envelope else {
            return message;
        };
        let call = EnvelopeCall {
            topic: &self.name,
            position: node.positions.write(&self.name, at),
            message: &message,
            is_replay,
        };
        envelope(&call).unwrap_or(message)
    }
}

impl Ready {
    /// What the session has missed. It does not hear what it is excepted from.
    fn for_session(&self) -> impl Iterator<Item = &PastPublication> {
        let id = self.join.mailbox.id;
        self.missed.iter().filter(move |past| past.except != id)
    }
}

/// The messages, if all find room in the mailbox: more would end the session. Otherwise the newest ones that do, and no
/// more than `last`. Also whether these are all, and the room that is set aside for them.
fn newest_that_fit(
    mailbox: &Mailbox,
    mut messages: Messages,
    last: u64,
) -> (Messages, bool, RoomSetAside<'_>) {
    let length = |message: &Arc<PreparedMessage>| Letter::Send(message.clone()).len();
    let lengths: Vec<usize> = messages.iter().map(length).collect();
    let last = usize::try_from(last).unwrap_or(usize::MAX);
    let mut excess = 0;
    let room = mailbox.set_room_aside(|room| {
        let mut sum = 0;
        let fit = lengths.iter().rev().take_while(|length| {
            sum += **length;
            sum <= room
        });
        let fit = fit.count();
        if fit < lengths.len() {
            excess = lengths.len() - fit.min(last);
        }
        lengths[excess..].iter().sum()
    });
    messages.drain(..excess);
    (messages, excess == 0, room)
}

type Messages = Vec<Arc<PreparedMessage>>;

/// How many items a thread serves before another one goes on, so that a publisher does not serve for ever what others
/// publish.
const TURN_MAX: usize = 64;
