//! The inbox of a function: a bounded queue of messages from the callbacks.

use std::collections::VecDeque;

use crate::buffers::message_queue::{MessageQueue, SMALL_BYTES};
use crate::buffers::pool;
use crate::message::part::{PartBuf, PartPosition};
use crate::message::{Message, MessageBuf};

/// Messages in order of arrival. When the inbox is full the peer is held back, so it holds at most one batch more than its
/// bounds.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queue: MessageQueue,
    /// The buffer of a message that was sent, for the next message.
    spare: Vec<u8>,
    /// The peer is held back until the inbox is half empty.
    is_full: bool,
    /// Present once a part has come.
    parts: Option<Box<Parts>>,
}

/// What is known of messages that come in parts.
#[derive(Debug, Default)]
struct Parts {
    /// For each part that waits, whether it is the last of its message.
    are_last: VecDeque<bool>,
    /// The part that was taken last was not the last of its message.
    is_inside: bool,
    /// The parts that were taken of a message that is wanted whole.
    gathered: Option<MessageBuf>,
}

/// How far the assembly of a message has come that is wanted whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Assembled {
    /// The message is complete.
    Message(MessageBuf),
    /// Parts are missing.
    Incomplete,
    /// The message is longer than [`WHOLE_BYTES_MAX`], and is dropped.
    TooLong,
}

impl Inbox {
    /// Puts in a copy of a message. True: the inbox is full now, and the peer is to be held back.
    pub(crate) fn push(&mut self, message: Message<'_>) -> bool {
        self.queue.push(message, &mut self.spare);
        self.note_length()
    }

    /// Moves all messages of `batch` in, and a copy of the message that follows them. True: the inbox is full now.
    pub(crate) fn push_batch(&mut self, batch: &mut MessageQueue, message: Message<'_>) -> bool {
        batch.push_small(message);
        self.queue.append(batch);
        self.note_length()
    }

    /// Moves all messages of `batch` in.
    pub(crate) fn append(&mut self, batch: &mut MessageQueue) {
        self.queue.append(batch);
    }

    /// Moves all messages to `others`, and a buffer for one of them to `spare`; `None` if there is no message. For inboxes
    /// of whole messages only. True: the inbox was full, and the peer's messages may be let in again.
    pub(crate) fn take_all(
        &mut self,
        others: &mut MessageQueue,
        spare: &mut Vec<u8>,
    ) -> Option<((), bool)> {
        if self.queue.is_empty() {
            return None;
        }
        others.append(&mut self.queue);
        std::mem::swap(&mut self.spare, spare);
        Some(((), self.may_resume()))
    }

    fn note_length(&mut self) -> bool {
        let was_full = self.is_full;
        self.is_full |= self.queue.len() >= MESSAGES_MAX || self.queue.bytes() >= BYTES_MAX;
        self.is_full && !was_full
    }

    /// Puts in a copy of a part of a message. True: the inbox is full now.
    pub(crate) fn push_part(&mut self, message: Message<'_>, is_last: bool) -> bool {
        let parts = self.parts.get_or_insert_default();
        parts.are_last.push_back(is_last);
        self.push(message)
    }

    /// Takes out the oldest part, or the oldest message where messages come whole. True: the inbox was full, and the
    /// peer's messages may be let in again.
    pub(crate) fn pop_part(&mut self) -> Option<(PartBuf, bool)> {
        let (message, may_resume) = self.pop()?;
        let position = match &mut self.parts {
            None => PartPosition::WHOLE,
            Some(parts) => {
                let is_last = parts.are_last.pop_front().unwrap_or(true);
                let is_first = !std::mem::replace(&mut parts.is_inside, !is_last);
                PartPosition { is_first, is_last }
            }
        };
        Some((PartBuf::new(message, position), may_resume))
    }

    /// Takes out the oldest message, or the next of its parts; `None` if nothing waits. Parts that were taken are kept until
    /// the message is complete. True: the inbox was full, and the peer's messages may be let in again.
    pub(crate) fn pop_whole(&mut self) -> Option<(Assembled, bool)> {
        let (part, may_resume) = self.pop_part()?;
        let is_last = part.is_last();
        let gathered = self.parts.as_mut().and_then(|parts| parts.gathered.take());
        let message = match gathered {
            None => part.into_message(),
            Some(before) => {
                let whole = joined(before, part.as_bytes());
                self.recycle(part.into_message().into_bytes());
                whole
            }
        };
        let whole = match &mut self.parts {
            Some(_) if message.len() > WHOLE_BYTES_MAX => Assembled::TooLong,
            Some(parts) if !is_last => {
                parts.gathered = Some(message);
                Assembled::Incomplete
            }
            _ => Assembled::Message(message),
        };
        Some((whole, may_resume))
    }

    /// Takes out the oldest entry. True: the inbox was full, and the peer's messages may be let in again.
    pub(crate) fn pop(&mut self) -> Option<(MessageBuf, bool)> {
        let message = self.queue.pop(&mut self.spare)?;
        Some((message, self.may_resume()))
    }

    fn may_resume(&mut self) -> bool {
        let has_room = self.queue.len() <= MESSAGES_MAX / 2 && self.queue.bytes() <= BYTES_MAX / 2;
        let may_resume = self.is_full && has_room;
        self.is_full &= !may_resume;
        may_resume
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Keeps a buffer for the next message, if it is small and there is none yet. Another buffer goes to the pool.
    pub(crate) fn recycle(&mut self, mut memory: Vec<u8>) {
        let has_none = self.spare.capacity() == 0;
        if has_none && memory.capacity() <= SPARE_BYTES_MAX {
            memory.clear();
            self.spare = memory;
        } else {
            pool::put(memory);
        }
    }
}

/// A message with its next part appended.
fn joined(message: MessageBuf, part: &[u8]) -> MessageBuf {
    match message {
        MessageBuf::Text(mut text) => {
            // A part of text is whole characters.
            text.push_str(&String::from_utf8_lossy(part));
            MessageBuf::Text(text)
        }
        MessageBuf::Binary(mut bytes) => {
            bytes.extend_from_slice(part);
            MessageBuf::Binary(bytes)
        }
    }
}

/// How many messages may wait before the inbox is full.
pub(crate) const MESSAGES_MAX: usize = 64;
/// How many bytes may wait before the inbox is full. One message may be larger.
pub(crate) const BYTES_MAX: usize = 64 * 1024;
/// The longest message that is assembled of its parts.
pub(crate) const WHOLE_BYTES_MAX: usize = 1024 * 1024;
/// The largest buffer that a session keeps for its next message.
pub(crate) const SPARE_BYTES_MAX: usize = SMALL_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_in_the_order_they_went_in() {
        let mut inbox = Inbox::default();

        inbox.push(Message::Text("a"));
        inbox.push(Message::Binary(b"b"));

        assert_eq!(inbox.pop(), Some((MessageBuf::Text("a".into()), false)));
        assert_eq!(inbox.pop(), Some((MessageBuf::Binary("b".into()), false)));
        assert_eq!(inbox.pop(), None);
    }

    #[test]
    fn a_full_inbox_says_so_once_and_has_room_again_at_half() {
        let mut inbox = Inbox::default();

        let full: Vec<_> = (0..=MESSAGES_MAX)
            .filter(|_| inbox.push(Message::Text("m")))
            .collect();
        let resumed: Vec<_> = std::iter::from_fn(|| inbox.pop())
            .enumerate()
            .filter(|(_, (_, may_resume))| *may_resume)
            .map(|(index, _)| index)
            .collect();

        assert_eq!(full, [MESSAGES_MAX - 1]);
        assert_eq!(resumed, [MESSAGES_MAX / 2]);
    }

    #[test]
    fn one_message_of_any_size_fits_and_fills_it() {
        let mut inbox = Inbox::default();

        assert!(inbox.push(Message::Binary(&[0; BYTES_MAX + 1])));
        assert!(matches!(inbox.pop(), Some((_, true))));
    }

    #[test]
    fn the_memory_of_a_message_that_was_sent_on_holds_the_next_one() {
        let mut inbox = Inbox::default();
        let memory = Vec::with_capacity(100);
        let place = memory.as_ptr();

        inbox.recycle(memory);
        inbox.push(Message::Text("again"));

        let (message, _) = inbox.pop().unwrap();
        assert_eq!(message, "again");
        assert_eq!(message.as_bytes().as_ptr(), place);
    }
}
