//! Where lines go: at once, or together with those that come within a moment.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

/// Starts the thread that sees off the lines that wait; without it none does.
pub(super) fn start() {
    let see_off = || {
        loop {
            std::thread::park();
            std::thread::sleep(WAIT);
            flush();
        }
    };
    let spawned = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(see_off);
    if let Ok(thread) = spawned {
        let _ = THREAD.set(thread.thread().clone());
    }
}

/// Writes a line behind all that came before it. One that may wait does so, if only for a moment: a
/// system call a session is too many.
pub(super) fn write(line: &[u8], may_wait: bool) {
    let mut waiting = lock();
    let is_first = waiting.is_empty();
    waiting.extend_from_slice(line);
    match THREAD.get() {
        Some(thread) if may_wait && waiting.len() < WAITING_BYTES_MAX => {
            if is_first {
                thread.unpark();
            }
        }
        _ => write_out(&mut waiting),
    }
}

/// Writes what waits.
pub(super) fn flush() {
    write_out(&mut lock());
}

fn write_out(waiting: &mut Vec<u8>) {
    // There is nobody to tell that nobody reads.
    let _ = std::io::stderr().lock().write_all(waiting);
    waiting.clear();
}

fn lock() -> MutexGuard<'static, Vec<u8>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

static WAITING: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static THREAD: OnceLock<Thread> = OnceLock::new();

const WAIT: Duration = Duration::from_millis(50);
const WAITING_BYTES_MAX: usize = 16 * 1024;
