//! What the sink has to hear of one topic, in its order.
//!
//! The order is the one in which [`Outbox::begin`] is called, which is under a lock. The sink is called without the lock, by
//! one thread at a time: what comes meanwhile waits, and that thread goes on with it. So a sink can call the engine.

use std::collections::VecDeque;

use crate::engine::{PresenceChange, Publication, Sink, StreamPosition, TopicName};

/// The events of one topic that the sink has not heard.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// A thread has an event of this topic, and asks for the next one afterwards.
    is_busy: bool,
    waiting: VecDeque<Event>,
    /// The payloads of what waits.
    bytes: usize,
}

/// A call of the sink.
#[derive(Debug)]
pub(super) enum Event {
    Publication(Publication, Option<StreamPosition>),
    Presence(PresenceChange),
    /// See [`Sink::stream_changed`].
    StreamChanged(TopicName, Option<StreamPosition>),
}

impl Outbox {
    /// Takes an event. The caller gets the event that it is to tell the sink now, if there is none before it.
    pub(super) fn begin(&mut self, event: Event) -> Option<Event> {
        if !self.is_busy && self.waiting.is_empty() {
            self.is_busy = true;
            return Some(event);
        }
        self.bytes += event.payload_len();
        self.waiting.push_back(event);
        self.resume()
    }

    /// What the caller is to tell the sink now, if no thread does.
    pub(super) fn resume(&mut self) -> Option<Event> {
        if self.is_busy {
            return None;
        }
        self.is_busy = true;
        self.next()
    }

    /// What follows the event that the sink has heard. With `None` the turn of the thread is over.
    pub(super) fn next(&mut self) -> Option<Event> {
        let event = self.waiting.pop_front();
        match &event {
            Some(event) => self.bytes -= event.payload_len(),
            None => *self = Outbox::default(),
        }
        event
    }

    /// Drops what waits.
    pub(super) fn clear(&mut self) {
        self.waiting = VecDeque::new();
        self.bytes = 0;
    }

    /// Ends the turn of a thread that cannot go on. What waits is told with the next event.
    pub(super) fn abandon(&mut self) {
        self.is_busy = false;
    }

    /// Too much waits.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX || self.bytes >= WAITING_BYTES_MAX
    }

    /// Events wait, and no thread tells them.
    pub(super) fn is_abandoned(&self) -> bool {
        !self.is_busy && !self.waiting.is_empty()
    }

    /// Nothing waits, and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy && self.waiting.is_empty()
    }
}

impl Event {
    pub(super) fn topic(&self) -> &TopicName {
        match self {
            Event::Publication(publication, _) => &publication.topic,
            Event::Presence(change) => &change.topic,
            Event::StreamChanged(topic, _) => topic,
        }
    }

    pub(super) fn tell(&self, sink: &dyn Sink) {
        match self {
            Event::Publication(publication, at) => sink.publication(publication, *at),
            Event::Presence(change) => sink.presence(change),
            Event::StreamChanged(topic, head) => sink.stream_changed(topic, *head),
        }
    }

    fn payload_len(&self) -> usize {
        match self {
            Event::Publication(publication, _) => publication.message.payload().len(),
            Event::Presence(change) => change.member.value.len(),
            Event::StreamChanged(..) => 0,
        }
    }
}

const WAITING_MAX: usize = 1_024;
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{ChangeKind, Member};

    fn event(version: u64, len: usize) -> Event {
        let (owner, name) = ("chat".into(), "lobby".into());
        Event::Presence(PresenceChange {
            topic: TopicName { owner, name },
            version,
            kind: ChangeKind::Joined,
            member: Member {
                id: 1,
                value: Arc::from(vec![0; len]),
            },
        })
    }

    fn version(event: Option<Event>) -> Option<u64> {
        match event? {
            Event::Presence(change) => Some(change.version),
            Event::Publication(..) | Event::StreamChanged(..) => None,
        }
    }

    #[test]
    fn what_comes_while_a_thread_is_busy_waits_for_that_thread_in_its_order() {
        let mut outbox = Outbox::default();

        assert_eq!(version(outbox.begin(event(1, 9))), Some(1));
        assert_eq!(version(outbox.begin(event(2, 9))), None);
        assert_eq!(version(outbox.begin(event(3, 9))), None);
        assert!(!outbox.is_idle());

        assert_eq!(version(outbox.next()), Some(2));
        assert_eq!(version(outbox.next()), Some(3));
        assert_eq!(version(outbox.next()), None);
        assert!(outbox.is_idle());
        assert_eq!((outbox.waiting.capacity(), outbox.bytes), (0, 0));
    }

    #[test]
    fn what_an_abandoned_turn_has_left_comes_before_the_next_event() {
        let mut outbox = Outbox::default();
        outbox.begin(event(1, 0));
        outbox.begin(event(2, 0));
        outbox.begin(event(3, 0));

        outbox.abandon();

        assert!(!outbox.is_idle());
        assert_eq!(version(outbox.begin(event(4, 0))), Some(2));
        assert_eq!(version(outbox.begin(event(5, 0))), None);
        outbox.abandon();
        assert_eq!(version(outbox.resume()), Some(3));
        assert_eq!(version(outbox.resume()), None, "a thread is busy");
        assert_eq!(version(outbox.next()), Some(4));
        assert_eq!(version(outbox.next()), Some(5));
        assert_eq!(version(outbox.next()), None);
        assert_eq!(version(outbox.resume()), None, "nothing waits");
        assert!(outbox.is_idle());
    }

    #[test]
    fn it_is_full_by_events_or_by_their_bytes() {
        for (len, count) in [(0, WAITING_MAX), (WAITING_BYTES_MAX / 4, 4)] {
            let mut outbox = Outbox::default();
            outbox.begin(event(1, len));
            for _ in 0..count {
                assert!(!outbox.is_full());
                outbox.begin(event(1, len));
            }
            assert!(outbox.is_full());
            outbox.next();
            assert!(!outbox.is_full());
        }
    }
}
