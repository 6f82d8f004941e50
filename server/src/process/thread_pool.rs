//! Threads for work that may never end, such as a plugin's lifecycle calls.
//!
//! There is always one idle thread: one is made at the start, and another one whenever the last idle one
//! gets work. So work is done even when the system gives out no more threads, and a call that does not
//! return holds up no other.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{error, warn};

/// A group of threads that grows with the work that has not ended.
pub(crate) struct ThreadPool {
    state: Mutex<PoolState>,
    work: Condvar,
    spawn: Spawn,
}

#[derive(Default)]
struct PoolState {
    waiting: VecDeque<Work>,
    /// Idle threads, also those that were just made.
    idle: usize,
    /// Whether the log has said that the system gives out no thread.
    is_short: bool,
}

type Work = Box<dyn FnOnce() + Send>;
type Spawn = fn(Arc<ThreadPool>) -> io::Result<()>;

impl ThreadPool {
    /// No thread yet.
    pub(crate) fn new() -> Arc<ThreadPool> {
        ThreadPool::with(spawn)
    }

    fn with(spawn: Spawn) -> Arc<ThreadPool> {
        Arc::new(ThreadPool {
            state: Mutex::default(),
            work: Condvar::new(),
            spawn,
        })
    }

    /// Makes the first thread.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<()> {
        let mut state = self.lock();
        if state.idle == 0 {
            (self.spawn)(self.clone())?;
            state.idle += 1;
        }
        Ok(())
    }

    /// Runs `work` as soon as a thread is idle.
    pub(crate) fn run(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        state.waiting.push_back(Box::new(work));
        self.grow(&mut state);
        drop(state);
        self.work.notify_one();
    }

    /// Tries again to make the threads that could not be made. The reconciler calls it at each look.
    pub(crate) fn tend(self: &Arc<Self>) {
        let mut state = self.lock();
        if !state.waiting.is_empty() {
            self.grow(&mut state);
        }
    }

    /// Makes threads until one stays idle when all waiting work has a thread.
    fn grow(self: &Arc<Self>, state: &mut PoolState) {
        let wanted = state.waiting.len().min(AHEAD_MAX) + 1;
        while state.idle < wanted {
            if let Err(error) = (self.spawn)(self.clone()) {
                if state.idle == 0 && !std::mem::replace(&mut state.is_short, true) {
                    warn!(%error, waiting = state.waiting.len(), "no thread for handlers' calls; they wait for one");
                }
                return;
            }
            state.idle += 1;
            state.is_short = false;
        }
    }

    fn work(self: &Arc<Self>) {
        let mut state = self.lock();
        loop {
            let Some(work) = state.waiting.pop_front() else {
                let waited = self.work.wait_timeout(state, IDLE_TIME);
                let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                state = again;
                if timeout.timed_out() && state.waiting.is_empty() && state.idle > 1 {
                    state.idle -= 1;
                    return;
                }
                continue;
            };
            state.idle -= 1;
            self.grow(&mut state);
            drop(state);
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                error!("the work of a handler's lifecycle panicked");
            }
            state = self.lock();
            state.idle += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("ThreadPool")
            .field("waiting", &state.waiting.len())
            .field("idle", &state.idle)
            .finish_non_exhaustive()
    }
}

fn spawn(threads: Arc<ThreadPool>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("lifecycle".to_owned());
    thread.spawn(move || threads.work()).map(drop)
}

/// The most threads that are made at a time: short calls of many handlers share a few.
const AHEAD_MAX: usize = 4;
/// How long an idle thread stays that is not the last one.
const IDLE_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn work_that_does_not_end_holds_up_no_other_work() {
        let threads = ThreadPool::new();
        let (hold, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        for _ in 0..20 {
            let held = held.clone();
            threads.run(move || drop(held.lock().map(|held| held.recv())));
        }

        let (done, ended) = mpsc::channel();
        threads.run(move || done.send(()).unwrap());

        assert!(ended.recv_timeout(SOON).is_ok());
        drop(hold);
    }

    #[test]
    fn work_is_done_although_no_more_threads_are_to_be_had() {
        static LEFT: AtomicUsize = AtomicUsize::new(2);
        let threads = ThreadPool::with(|threads| {
            let take = |left: usize| left.checked_sub(1);
            match LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
                Ok(_) => spawn(threads),
                Err(_) => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        threads.start().unwrap();
        let (hold, held) = mpsc::channel::<()>();
        // One thread is stuck; the other one, made ahead of time, goes on.
        threads.run(move || assert!(held.recv().is_err()));
        for _ in 0..3 {
            let (done, ended) = mpsc::channel();
            threads.run(move || done.send(()).unwrap());
            assert!(ended.recv_timeout(SOON).is_ok());
        }

        // Both are stuck: the work waits until the system gives out a thread again.
        let (hold_too, held_too) = mpsc::channel::<()>();
        threads.run(move || assert!(held_too.recv().is_err()));
        let (done, ended) = mpsc::channel();
        threads.run(move || done.send(()).unwrap());
        assert!(ended.recv_timeout(Duration::from_millis(50)).is_err());
        LEFT.store(1, Ordering::SeqCst);
        threads.tend();
        assert!(ended.recv_timeout(SOON).is_ok());
        drop((hold, hold_too));
    }

    #[test]
    fn a_panic_ends_no_thread() {
        let threads = ThreadPool::new();
        threads.start().unwrap();
        threads.run(|| panic!("on purpose"));

        let (done, ended) = mpsc::channel();
        threads.run(move || done.send(()).unwrap());

        assert!(ended.recv_timeout(SOON).is_ok());
    }
}
