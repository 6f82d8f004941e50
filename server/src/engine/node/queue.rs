//! What one topic has for its subscribers, in the order in which it goes to them.

use std::collections::VecDeque;

use super::OnJoined;
use super::callbacks::HandlerCallbacks;
use super::joins::Ready;
use crate::engine::{Failure, PresenceChange, StreamPosition};
use crate::sessions::prepared_message::PreparedMessage;
use std::sync::Arc;

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

/// The items of a topic that wait. At most one thread at a time takes items, so that their order stays.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    /// How much all have, also those that were taken and are not performed.
    count: usize,
    bytes: usize,
    is_taken: bool,
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

    pub(super) fn is_full(&self) -> bool {
        self.count >= ITEMS_MAX || self.bytes >= BYTES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the calling thread is to take the items from now on, until [`take`](Self::take) finds none.
    pub(super) fn begin(&mut self) -> bool {
        let begins = !self.is_taken && !self.items.is_empty();
        self.is_taken |= begins;
        begins
    }

    /// Takes all items. False if there are none; then the thread takes no more.
    pub(super) fn take(&mut self, batch: &mut VecDeque<Item>) -> bool {
        std::mem::swap(&mut self.items, batch);
        self.is_taken = !batch.is_empty();
        self.is_taken
    }

    /// Puts back what was taken and not performed. Another thread goes on with it.
    pub(super) fn put_back(&mut self, batch: &mut VecDeque<Item>) {
        batch.append(&mut self.items);
        std::mem::swap(&mut self.items, batch);
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
