//! What the node does when a session joins a topic, or leaves it.

use std::sync::Arc;

use super::joins::{Join, Wish};
use super::topic_state::Call;
use super::{JoinFrom, Joined, Node, OnJoined};
use crate::engine::TopicName;
use crate::engine::position::Foreign;
use crate::sessions::mailbox::Mailbox;
use crate::sessions::topics::Topic;

impl Node {
    /// Makes a session a subscriber, for what is published from now on.
    ///
    /// What this server publishes after the call comes to the session. For what others publish, `subscribe_from` says
    /// from when on it comes.
    pub(crate) fn subscribe(&self, mailbox: &Arc<Mailbox>, topic: Topic<'_>) {
        if self.goes_directly(topic) {
            return self.topics.subscribe(topic, mailbox);
        }
        self.join(topic, join(mailbox, Wish::Now, 0, None));
    }

    /// Makes a session a subscriber, and sends it what it has missed.
    ///
    /// `answer` is called first. Then the missed messages are posted to the mailbox, and then what is new: nothing is
    /// left out, and nothing comes twice. After a failure the session is no subscriber.
    pub(crate) fn subscribe_from(
        &self,
        mailbox: &Arc<Mailbox>,
        topic: Topic<'_>,
        from: JoinFrom<'_>,
        answer: OnJoined,
    ) {
        let position = |bytes| self.positions.read(&TopicName::new(topic), bytes);
        let (wish, is_recovered) = match from.after.map(position) {
            None => (Wish::Last(from.last), true),
            // The engine may not have heard yet that the history is gone.
            Some(Ok(_)) if !self.has_history(topic) => (Wish::Now, false),
            Some(Ok(at)) => (Wish::After(at), true),
            Some(Err(Foreign)) => (Wish::Last(from.last), false),
        };
        if self.goes_directly(topic) {
            answer(Ok(Joined {
                is_recovered: from.after.is_none(),
                position: None,
                missed: 0,
            }));
            return self.topics.subscribe(topic, mailbox);
        }
        let mut join = join(mailbox, wish, from.last, Some(answer));
        join.has_position = from.after.is_some();
        join.is_recovered = is_recovered;
        self.join(topic, join);
    }

    /// Ends a subscription, also one that is not answered yet. The end of a session does it for each of its topics.
    ///
    /// A join that is given up is answered, and nothing follows it. A position that it has named recovers nothing.
    pub(crate) fn unsubscribe(&self, topic: Topic<'_>, id: u64) {
        let is_known = self.give_up_join(topic, id);
        self.topics.unsubscribe(topic, id);
        if !is_known {
            // A publication may have made it known meanwhile, because it had a subscriber.
            self.give_up_join(topic, id);
        }
    }

    /// Ends a subscription as far as the state of the topic goes. False if the topic is not known.
    fn give_up_join(&self, topic: Topic<'_>, id: u64) -> bool {
        let Some(known) = self.known.find(topic) else {
            return false;
        };
        let now_ms = self.now_ms();
        let given_up = known.update(self, |state| state.give_up_join(id, now_ms));
        if let Some(join) = given_up {
            let joined = join.given_up();
            join.answer
                .into_iter()
                .for_each(|answer| answer(Ok(joined)));
        }
        true
    }

    fn join(&self, topic: Topic<'_>, join: Join) {
        let now_ms = self.now_ms();
        self.change(topic, |state| state.join(join, now_ms));
        // What this thread publishes next must come to the session, so it does not wait for another thread's ask.
        if let Some(known) = self.known.find(topic) {
            let question = known.lock().asked_elsewhere();
            if let Some(question) = question {
                known.call(self, Call::Subscribe(question));
            }
        }
    }
}

fn join(mailbox: &Arc<Mailbox>, wish: Wish, last: u64, answer: Option<OnJoined>) -> Join {
    Join {
        number: 0,
        mailbox: mailbox.clone(),
        wish,
        last,
        has_position: false,
        is_recovered: true,
        answer,
    }
}
