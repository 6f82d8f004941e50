//! Threads for work that may never end, such as a plugin's lifecycle calls.
//!
//! One thread is there from the start, and one more than is needed is made ahead of time. So work
//! that comes when the system gives out no more threads is still done, and a call that does not
//! return holds up nobody else's.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{error, warn};

/// A group of threads that grows with the work that has not ended.
pub(crate) struct PatientThreads {
    state: Mutex<State>,
    work: Condvar,
    spawn: Spawn,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    /// Threads that have nothing to do, those that were just made included.
    idle: usize,
    /// Whether it was said that the system gives out no thread.
    is_short: bool,
}

type Work = Box<dyn FnOnce() + Send>;
type Spawn = fn(Arc<PatientThreads>) -> io::Result<()>;

impl PatientThreads {
    /// No thread yet.
    pub(crate) fn new() -> Arc<PatientThreads> {
        PatientThreads::with(spawn)
    }

    fn with(spawn: Spawn) -> Arc<PatientThreads> {
        Arc::new(PatientThreads {
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

    /// Does `work` as soon as a thread is free for it.
    pub(crate) fn run(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        state.waiting.push_back(Box::new(work));
        self.grow(&mut state);
        drop(state);
        self.work.notify_one();
    }

    /// Tries again to make the threads that could not be made. To be called every now and then.
    pub(crate) fn tend(self: &Arc<Self>) {
        let mut state = self.lock();
        if !state.waiting.is_empty() {
            self.grow(&mut state);
        }
    }

    /// Makes threads until one more is idle than the work that waits now can take.
    fn grow(self: &Arc<Self>, state: &mut State) {
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for PatientThreads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("PatientThreads")
            .field("waiting", &state.waiting.len())
            .field("idle", &state.idle)
            .finish_non_exhaustive()
    }
}

fn spawn(threads: Arc<PatientThreads>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("lifecycle".to_owned());
    thread.spawn(move || threads.work()).map(drop)
}

/// Threads made at a time: short calls of many handlers share a few.
const AHEAD_MAX: usize = 4;
/// How long a thread that is not the last idle one stays.
const IDLE_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn work_that_does_not_end_holds_up_no_other_work() {
        let threads = PatientThreads::new();
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
        let threads = PatientThreads::with(|threads| {
            let take = |left: usize| left.checked_sub(1);
            match LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
                Ok(_) => spawn(threads),
                Err(_) => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        threads.start().unwrap();
        let (hold, held) = mpsc::channel::<()>();
        // One is stuck, and the other, made ahead of time, goes on.
        threads.run(move || assert!(held.recv().is_err()));
        for _ in 0..3 {
            let (done, ended) = mpsc::channel();
            threads.run(move || done.send(()).unwrap());
            assert!(ended.recv_timeout(SOON).is_ok());
        }

        // Both are stuck: the work waits until a thread is to be had again.
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
        let threads = PatientThreads::new();
        threads.start().unwrap();
        threads.run(|| panic!("on purpose"));

        let (done, ended) = mpsc::channel();
        threads.run(move || done.send(()).unwrap());

        assert!(ended.recv_timeout(SOON).is_ok());
    }
}
