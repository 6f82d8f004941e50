//! The one thread that writes to the log. Every other thread leaves its lines in a queue and goes on,
//! whatever becomes of the log's reader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tracing::Level;

use super::file::LogFile;
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

/// Leaves a text for people, which goes to stderr also where the log is a file.
pub(super) fn write_text(text: &[u8]) {
    let writer = THREAD.get_or_init(start);
    let wakes = lock().push_text(text);
    match writer {
        Some(thread) if wakes => thread.unpark(),
        Some(_) => {}
        None => LogWriter::default().write_waiting(),
    }
}

/// Has the lines from now on written to this file, or to stderr.
pub(super) fn write_to(file: Option<LogFile>) {
    order(Order::WriteTo(file.map(Box::new)));
}

/// Has the log file opened again before the next lines, if it was moved.
pub(super) fn reopen() {
    order(Order::Reopen);
}

fn order(order: Order) {
    let mut orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner);
    orders.push(order);
    HAS_ORDERS.store(true, Ordering::Release);
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

/// What the writer does before its next lines.
enum Order {
    /// Write to this file from now on, or to stderr.
    WriteTo(Option<Box<LogFile>>),
    /// Open the file again, if it was moved.
    Reopen,
}

/// The state of the writer thread.
struct LogWriter {
    stderr: LogSink,
    /// `None` where the log goes to stderr.
    file: Option<Box<LogFile>>,
    batch: Vec<u8>,
    /// Lines that had no room or could not be written, and that the log does not mention yet.
    untold: u64,
}

impl Default for LogWriter {
    fn default() -> LogWriter {
        LogWriter {
            stderr: LogSink::open(),
            file: None,
            batch: Vec::new(),
            untold: 0,
        }
    }
}

impl LogWriter {
    /// Writes the lines that wait, however long that takes.
    fn write_waiting(&mut self) {
        self.obey();
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        batch.shrink_to(BATCH_BYTES_KEPT);
        let taken = lock().take(&mut batch);
        self.tell();
        self.untold += self.write(&batch);
        self.batch = batch;
        if self.file.is_some() {
            // Whatever becomes of it, the log has it.
            self.stderr.write(&taken.texts);
        }
        if lock().finish(&taken) {
            FINISHED.notify_all();
        }
        self.untold += taken.dropped;
        self.tell();
    }

    /// Takes what was ordered since the last batch.
    fn obey(&mut self) {
        if !HAS_ORDERS.swap(false, Ordering::Acquire) {
            return;
        }
        let orders = std::mem::take(&mut *ORDERS.lock().unwrap_or_else(PoisonError::into_inner));
        for order in orders {
            match order {
                Order::WriteTo(file) => self.file = file,
                Order::Reopen => {
                    let reopened = self.file.as_mut().map(|file| file.reopen());
                    if let Some(Err(error)) = reopened {
                        self.warn("log file cannot be opened again", |line| {
                            line.text("error", &error);
                        });
                    }
                }
            }
        }
    }

    /// Writes lines to where the log goes. Answers how many of them are lost.
    fn write(&mut self, lines: &[u8]) -> u64 {
        let Some(file) = &mut self.file else {
            return self.stderr.write(lines);
        };
        let outcome = file.write(lines);
        if let Some(error) = outcome.not_rotated {
            self.warn("log file cannot be renamed and goes on growing", |line| {
                line.text("error", &error);
            });
        }
        outcome.lost
    }

    /// Writes a line of the log's own. Answers how many lines are lost.
    fn warn(&mut self, message: &str, fields: impl FnOnce(&mut LogLine<'_>)) -> u64 {
        let mut text = Vec::new();
        let mut line = LogLine::begin(&mut text, Level::WARN, super::is_colourful());
        line.message(message);
        fields(&mut line);
        line.end();
        match &mut self.file {
            Some(file) => file.write(&text).lost,
            None => self.stderr.write(&text),
        }
    }

    /// Writes how many lines are missing here. If that fails too, it is written later.
    fn tell(&mut self) {
        if self.untold == 0 {
            return;
        }
        let lines = self.untold;
        if self.warn("log lines were dropped", |line| line.number("lines", lines)) == 0 {
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
/// What the writer has not done yet.
static ORDERS: Mutex<Vec<Order>> = Mutex::new(Vec::new());
/// Whether there is an order, so that a batch takes no lock for none.
static HAS_ORDERS: AtomicBool = AtomicBool::new(false);
/// Notified when a batch is written or lost.
static FINISHED: Condvar = Condvar::new();
/// The thread that writes; the inner `None` if it could not be made.
static THREAD: OnceLock<Option<Thread>> = OnceLock::new();

/// How long a session's line waits for others. A system call for each would cost a sixth of an opening
/// handshake.
const WAIT: Duration = Duration::from_millis(50);
const BATCH_BYTES_KEPT: usize = 64 * 1024;
