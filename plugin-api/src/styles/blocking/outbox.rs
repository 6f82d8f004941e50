//! The outbox of a blocking session: messages that its function has sent, until a callback queues them with the host.

use std::collections::VecDeque;

use crate::{
    buffers::{byte_queue::ByteQueue, message_queue::SMALL_BYTES, pool},
    message::payload::OwnedPayload,
};

/// Messages in the order of the calls. The sender bounds their number.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    messages: VecDeque<QueuedMessage>,
    small: ByteQueue,
    bytes: usize,
}

#[derive(Debug)]
enum QueuedMessage {
    Small { kind: u32, len: usize },
    Large { kind: u32, bytes: OwnedPayload },
}

impl Outbox {
    /// Puts in a copy of a message.
    pub(crate) fn push(&mut self, kind: u32, bytes: &[u8]) {
        if bytes.len() > SMALL_BYTES {
            let mut copy = pool::take(bytes.len());
            copy.extend_from_slice(bytes);
            return self.push_large(kind, OwnedPayload::Memory(copy));
        }
        self.bytes += bytes.len();
        self.small.push(bytes);
        let len = bytes.len();
        self.messages.push_back(QueuedMessage::Small { kind, len });
    }

    /// Puts in a message without a copy.
    pub(crate) fn push_large(&mut self, kind: u32, bytes: OwnedPayload) {
        self.bytes += bytes.len();
        self.messages
            .push_back(QueuedMessage::Large { kind, bytes });
    }

    /// The kind and the bytes of the oldest message.
    pub(crate) fn front(&self) -> Option<(u32, &[u8])> {
        Some(match self.messages.front()? {
            QueuedMessage::Small { kind, len } => (*kind, self.small.front(*len)),
            QueuedMessage::Large { kind, bytes } => (*kind, bytes),
        })
    }

    /// Removes the oldest message.
    pub(crate) fn pop(&mut self) {
        match self.messages.pop_front() {
            Some(QueuedMessage::Small { len, .. }) => {
                self.bytes -= len;
                self.small.pop(len);
            }
            Some(QueuedMessage::Large { bytes, .. }) => {
                self.bytes -= bytes.len();
                if let Some(memory) = bytes.into_memory() {
                    pool::put(memory);
                }
            }
            None => {}
        }
    }

    /// Removes every message.
    pub(crate) fn clear(&mut self) {
        *self = Outbox::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The bytes of all messages.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_messages_come_out_in_the_order_they_went_in() {
        let mut outbox = Outbox::default();
        let lengths = [0, 1, SMALL_BYTES, SMALL_BYTES + 1, 7, 100_000, 3];
        for _ in 0..3 {
            for (number, len) in lengths.iter().enumerate() {
                outbox.push(number as u32, &vec![number as u8; *len]);
            }
            assert_eq!(outbox.bytes(), lengths.iter().sum::<usize>());
            for (number, len) in lengths.iter().enumerate() {
                let expected = vec![number as u8; *len];
                assert_eq!(outbox.front(), Some((number as u32, &expected[..])));
                outbox.pop();
            }
            assert_eq!((outbox.front(), outbox.bytes(), outbox.len()), (None, 0, 0));
        }
    }
}
