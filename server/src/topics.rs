//! Publish and subscribe inside this server.
//!
//! A topic belongs to a handler's name and is shared by its generations; one that begins with `/`
//! belongs to the server, and any handler may use it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::encoded::Encoded;
use crate::mailbox::Mailbox;

/// Who subscribed to what.
#[derive(Debug)]
pub(crate) struct Topics {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

type Shard = HashMap<Topic, HashMap<u64, Arc<Mailbox>>>;

/// A topic's full name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Topic {
    /// The handler's name; empty for the server's own topics.
    owner: Arc<str>,
    name: Box<str>,
}

impl Topic {
    /// What the handler `owner` means by `name`.
    pub(crate) fn new(owner: &Arc<str>, name: &str) -> Topic {
        let owner = if name.starts_with('/') {
            Arc::from("")
        } else {
            owner.clone()
        };
        Topic {
            owner,
            name: name.into(),
        }
    }
}

impl Topics {
    pub(crate) fn new() -> Arc<Topics> {
        Arc::new(Topics {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        })
    }

    pub(crate) fn subscribe(&self, topic: &Topic, mailbox: &Arc<Mailbox>) {
        let mut shard = self.shard(topic);
        let subscribers = shard.entry(topic.clone()).or_default();
        subscribers.insert(mailbox.id, mailbox.clone());
    }

    pub(crate) fn unsubscribe(&self, topic: &Topic, id: u64) {
        let mut shard = self.shard(topic);
        if let Some(subscribers) = shard.get_mut(topic) {
            subscribers.remove(&id);
            if subscribers.is_empty() {
                shard.remove(topic);
            }
        }
    }

    /// Posts one encoded message to every subscriber but `except`; answers how many there were.
    pub(crate) fn publish(&self, topic: &Topic, message: &Arc<Encoded>, except: u64) -> usize {
        let shard = self.shard(topic);
        let Some(subscribers) = shard.get(topic) else {
            return 0;
        };
        let others = subscribers.iter().filter(|(id, _)| **id != except);
        others.map(|(_, mailbox)| mailbox.publish(message)).count()
    }

    fn shard(&self, topic: &Topic) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[self.hasher.hash_one(topic) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::{Registration, Registry};

    fn sessions<const N: usize>() -> [Registration; N] {
        let registry = Registry::new();
        std::array::from_fn(|_| registry.register(&Arc::from("chat"), 1, 100))
    }

    #[test]
    fn a_publication_reaches_every_subscriber_but_the_excepted_one() {
        let topics = Topics::new();
        let topic = Topic::new(&Arc::from("chat"), "lobby");
        let [ann, ben, cat] = sessions();
        topics.subscribe(&topic, ann.mailbox());
        topics.subscribe(&topic, ben.mailbox());

        let message = Arc::new(Encoded::new(crate::ws::frame::TEXT, b"hi", false));
        let reached = topics.publish(&topic, &message, ann.mailbox().id);

        assert_eq!(reached, 1);
        assert!(ann.mailbox().take().is_none());
        assert_eq!(ben.mailbox().take().unwrap().letters.len(), 1);
        assert!(cat.mailbox().take().is_none());
    }

    #[test]
    fn a_topic_belongs_to_its_handler_unless_it_begins_with_a_slash() {
        let (chat, echo) = (Arc::from("chat"), Arc::from("echo"));
        assert_ne!(Topic::new(&chat, "lobby"), Topic::new(&echo, "lobby"));
        assert_eq!(Topic::new(&chat, "/news"), Topic::new(&echo, "/news"));
    }

    #[test]
    fn a_topic_without_subscribers_takes_no_memory() {
        let topics = Topics::new();
        let topic = Topic::new(&Arc::from("chat"), "lobby");
        let [ann] = sessions();

        topics.subscribe(&topic, ann.mailbox());
        topics.unsubscribe(&topic, ann.mailbox().id);

        assert!(
            topics
                .shards
                .iter()
                .all(|shard| shard.lock().unwrap().is_empty())
        );
    }
}
