//! A session of the suite: a mailbox that the test reads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use data_encoding::HEXLOWER;

use super::cluster::{Answer, answer};
use crate::engine::Failure;
use crate::engine::node::{JoinFrom, Joined, Node};
use crate::engine::position::Position;
use crate::sessions::mailbox::Mailbox;
use crate::sessions::mailbox::letter::Letter;
use crate::sessions::registry::Registration;
use crate::sessions::topics::Topic;

/// See the [module](self). Its end leaves all topics, as the border does it.
pub(super) struct TestSession {
    node: Arc<Node>,
    registration: Registration,
    topics: Vec<String>,
    joins: Arc<Mutex<Vec<Result<Joined, Failure>>>>,
    /// What it has entered, with the last values.
    entered: Mutex<HashMap<String, String>>,
}

/// What has come to a session, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Text(String),
    /// The answer to a join.
    Joined(Result<Joined, Failure>),
}

impl TestSession {
    pub(super) fn new(node: &Arc<Node>, registration: Registration) -> TestSession {
        TestSession {
            node: node.clone(),
            registration,
            topics: Vec::new(),
            joins: Arc::default(),
            entered: Mutex::default(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.mailbox().id
    }

    pub(super) fn mailbox(&self) -> &Arc<Mailbox> {
        self.registration.mailbox()
    }

    fn topic<'a>(&'a self, name: &'a str) -> Topic<'a> {
        Topic::new(self.mailbox().owner(), name)
    }

    /// Joins a topic without an answer.
    pub(super) fn subscribe(&mut self, topic: &str) {
        self.node.subscribe(self.mailbox(), self.topic(topic));
        self.topics.push(topic.to_owned());
    }

    /// Joins a topic. The answer comes with what else the session hears.
    pub(super) fn join(&mut self, topic: &str, from: JoinFrom<'_>) {
        let (joins, mailbox) = (self.joins.clone(), self.mailbox().clone());
        let answer = move |joined| {
            joins.lock().unwrap().push(joined);
            // It marks the place of the answer among the letters.
            let _ = mailbox.post(Letter::Note(0));
        };
        let topic_name = self.topic(topic);
        self.node
            .subscribe_from(self.mailbox(), topic_name, from, Box::new(answer));
        self.topics.push(topic.to_owned());
    }

    pub(super) fn leave_topic(&mut self, topic: &str) {
        self.topics.retain(|other| other != topic);
        self.node.unsubscribe(self.topic(topic), self.id());
    }

    /// Becomes a member of a topic.
    pub(super) fn enter(&self, topic: &str, value: &str) -> Answer<u64> {
        let (answer, done) = answer();
        let mut entered = self.entered.lock().unwrap();
        entered.insert(topic.to_owned(), value.to_owned());
        let value = value.as_bytes().into();
        self.node.enter(self.topic(topic), self.id(), value, done);
        answer
    }

    /// The value with which it has entered a topic.
    pub(super) fn value_in(&self, topic: &str) -> Option<String> {
        self.entered.lock().unwrap().get(topic).cloned()
    }

    pub(super) fn leave(&self, topic: &str) {
        self.entered.lock().unwrap().remove(topic);
        self.node.leave(self.topic(topic), self.id());
    }

    /// Everything that has come since the last call.
    pub(super) fn heard(&self) -> Vec<Heard> {
        let mut letters = None;
        self.mailbox().take(&mut letters, false);
        let mut joins: VecDeque<_> = self.joins.lock().unwrap().drain(..).collect();
        let letters = letters.into_iter().flat_map(|letters| letters.into_iter());
        let heard = letters.map(|letter| match letter {
            Letter::Send(message) => {
                let text = String::from_utf8_lossy(message.payload());
                Heard::Text(text.into_owned())
            }
            Letter::Note(_) => Heard::Joined(joins.pop_front().expect("an answer for each mark")),
            other => panic!("{other:?}"),
        });
        heard.collect()
    }

    /// The texts that have come since the last call.
    pub(super) fn texts(&self) -> Vec<String> {
        let heard = self.heard().into_iter();
        let texts = heard.filter_map(|heard| match heard {
            Heard::Text(text) => Some(text),
            Heard::Joined(_) => None,
        });
        texts.collect()
    }

    /// The one answer to a join that has come since the last call, and the texts after it. Nothing came before it.
    pub(super) fn joined(&self) -> (Joined, Vec<String>) {
        let mut heard = self.heard().into_iter();
        let joined = match heard.next() {
            Some(Heard::Joined(Ok(joined))) => joined,
            other => panic!("{other:?} came first"),
        };
        let texts = heard.map(|heard| match heard {
            Heard::Text(text) => text,
            Heard::Joined(_) => panic!("two answers came"),
        });
        (joined, texts.collect())
    }
}

impl Drop for TestSession {
    fn drop(&mut self) {
        for topic in std::mem::take(&mut self.topics) {
            self.node.unsubscribe(self.topic(&topic), self.id());
        }
        self.node.leave_all(self.id());
    }
}

/// A position as a text.
pub(super) fn text_of(position: &Position) -> String {
    HEXLOWER.encode(position.as_bytes())
}
