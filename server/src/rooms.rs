//! Large buffers that all connections share, for what no thread's scratch buffer holds.
//!
//! Memory fresh from the operating system costs a page fault for every 4 KiB of it, as much as all
//! the rest of what a large message costs. A message begins on one thread and ends on another,
//! so the buffers belong to none.

use std::sync::LazyLock;

use crossbeam_queue::ArrayQueue;

/// Buffers that nobody uses.
static ROOMS: LazyLock<ArrayQueue<Vec<u8>>> = LazyLock::new(|| ArrayQueue::new(ROOMS_KEPT));

/// An empty buffer, large if one was put back.
pub(crate) fn take() -> Vec<u8> {
    ROOMS.pop().unwrap_or_default()
}

/// Gives a buffer back; a small one is not worth it, and one that a message made huge is not kept.
pub(crate) fn put_back(mut room: Vec<u8>) {
    if (BYTES_LEAST..=BYTES_KEPT).contains(&room.capacity()) {
        room.clear();
        // Full: there are enough.
        let _ = ROOMS.push(room);
    }
}

/// Together with the next, what the process keeps at most: 16 MiB.
const ROOMS_KEPT: usize = 8;
const BYTES_KEPT: usize = 2 * 1024 * 1024;
/// What a buffer has at least to be one of these.
pub(crate) const BYTES_LEAST: usize = 64 * 1024;
