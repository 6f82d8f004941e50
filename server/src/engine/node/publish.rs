//! What the node does when a handler publishes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Node;
use super::repeats::{REPEAT_MS, Repeat};
use crate::engine::position::Position;
use crate::engine::{Done, Failure, Publication, StreamPosition, TopicName};
use crate::sessions::prepared_message::PreparedMessage;
use crate::sessions::topics::Topic;

impl Node {
    /// Publishes a message to every subscriber but the session `except`. Answers the subscribers of this server.
    ///
    /// While the engine is away, a topic without history goes on among the subscribers of this server.
    ///
    /// # Errors
    /// [`Failure::Full`]: too much waits, for the engine or for a handler that makes its own form of what is published.
    /// [`Failure::Unavailable`]: the engine is away, and the topic has a history. [`Failure::TooBig`]: the history can never
    /// keep it. Nothing was published.
    pub(crate) fn publish(
        &self,
        topic: Topic<'_>,
        message: &Arc<PreparedMessage>,
        except: u64,
    ) -> Result<usize, Failure> {
        if self.is_plain.load(Ordering::Relaxed) || !self.goes_to_engine(topic) {
            return Ok(self.topics.publish(topic, message, except));
        }
        if !self.is_reachable() {
            return match self.has_history(topic) {
                true => Err(Failure::Unavailable),
                false => Ok(self.topics.publish(topic, message, except)),
            };
        }
        let subscribers = self.topics.count(topic, except);
        self.check_room(topic, subscribers > 0)?;
        self.engine
            .publish(self.publication(topic, message, except))?;
        Ok(subscribers)
    }

    /// Publishes a message to a topic with history, and answers its position.
    pub(crate) fn publish_acked(
        &self,
        topic: Topic<'_>,
        message: &Arc<PreparedMessage>,
        except: u64,
        done: Done<Position>,
    ) {
        if !self.has_history(topic) {
            return done(Err(Failure::Unsupported));
        }
        if let Err(failure) = self.check_room(topic, self.topics.count(topic, 0) > 0) {
            return done(Err(failure));
        }
        let publication = self.publication(topic, message, except);
        let (positions, name) = (self.positions.clone(), publication.topic.clone());
        let done = move |answer: Result<StreamPosition, Failure>| {
            done(answer.map(|at| positions.write(&name, at)));
        };
        let done = Box::new(done);
        if !self.capabilities.remote {
            return self.engine.publish_acked(publication, done);
        }
        let until_ms = self.now_ms() + REPEAT_MS;
        self.publish_or_repeat(Repeat {
            publication,
            done,
            until_ms,
        });
    }

    /// Publishes, and keeps the publication for later if it is not answered.
    pub(super) fn publish_or_repeat(&self, repeat: Repeat) {
        let node = self.weak.clone();
        let publication = repeat.publication.clone();
        let done = move |answer| match (answer, node.upgrade()) {
            (Err(Failure::Unavailable), Some(node)) => node.repeats.push(repeat),
            (answer, _) => (repeat.done)(answer),
        };
        self.engine.publish_acked(publication, Box::new(done));
    }

    /// Whether the topic can take another publication. From now on the engine tells of it, if there are subscribers.
    fn check_room(&self, topic: Topic<'_>, has_subscribers: bool) -> Result<(), Failure> {
        match self.known.find(topic) {
            Some(known) if known.is_full() => return Err(Failure::Full),
            // They have subscribed before the configuration gave the topic a history.
            None if has_subscribers => {
                let now_ms = self.now_ms();
                self.change(topic, |state| state.want(now_ms));
            }
            _ => {}
        }
        Ok(())
    }

    fn publication(
        &self,
        topic: Topic<'_>,
        message: &Arc<PreparedMessage>,
        except: u64,
    ) -> Publication {
        Publication {
            topic: TopicName::new(topic),
            origin: self.origin,
            number: self.next_number.fetch_add(1, Ordering::Relaxed),
            except,
            message: message.clone(),
        }
    }
}
