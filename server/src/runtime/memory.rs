//! Gives memory back to the system when much of it is not needed any more.
//!
//! When ten thousand sessions end, their memory stays in the arenas of the C library, and buffers stay in
//! pools. A thread that carries no messages looks now and then, and gives this memory back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{debug, error};

use crate::buffers::event_buffers::EventBuffers;
use crate::buffers::pool;
use crate::buffers::record_buffers::RecordBuffers;
use crate::process::heap;
use crate::ws::deflate;

/// Starts the thread, which looks for as long as the process lives. `connections` returns how many there are
/// now and the most since the last call; `workers` of the runtime's threads usually carry messages.
pub(crate) fn start(
    runtime: Handle,
    workers: usize,
    connections: impl Fn() -> (usize, usize) + Send + 'static,
) {
    let watch = move || {
        let mut watch = Watch::default();
        for look in 1_u32.. {
            std::thread::sleep(LOOK);
            let now = Instant::now();
            let (connections, most) = connections();
            let idle = look.is_multiple_of(LOOKS_A_COUNT).then(heap::idle_bytes);
            if watch.is_due(connections, most, idle, now) {
                give_back(&runtime, workers);
                watch.note_idle(heap::idle_bytes());
                let took_us = now.elapsed().as_micros() as u64;
                debug!(took_us, "free memory given back");
            }
        }
    };
    let spawned = std::thread::Builder::new()
        .name("memory".to_owned())
        .spawn(watch);
    if let Err(error) = spawned {
        error!(%error, "no thread to give memory back on; it stays what it was at most");
    }
}

/// Gives all memory back that is free or kept for later.
pub(crate) fn give_back(runtime: &Handle, workers: usize) {
    forget_on_workers(runtime, workers);
    pool::forget_large();
    heap::give_back();
}

/// Frees the memory that the calling thread keeps for its next message.
pub(crate) fn forget_here() {
    deflate::pool::forget();
    pool::forget_small();
    EventBuffers::forget();
    RecordBuffers::forget();
}

/// Has each worker free what it keeps, by one task each. A worker stays in its task until all tasks have
/// begun, or for a moment: otherwise it could run the task of another worker as well.
fn forget_on_workers(runtime: &Handle, workers: usize) {
    let came = Arc::new(AtomicUsize::new(0));
    for _ in 0..workers {
        let came = came.clone();
        runtime.spawn(async move {
            forget_here();
            came.fetch_add(1, Ordering::Relaxed);
            let deadline = Instant::now() + TOGETHER;
            while came.load(Ordering::Relaxed) < workers && Instant::now() < deadline {
                std::thread::yield_now();
            }
        });
    }
    let deadline = Instant::now() + PATIENCE;
    while came.load(Ordering::Relaxed) < workers && Instant::now() < deadline {
        std::thread::sleep(TOGETHER);
    }
}

/// What the looks have seen until now.
#[derive(Debug, Default)]
struct Watch {
    /// The most connections since memory was given back last.
    peak: usize,
    connections: usize,
    /// The bytes that were idle after memory was given back last, and at the last count.
    idle_after: i64,
    idle: i64,
    last: Option<Instant>,
}

impl Watch {
    /// Whether memory is to be given back. Either half of the connections have ended and no more are
    /// ending, or much memory is idle that was not used since the last count. `idle` is the number of idle
    /// bytes, if this look counted them.
    fn is_due(&mut self, connections: usize, most: usize, idle: Option<i64>, now: Instant) -> bool {
        let before = std::mem::replace(&mut self.connections, connections);
        self.peak = self.peak.max(most).max(connections);
        let have_left = self.peak > 0 && connections <= self.peak / 2;
        let are_leaving = connections < before - before / 8;
        let unused = idle.map_or(0, |idle| {
            let idle_before = std::mem::replace(&mut self.idle, idle);
            idle.min(idle_before) - self.idle_after
        });
        let rests = self.last.is_some_and(|last| now - last < PAUSE);
        let is_due = have_left && !are_leaving || unused >= UNUSED_BYTES && !rests;
        if is_due {
            self.peak = connections;
            self.last = Some(now);
        }
        is_due
    }

    /// Notes how many bytes are idle after memory was given back.
    fn note_idle(&mut self, idle: i64) {
        self.idle_after = idle;
        self.idle = idle;
    }
}

/// How long a worker waits for the others, and how long the thread waits for all.
const TOGETHER: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_millis(50);
/// The time between two looks. A look costs some microseconds.
const LOOK: Duration = Duration::from_secs(2);
/// One look of this many counts the idle bytes. The C library visits each free piece for that, which takes
/// some milliseconds where thousands of sessions are open, and allocations wait for it. What a crowd leaves behind is seen by
/// two counts, and so within eight seconds.
const LOOKS_A_COUNT: u32 = 2;
/// While connections stay, the memory that they free is given back at most this often. They are likely to
/// need it again, and fresh pages cost time.
const PAUSE: Duration = Duration::from_secs(5);
const UNUSED_BYTES: i64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1024 * 1024;

    #[test]
    fn memory_is_given_back_once_half_of_the_connections_have_left() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        let mut is_due = |connections| watch.is_due(connections, connections, None, now);
        assert!(!is_due(0));
        assert!(!is_due(10_000));
        assert!(!is_due(6_000));
        assert!(!is_due(4_000), "they are leaving");
        assert!(is_due(3_900));
        assert!(!is_due(3_900));
        assert!(!is_due(2_000));
        assert!(!is_due(0));
        assert!(is_due(0));
        assert!(!is_due(0));
        assert!(!is_due(1));
        assert!(!is_due(0));
        assert!(is_due(0), "a single one, too");
        assert!(
            watch.is_due(0, 200, None, now),
            "and those that no look saw"
        );
        assert!(!watch.is_due(0, 0, None, now));
    }

    #[test]
    fn memory_that_connections_have_freed_and_do_not_use_is_given_back_now_and_then() {
        let (mut watch, began) = (Watch::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        watch.note_idle(-5 * MIB);
        assert!(!watch.is_due(100, 100, Some(45 * MIB), at(0)));
        assert!(watch.is_due(100, 100, Some(45 * MIB), at(4)));
        // What is left has no page that is free as a whole.
        watch.note_idle(2 * MIB);
        assert!(!watch.is_due(100, 100, Some(2 * MIB), at(60)));
        // The memory is in use again between two counts.
        assert!(!watch.is_due(100, 100, Some(32 * MIB), at(64)));
        assert!(!watch.is_due(100, 100, Some(3 * MIB), at(68)));
        assert!(!watch.is_due(100, 100, Some(32 * MIB), at(72)));
        assert!(watch.is_due(100, 100, Some(12 * MIB), at(76)));
        watch.note_idle(3 * MIB);
        assert!(!watch.is_due(100, 100, Some(40 * MIB), at(80)));
        assert!(
            !watch.is_due(100, 100, Some(40 * MIB), at(80)),
            "not so soon"
        );
        assert!(watch.is_due(100, 100, Some(40 * MIB), at(84)));
    }
}
