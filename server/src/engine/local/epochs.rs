//! Random numbers for the epochs of streams.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Gives epochs. No two are equal, also after a restart, but for one chance in 2^64 of each pair.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    /// SipHash with a random key.
    random: RandomState,
    given: AtomicU64,
}

impl Epochs {
    pub(super) fn next(&self) -> u64 {
        self.random
            .hash_one(self.given.fetch_add(1, Ordering::Relaxed))
    }
}
