//! What becomes of a publication, of a session that joins and of a change of members.
//!
//! What the handler has no callback for happens at once. The rest waits until the test's thread calls the handler, and so
//! does what comes behind it.

use super::{Hub, HubState, MailboxItem};
use crate::{
    abi,
    abi::Status,
    test::{
        engine::{Join, Kept, MemberChange},
        hub::asks::Asker,
    },
};

/// What the handler is called for before the subscribers of a topic hear of it.
#[derive(Debug)]
pub(in crate::test) enum TopicEvent {
    Publication {
        topic: String,
        position: Vec<u8>,
        item: MailboxItem,
        except: u64,
    },
    Join {
        topic: String,
        id: u64,
        token: u64,
        /// What was there when the session asked. What is published later comes behind this event.
        join: Join,
    },
    Change(MemberChange),
}

impl Hub {
    /// Takes what the handler is to be called for. [`delivered`](Self::delivered) follows.
    pub(in crate::test) fn take_event(&self) -> Option<TopicEvent> {
        let mut state = self.lock();
        let event = state.shared.events.pop_front();
        state.shared.is_delivering = event.is_some();
        event
    }

    /// Sends a message to the subscribers of a topic, as an event has it after the callback of the handler.
    pub(in crate::test) fn deliver(&self, topic: &str, item: &MailboxItem, except: u64) {
        let mut state = self.lock();
        state.deliver(topic, item, except);
        self.count_post(state);
    }

    /// Gives a session its answer and what it has missed, and makes it a subscriber.
    pub(in crate::test) fn end_join(
        &self,
        topic: &str,
        id: u64,
        token: u64,
        join: Join,
        missed: Vec<MailboxItem>,
    ) {
        let mut state = self.lock();
        state.end_join(topic, id, token, join, missed);
        self.count_post(state);
    }

    /// An event was delivered.
    pub(in crate::test) fn delivered(&self) {
        self.lock().shared.is_delivering = false;
    }
}

impl HubState {
    /// Publishes a message; answers how many subscribers get it.
    pub(super) fn publish(
        &mut self,
        topic: &str,
        item: &MailboxItem,
        except: u64,
    ) -> Result<u64, Status> {
        if self.shared.engine.history_bounds(topic).is_none() {
            return Ok(self.deliver(topic, item, except));
        }
        if self.shared.is_away {
            return Err(abi::FULL);
        }
        let (count, _) = self.publish_kept(topic, item, except);
        Ok(count)
    }

    /// Publishes a message to a topic with history; answers how many subscribers get it, and its position.
    pub(super) fn publish_kept(
        &mut self,
        topic: &str,
        item: &MailboxItem,
        except: u64,
    ) -> (u64, Vec<u8>) {
        let now = self.now;
        let MailboxItem::Send { kind, bytes } = item else {
            return (0, Vec::new());
        };
        let published = self.shared.engine.publish(topic, *kind, bytes, now);
        let position = published.unwrap_or_default();
        if !self.must_queue(topic) {
            return (self.deliver(topic, item, except), position);
        }
        self.shared.events.push_back(TopicEvent::Publication {
            topic: topic.into(),
            position: position.clone(),
            item: item.clone(),
            except,
        });
        let subscribers = self.topics.get(topic).into_iter().flatten();
        let count = subscribers.filter(|id| **id != except).count();
        (count as u64, position)
    }

    /// Whether what concerns a topic waits for a callback of the handler, or for something that does.
    fn must_queue(&self, topic: &str) -> bool {
        let shared = &self.shared;
        let makes_form = shared.callbacks.envelope && !topic.starts_with('/');
        makes_form || shared.is_delivering || !shared.events.is_empty()
    }

    pub(super) fn join(&mut self, topic: String, id: u64, token: u64, join: Join) {
        if self.must_queue(&topic) {
            self.shared.events.push_back(TopicEvent::Join {
                topic,
                id,
                token,
                join,
            });
            return;
        }
        let missed = join.missed.iter().map(|(_, kept)| sent(kept)).collect();
        self.end_join(&topic, id, token, join, missed);
    }

    fn end_join(
        &mut self,
        topic: &str,
        id: u64,
        token: u64,
        mut join: Join,
        mut missed: Vec<MailboxItem>,
    ) {
        let of_session = (topic.to_owned(), id);
        if self.joining.get(&of_session) != Some(&join.number) {
            // It has left the topic meanwhile.
            return self.answer(Asker::Session(id), token, join.given_up(), None);
        }
        self.joining.remove(&of_session);
        let mailbox = self.mailboxes.get(&id);
        let fit = mailbox.map_or(0, |mailbox| mailbox.newest_that_fit(&missed));
        if fit < missed.len() {
            // More would end the session.
            let fit = fit.min(usize::try_from(join.last).unwrap_or(usize::MAX));
            missed.drain(..missed.len() - fit);
            join.answer.follows = fit as u64;
            if join.has_position {
                join.answer.flags = 0;
            }
        }
        self.answer(Asker::Session(id), token, join.answer, None);
        if let Some(mailbox) = self.mailboxes.get_mut(&id) {
            for item in missed {
                mailbox.has_overflowed |= mailbox.post(item).is_err();
            }
        }
        self.topics.entry(topic.into()).or_default().insert(id);
    }
}

/// A publication as it goes to a session.
pub(in crate::test) fn sent(kept: &Kept) -> MailboxItem {
    MailboxItem::Send {
        kind: kept.kind,
        bytes: kept.bytes.to_vec(),
    }
}
