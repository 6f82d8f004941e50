//! The one thread that writes to the log. Every other thread leaves its lines in a queue and goes on,
//! whatever becomes of the log's reader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::destination::Destination;
use super::file::{LogFile, LogFileSettings};
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

/// Has the lines written to this file as soon as it can be opened.
pub(super) fn want(settings: LogFileSettings) {
    order(Order::Want(settings));
}

/// Has the log file opened again before the next lines, if it was moved.
pub(super) fn reopen() {
    order(Order::Reopen);
}

fn order(order: Order) {
    let mut orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner);
    orders.push(order);
    drop(orders);
    HAS_ORDERS.store(true, Ordering::Release);
    if let Some(Some(thread)) = THREAD.get() {
        thread.unpark();
    }
}

/// Like [`flush`], before the process ends. Lines that the log file does not take go to stderr.
pub(super) fn end(limit: Duration) {
    IS_ENDING.store(true, Ordering::Release);
    flush(limit);
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
            writer.wait();
            writer.write_waiting();
        }
    };
    let thread = std::thread::Builder::new().name("log".to_owned());
    let handle = thread.spawn(write).ok()?;
    Some(handle.thread().clone())
}

/// What the writer does before its next lines.
enum Order {
    /// Write to this file from now on, or to stderr.
    WriteTo(Option<Box<LogFile>>),
    /// Write to this file as soon as it can be opened.
    Want(LogFileSettings),
    /// Open the file again, if it was moved.
    Reopen,
}

/// The state of the writer thread.
struct LogWriter {
    destination: Destination,
    /// Lines of the queue that are taken from it and not written yet.
    batch: Vec<u8>,
    /// How many bytes of them are not written or lost yet.
    taken_bytes: usize,
}

impl Default for LogWriter {
    fn default() -> LogWriter {
        LogWriter {
            destination: Destination::new(LogSink::open()),
            batch: Vec::new(),
            taken_bytes: 0,
        }
    }
}

impl LogWriter {
    /// Writes the lines that wait, however long that takes. While the log file fails, they wait on.
    fn write_waiting(&mut self) {
        let now = Instant::now();
        self.obey(now);
        self.destination.open_wanted(now);
        let texts = lock().take_texts();
        self.destination.say(&texts);
        self.write_batch(now);
        if IS_ENDING.swap(false, Ordering::AcqRel) && self.destination.is_failing() {
            self.destination.give_up_file();
            // What is held, and then what waits in the queue.
            self.write_batch(now);
            self.write_batch(now);
        }
    }

    /// Takes a batch, unless one is held, and writes it.
    fn write_batch(&mut self, now: Instant) {
        if self.taken_bytes == 0 {
            self.batch.clear();
            self.batch.shrink_to(BATCH_BYTES_KEPT);
            let taken = lock().take(&mut self.batch);
            self.taken_bytes = taken.bytes;
            self.destination.take(&mut self.batch, taken.dropped);
        }
        let dropped = lock().dropped();
        if self.destination.write(now, dropped) {
            let bytes = std::mem::take(&mut self.taken_bytes);
            if lock().finish(bytes) {
                FINISHED.notify_all();
            }
        }
    }

    /// Waits for something to do: a line, an order, or the time at which something is tried again.
    fn wait(&self) {
        loop {
            if HAS_ORDERS.load(Ordering::Acquire) || IS_ENDING.load(Ordering::Acquire) {
                return;
            }
            {
                let queue = lock();
                // While the file fails, lines wait where they are.
                let has_lines = !queue.is_empty() && !self.destination.is_failing();
                if queue.has_texts() {
                    return;
                }
                if has_lines {
                    break;
                }
            }
            match self.destination.next_try() {
                None => std::thread::park(),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    std::thread::park_timeout(left);
                }
            }
        }
        wait_for_others();
    }

    /// Takes what was ordered since the last batch.
    fn obey(&mut self, now: Instant) {
        if !HAS_ORDERS.swap(false, Ordering::AcqRel) {
            return;
        }
        let orders = std::mem::take(&mut *ORDERS.lock().unwrap_or_else(PoisonError::into_inner));
        for order in orders {
            match order {
                Order::WriteTo(file) => self.destination.go_to(file),
                Order::Want(settings) => self.destination.want(settings, now),
                Order::Reopen => self.destination.reopen(now),
            }
        }
    }
}

/// Waits for lines that leave with the first, if that may wait.
fn wait_for_others() {
    let until = Instant::now() + WAIT;
    while !lock().is_urgent() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
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
/// Whether the process ends, so that nothing is tried again later.
static IS_ENDING: AtomicBool = AtomicBool::new(false);
/// Notified when a batch is written or lost.
static FINISHED: Condvar = Condvar::new();
/// The thread that writes; the inner `None` if it could not be made.
static THREAD: OnceLock<Option<Thread>> = OnceLock::new();

/// How long a session's line waits for others. A system call for each would cost a sixth of an opening
/// handshake.
const WAIT: Duration = Duration::from_millis(50);
const BATCH_BYTES_KEPT: usize = 64 * 1024;
