//! The one thread that writes to a log. Every other thread leaves its lines in a queue and goes on,
//! whatever becomes of the log's reader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::destination::{Destination, Role};
use super::file::{LogFile, LogFileSettings};
use super::queue::LineQueue;
use super::sink::LogSink;

/// A log: what waits to be written to it, and the thread that does.
pub(super) struct Log {
    role: Role,
    /// The lines that are not written yet.
    queue: Mutex<LineQueue>,
    /// What the writer has not done yet.
    orders: Mutex<Vec<Order>>,
    /// Whether there is an order, so that a batch takes no lock for none.
    has_orders: AtomicBool,
    /// Whether the process ends, so that nothing is tried again later.
    is_ending: AtomicBool,
    /// Notified when a batch is written or lost.
    finished: Condvar,
    /// The thread that writes; the inner `None` if it could not be made.
    thread: OnceLock<Option<Thread>>,
}

impl Log {
    const fn new(role: Role) -> Log {
        Log {
            role,
            queue: Mutex::new(LineQueue::new()),
            orders: Mutex::new(Vec::new()),
            has_orders: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            finished: Condvar::new(),
            thread: OnceLock::new(),
        }
    }

    /// Leaves a line for the writer. A line that `may_wait` waits for a moment and leaves with others, since a
    /// system call for each session is too expensive.
    pub(super) fn write(&'static self, line: &[u8], may_wait: bool) {
        let writer = self.thread.get_or_init(|| self.start());
        let wakes = self.lock().push(line, may_wait);
        self.wake(writer.as_ref(), wakes);
    }

    /// Leaves a text for people, which goes to stderr also where the log is a file.
    pub(super) fn write_text(&'static self, text: &[u8]) {
        let writer = self.thread.get_or_init(|| self.start());
        let wakes = self.lock().push_text(text);
        self.wake(writer.as_ref(), wakes);
    }

    fn wake(&'static self, writer: Option<&Thread>, wakes: bool) {
        match writer {
            Some(thread) if wakes => thread.unpark(),
            Some(_) => {}
            // The system has no thread left, so what waits is written here.
            None => LogWriter::new(self).write_waiting(),
        }
    }

    /// Has the lines from now on written to this file, or to stderr.
    pub(super) fn write_to(&self, file: Option<LogFile>) {
        self.order(Order::WriteTo(file.map(Box::new)));
    }

    /// Has the lines written to this file as soon as it can be opened.
    pub(super) fn want(&'static self, settings: LogFileSettings) {
        self.order(Order::Want(settings));
        // No line may have been written yet.
        self.thread.get_or_init(|| self.start());
    }

    /// Has the log file opened again before the next lines, if it was moved.
    pub(super) fn reopen(&self) {
        self.order(Order::Reopen);
    }

    fn order(&self, order: Order) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.push(order);
        drop(orders);
        self.has_orders.store(true, Ordering::Release);
        if let Some(Some(thread)) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Like [`flush`](Self::flush), before the process ends. Lines that the log file does not take go to stderr.
    pub(super) fn end(&self, limit: Duration) {
        self.is_ending.store(true, Ordering::Release);
        self.flush(limit);
    }

    /// Waits until every line so far is written or lost, for at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let Some(Some(thread)) = self.thread.get() else {
            return;
        };
        let mut queue = self.lock();
        let all = queue.hurry();
        thread.unpark();
        queue.waiting += 1;
        let waited = (self.finished).wait_timeout_while(queue, limit, |it| it.finished() < all);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.waiting -= 1;
    }

    fn start(&'static self) -> Option<Thread> {
        // Opened before the thread starts, so that it is the stderr of the process's start.
        let mut writer = LogWriter::new(self);
        let write = move || {
            loop {
                writer.wait();
                writer.write_waiting();
            }
        };
        let name = match self.role {
            Role::Log => "log",
            Role::Access => "access-log",
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        let handle = thread.spawn(write).ok()?;
        Some(handle.thread().clone())
    }

    fn lock(&self) -> MutexGuard<'_, LineQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    log: &'static Log,
    destination: Destination,
    /// Lines of the queue that are taken from it and not written yet.
    batch: Vec<u8>,
    /// How many bytes of them are not written or lost yet.
    taken_bytes: usize,
}

impl LogWriter {
    fn new(log: &'static Log) -> LogWriter {
        LogWriter {
            log,
            destination: Destination::new(LogSink::open(), log.role),
            batch: Vec::new(),
            taken_bytes: 0,
        }
    }

    /// Writes the lines that wait, however long that takes. While the log file fails, they wait on.
    fn write_waiting(&mut self) {
        let now = Instant::now();
        self.obey(now);
        self.destination.open_wanted(now);
        let texts = self.log.lock().take_texts();
        self.destination.say(&texts);
        self.write_batch(now);
        if self.log.is_ending.swap(false, Ordering::AcqRel) && self.destination.is_failing() {
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
            let taken = self.log.lock().take(&mut self.batch);
            self.taken_bytes = taken.bytes;
            self.destination.take(&mut self.batch, taken.dropped);
        }
        let dropped = self.log.lock().dropped();
        if self.destination.write(now, dropped) {
            let bytes = std::mem::take(&mut self.taken_bytes);
            if self.log.lock().finish(bytes) {
                self.log.finished.notify_all();
            }
        }
    }

    /// Waits for something to do: a line, an order, or the time at which something is tried again.
    fn wait(&self) {
        loop {
            if self.log.has_orders.load(Ordering::Acquire)
                || self.log.is_ending.load(Ordering::Acquire)
            {
                return;
            }
            {
                let queue = self.log.lock();
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
        self.wait_for_others();
    }

    /// Takes what was ordered since the last batch.
    fn obey(&mut self, now: Instant) {
        if !self.log.has_orders.swap(false, Ordering::AcqRel) {
            return;
        }
        let orders = std::mem::take(
            &mut *self
                .log
                .orders
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for order in orders {
            match order {
                Order::WriteTo(file) => self.destination.go_to(file),
                Order::Want(settings) => self.destination.want(settings, now),
                Order::Reopen => self.destination.reopen(now),
            }
        }
    }

    /// Waits for lines that leave with the first, if that may wait.
    fn wait_for_others(&self) {
        let until = Instant::now() + WAIT;
        while !self.log.lock().is_urgent() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }
}

// Global, as the subscriber of tracing is, which every thread writes to.

/// The server's log.
pub(super) static LOG: Log = Log::new(Role::Log);
/// The lines of sessions that are over, where they have a file of their own.
pub(super) static ACCESS: Log = Log::new(Role::Access);

/// How long a session's line waits for others. A system call for each would cost a sixth of an opening
/// handshake.
const WAIT: Duration = Duration::from_millis(50);
const BATCH_BYTES_KEPT: usize = 64 * 1024;
