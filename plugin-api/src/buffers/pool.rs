//! Memory of messages that were sent on, for those to come: what all sessions of a plugin share.
//!
//! A session keeps room for one small message itself; what is larger, or more, is kept here.

use std::sync::{Mutex, PoisonError, TryLockError};

/// Memory for a message of so many bytes; none at hand is an allocation.
pub(crate) fn take(bytes: usize) -> Vec<u8> {
    // Not much more than is needed: a message that waits for long must not hold a multiple of itself.
    let fits = 1..=bytes.max(BYTES_LEAST).saturating_mul(4);
    let fits = |memory: &Vec<u8>| memory.capacity() >= bytes && fits.contains(&memory.capacity());
    let taken = with_kept(|kept| {
        let index = kept.iter().rposition(fits)?;
        Some(kept.swap_remove(index))
    });
    taken.flatten().unwrap_or_else(|| Vec::with_capacity(bytes))
}

/// Memory for many small messages, of so many bytes to begin with: the largest that is kept, if that is
/// enough.
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

/// Keeps memory, if it is not too much.
pub(crate) fn put(mut memory: Vec<u8>) {
    if (1..=BYTES_MAX).contains(&memory.capacity()) {
        memory.clear();
        with_kept(|kept| {
            if kept.len() == COUNT_MAX {
                // What lies here longest is of a size that nobody wants.
                kept.remove(0);
            }
            kept.push(memory);
        });
    }
}

/// Memory of one session, for its next message. Shared, so that several functions of a session can send
/// in turn; what finds it taken goes to the others.
#[derive(Debug, Default)]
pub(crate) struct SpareBuffer(Mutex<Vec<u8>>);

impl SpareBuffer {
    /// Keeps memory in the place of what is here.
    #[inline]
    pub(crate) fn put(&self, memory: Vec<u8>) {
        match self.0.try_lock() {
            Ok(mut kept) => *kept = memory,
            Err(_) => put(memory),
        }
    }

    /// What is here, or none.
    pub(crate) fn get(&self) -> Vec<u8> {
        self.0
            .try_lock()
            .map(|mut kept| std::mem::take(&mut *kept))
            .unwrap_or_default()
    }

    /// As [`get`](Self::get), without a lock.
    #[inline]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.get_mut())
    }

    /// What is here, without a lock.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut Vec<u8> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody waits for it: while another thread is in here, one does without.
fn with_kept<T>(run: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> Option<T> {
    let mut kept = match KEPT.try_lock() {
        Ok(kept) => kept,
        Err(TryLockError::Poisoned(kept)) => kept.into_inner(),
        Err(TryLockError::WouldBlock) => return None,
    };
    Some(run(&mut kept))
}

// For the plugin and not for the thread, which may go before its memory comes back.
static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// How much is kept: at most 4 MiB, and in a plugin of small messages next to nothing.
const COUNT_MAX: usize = 64;
const BYTES_MAX: usize = 64 * 1024;
/// Small messages need not fit so closely.
const BYTES_LEAST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_for_a_message_about_as_long() {
        // Other tests may be in here at the same time.
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
