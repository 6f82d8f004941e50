//! The worker threads of the runtime, and every decision about how many there are and which of them work.
//!
//! A callback that blocks holds its worker. So the runtime has more workers than processors: one for each
//! processor works, the others rest in the `reserve` until the watchdog sees
//! callbacks that do not return. `wakes` keeps what such a callback wakes from waiting with it, and
//! `memory` gives back what workers keep and do not use.
//!
//! tokio's `block_in_place` is no alternative: it must be called before each callback, because no caller
//! knows which one will block, and it gives the worker's queue to another thread each time. That costs
//! more than a short callback itself, and its threads are not limited in number.

pub(crate) mod memory;
pub(crate) mod pacer;
pub(crate) mod reserve;
pub(crate) mod wakes;
pub(crate) mod workers;

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::process::optional::{Optional, is_allowed};
use crate::process::priority;

/// Builds the runtime of the server.
///
/// # Errors
///
/// The system has no thread or descriptor left.
pub fn build() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2 * (processors() + EXTRA_WORKERS))
        .enable_all()
        .global_queue_interval(GLOBAL_QUEUE_INTERVAL)
        .on_thread_start(go_first)
        .build()
}

/// How many of the runtime's workers carry messages while no callback blocks: one a processor. More would
/// only take turns with one another on the same processors.
pub(crate) fn usual_workers(runtime: &Handle) -> usize {
    processors().min(all_workers(runtime))
}

/// How many workers the callbacks of one handler may hold: half of all.
pub(crate) fn workers_of_one_handler(runtime: &Handle) -> usize {
    let all = all_workers(runtime);
    all - all / 2
}

/// Has the calling thread run before those that carry no messages, unless a system call filter forbids it.
pub(crate) fn go_first() {
    if is_allowed(Optional::Priority) {
        priority::go_first();
    }
}

fn all_workers(runtime: &Handle) -> usize {
    runtime.metrics().num_workers()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// With these, even a machine with one processor has workers left when a handler holds as many as it may.
const EXTRA_WORKERS: usize = 2;
/// A worker takes every second task from the queue of all workers. Its own queue holds 256 tasks, and those
/// that find it full wait in the one of all: with tokio's usual interval, and a thousand busy connections,
/// they would wait ten times as long as the others.
const GLOBAL_QUEUE_INTERVAL: u32 = 2;
