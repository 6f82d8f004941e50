//! Compressors and decompressors that the sessions of one thread share, so that a session
//! without context takeover holds none between two messages.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress};

use super::deflation::Effort;

#[derive(Default)]
struct Pool {
    /// Boxed as the sessions hold them, so that taking one needs no allocation.
    #[expect(clippy::vec_box)]
    inflaters: Vec<Box<Decompress>>,
    deflaters: Vec<(Effort, Box<Compress>)>,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// A decompressor that has seen nothing.
pub(super) fn take_inflater() -> Box<Decompress> {
    let pooled = POOL.with_borrow_mut(|pool| pool.inflaters.pop());
    // It inflates what was compressed with any window, and takes no less memory for a smaller one.
    pooled.unwrap_or_else(|| Box::new(Decompress::new(false)))
}

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

pub(super) fn put_deflater(effort: Effort, mut deflater: Box<Compress>) {
    deflater.reset();
    POOL.with_borrow_mut(|pool| {
        // The effort that was used last is likely wanted next; others must not be kept out by it.
        if pool.deflaters.len() == KEPT {
            pool.deflaters.remove(0);
        }
        pool.deflaters.push((effort, deflater));
    });
}

/// A compressor of a session's own.
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

/// Of each kind a thread; a message uses one of each.
const KEPT: usize = 4;
