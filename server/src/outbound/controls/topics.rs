//! The topics of a session: it subscribes to some, and is a member of some.

use std::sync::Arc;

use wsh::abi;

use super::Controls;
use super::joined_topics::{JoinedTopics, Role};
use crate::engine::Done;
use crate::engine::node::{JoinFrom, Node, OnJoined};
use crate::sessions::answer::NotJoined;
use crate::sessions::topics::Topic;

impl Controls {
    /// Joins a topic, for what is published from now on.
    pub(crate) fn subscribe(&mut self, node: &Arc<Node>, name: &str) -> Result<(), abi::Status> {
        if self.has_joined(Role::Subscriber, name) {
            return Ok(());
        }
        self.note_joined(Role::Subscriber, node, name)?;
        node.subscribe(&self.mailbox, Topic::new(self.mailbox.owner(), name));
        Ok(())
    }

    /// Joins a topic behind a position or with its last messages. INVALID if the session has joined it already.
    pub(crate) fn subscribe_from(
        &mut self,
        node: &Arc<Node>,
        name: &str,
        from: JoinFrom<'_>,
        answer: OnJoined,
    ) -> Result<(), abi::Status> {
        if self.has_joined(Role::Subscriber, name) {
            return Err(abi::INVALID);
        }
        self.note_joined(Role::Subscriber, node, name)?;
        let topic = Topic::new(self.mailbox.owner(), name);
        node.subscribe_from(&self.mailbox, topic, from, answer);
        Ok(())
    }

    /// Leaves a topic.
    pub(crate) fn unsubscribe(&mut self, name: &str) {
        self.leave_as(Role::Subscriber, name);
    }

    /// Whether the session is a member of a topic.
    pub(crate) fn is_member(&self, name: &str) -> bool {
        self.has_joined(Role::Member, name)
    }

    /// Becomes a member of a topic, or has another value there.
    pub(crate) fn enter(
        &mut self,
        node: &Arc<Node>,
        name: &str,
        value: &[u8],
        done: Done<u64>,
    ) -> Result<(), abi::Status> {
        if !self.has_joined(Role::Member, name) {
            self.note_joined(Role::Member, node, name)?;
        }
        let topic = Topic::new(self.mailbox.owner(), name);
        node.enter(topic, self.mailbox.id, value.into(), done);
        Ok(())
    }

    /// Is no member of a topic any more.
    pub(crate) fn leave(&mut self, name: &str) {
        self.leave_as(Role::Member, name);
    }

    /// Takes back what the session could not join.
    pub(crate) fn take_back(&mut self, not_joined: &NotJoined) {
        match not_joined {
            NotJoined::Topic(name) => self.leave_as(Role::Subscriber, name),
            NotJoined::Members(name) => self.leave_as(Role::Member, name),
        }
    }

    /// Leaves every topic, as a subscriber and as a member.
    pub(crate) fn leave_topics(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.subscriptions = None;
            extras.memberships = None;
        }
    }

    fn has_joined(&self, role: Role, name: &str) -> bool {
        let extras = self.extras.as_ref();
        let joined = extras.and_then(|extras| match role {
            Role::Subscriber => extras.subscriptions.as_ref(),
            Role::Member => extras.memberships.as_ref(),
        });
        joined.is_some_and(|joined| joined.has(name))
    }

    /// Notes a topic that the session joins. TOO_BIG for one more than it may have.
    fn note_joined(&mut self, role: Role, node: &Arc<Node>, name: &str) -> Result<(), abi::Status> {
        let (topics_max, mailbox) = (self.limits.topics_max, self.mailbox.clone());
        let joined = self.joined(role);
        if joined.as_ref().map_or(0, JoinedTopics::len) >= topics_max {
            return Err(abi::TOO_BIG);
        }
        // Only made where there is none: its drop ends every membership of the session.
        let make = || JoinedTopics::new(role, node, &mailbox);
        joined.get_or_insert_with(make).note(name);
        Ok(())
    }

    fn leave_as(&mut self, role: Role, name: &str) {
        if self.extras.is_some()
            && let Some(joined) = self.joined(role)
        {
            joined.leave(name);
        }
    }

    fn joined(&mut self, role: Role) -> &mut Option<JoinedTopics> {
        let extras = self.extras.get_or_insert_default();
        match role {
            Role::Subscriber => &mut extras.subscriptions,
            Role::Member => &mut extras.memberships,
        }
    }
}
