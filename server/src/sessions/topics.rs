//! Publish and subscribe inside this server.
//!
//! A topic belongs to the name of a handler, and all generations of the handler share it. A topic whose name
//! begins with `/` belongs to the server, and any handler may use it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sessions::mailbox::Mailbox;
use crate::sessions::prepared_message::PreparedMessage;

/// The subscribers of every topic.
#[derive(Debug)]
pub(crate) struct Topics {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

/// Keyed by owner, then by name: a publication finds its topic without allocating a key of both.
type Shard = HashMap<Box<str>, HashMap<Box<str>, Subscribers>>;
type Subscribers = HashMap<u64, Arc<Mailbox>>;

/// A topic's full name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Topic<'a> {
    /// The handler's name; [`SERVER`] for the server's own topics.
    owner: &'a str,
    name: &'a str,
}

impl<'a> Topic<'a> {
    /// The topic that `name` is for the handler `owner`.
    pub(crate) fn new(owner: &'a str, name: &'a str) -> Topic<'a> {
        let owner = if name.starts_with('/') { SERVER } else { owner };
        Topic { owner, name }
    }

    /// The handler's name; [`SERVER`] for the server's own topics.
    pub(crate) fn owner(&self) -> &'a str {
        self.owner
    }

    /// The name within the topics of the owner.
    pub(crate) fn name(&self) -> &'a str {
        self.name
    }
}

impl Topics {
    pub(crate) fn new() -> Arc<Topics> {
        Arc::new(Topics {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        })
    }

    pub(crate) fn subscribe(&self, topic: Topic<'_>, mailbox: &Arc<Mailbox>) {
        let mut shard = self.shard(topic);
        let owned = shard.entry(topic.owner.into()).or_default();
        let subscribers = owned.entry(topic.name.into()).or_default();
        subscribers.insert(mailbox.id, mailbox.clone());
    }

    pub(crate) fn unsubscribe(&self, topic: Topic<'_>, id: u64) {
        let mut shard = self.shard(topic);
        let Some(owned) = shard.get_mut(topic.owner) else {
            return;
        };
        if let Some(subscribers) = owned.get_mut(topic.name) {
            subscribers.remove(&id);
            if subscribers.is_empty() {
                owned.remove(topic.name);
            }
        }
        if owned.is_empty() {
            shard.remove(topic.owner);
        }
    }

    /// Posts one message to every subscriber except the session `except`. Returns how many there were.
    pub(crate) fn publish(
        &self,
        topic: Topic<'_>,
        message: &Arc<PreparedMessage>,
        except: u64,
    ) -> usize {
        let shard = self.shard(topic);
        let owned = shard.get(topic.owner);
        let Some(subscribers) = owned.and_then(|owned| owned.get(topic.name)) else {
            return 0;
        };
        let others = subscribers.iter().filter(|(id, _)| **id != except);
        others.map(|(_, mailbox)| mailbox.publish(message)).count()
    }

    /// How many subscribers a topic has besides the session `except`.
    pub(crate) fn count(&self, topic: Topic<'_>, except: u64) -> usize {
        let shard = self.shard(topic);
        let owned = shard.get(topic.owner);
        let subscribers = owned.and_then(|owned| owned.get(topic.name));
        subscribers.map_or(0, |subscribers| {
            subscribers.len() - usize::from(subscribers.contains_key(&except))
        })
    }

    fn shard(&self, topic: Topic<'_>) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[self.hasher.hash_one(topic) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The owner of the server's own topics. It is no name of a handler: that of the handler at the path `/` is empty, and
/// no name begins with `/`.
pub(crate) const SERVER: &str = "/";

const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::registry::{Registration, Registry};

    fn sessions<const N: usize>() -> [Registration; N] {
        let registry = Registry::new();
        std::array::from_fn(|_| registry.register(&Arc::from("chat"), 1, 100))
    }

    #[test]
    fn a_publication_reaches_every_subscriber_but_the_excepted_one() {
        let topics = Topics::new();
        let topic = Topic::new("chat", "lobby");
        let [ann, ben, cat] = sessions();
        topics.subscribe(topic, ann.mailbox());
        topics.subscribe(topic, ben.mailbox());

        let message = PreparedMessage::new(crate::ws::frame::TEXT, b"hi", false);
        let reached = topics.publish(topic, &message, ann.mailbox().id);

        assert_eq!(reached, 1);
        let mut letters = None;
        assert!(ann.mailbox().take(&mut letters, false).is_none());
        assert!(ben.mailbox().take(&mut letters, false).is_some());
        assert_eq!(letters.as_ref().map(|letters| letters.len()), Some(1));
        assert!(cat.mailbox().take(&mut letters, false).is_none());
    }

    #[test]
    fn a_topic_belongs_to_its_handler_unless_it_begins_with_a_slash() {
        assert_ne!(Topic::new("chat", "lobby"), Topic::new("echo", "lobby"));
        assert_eq!(Topic::new("chat", "/news"), Topic::new("echo", "/news"));
        // The handler at the path `/` has an empty name.
        assert_eq!(Topic::new("", "lobby").owner(), "");
        assert_eq!(Topic::new("", "/news").owner(), SERVER);
    }

    #[test]
    fn a_topic_without_subscribers_takes_no_memory() {
        let topics = Topics::new();
        let topic = Topic::new("chat", "lobby");
        let [ann] = sessions();

        topics.subscribe(topic, ann.mailbox());
        topics.unsubscribe(topic, ann.mailbox().id);

        assert!(
            topics
                .shards
                .iter()
                .all(|shard| shard.lock().unwrap().is_empty())
        );
    }
}
