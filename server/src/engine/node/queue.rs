//! What one topic has for its subscribers, in the order in which it goes to them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::OnJoined;
use super::callbacks::HandlerCallbacks;
use super::joins::Ready;
use crate::engine::{Failure, PresenceChange, StreamPosition};
use crate::sessions::prepared_message::PreparedMessage;

/// One thing for the subscribers of a topic.
pub(super) enum Item {
    Publication(Delivery),
    /// A session becomes a subscriber.
    Join(Ready),
    /// A session does not become one.
    Refused(OnJoined, Failure),
    Change(PresenceChange),
    /// Publications are lost.
    Gap,
}

/// A publication on its way to the subscribers of this server.
pub(super) struct Delivery {
    pub(super) at: Option<StreamPosition>,
    pub(super) except: u64,
    pub(super) message: Arc<PreparedMessage>,
}

/// The items of a topic that wait. At most one thread at a time serves them, so that their order stays.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    /// How much all have, also those that were taken and are not given yet.
    count: usize,
    bytes: usize,
    turn: Turn,
    last_turn: u64,
}

/// What the thread does that serves the items, by the number of its turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turn {
    /// No thread serves them.
    #[default]
    Free,
    /// A thread was asked to serve them.
    Asked(u64),
    Serving(u64),
    /// It calls a handler for the first item, which stays here until the handler has returned.
    Calling(u64),
}

/// What a thread does next that serves the items.
pub(super) enum Next<'a> {
    /// Nothing: another thread has taken over, or there is no item.
    Nothing,
    /// To give these items, for which no handler is called.
    Give(VecDeque<Item>),
    /// To call a handler for this item.
    Call(&'a Item),
    /// To leave the rest to another thread.
    AskAnother,
}

impl Item {
    /// Whether a handler is called for the item.
    pub(super) fn calls(&self, callbacks: Option<&HandlerCallbacks>) -> bool {
        let Some(callbacks) = callbacks else {
            return false;
        };
        match self {
            Item::Publication(delivery) => callbacks.envelope.is_some() && delivery.at.is_some(),
            Item::Join(ready) => callbacks.envelope.is_some() && !ready.missed.is_empty(),
            Item::Change(_) => callbacks.presence.is_some(),
            Item::Refused(..) | Item::Gap => false,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let bytes = match self {
            Item::Publication(delivery) => delivery.message.plain().len(),
            Item::Join(ready) => {
                let missed = ready.missed.iter();
                missed.map(|it| it.message.plain().len()).sum()
            }
            Item::Change(change) => change.member.value.len(),
            Item::Refused(..) | Item::Gap => 0,
        };
        size_of::<Item>() + bytes
    }
}

impl Queue {
    pub(super) fn push(&mut self, item: Item) {
        self.count += 1;
        self.bytes += item.bytes();
        self.items.push_back(item);
    }

    /// Adds a gap. One tells of all that are lost at its place.
    pub(super) fn push_gap(&mut self) {
        if !matches!(self.items.back(), Some(Item::Gap)) {
            self.push(Item::Gap);
        }
    }

    /// Keeps nothing of what a session has missed that does not want to join any more. Its joins keep their places, so that they
    /// are answered, and no handler is called for them.
    pub(super) fn give_up_joins(&mut self, id: u64) {
        for item in &mut self.items {
            let before = item.bytes();
            if let Item::Join(ready) = item
                && ready.join.mailbox.id == id
            {
                ready.missed = Vec::new();
                self.bytes -= before - item.bytes();
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= ITEMS_MAX || self.bytes >= BYTES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The number of the calling thread's turn, if it is to serve the items from now on.
    pub(super) fn begin(&mut self) -> Option<u64> {
        let begins = self.turn == Turn::Free && !self.items.is_empty();
        begins.then(|| {
            let number = self.new_turn();
            self.turn = Turn::Serving(number);
            number
        })
    }

    /// Begins a turn that was asked for. False if another thread has taken over.
    pub(super) fn begin_asked(&mut self, number: u64) -> bool {
        let is_asked = self.turn == Turn::Asked(number);
        if is_asked {
            self.turn = Turn::Serving(number);
        }
        is_asked
    }

    /// What the thread with this turn does next. `may_call`: it may call a handler. `room`: how many items it may still
    /// serve.
    pub(super) fn next(
        &mut self,
        number: u64,
        may_call: bool,
        room: usize,
        callbacks: Option<&HandlerCallbacks>,
    ) -> Next<'_> {
        if self.turn != Turn::Serving(number) {
            return Next::Nothing;
        }
        let calls = match self.items.front() {
            None => {
                self.turn = Turn::Free;
                return Next::Nothing;
            }
            Some(first) => first.calls(callbacks),
        };
        if room == 0 || calls && !may_call {
            self.turn = Turn::Asked(number);
            return Next::AskAnother;
        }
        if calls {
            self.turn = Turn::Calling(number);
            return Next::Call(&self.items[0]);
        }
        let is_plain = |item: &&Item| !item.calls(callbacks);
        let count = self.items.iter().take(room).take_while(is_plain).count();
        Next::Give(match count == self.items.len() {
            true => std::mem::take(&mut self.items),
            false => self.items.drain(..count).collect(),
        })
    }

    /// The item that a handler was called for. `None` if another thread has taken over meanwhile.
    pub(super) fn called(&mut self, number: u64) -> Option<Item> {
        if self.turn != Turn::Calling(number) {
            return None;
        }
        self.turn = Turn::Serving(number);
        self.items.pop_front()
    }

    /// Takes the turn from a thread that calls a handler, or that was asked and has not begun. Returns the number of the
    /// turn that is asked for in its place.
    pub(super) fn take_over(&mut self) -> Option<u64> {
        let may = matches!(self.turn, Turn::Asked(_) | Turn::Calling(_));
        may.then(|| {
            let number = self.new_turn();
            self.turn = Turn::Asked(number);
            number
        })
    }

    fn new_turn(&mut self) -> u64 {
        self.last_turn += 1;
        self.last_turn
    }

    /// Counts items no more.
    pub(super) fn release(&mut self, count: usize, bytes: usize) {
        self.count -= count;
        self.bytes -= bytes;
    }
}

/// What may wait in one topic. Above, a publication is refused.
const ITEMS_MAX: usize = 16 * 1024;
const BYTES_MAX: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::node::callbacks::Envelope;
    use crate::sessions::prepared_message::PreparedMessage;
    use crate::ws::frame;

    fn with_envelope() -> HandlerCallbacks {
        let envelope: Box<Envelope> = Box::new(|_| None);
        HandlerCallbacks {
            envelope: Some(envelope),
            ..HandlerCallbacks::default()
        }
    }

    fn publication(offset: u64) -> Item {
        Item::Publication(Delivery {
            at: Some(StreamPosition { epoch: 1, offset }),
            except: 0,
            message: PreparedMessage::new(frame::TEXT, b"hi", false),
        })
    }

    fn offset_of(item: &Item) -> u64 {
        match item {
            Item::Publication(delivery) => delivery.at.map_or(0, |at| at.offset),
            _ => 0,
        }
    }

    /// What the thread with this turn does next, and for which items.
    fn next(
        queue: &mut Queue,
        turn: u64,
        may_call: bool,
        callbacks: &HandlerCallbacks,
    ) -> (&'static str, Vec<u64>) {
        match queue.next(turn, may_call, 10, Some(callbacks)) {
            Next::Nothing => ("nothing", Vec::new()),
            Next::Give(items) => ("give", items.iter().map(offset_of).collect()),
            Next::Call(item) => ("call", vec![offset_of(item)]),
            Next::AskAnother => ("ask", Vec::new()),
        }
    }

    #[test]
    fn one_thread_serves_and_a_publisher_leaves_calls_to_another() {
        let (mut queue, callbacks) = (Queue::default(), with_envelope());
        assert_eq!(queue.begin(), None);
        queue.push(Item::Gap);
        queue.push(publication(1));
        let turn = queue.begin().unwrap();
        assert_eq!(queue.begin(), None, "a thread serves");

        assert_eq!(next(&mut queue, turn, false, &callbacks), ("give", vec![0]));
        assert_eq!(next(&mut queue, turn, false, &callbacks), ("ask", vec![]));
        assert!(queue.begin_asked(turn));
        assert!(!queue.begin_asked(turn), "it has begun");
        assert_eq!(next(&mut queue, turn, true, &callbacks), ("call", vec![1]));
        assert_eq!(queue.called(turn).as_ref().map(offset_of), Some(1));
        assert_eq!(
            next(&mut queue, turn, true, &callbacks),
            ("nothing", vec![])
        );
        queue.push(publication(2));
        assert!(queue.begin().is_some());
    }

    #[test]
    fn the_rest_is_given_at_once_where_no_handler_is_called() {
        let (mut queue, callbacks) = (Queue::default(), HandlerCallbacks::default());
        (1..=3).for_each(|offset| queue.push(publication(offset)));
        let turn = queue.begin().unwrap();
        assert_eq!(
            next(&mut queue, turn, false, &callbacks),
            ("give", vec![1, 2, 3])
        );
        assert_eq!(
            next(&mut queue, turn, false, &callbacks),
            ("nothing", vec![])
        );
    }

    #[test]
    fn a_turn_in_a_call_is_taken_over_with_its_item_and_another_one_is_not() {
        let (mut queue, callbacks) = (Queue::default(), with_envelope());
        assert_eq!(queue.take_over(), None, "no thread serves");
        (1..=2).for_each(|offset| queue.push(publication(offset)));
        let stuck = queue.begin().unwrap();
        assert_eq!(queue.take_over(), None, "it goes on by itself");
        assert_eq!(next(&mut queue, stuck, true, &callbacks), ("call", vec![1]));

        let newer = queue.take_over().unwrap();
        let newest = queue.take_over().unwrap();
        assert!(!queue.begin_asked(newer) && queue.begin_asked(newest));
        assert_eq!(
            next(&mut queue, newest, true, &callbacks),
            ("call", vec![1])
        );

        // The call that was stuck returns at last.
        assert!(queue.called(stuck).is_none());
        assert_eq!(
            next(&mut queue, stuck, true, &callbacks),
            ("nothing", vec![])
        );
        assert_eq!(queue.called(newest).as_ref().map(offset_of), Some(1));
        assert_eq!(
            next(&mut queue, newest, true, &callbacks),
            ("call", vec![2])
        );
    }
}
