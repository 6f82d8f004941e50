//! The one thread that writes to the log. Every other thread leaves its lines in a queue and goes on,
//! whatever becomes of the log's reader.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tracing::Level;

use super::line::LogLine;
use super::queue::LineQueue;
use super::sink::LogSink;

/// Leaves a line for the writer. A line that `may_wait` waits for a moment and leaves with others, since a
/// system call for each session is too expensive.
pub(super) fn write(line: &[u8], may_wait: bool) {
    let writer = THREAD.get_or_init(start);
    let wakes = lock().push(line, may_wait);
    match writer {
        Some(thread) if wakes => thread.unpark(),
        Some(_) => {}
        // The system has no thread left, so the line is written here.
        None => LogWriter::default().write_waiting(),
    }
}

/// Waits until every line so far is written or lost, for at most `limit`.
pub(super) fn flush(limit: Duration) {
    let Some(Some(thread)) = THREAD.get() else {
        return;
    };
    let mut queue = lock();
    let all = queue.hurry();
    thread.unpark();
    queue.waiting += 1;
    let waited = FINISHED.wait_timeout_while(queue, limit, |queue| queue.finished() < all);
    let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
    queue.waiting -= 1;
}

fn start() -> Option<Thread> {
    // Opened before the thread starts, so that it is the stderr of the process's start.
    let mut writer = LogWriter::default();
    let write = move || {
        loop {
            wait();
            writer.write_waiting();
        }
    };
    let thread = std::thread::Builder::new().name("log".to_owned());
    let handle = thread.spawn(write).ok()?;
    Some(handle.thread().clone())
}

/// Waits for a line, and then for others to leave with it, if it may wait.
fn wait() {
    while lock().is_empty() {
        std::thread::park();
    }
    let until = Instant::now() + WAIT;
    while !lock().is_urgent() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

/// The state of the writer thread.
struct LogWriter {
    sink: LogSink,
    batch: Vec<u8>,
    /// Lines that had no room or could not be written, and that the log does not mention yet.
    untold: u64,
}

impl Default for LogWriter {
    fn default() -> LogWriter {
        LogWriter {
            sink: LogSink::open(),
            batch: Vec::new(),
            untold: 0,
        }
    }
}

impl LogWriter {
    /// Writes the lines that wait, however long that takes.
    fn write_waiting(&mut self) {
        self.batch.clear();
        self.batch.shrink_to(BATCH_BYTES_KEPT);
        let taken = lock().take(&mut self.batch);
        self.tell();
        self.untold += self.sink.write(&self.batch);
        if lock().finish(taken) {
            FINISHED.notify_all();
        }
        self.untold += taken.dropped;
        self.tell();
    }

    /// Writes how many lines are missing here. If that fails too, it is written later.
    fn tell(&mut self) {
        if self.untold == 0 {
            return;
        }
        let mut text = Vec::new();
        let mut line = LogLine::begin(&mut text, Level::WARN, super::is_colourful());
        line.message("log lines were dropped");
        line.number("lines", self.untold);
        line.end();
        if self.sink.write(&text) == 0 {
            self.untold = 0;
        }
    }
}

fn lock() -> MutexGuard<'static, LineQueue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

// Global, as the subscriber of tracing is, which every thread writes to.

/// The lines that are not written yet.
static QUEUE: Mutex<LineQueue> = Mutex::new(LineQueue::new());
/// Notified when a batch is written or lost.
static FINISHED: Condvar = Condvar::new();
/// The thread that writes; the inner `None` if it could not be made.
static THREAD: OnceLock<Option<Thread>> = OnceLock::new();

/// How long a session's line waits for others. A system call for each would cost a sixth of an opening
/// handshake.
const WAIT: Duration = Duration::from_millis(50);
const BATCH_BYTES_KEPT: usize = 64 * 1024;
