//! The topics of one session: it subscribes to some, and is a member of some.

use super::Controls;
use crate::{
    abi::{self, Status},
    rules,
    test::{
        hub::asks::{Asker, NotJoined, Request, TopicUse},
        limits,
    },
};

impl Controls {
    pub(in crate::test) fn subscribe(&mut self, topic: &str, on: bool) -> Result<(), Status> {
        if on {
            self.hub.check_topic(topic, TopicUse::Any)?;
        }
        let found = self.topics.iter().position(|joined| joined == topic);
        match (on, found) {
            (true, None) if self.topics.len() == limits::TOPICS_MAX => return Err(abi::TOO_BIG),
            (true, None) => self.topics.push(topic.into()),
            (false, Some(index)) => drop(self.topics.remove(index)),
            _ => return Ok(()),
        }
        self.hub.subscribe(topic, self.id, on);
        Ok(())
    }

    /// Asks to join a topic behind a position or with its last messages.
    pub(in crate::test) fn subscribe_from(
        &mut self,
        token: u64,
        topic: &str,
        after: &[u8],
        last: u64,
    ) -> Result<(), Status> {
        self.still_open()?;
        self.hub.check_topic(topic, TopicUse::Any)?;
        if self.topics.iter().any(|joined| joined == topic) {
            return Err(abi::INVALID);
        }
        if self.topics.len() == limits::TOPICS_MAX {
            return Err(abi::TOO_BIG);
        }
        let request = Request::SubscribeFrom {
            join: self.hub.begin_joining(topic, self.id),
            topic: topic.into(),
            after: after.into(),
            last,
        };
        let asked = self.hub.ask(Asker::Session(self.id), token, request);
        match asked {
            Ok(()) => self.topics.push(topic.into()),
            Err(_) => self.hub.subscribe(topic, self.id, false),
        }
        asked
    }

    /// Asks to be a member of a topic.
    pub(in crate::test) fn enter(
        &mut self,
        token: u64,
        topic: &str,
        value: &[u8],
    ) -> Result<(), Status> {
        self.still_open()?;
        let value = rules::asks::value(value, limits::PRESENCE_VALUE_BYTES_MAX)?;
        self.hub.check_topic(topic, TopicUse::Presence)?;
        let is_new = !self.memberships.iter().any(|joined| joined == topic);
        if is_new && self.memberships.len() == limits::TOPICS_MAX {
            return Err(abi::TOO_BIG);
        }
        let request = Request::Enter {
            topic: topic.into(),
            value: value.into(),
            is_new,
        };
        self.hub.ask(Asker::Session(self.id), token, request)?;
        if is_new {
            self.memberships.push(topic.into());
        }
        Ok(())
    }

    /// Ends a membership.
    pub(in crate::test) fn leave(&mut self, topic: &str) -> Result<(), Status> {
        let found = self.memberships.iter().position(|joined| joined == topic);
        let Some(index) = found else {
            return Ok(());
        };
        let topic = self.memberships.swap_remove(index);
        let request = Request::Leave { topic };
        self.hub.ask(Asker::Session(self.id), 0, request)
    }

    /// Forgets what the session could not join.
    pub(in crate::test) fn forget(&mut self, not_joined: &NotJoined) {
        match not_joined {
            NotJoined::Topic(topic) => {
                self.topics.retain(|joined| joined != topic);
                self.hub.subscribe(topic, self.id, false);
            }
            NotJoined::Members(topic) => self.memberships.retain(|joined| joined != topic),
        }
    }

    /// Leaves every topic.
    pub(in crate::test) fn unsubscribe_all(&mut self) {
        for topic in std::mem::take(&mut self.topics) {
            self.hub.subscribe(&topic, self.id, false);
        }
    }
}
