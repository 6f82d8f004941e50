//! Gives the subscribers of a topic what lies in its queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::warn;

use super::callbacks::HandlerCallbacks;
use super::joins::Ready;
use super::queue::{Delivery, Item};
use super::topic::NodeTopic;
use super::{Joined, Node};
use crate::engine::{PastPublication, StreamPosition};
use crate::sessions::mailbox::{Letter, Mailbox};
use crate::sessions::prepared_message::PreparedMessage;

impl NodeTopic {
    /// Serves the subscribers. The queue has said that this thread does it.
    ///
    /// `may_call` says whether a handler may be called on this thread. A publisher's thread may not: it runs a handler's
    /// code already, which waits for its call to return.
    pub(super) fn serve(self: &Arc<Self>, node: &Node, may_call: bool) {
        let mut batch = VecDeque::new();
        let mut served = 0;
        loop {
            let mut state = self.lock();
            self.note_fullness(&state);
            let is_any = state.queue.take(&mut batch);
            drop(state);
            if !is_any {
                return;
            }
            let callbacks = node.callbacks.of(&self.name.owner);
            let (mut count, mut bytes) = (0, 0);
            while let Some(item) = batch.front()
                && served < TURN_MAX
                && (may_call || !item.calls(callbacks.as_deref()))
                && let Some(item) = batch.pop_front()
            {
                (count, bytes) = (count + 1, bytes + item.bytes());
                served += 1;
                self.give(node, item, callbacks.as_deref());
            }
            let mut state = self.lock();
            state.queue.release(count, bytes);
            if !batch.is_empty() {
                state.queue.put_back(&mut batch);
                drop(state);
                return self.serve_later(node);
            }
        }
    }

    /// Has another thread go on, on which a handler may be called.
    fn serve_later(self: &Arc<Self>, node: &Node) {
        let (topic, weak) = (self.clone(), node.weak.clone());
        (node.run)(Box::new(move || {
            if let Some(node) = weak.upgrade() {
                topic.serve(&node, true);
            }
        }));
    }

    fn give(&self, node: &Node, item: Item, callbacks: Option<&HandlerCallbacks>) {
        match item {
            Item::Publication(delivery) => self.publish(node, delivery, callbacks),
            Item::Join(ready) => self.join(node, ready, callbacks),
            Item::Refused(answer, failure) => answer(Err(failure)),
            Item::Change(change) => {
                let presence = callbacks.and_then(|callbacks| callbacks.presence.as_ref());
                if let Some(message) = presence.and_then(|presence| presence(&change)) {
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

    fn publish(&self, node: &Node, delivery: Delivery, callbacks: Option<&HandlerCallbacks>) {
        let Delivery {
            at,
            except,
            message,
        } = delivery;
        let message = match at {
            Some(at) => self.form_of(node, at, message, callbacks),
            None => message,
        };
        node.topics.publish(self.name.as_topic(), &message, except);
    }

    /// Makes a session a subscriber: first its answer, then what it has missed.
    fn join(&self, node: &Node, ready: Ready, callbacks: Option<&HandlerCallbacks>) {
        let Ready { join, at, missed } = ready;
        let mailbox = &join.mailbox;
        let is_wanted = self.lock().is_queued(mailbox.id, join.number);
        let (missed, is_all) = match is_wanted {
            true => self.letters_for(node, mailbox, missed, callbacks),
            // It has left the topic before it could join.
            false => (Vec::new(), false),
        };
        let joined = Joined {
            is_recovered: join.is_recovered && is_all,
            position: at.map(|at| node.positions.write(&self.name, at)),
            missed: missed.len(),
        };
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

    /// What a session has missed, in the form in which it goes to the session, and whether that is all. What does not
    /// fit into the mailbox would end the session, so it gets the newest only.
    fn letters_for(
        &self,
        node: &Node,
        mailbox: &Mailbox,
        missed: Vec<PastPublication>,
        callbacks: Option<&HandlerCallbacks>,
    ) -> (Vec<Arc<PreparedMessage>>, bool) {
        let others = missed.into_iter().filter(|past| past.except != mailbox.id);
        let messages: Vec<_> = others
            .map(|past| self.form_of(node, past.at, past.message, callbacks))
            .collect();
        let mut room = mailbox.room();
        let fit = messages.iter().rev().take_while(|message| {
            let length = Letter::Send((*message).clone()).len();
            let fits = length <= room;
            room -= length.min(room);
            fits
        });
        let excess = messages.len() - fit.count();
        (messages.into_iter().skip(excess).collect(), excess == 0)
    }

    /// The form in which a publication goes to the sessions.
    fn form_of(
        &self,
        node: &Node,
        at: StreamPosition,
        message: Arc<PreparedMessage>,
        callbacks: Option<&HandlerCallbacks>,
    ) -> Arc<PreparedMessage> {
        let Some(envelope) = callbacks.and_then(|callbacks| callbacks.envelope.as_ref()) else {
            return message;
        };
        let position = node.positions.write(&self.name, at);
        envelope(&self.name, &position, &message).unwrap_or(message)
    }
}

/// How many items a thread serves before another one goes on, so that a publisher does not serve for ever what others
/// publish.
const TURN_MAX: usize = 64;
