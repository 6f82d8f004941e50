//! The buffer pool that all sessions of a plugin share: buffers of messages that were sent, for messages to come.
//!
//! A session keeps a [`SpareBuffer`] for one small message itself. What is larger, or more, goes to the pool.

use std::sync::{Mutex, PoisonError, TryLockError};

/// An empty buffer for a message of `bytes` bytes: from the pool, or newly allocated.
pub(crate) fn take(bytes: usize) -> Vec<u8> {
    // At most four times what is needed: a message that waits for long must not hold a multiple of itself.
    let fits = 1..=bytes.max(BYTES_LEAST).saturating_mul(4);
    let fits = |memory: &Vec<u8>| memory.capacity() >= bytes && fits.contains(&memory.capacity());
    let taken = with_kept(|kept| {
        let index = kept.iter().rposition(fits)?;
        Some(kept.swap_remove(index))
    });
    taken.flatten().unwrap_or_else(|| Vec::with_capacity(bytes))
}

/// An empty buffer for many small messages, which have `bytes` bytes to begin with: the largest of the pool if the
/// messages fit in it, else a newly allocated one of twice their size.
pub(crate) fn take_largest(bytes: usize) -> Vec<u8> {
    let taken = with_kept(|kept| {
        let capacities = kept.iter().map(Vec::capacity).enumerate();
        let (index, capacity) = capacities.max_by_key(|(_, capacity)| *capacity)?;
        (capacity >= bytes).then(|| kept.swap_remove(index))
    });
    taken
        .flatten()
        .unwrap_or_else(|| Vec::with_capacity(2 * bytes))
}

/// Gives a buffer to the pool, which keeps it unless it is larger than [`BYTES_MAX`].
pub(crate) fn put(mut memory: Vec<u8>) {
    if (1..=BYTES_MAX).contains(&memory.capacity()) {
        memory.clear();
        with_kept(|kept| {
            if kept.len() == COUNT_MAX {
                // The buffer that lies here longest has a size that no message asks for.
                kept.remove(0);
            }
            kept.push(memory);
        });
    }
}

/// The buffer that one session keeps for its next message. Several functions of a session may use it in turn; a buffer
/// that comes while another thread uses this one goes to the pool.
#[derive(Debug, Default)]
pub(crate) struct SpareBuffer(Mutex<Vec<u8>>);

impl SpareBuffer {
    /// Keeps a buffer, in the place of the one that is here.
    #[inline]
    pub(crate) fn put(&self, memory: Vec<u8>) {
        match self.0.try_lock() {
            Ok(mut kept) => *kept = memory,
            Err(_) => put(memory),
        }
    }

    /// Takes the buffer out, or an empty one if another thread uses it.
    pub(crate) fn get(&self) -> Vec<u8> {
        self.0
            .try_lock()
            .map(|mut kept| std::mem::take(&mut *kept))
            .unwrap_or_default()
    }

    /// Takes the buffer out, without a lock.
    #[inline]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.get_mut())
    }

    /// The buffer, without a lock.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut Vec<u8> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs something on the pool; `None` while another thread uses it. No thread waits for the pool.
fn with_kept<T>(run: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> Option<T> {
    let mut kept = match KEPT.try_lock() {
        Ok(kept) => kept,
        Err(TryLockError::Poisoned(kept)) => kept.into_inner(),
        Err(TryLockError::WouldBlock) => return None,
    };
    Some(run(&mut kept))
}

// One pool for the plugin and not one for each thread: a thread may end before its buffers come back.
static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// How many buffers the pool keeps. With [`BYTES_MAX`] that is at most 4 MiB, and next to nothing where messages are
/// small.
const COUNT_MAX: usize = 64;
/// The largest buffer that the pool keeps.
const BYTES_MAX: usize = 64 * 1024;
/// A message that is shorter than this takes any buffer that would do for this length.
const BYTES_LEAST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_for_a_message_about_as_long() {
        // Other tests may use the pool at the same time.
        let is_back = (0..1_000).any(|_| {
            let memory = Vec::with_capacity(5_003);
            let place = memory.as_ptr();
            put(memory);
            let short = take(1_000);
            let other = take(4_000);
            short.as_ptr() != place && other.as_ptr() == place
        });
        assert!(is_back);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        for bytes in [1, 100, 2 * BYTES_MAX] {
            for _ in 0..2 * COUNT_MAX {
                put(Vec::with_capacity(bytes));
            }
        }
        with_kept(|kept| {
            assert!(kept.len() <= COUNT_MAX);
            assert!(kept.iter().all(|memory| memory.capacity() <= BYTES_MAX));
        });
    }
}
