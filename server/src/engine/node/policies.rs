//! What the configuration, and the handlers that are called, have the node do with a topic.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Node;
use crate::config;
use crate::sessions::topics::Topic;

impl Node {
    /// Has what is published from now on follow other policies.
    pub(crate) fn set_policies(&self, policies: Arc<config::Topics>) {
        let is_plain = !self.capabilities.remote && policies.is_plain();
        self.policies.store(policies);
        self.is_plain.store(is_plain, Ordering::Relaxed);
    }

    /// Whether publications of the topic are kept.
    pub(crate) fn has_history(&self, topic: Topic<'_>) -> bool {
        let policies = self.policies.load();
        let policy = policies.policy(topic.owner(), topic.name());
        self.capabilities.history && policy.history.is_some()
    }

    /// Whether sessions can be members of the topic.
    pub(crate) fn has_presence(&self, topic: Topic<'_>) -> bool {
        let policies = self.policies.load();
        let policy = policies.policy(topic.owner(), topic.name());
        self.capabilities.presence && policy.presence
    }

    /// Whether the configuration lets a handler use the topic.
    pub(crate) fn allows(&self, handler: &str, topic: Topic<'_>) -> bool {
        let policies = self.policies.load();
        policies.policy(topic.owner(), topic.name()).allows(handler)
    }

    pub(super) fn goes_to_engine(&self, topic: Topic<'_>) -> bool {
        self.capabilities.remote || self.has_history(topic)
    }

    /// Whether the subscribers of a topic need nothing of the engine: no history, and no handler that hears of members.
    pub(super) fn goes_directly(&self, topic: Topic<'_>) -> bool {
        !self.goes_to_engine(topic) && !self.has_hearer(topic)
    }

    /// Whether the topic's handler hears of its members.
    pub(super) fn has_hearer(&self, topic: Topic<'_>) -> bool {
        let callbacks = self.callbacks.of(topic.owner());
        callbacks.is_some_and(|callbacks| callbacks.presence.is_some())
    }

    /// Has the engine tell of the members, if a handler hears of them. Its subscribers may have come before it did.
    pub(super) fn hear_of_members(&self, topic: Topic<'_>) {
        if self.has_hearer(topic)
            && self.known.find(topic).is_none()
            && self.topics.count(topic, 0) > 0
        {
            let now_ms = self.now_ms();
            self.change(topic, |state| state.want(now_ms));
        }
    }
}
