//! What the node does when a session becomes a member of a topic, or is one no more.

use std::sync::Arc;

use super::Node;
use crate::engine::{Done, Failure, Member, MembersPage, PageLimit, TopicName};
use crate::sessions::topics::Topic;

impl Node {
    /// Makes a session a member of a topic, or gives a member another value. Answers the version of the members.
    pub(crate) fn enter(&self, topic: Topic<'_>, id: u64, value: Arc<[u8]>, done: Done<u64>) {
        if !self.has_presence(topic) {
            return done(Err(Failure::Unsupported));
        }
        self.hear_of_members(topic);
        // A change waits for a handler that makes a message about it.
        if self.known.find(topic).is_some_and(|known| known.is_full()) {
            return done(Err(Failure::Full));
        }
        let (topic, member) = (TopicName::new(topic), Member { id, value });
        let before = self.members.set(&topic, &member);
        let (node, of, refused) = (self.weak.clone(), topic.clone(), member.clone());
        let done = move |answer: Result<u64, Failure>| {
            match (answer, node.upgrade()) {
                (Err(Failure::Unavailable), Some(node)) => node.repeats.push_member(of, id),
                (Err(_), Some(node)) => node.members.undo(&of, &refused, before),
                _ => {}
            }
            done(answer);
        };
        self.engine.enter(&topic, member, Box::new(done));
    }

    /// Ends a membership, if there is one.
    pub(crate) fn leave(&self, topic: Topic<'_>, id: u64) {
        self.hear_of_members(topic);
        let topic = TopicName::new(topic);
        self.members.remove(&topic, id);
        self.engine.leave(&topic, id);
    }

    /// Ends all memberships of a session. To be called at its end, if it has ever entered a topic.
    pub(crate) fn leave_all(&self, id: u64) {
        for topic in self.members.take(id) {
            self.hear_of_members(topic.as_topic());
            self.engine.leave(&topic, id);
        }
    }

    /// Has a session of this server be a member again, if it still wants to.
    pub(super) fn enter_again(&self, topic: TopicName, id: u64) {
        let Some(value) = self.members.value(&topic, id) else {
            return;
        };
        let (node, of) = (self.weak.clone(), topic.clone());
        let done = move |answer| {
            if let (Err(Failure::Unavailable), Some(node)) = (answer, node.upgrade()) {
                node.repeats.push_member(of, id);
            }
        };
        let member = Member { id, value };
        self.engine.enter(&topic, member, Box::new(done));
    }

    /// Reads the members of a topic by rising id, after the member `after`.
    pub(crate) fn present(
        &self,
        topic: Topic<'_>,
        after: Option<u64>,
        limit: PageLimit,
        done: Done<MembersPage>,
    ) {
        if !self.has_presence(topic) {
            return done(Err(Failure::Unsupported));
        }
        let topic = TopicName::new(topic);
        self.engine.present(&topic, after, limit, done);
    }
}
