//! Messages on their way from a callback to a function that asks for them: a bounded queue.

use std::collections::VecDeque;

use crate::message::{Message, MessageBuf};
use crate::spares;

/// In order of arrival. When it is full the peer is not read, so it holds at most one message more
/// than its bounds.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    messages: VecDeque<MessageBuf>,
    bytes: usize,
    /// The memory of a message that was sent on, for the next one.
    spare: Vec<u8>,
    /// Whether the peer is held back until there is room again.
    is_full: bool,
}

impl Inbox {
    /// Takes a copy. True: it is full now, and the peer is to be held back.
    pub(crate) fn push(&mut self, message: Message<'_>) -> bool {
        let bytes = message.as_bytes().len();
        let memory = if bytes <= self.spare.capacity() {
            std::mem::take(&mut self.spare)
        } else {
            spares::take(bytes)
        };
        self.bytes += bytes;
        self.messages.push_back(copy(message, memory));
        let was_full = self.is_full;
        self.is_full |= self.messages.len() >= MESSAGES_MAX || self.bytes >= BYTES_MAX;
        self.is_full && !was_full
    }

    /// The oldest message. True: it was full and has room again.
    pub(crate) fn pop(&mut self) -> Option<(MessageBuf, bool)> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.as_bytes().len();
        let has_room = self.messages.len() <= MESSAGES_MAX / 2 && self.bytes <= BYTES_MAX / 2;
        let may_resume = self.is_full && has_room;
        self.is_full &= !may_resume;
        Some((message, may_resume))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Keeps memory for the next message. What is too much for a session that may rest now, others
    /// may have as well.
    pub(crate) fn recycle(&mut self, mut memory: Vec<u8>) {
        let has_none = self.spare.capacity() == 0;
        if has_none && memory.capacity() <= SPARE_BYTES_MAX {
            memory.clear();
            self.spare = memory;
        } else {
            spares::put(memory);
        }
    }
}

/// The message in `memory`, which is empty.
fn copy(message: Message<'_>, mut memory: Vec<u8>) -> MessageBuf {
    match message {
        Message::Text(text) => {
            let mut copy = String::from_utf8(memory).unwrap_or_default();
            copy.push_str(text);
            MessageBuf::Text(copy)
        }
        Message::Binary(bytes) => {
            memory.extend_from_slice(bytes);
            MessageBuf::Binary(memory)
        }
    }
}

/// How many messages may wait.
pub(crate) const MESSAGES_MAX: usize = 64;
/// How many bytes may wait; one message may be larger.
const BYTES_MAX: usize = 64 * 1024;
/// Memory that a session keeps for its next message.
const SPARE_BYTES_MAX: usize = 1024;

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
