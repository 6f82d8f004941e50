//! Wakes tasks from inside a callback, so that they run even if the callback does not return.
//!
//! tokio puts the task that a worker wakes last into the worker's LIFO slot: no other worker finds it there,
//! and it runs when the current task yields. A callback that sends to another session and then blocks
//! would keep that session waiting. So tasks that are woken while a connection is polled are kept here.
//! The worker wakes them when the poll is over; if the callback runs late, the
//! [watchdog](crate::border::watchdog) has another worker wake them.
//!
//! A task that is woken from a thread outside the runtime could run before the one in the slot, and its
//! callback could block as well. So the [relay], a task on a worker, wakes it. The other tasks of that
//! worker then lie where every worker finds them.
//!
//! Work that a callback causes and that can wait for its end is kept in the same way: see [`TurnWork`].

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;

/// What one thread keeps until the poll of a connection is over. It lives as long as the process.
#[derive(Debug, Default)]
pub(crate) struct DeferredWakes(Mutex<Deferred>);

/// Work to do and tasks to wake.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    work: Vec<Arc<dyn TurnWork>>,
    /// Whether another thread does all of `work`, too.
    is_work_taken_over: bool,
    woken: Vec<Waker>,
    /// Tasks that run again when this worker has nothing else to do. Another worker has to wake them only if
    /// this one is stuck.
    yielded: Vec<Waker>,
}

/// Work that a callback causes, and that is done when its turn is over: what several calls add to it is then
/// done at once. It enters no plugin. Done twice, it does nothing the second time.
pub(crate) trait TurnWork: std::fmt::Debug + Send + Sync {
    /// Does the work on this thread, in at most `allowance` steps, and takes those off. What is left goes to a
    /// task. A step takes as long as a system call. What another thread does already is left to it.
    fn run(self: Arc<Self>, allowance: &mut usize);

    /// Like [`run`](Self::run), and lets another thread come to the end of a step, or a few, that it is at.
    fn run_before_more(self: Arc<Self>, allowance: &mut usize);
}

/// While this exists, the thread keeps the tasks that it wakes. Dropping it does the work and wakes them.
#[derive(Debug)]
pub(crate) struct DeferScope(());

/// The wakers that threads outside the runtime leave for the relay.
#[derive(Debug, Default)]
struct Relay {
    woken: Vec<Waker>,
    /// The relay's own waker, from its first poll on.
    waker: Option<Waker>,
}

/// Starts the relay on `runtime`: from now on it wakes what threads outside the runtime wake.
pub(crate) fn start(runtime: &Handle) {
    runtime.spawn(relay());
}

/// Wakes, on a worker, what threads outside the runtime leave for it. A task for each waker would take
/// memory for each message of a blocking handler, so one task wakes all.
async fn relay() {
    /// Its drop wakes what is left. Without a relay, a thread wakes its tasks itself.
    struct Relaying;
    impl Drop for Relaying {
        fn drop(&mut self) {
            let left = std::mem::take(&mut *lock_relay());
            left.woken.into_iter().for_each(Waker::wake);
        }
    }

    let _relaying = Relaying;
    let mut woken = Vec::new();
    poll_fn(|cx| {
        let mut relay = lock_relay();
        relay.waker.get_or_insert_with(|| cx.waker().clone());
        // The two vectors change places, so that their memory is used again.
        std::mem::swap(&mut woken, &mut relay.woken);
        drop(relay);
        woken.drain(..).for_each(Waker::wake);
        Poll::<()>::Pending
    })
    .await;
}

/// Keeps the tasks that the calling thread wakes until the returned value is dropped.
#[inline]
pub(crate) fn defer() -> DeferScope {
    IS_KEEPING.set(true);
    DeferScope(())
}

impl Drop for DeferScope {
    #[inline]
    fn drop(&mut self) {
        if HAS_KEPT.get() {
            end_turn();
        }
        IS_KEEPING.set(false);
    }
}

/// Has `work` done at the end of the poll that this is called in, or now where there is none.
pub(crate) fn at_turn_end(work: Arc<dyn TurnWork>) {
    if !IS_KEEPING.get() {
        return work.run(&mut { TURN_ALLOWANCE });
    }
    HAS_KEPT.set(true);
    HAS_WORK.set(true);
    let mut kept = of_this_thread().lock();
    if !(kept.work.last()).is_some_and(|last| Arc::ptr_eq(last, &work)) {
        kept.work.push(work);
    }
    kept.is_work_taken_over = false;
    let is_full = kept.work.len() >= KEPT_MAX;
    drop(kept);
    if is_full {
        do_work_now();
    }
}

/// Does now what this thread was to do at the end of its turn, so that what follows does not overtake it. What goes to a
/// task may still be overtaken.
#[inline]
pub(crate) fn do_work_now() {
    if HAS_WORK.get() {
        do_work(|work, allowance| work.run_before_more(allowance));
    }
}

#[inline(never)]
fn do_work(run: impl Fn(Arc<dyn TurnWork>, &mut usize)) {
    HAS_WORK.set(false);
    let kept = of_this_thread();
    // Another thread may have taken it over and not have begun, so it is done here as well.
    let mut work = std::mem::take(&mut kept.lock().work);
    let mut allowance = TURN_ALLOWANCE;
    work.drain(..).for_each(|work| run(work, &mut allowance));
    // The memory is used again.
    let mut kept = kept.lock();
    if kept.work.capacity() == 0 {
        kept.work = work;
    }
}

/// Lets other tasks run before the one that awaits this.
///
/// The task lies where every worker finds it. With `tokio::task::yield_now` it would lie on this worker, and wait for as
/// long as the next task holds that: a callback, or the rest of a worker of the reserve.
pub(crate) async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Does what this thread keeps, because it is about to wait for long.
pub(crate) fn run_kept() {
    of_this_thread().take().run();
}

/// Lets this task run again once the worker has nothing else to do and has looked for I/O. Another worker takes it
/// over if a callback holds this one.
pub(crate) fn yield_to_others(cx: &mut Context<'_>) {
    // tokio keeps the waker where no other worker finds it.
    #[allow(clippy::disallowed_methods, reason = "the waker is kept here, too")]
    let is_pending = pin!(tokio::task::yield_now()).poll(cx).is_pending();
    debug_assert!(is_pending);
    let mut kept = of_this_thread().lock();
    kept.yielded.push(cx.waker().clone());
    // A task that another worker has taken over is not removed here.
    if kept.yielded.len() > KEPT_MAX {
        let yielded = std::mem::take(&mut kept.yielded);
        drop(kept);
        yielded.into_iter().for_each(Waker::wake);
    }
}

/// Notes that a task runs that has [yielded](yield_to_others).
pub(crate) fn note_resumed(cx: &mut Context<'_>) {
    let mut kept = of_this_thread().lock();
    if !kept.yielded.is_empty() {
        kept.yielded.retain(|waker| !waker.will_wake(cx.waker()));
    }
}

/// Wakes the task of a connection: now, or at the end of the poll that this is called in.
pub(crate) fn wake(waker: Waker) {
    if !IS_KEEPING.get() {
        return wake_from_outside(waker);
    }
    HAS_KEPT.set(true);
    let mut kept = of_this_thread().lock();
    kept.woken.push(waker);
    if kept.woken.len() >= KEPT_MAX {
        let full = std::mem::take(&mut kept.woken);
        drop(kept);
        full.into_iter().for_each(Waker::wake);
        // The last one would lie in the LIFO slot of this worker. An empty task takes that place.
        tokio::spawn(async {});
    }
}

fn wake_from_outside(waker: Waker) {
    let mut relay = lock_relay();
    let Some(relays) = relay.waker.clone() else {
        drop(relay);
        return waker.wake();
    };
    relay.woken.push(waker);
    let is_first = relay.woken.len() == 1;
    drop(relay);
    // The relay takes all of them at once.
    if is_first {
        relays.wake();
    }
}

fn lock_relay() -> MutexGuard<'static, Relay> {
    RELAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The wakers of the calling thread.
pub(crate) fn of_this_thread() -> &'static DeferredWakes {
    let kept = KEPT.get().unwrap_or_else(|| Box::leak(Box::default()));
    KEPT.set(Some(kept));
    kept
}

/// Does the work that this thread kept, and wakes the tasks, also those that the work wakes.
#[cold]
fn end_turn() {
    if HAS_WORK.get() {
        do_work(TurnWork::run);
    }
    HAS_KEPT.set(false);
    let kept = of_this_thread();
    let mut woken = std::mem::take(&mut kept.lock().woken);
    woken.drain(..).for_each(Waker::wake);
    // The memory is used again.
    let mut kept = kept.lock();
    if kept.woken.capacity() == 0 {
        kept.woken = woken;
    }
}

impl DeferredWakes {
    /// Takes everything; the caller [runs](Deferred::run) it.
    fn take(&self) -> Deferred {
        std::mem::take(&mut *self.lock())
    }

    /// Takes the tasks, for another thread to [run](Deferred::run), and has it do the work. This thread keeps the work,
    /// because it may go on before the other one begins.
    pub(crate) fn take_over(&self) -> Deferred {
        let mut kept = self.lock();
        let work = match std::mem::replace(&mut kept.is_work_taken_over, true) {
            true => Vec::new(),
            false => kept.work.clone(),
        };
        Deferred {
            work,
            woken: std::mem::take(&mut kept.woken),
            yielded: std::mem::take(&mut kept.yielded),
            ..Deferred::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Deferred> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deferred {
    pub(crate) fn is_empty(&self) -> bool {
        self.work.is_empty() && self.woken.is_empty() && self.yielded.is_empty()
    }

    /// Does the work and wakes the tasks, on this thread.
    pub(crate) fn run(self) {
        let mut allowance = TURN_ALLOWANCE;
        self.work
            .into_iter()
            .for_each(|work| work.run(&mut allowance));
        let woken = self.woken.into_iter().chain(self.yielded);
        woken.for_each(Waker::wake);
    }
}

// Per thread, because a waker that a callback calls has no other way to what its thread keeps.
thread_local! {
    static IS_KEEPING: Cell<bool> = const { Cell::new(false) };
    static HAS_KEPT: Cell<bool> = const { Cell::new(false) };
    static HAS_WORK: Cell<bool> = const { Cell::new(false) };
    static KEPT: Cell<Option<&'static DeferredWakes>> = const { Cell::new(None) };
}

/// Global, because a waker that a callback calls knows no runtime.
static RELAY: Mutex<Relay> = Mutex::new(Relay {
    woken: Vec::new(),
    waker: None,
});

/// The most wakers that are kept, so that all workers take part in what one callback causes.
const KEPT_MAX: usize = 32;
/// The steps of work at the end of a turn, before other tasks run.
pub(crate) const TURN_ALLOWANCE: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_is_woken_when_the_poll_is_over_or_when_another_thread_takes_it_before() {
        let count = Arc::new(Count::default());
        let woken = || count.0.load(Ordering::Relaxed);
        wake(count.clone().into());
        assert_eq!(woken(), 1, "outside a poll at once");

        let keeping = defer();
        wake(count.clone().into());
        assert_eq!(woken(), 1);
        let kept = of_this_thread();
        std::thread::spawn(|| kept.take_over().run())
            .join()
            .expect("it does not panic");
        assert_eq!(woken(), 2, "before the poll is over");

        wake(count.clone().into());
        drop(keeping);
        assert_eq!(woken(), 3, "and each once");
    }

    #[test]
    fn work_is_done_once_when_the_turn_is_over_or_when_something_is_to_follow_it() {
        #[derive(Debug, Default)]
        struct Job(AtomicUsize);
        impl TurnWork for Job {
            fn run(self: Arc<Self>, _: &mut usize) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }

            fn run_before_more(self: Arc<Self>, allowance: &mut usize) {
                self.run(allowance);
            }
        }
        let job = Arc::new(Job::default());
        let done = || job.0.load(Ordering::Relaxed);
        at_turn_end(job.clone());
        assert_eq!(done(), 1, "outside a turn at once");

        let keeping = defer();
        at_turn_end(job.clone());
        at_turn_end(job.clone());
        assert_eq!(done(), 1);
        do_work_now();
        assert_eq!(done(), 2);
        at_turn_end(job.clone());
        let kept = of_this_thread();
        let taken_over = kept.take_over();
        assert!(kept.take_over().is_empty(), "one other thread does it");
        do_work_now();
        assert_eq!(done(), 3, "whether or not the other thread begins");
        taken_over.run();
        at_turn_end(job.clone());
        drop(keeping);
        assert_eq!(done(), 5);
    }

    #[tokio::test]
    async fn a_poll_that_wakes_many_tasks_keeps_only_a_few() {
        let count = Arc::new(Count::default());
        let keeping = defer();
        for _ in 0..KEPT_MAX + 3 {
            wake(count.clone().into());
        }
        assert_eq!(count.0.load(Ordering::Relaxed), KEPT_MAX);
        drop(keeping);
        assert_eq!(count.0.load(Ordering::Relaxed), KEPT_MAX + 3);
    }
}
