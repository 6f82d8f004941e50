//! The topics that one session has joined, in one of two ways: as a subscriber, or as a member.
//!
//! A drop leaves them, however the session ends. A move to newer code keeps them.

use std::sync::Arc;

use crate::engine::node::Node;
use crate::sessions::mailbox::Mailbox;
use crate::sessions::topics::Topic;

/// The topics that a session has joined in one way.
#[derive(Debug)]
pub(super) struct JoinedTopics {
    role: Role,
    node: Arc<Node>,
    mailbox: Arc<Mailbox>,
    /// As the handler wrote them.
    names: Vec<Box<str>>,
}

/// What a session is on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Subscriber,
    Member,
}

impl JoinedTopics {
    /// No topic yet.
    pub(super) fn new(role: Role, node: &Arc<Node>, mailbox: &Arc<Mailbox>) -> JoinedTopics {
        JoinedTopics {
            role,
            node: node.clone(),
            mailbox: mailbox.clone(),
            names: Vec::new(),
        }
    }

    /// How many topics there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether the session has joined the topic.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|other| **other == *name)
    }

    /// Notes a topic that the session joins, and has not joined yet.
    pub(super) fn note(&mut self, name: &str) {
        self.names.push(name.into());
    }

    /// Leaves a topic, if the session has joined it.
    pub(super) fn leave(&mut self, name: &str) {
        if let Some(index) = self.names.iter().position(|other| **other == *name) {
            let name = self.names.swap_remove(index);
            self.end(&name);
        }
    }

    fn end(&self, name: &str) {
        let topic = Topic::new(self.mailbox.owner(), name);
        match self.role {
            Role::Subscriber => self.node.unsubscribe(topic, self.mailbox.id),
            Role::Member => self.node.leave(topic, self.mailbox.id),
        }
    }
}

impl Drop for JoinedTopics {
    fn drop(&mut self) {
        match self.role {
            Role::Subscriber => self.names.iter().for_each(|name| self.end(name)),
            Role::Member => self.node.leave_all(self.mailbox.id),
        }
    }
}
