//! Compressors and decompressors that the sessions of one thread share, so that a session without
//! context takeover keeps none between two messages.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress};

use super::deflation::Effort;

#[derive(Default)]
struct Pool {
    /// In boxes, as sessions keep them, so that taking one needs no allocation.
    #[expect(clippy::vec_box)]
    inflaters: Vec<Box<Decompress>>,
    deflaters: Vec<(Effort, Box<Compress>)>,
}

thread_local! {
    /// Per thread, so that a message is compressed without a lock.
    static POOL: RefCell<Pool> = RefCell::default();
}

/// A decompressor that has seen nothing.
pub(super) fn take_inflater() -> Box<Decompress> {
    let pooled = POOL.with_borrow_mut(|pool| pool.inflaters.pop());
    // It inflates what was compressed with any window. A smaller window would save no memory.
    pooled.unwrap_or_else(|| Box::new(Decompress::new(false)))
}

/// Gives a decompressor back to the thread.
pub(super) fn put_inflater(mut inflater: Box<Decompress>) {
    inflater.reset(false);
    POOL.with_borrow_mut(|pool| keep(&mut pool.inflaters, inflater));
}

/// A compressor that has seen nothing.
pub(super) fn take_deflater(effort: Effort) -> Box<Compress> {
    let pooled = POOL.with_borrow_mut(|pool| {
        let mut found = pool.deflaters.iter();
        let index = found.position(|(theirs, _)| *theirs == effort)?;
        Some(pool.deflaters.swap_remove(index).1)
    });
    pooled.unwrap_or_else(|| new_deflater(effort))
}

/// Gives a compressor back to the thread.
pub(super) fn put_deflater(effort: Effort, mut deflater: Box<Compress>) {
    deflater.reset();
    POOL.with_borrow_mut(|pool| {
        // The oldest goes: the effort that was used last is likely wanted next.
        if pool.deflaters.len() == KEPT {
            pool.deflaters.remove(0);
        }
        pool.deflaters.push((effort, deflater));
    });
}

/// A new compressor, for a session of its own or for the pool.
pub(super) fn new_deflater(effort: Effort) -> Box<Compress> {
    let level = Compression::new(effort.level.into());
    Box::new(Compress::new_with_window_bits(
        level,
        false,
        effort.window_bits,
    ))
}

/// Frees what the calling thread keeps.
pub(crate) fn forget() {
    drop(POOL.take());
}

fn keep<T>(pool: &mut Vec<T>, item: T) {
    if pool.len() < KEPT {
        pool.push(item);
    }
}

/// A thread keeps so many of each kind. A message uses one of each.
const KEPT: usize = 4;
