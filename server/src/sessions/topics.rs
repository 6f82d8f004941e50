//! Publish and subscribe inside this server.
//!
//! A topic belongs to the name of a handler, and all generations of the handler share it. A topic whose name
//! begins with `/` belongs to the server, and any handler may use it.

mod batch;
mod fan_out;
mod members;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hashbrown::HashTable;

use self::fan_out::FanOut;
use crate::runtime::wakes::{self, TURN_ALLOWANCE, TurnWork};
use crate::sessions::mailbox::Mailbox;
use crate::sessions::prepared_message::PreparedMessage;

/// The subscribers of every topic.
#[derive(Debug)]
pub(crate) struct Topics {
    hasher: RandomState,
    shards: [Mutex<HashTable<Arc<FanOut>>>; SHARDS],
    /// For topics, which have themselves removed when nothing is left of them.
    own: Weak<Topics>,
}

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
        Arc::new_cyclic(|own| Topics {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(HashTable::new())),
            own: own.clone(),
        })
    }

    pub(crate) fn subscribe(&self, topic: Topic<'_>, mailbox: &Arc<Mailbox>) {
        mailbox.note_subscribed();
        let hash = self.hasher.hash_one(topic);
        let mut shard = self.shard(hash);
        let hash_of = |fan_out: &Arc<FanOut>| self.hasher.hash_one(fan_out.topic());
        let entry = shard.entry(hash, |it| it.topic() == topic, hash_of);
        let fan_out = entry.or_insert_with(|| FanOut::new(&self.own, topic));
        fan_out.get().join(mailbox);
    }

    pub(crate) fn unsubscribe(&self, topic: Topic<'_>, id: u64) {
        self.remove_if(topic, |fan_out| fan_out.leave(id));
    }

    /// Sends one message to every subscriber except the session `except`. Returns how many there were.
    ///
    /// It leaves at the end of the turn that this is called in, or now on a thread that has no turn. What is published
    /// to one topic keeps its order.
    pub(crate) fn publish(
        &self,
        topic: Topic<'_>,
        message: &Arc<PreparedMessage>,
        except: u64,
    ) -> usize {
        let Some(fan_out) = self.find(topic) else {
            return 0;
        };
        let reached = fan_out.accept([(message, except)]);
        if reached > 0 {
            wakes::at_turn_end(fan_out);
        }
        reached
    }

    /// How many subscribers a topic has besides the session `except`.
    pub(crate) fn count(&self, topic: Topic<'_>, except: u64) -> usize {
        self.find(topic).map_or(0, |fan_out| fan_out.count(except))
    }

    /// Sends several messages, each to every subscriber except one session, in their order and behind what was
    /// published before. Returns how many the last one was for.
    ///
    /// The first subscribers are served on the calling thread before this returns, the others by a task. It waits for
    /// no other thread's callback and enters no plugin, so that the caller may hold a lock.
    pub(crate) fn deliver(
        &self,
        topic: Topic<'_>,
        publications: &[(Arc<PreparedMessage>, u64)],
    ) -> usize {
        let Some(fan_out) = self.find(topic) else {
            return 0;
        };
        let publications = publications
            .iter()
            .map(|(message, except)| (message, *except));
        let reached = fan_out.accept(publications);
        fan_out.run(&mut { TURN_ALLOWANCE });
        reached
    }

    /// Serves now what was published before. A session that has left the topic may be among those that it is for.
    pub(crate) fn finish(&self, topic: Topic<'_>) {
        if let Some(fan_out) = self.find(topic) {
            fan_out.finish();
        }
    }

    /// Removes a topic of which nothing is left. A session may have joined it since that was seen.
    fn forget(&self, topic: Topic<'_>) {
        self.remove_if(topic, FanOut::is_forgettable);
    }

    /// Removes a topic if `is_over` says so.
    fn remove_if(&self, topic: Topic<'_>, is_over: impl FnOnce(&FanOut) -> bool) {
        let hash = self.hasher.hash_one(topic);
        let mut shard = self.shard(hash);
        if let Ok(entry) = shard.find_entry(hash, |it| it.topic() == topic)
            && is_over(entry.get())
        {
            entry.remove();
        }
    }

    fn find(&self, topic: Topic<'_>) -> Option<Arc<FanOut>> {
        let hash = self.hasher.hash_one(topic);
        let shard = self.shard(hash);
        shard.find(hash, |it| it.topic() == topic).cloned()
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, HashTable<Arc<FanOut>>> {
        // The table itself uses the lowest bits and the highest ones.
        let shard = &self.shards[(hash >> 32) as usize % SHARDS];
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
