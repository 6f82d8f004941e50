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

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::runtime::Handle;

/// The wakers that one thread keeps. It lives as long as the process.
#[derive(Debug, Default)]
pub(crate) struct DeferredWakes(Mutex<Vec<Waker>>);

/// While this exists, the thread keeps the tasks that it wakes. Dropping it wakes them.
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
        IS_KEEPING.set(false);
        if HAS_KEPT.get() {
            wake_kept();
        }
    }
}

/// Wakes the task of a connection: now, or at the end of the poll that this is called in.
pub(crate) fn wake(waker: Waker) {
    if !IS_KEEPING.get() {
        return wake_from_outside(waker);
    }
    HAS_KEPT.set(true);
    let mut kept = of_this_thread().lock();
    kept.push(waker);
    if kept.len() >= KEPT_MAX {
        let full = std::mem::take(&mut *kept);
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

/// Wakes the tasks that this thread kept.
#[cold]
fn wake_kept() {
    HAS_KEPT.set(false);
    let kept = of_this_thread();
    let mut woken = kept.take();
    woken.drain(..).for_each(Waker::wake);
    // The memory is used again.
    let mut kept = kept.lock();
    if kept.capacity() == 0 {
        *kept = woken;
    }
}

impl DeferredWakes {
    /// Takes all wakers; the caller wakes them.
    pub(crate) fn take(&self) -> Vec<Waker> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Per thread, because a waker that a callback calls has no other way to what its thread keeps.
thread_local! {
    static IS_KEEPING: Cell<bool> = const { Cell::new(false) };
    static HAS_KEPT: Cell<bool> = const { Cell::new(false) };
    static KEPT: Cell<Option<&'static DeferredWakes>> = const { Cell::new(None) };
}

/// Global, because a waker that a callback calls knows no runtime.
static RELAY: Mutex<Relay> = Mutex::new(Relay {
    woken: Vec::new(),
    waker: None,
});

/// The most wakers that are kept. A publication to many sessions is thus sent by all workers at once.
const KEPT_MAX: usize = 32;

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
        std::thread::spawn(|| kept.take().into_iter().for_each(Waker::wake))
            .join()
            .expect("it does not panic");
        assert_eq!(woken(), 2, "before the poll is over");

        wake(count.clone().into());
        drop(keeping);
        assert_eq!(woken(), 3, "and each once");
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
