//! A queue of messages, in the order in which they came. Small messages share one buffer.

use std::collections::VecDeque;

use crate::{
    buffers::{byte_queue::ByteQueue, pool},
    message::{Message, MessageBuf},
};

/// First in, first out. The owner of the queue bounds its length.
#[derive(Debug, Default)]
pub(crate) struct MessageQueue {
    order: VecDeque<Entry>,
    small: ByteQueue,
    /// The messages that have a buffer of their own.
    large: VecDeque<MessageBuf>,
    /// The bytes of all messages.
    bytes: usize,
}

/// Where one message lies.
#[derive(Clone, Copy, Debug)]
enum Entry {
    /// It is the next message of `large`.
    Large,
    /// It is text: the next so many bytes of `small`.
    Text(u16),
    /// It is binary: the next so many bytes of `small`.
    Binary(u16),
}

impl MessageQueue {
    /// Puts in a copy of a message. The copy takes the empty buffer `spare` if the message fits in it.
    #[inline]
    pub(crate) fn push(&mut self, message: Message<'_>, spare: &mut Vec<u8>) {
        let bytes = message.len();
        if spare.capacity() > 0 && bytes <= spare.capacity() {
            self.push_large(copy(message, std::mem::take(spare)));
        } else {
            self.push_small(message);
        }
    }

    /// Puts in a copy of a message: among the small ones if it is small, else in a buffer from the pool.
    #[inline]
    pub(crate) fn push_small(&mut self, message: Message<'_>) {
        let len = message.len();
        if len > SMALL_BYTES {
            return self.push_large(copy(message, pool::take(len)));
        }
        self.small.push(message.as_bytes());
        self.bytes += len;
        // A small message has at most `SMALL_BYTES`, far below 64 KiB.
        let len = len as u16;
        self.order.push_back(match message {
            Message::Text(_) => Entry::Text(len),
            Message::Binary(_) => Entry::Binary(len),
        });
    }

    #[inline(never)]
    fn push_large(&mut self, message: MessageBuf) {
        self.bytes += message.len();
        self.large.push_back(message);
        self.order.push_back(Entry::Large);
    }

    /// Takes out the oldest message. A small one takes the buffer `spare` if it fits in it.
    #[inline(always)]
    pub(crate) fn pop(&mut self, spare: &mut Vec<u8>) -> Option<MessageBuf> {
        match self.order.pop_front()? {
            Entry::Binary(len) => Some(MessageBuf::Binary(self.take_small(len, spare))),
            Entry::Text(len) => {
                let text = self.take_small(len, spare);
                // Only text is put in as text, so it is UTF-8.
                Some(MessageBuf::Text(
                    String::from_utf8(text).unwrap_or_default(),
                ))
            }
            Entry::Large => self.pop_large(),
        }
    }

    #[inline(never)]
    fn pop_large(&mut self) -> Option<MessageBuf> {
        let message = self.large.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }

    #[inline(always)]
    fn take_small(&mut self, len: u16, spare: &mut Vec<u8>) -> Vec<u8> {
        let len = usize::from(len);
        let mut memory = match spare.capacity() {
            capacity if capacity >= len => std::mem::take(spare),
            _ => pool::take(len),
        };
        memory.clear();
        memory.extend_from_slice(self.small.front(len));
        self.small.pop(len);
        self.bytes -= len;
        memory
    }

    /// Moves every message of `other` behind those of this queue.
    pub(crate) fn append(&mut self, other: &mut MessageQueue) {
        if self.is_empty() {
            return std::mem::swap(self, other);
        }
        let mut none = Vec::new();
        while let Some(message) = other.pop(&mut none) {
            self.push_large(message);
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The bytes of all messages.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A copy of a message in the empty buffer `memory`.
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

/// The longest small message: it costs less to copy twice than to keep in a buffer of its own.
pub(crate) const SMALL_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_all_sizes_come_out_as_they_went_in_also_behind_others() {
        let long = "x".repeat(SMALL_BYTES + 1);
        let texts = ["a", "", &long[1..], &long, "\u{e4}"];
        let (mut first, mut second, mut none) =
            (MessageQueue::default(), MessageQueue::default(), Vec::new());
        for _ in 0..3 {
            for text in texts {
                first.push_small(Message::Text(text));
                second.push(Message::Binary(text.as_bytes()), &mut none);
            }
            let mut all = MessageQueue::default();
            all.append(&mut first);
            all.append(&mut second);
            assert!(first.is_empty() && second.is_empty());
            let bytes: usize = texts.iter().map(|text| text.len()).sum();
            assert_eq!((all.len(), all.bytes()), (10, 2 * bytes));

            for text in texts {
                assert_eq!(all.pop(&mut none).unwrap(), text);
            }
            for text in texts {
                let binary = MessageBuf::Binary(text.into());
                assert_eq!(all.pop(&mut none), Some(binary));
            }
            assert_eq!((all.pop(&mut none), all.bytes()), (None, 0));
        }
    }
}
