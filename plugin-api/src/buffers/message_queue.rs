//! Messages in the order in which they came, small ones in one memory.

use std::collections::VecDeque;

use crate::{
    buffers::{byte_queue::ByteQueue, pool},
    message::{Message, MessageBuf},
};

/// First in, first out. Its holder sees to it that they are not too many.
#[derive(Debug, Default)]
pub(crate) struct MessageQueue {
    order: VecDeque<Entry>,
    small: ByteQueue,
    /// Those in memory of their own.
    apart: VecDeque<MessageBuf>,
    bytes: usize,
}

/// Where the next message lies.
#[derive(Clone, Copy, Debug)]
enum Entry {
    /// Next in `apart`.
    Apart,
    /// The next so many bytes of the arena.
    Text(u16),
    Binary(u16),
}

impl MessageQueue {
    /// Takes a copy, in `spare`, which is empty, if that is large enough.
    #[inline]
    pub(crate) fn push(&mut self, message: Message<'_>, spare: &mut Vec<u8>) {
        let bytes = message.len();
        if spare.capacity() > 0 && bytes <= spare.capacity() {
            self.push_apart(copy(message, std::mem::take(spare)));
        } else {
            self.push_small(message);
        }
    }

    /// Takes a copy, beside the others if it is small.
    #[inline]
    pub(crate) fn push_small(&mut self, message: Message<'_>) {
        let len = message.len();
        if len > SMALL_BYTES {
            return self.push_apart(copy(message, pool::take(len)));
        }
        self.small.push(message.as_bytes());
        self.bytes += len;
        // Small messages are far below 64 KiB.
        let len = len as u16;
        self.order.push_back(match message {
            Message::Text(_) => Entry::Text(len),
            Message::Binary(_) => Entry::Binary(len),
        });
    }

    #[inline(never)]
    fn push_apart(&mut self, message: MessageBuf) {
        self.bytes += message.len();
        self.apart.push_back(message);
        self.order.push_back(Entry::Apart);
    }

    /// The oldest; a small one in `spare` if that is large enough.
    #[inline(always)]
    pub(crate) fn pop(&mut self, spare: &mut Vec<u8>) -> Option<MessageBuf> {
        match self.order.pop_front()? {
            Entry::Binary(len) => Some(MessageBuf::Binary(self.take_small(len, spare))),
            Entry::Text(len) => {
                let text = self.take_small(len, spare);
                // It came as text.
                Some(MessageBuf::Text(
                    String::from_utf8(text).unwrap_or_default(),
                ))
            }
            Entry::Apart => self.pop_apart(),
        }
    }

    #[inline(never)]
    fn pop_apart(&mut self) -> Option<MessageBuf> {
        let message = self.apart.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }

    #[inline(always)]
    fn take_small(&mut self, len: u16, spare: &mut Vec<u8>) -> Vec<u8> {
        let len = usize::from(len);
        let mut memory = match spare.capacity() {
            room if room >= len => std::mem::take(spare),
            _ => pool::take(len),
        };
        memory.clear();
        memory.extend_from_slice(self.small.front(len));
        self.small.pop(len);
        self.bytes -= len;
        memory
    }

    /// Puts all of `other` behind what is here.
    pub(crate) fn append(&mut self, other: &mut MessageQueue) {
        if self.is_empty() {
            return std::mem::swap(self, other);
        }
        let mut none = Vec::new();
        while let Some(message) = other.pop(&mut none) {
            self.push_apart(message);
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

/// A message that is worth a second copy rather than memory of its own.
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
