//! Buffers for one message each, given back to a pool when they are dropped.
//!
//! Memory fresh from the operating system costs a page fault for every 4 KiB of it, as much as all
//! the rest of what a large message costs. So each thread keeps a few buffers, and all threads
//! together a few large ones: a large message often begins on one thread and ends on another.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

/// A vector of bytes. Its drop empties it and gives its memory to a pool.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// An empty buffer, with the capacity of one that this thread has used before.
    pub(crate) fn small() -> Buffer {
        Buffer(take_small().unwrap_or_default())
    }

    /// An empty buffer, with at least 64 KiB of capacity if any pool has such a one.
    pub(crate) fn large() -> Buffer {
        let pooled = LARGE.try_lock().ok().and_then(|mut pool| pool.pop());
        Buffer(pooled.or_else(take_small).unwrap_or_default())
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Buffer {
        Buffer(bytes)
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        if self.0.capacity() != 0 {
            give_back(std::mem::take(&mut self.0));
        }
    }
}

/// Moves bytes that are about to outgrow their memory into a large buffer that nothing uses, and that has room for more, but
/// for no more than `bytes_max` in all. False where there is none: then they are left as they are.
pub(crate) fn grow(bytes: &mut Vec<u8>, bytes_max: usize) -> bool {
    if bytes.capacity() < LARGE_BYTES_LEAST {
        return false;
    }
    let has_room = |it: &Vec<u8>| it.capacity() > bytes.capacity() && it.capacity() <= bytes_max;
    let larger = LARGE.try_lock().ok().and_then(|mut pool| {
        let newest = pool.iter().rposition(has_room)?;
        Some(pool.remove(newest))
    });
    let Some(mut larger) = larger else {
        return false;
    };
    larger.extend_from_slice(bytes);
    give_back(std::mem::replace(bytes, larger));
    true
}

/// Frees the buffers that the calling thread keeps.
pub(crate) fn forget_small() {
    drop(SMALL.take());
}

/// Frees the buffers that all threads share.
pub(crate) fn forget_large() {
    let Ok(mut pool) = LARGE.lock() else {
        return; // Pushing and popping do not panic.
    };
    let buffers = std::mem::take(&mut *pool);
    drop(pool);
    drop(buffers);
}

fn take_small() -> Option<Vec<u8>> {
    SMALL.with_borrow_mut(Vec::pop)
}

/// A buffer that one message made huge is in no pool: it is freed.
fn give_back(mut bytes: Vec<u8>) {
    bytes.clear();
    let is_small = bytes.capacity() <= SMALL_BYTES_MAX;
    let rest = if is_small {
        keep_small(bytes)
    } else {
        Some(bytes)
    };
    if let Some(bytes) = rest
        && (LARGE_BYTES_LEAST..=LARGE_BYTES_MAX).contains(&bytes.capacity())
        && let Ok(mut pool) = LARGE.try_lock()
        && pool.len() < LARGE_KEPT
    {
        pool.push(bytes);
    }
}

/// Answers the buffer if this thread keeps enough of them already, or is about to end.
fn keep_small(bytes: Vec<u8>) -> Option<Vec<u8>> {
    let mut rest = Some(bytes);
    let _ = SMALL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < SMALL_KEPT {
            pool.extend(rest.take());
        }
    });
    rest
}

thread_local! {
    /// The small buffers that nothing uses. Per thread, so that taking one takes no lock.
    static SMALL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// The large buffers that nothing uses. Global, because a drop gives a buffer back wherever it happens.
///
/// The buffer given back last is taken first: it is still in a cache. No thread waits for the lock;
/// one that finds it taken goes on without the pool.
static LARGE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A thread keeps this many; a message uses two at a time.
const SMALL_KEPT: usize = 4;
const SMALL_BYTES_MAX: usize = 256 * 1024;
/// All threads share this many: with [`LARGE_BYTES_MAX`], 16 MiB in all.
const LARGE_KEPT: usize = 8;
const LARGE_BYTES_LEAST: usize = 64 * 1024;
const LARGE_BYTES_MAX: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The address of a buffer tells whether its memory is used again.
    fn address(buffer: &Buffer) -> usize {
        buffer.as_ptr() as usize
    }

    #[test]
    fn a_dropped_buffer_is_the_next_one_of_its_thread_and_is_empty() {
        forget_small();
        let mut first = Buffer::small();
        first.extend_from_slice(b"secret");
        let of_first = address(&first);
        drop(first);

        let next = Buffer::small();

        assert_eq!(address(&next), of_first);
        assert_eq!(next.len(), 0);
    }

    #[test]
    fn a_thread_keeps_four_buffers_and_none_that_a_message_made_huge() {
        forget_small();
        let kept = || SMALL.with_borrow(Vec::len);
        drop(Buffer::default());
        assert_eq!(kept(), 0, "it has no memory");

        drop([(); 6].map(|()| Buffer::from(vec![0; 100])));
        assert_eq!(kept(), SMALL_KEPT);

        forget_small();
        drop(Buffer::from(vec![0; LARGE_BYTES_MAX + 1]));
        assert_eq!(kept(), 0);
        assert!(Buffer::small().capacity() == 0);
    }

    #[test]
    fn what_outgrows_its_memory_moves_into_a_large_buffer_that_nothing_uses() {
        let mut short = vec![7; 10];
        assert!(
            !grow(&mut short, LARGE_BYTES_MAX),
            "small ones grow by themselves"
        );

        // Other tests use the large ones, too.
        let mut bytes = vec![7; LARGE_BYTES_LEAST];
        let has_moved = (0..10_000).any(|_| {
            drop(Buffer::from(Vec::with_capacity(LARGE_BYTES_MAX)));
            grow(&mut bytes, LARGE_BYTES_MAX)
        });
        assert!(has_moved);
        assert_eq!(bytes, [7; LARGE_BYTES_LEAST]);
        assert!(bytes.capacity() > LARGE_BYTES_LEAST);
    }
}
