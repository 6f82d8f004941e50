//! A queue of bytes: small messages lie one behind the other in one buffer, first in, first out.
//!
//! An idle session keeps at most [`KEPT_BYTES`] of it. What a burst needs beyond that comes from the pool and goes back.

use crate::buffers::pool;

/// The bytes of messages. The caller knows their lengths.
#[derive(Debug, Default)]
pub(crate) struct ByteQueue {
    bytes: Vec<u8>,
    /// How many bytes at the front of `bytes` are popped already.
    taken: usize,
    /// The session's own buffer, while a burst uses a larger one from the pool.
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

    /// The oldest `len` bytes.
    #[inline]
    pub(crate) fn front(&self, len: usize) -> &[u8] {
        &self.bytes[self.taken..][..len]
    }

    /// Removes the oldest `len` bytes.
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

    /// Makes room for `more` bytes behind those that are there.
    #[cold]
    fn grow(&mut self, more: usize) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        let needed = self.bytes.len() + more;
        if needed > KEPT_BYTES && self.bytes.capacity() <= KEPT_BYTES {
            let mut larger = pool::take_largest(needed);
            larger.extend_from_slice(&self.bytes);
            self.kept = std::mem::replace(&mut self.bytes, larger);
        }
        self.bytes.reserve(more);
    }

    /// Returns the buffer of a burst to the pool.
    #[cold]
    fn give_back(&mut self) {
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        pool::put(std::mem::replace(&mut self.bytes, kept));
    }
}

/// The largest buffer that an idle session keeps.
const KEPT_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_they_went_in_and_a_burst_leaves_little() {
        let mut queue = ByteQueue::default();
        for count in [1, 3, 100, 2] {
            for number in 0..count {
                queue.push(&[number; 200]);
            }
            for number in 0..count {
                assert_eq!(queue.front(200), [number; 200]);
                queue.pop(200);
            }
            assert!(queue.bytes.capacity() <= KEPT_BYTES);
        }
    }

    #[test]
    fn a_queue_that_is_never_empty_does_not_grow() {
        let mut queue = ByteQueue::default();
        queue.push(&[1; 100]);
        for _ in 0..10_000 {
            queue.push(&[1; 100]);
            queue.pop(100);
        }
        assert!(queue.bytes.capacity() <= KEPT_BYTES);
    }
}
