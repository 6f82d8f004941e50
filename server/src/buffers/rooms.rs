//! Large buffers that all connections share, for what no thread's scratch buffer holds.
//!
//! Memory fresh from the operating system costs a page fault for every 4 KiB of it, as much as all
//! the rest of what a large message costs. A message begins on one thread and ends on another,
//! so the buffers belong to none.

use std::sync::Mutex;

/// Buffers that nobody uses. The one put back last goes out first: it is still in a cache. Nobody
/// waits for the lock: who finds it taken does without.
static ROOMS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// An empty buffer, large if one was put back.
pub(crate) fn take() -> Vec<u8> {
    let room = ROOMS.try_lock().ok().and_then(|mut rooms| rooms.pop());
    room.unwrap_or_default()
}

/// Gives a buffer back; a small one is not worth it, and one that a message made huge is not kept.
pub(crate) fn put_back(mut room: Vec<u8>) {
    if (BYTES_LEAST..=BYTES_KEPT).contains(&room.capacity()) {
        room.clear();
        if let Ok(mut rooms) = ROOMS.try_lock()
            && rooms.len() < ROOMS_KEPT
        {
            rooms.push(room);
        }
    }
}

/// Frees the buffers that are kept.
pub(crate) fn forget() {
    let rooms = match ROOMS.lock() {
        Ok(mut rooms) => std::mem::take(&mut *rooms),
        Err(_) => return, // of pushing and popping none panics
    };
    drop(rooms);
}

/// Together with the next, what the process keeps at most: 16 MiB.
const ROOMS_KEPT: usize = 8;
const BYTES_KEPT: usize = 2 * 1024 * 1024;
/// What a buffer has at least to be one of these.
pub(crate) const BYTES_LEAST: usize = 64 * 1024;
