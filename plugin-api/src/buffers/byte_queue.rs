//! Memory in which small messages lie one behind the other, first in, first out.
//!
//! A session that rests keeps little of it; what a burst takes beyond that is shared by all sessions.

use crate::buffers::pool;

/// The bytes of messages; their lengths are the caller's.
#[derive(Debug, Default)]
pub(crate) struct ByteQueue {
    bytes: Vec<u8>,
    /// How much of `bytes` was taken already.
    taken: usize,
    /// What the session keeps, while a burst needs more.
    kept: Vec<u8>,
}

impl ByteQueue {
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < bytes.len() {
            self.grow(bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The oldest so many bytes.
    #[inline]
    pub(crate) fn front(&self, len: usize) -> &[u8] {
        &self.bytes[self.taken..][..len]
    }

    /// The oldest so many bytes are not wanted any more.
    #[inline]
    pub(crate) fn pop(&mut self, len: usize) {
        self.taken += len;
        if self.taken == self.bytes.len() {
            self.taken = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_BYTES {
                self.give_back();
            }
        }
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        let needed = self.bytes.len() + more;
        if needed > KEPT_BYTES && self.bytes.capacity() <= KEPT_BYTES {
            let mut room = pool::take_largest(needed);
            room.extend_from_slice(&self.bytes);
            self.kept = std::mem::replace(&mut self.bytes, room);
        }
        self.bytes.reserve(more);
    }

    #[cold]
    fn give_back(&mut self) {
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        pool::put(std::mem::replace(&mut self.bytes, kept));
    }
}

/// What a session that rests may keep.
const KEPT_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_they_went_in_and_a_burst_leaves_little() {
        let mut arena = ByteQueue::default();
        for count in [1, 3, 100, 2] {
            for number in 0..count {
                arena.push(&[number; 200]);
            }
            for number in 0..count {
                assert_eq!(arena.front(200), [number; 200]);
                arena.pop(200);
            }
            assert!(arena.bytes.capacity() <= KEPT_BYTES);
        }
    }

    #[test]
    fn one_that_is_never_empty_does_not_grow() {
        let mut arena = ByteQueue::default();
        arena.push(&[1; 100]);
        for _ in 0..10_000 {
            arena.push(&[1; 100]);
            arena.pop(100);
        }
        assert!(arena.bytes.capacity() <= KEPT_BYTES);
    }
}
