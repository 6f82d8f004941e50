//! Workers of the runtime that rest until callbacks that do not return hold other workers.
//!
//! A runtime cannot get more workers later, and a worker cannot be taken out of a callback. So more than half
//! of the workers sleep from the beginning, each in a task that blocks on purpose. For every worker that is
//! stuck one of them is released, and rests again when the stuck one is free.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::runtime::Handle;

use crate::runtime::memory;
use crate::runtime::wakes::{self, Deferred};

/// The resting workers of a runtime.
pub(crate) struct Reserve {
    runtime: Handle,
    /// How many workers work when none is stuck.
    pub(crate) usual: usize,
    /// How many workers rest when none is stuck.
    pub(crate) workers: usize,
    rest: Arc<Rest>,
}

/// How many workers of the reserve rest now. They are released one after another: a handler that holds
/// workers would take all of them before the watchdog sees it.
#[derive(Debug)]
pub(crate) struct RestingWorkers {
    rests: usize,
    /// The tick at which a worker was released last.
    since: u64,
}

#[derive(Default)]
struct Rest {
    counts: Mutex<RestCounts>,
    changed: Condvar,
}

#[derive(Default)]
struct RestCounts {
    /// How many are to rest.
    wanted: usize,
    /// How many rest, or are about to.
    resting: usize,
}

impl Reserve {
    /// The reserve: all workers of the runtime except the `usual` ones that work.
    pub(crate) fn new(runtime: Handle, usual: usize) -> Reserve {
        let workers = runtime.metrics().num_workers() - usual;
        let reserve = Reserve {
            runtime,
            usual,
            workers,
            rest: Arc::default(),
        };
        reserve.rest(workers);
        reserve
    }

    /// Has `wanted` workers rest from now on. The others work in place of workers that are stuck.
    pub(crate) fn rest(&self, wanted: usize) {
        let mut counts = self.rest.lock();
        if counts.wanted == wanted && counts.resting == wanted {
            return;
        }
        counts.wanted = wanted;
        self.rest.changed.notify_all();
        while counts.resting < wanted {
            counts.resting += 1;
            let rest = self.rest.clone();
            self.runtime.spawn(async move {
                // What tokio keeps on this worker for later is woken before this task runs on.
                #[allow(
                    clippy::disallowed_methods,
                    reason = "this task is to lie behind what lies on this worker"
                )]
                tokio::task::yield_now().await;
                // A task that has yielded to others would wait here until this worker works again.
                wakes::run_kept();
                // This worker may drive the I/O. A new task makes another worker look for work, and takes the place of one
                // that was woken here, where no other worker would find it.
                tokio::spawn(async {});
                memory::forget_here();
                rest.take();
            });
        }
    }

    /// Makes a sleeping worker look for work, and drive the I/O if no worker does. It does what a stuck worker
    /// kept, and wakes its tasks, which other workers then find before those woken from outside the runtime.
    pub(crate) fn wake_worker(&self, kept: Deferred) {
        self.runtime.spawn(async move { kept.run() });
    }
}

impl RestingWorkers {
    pub(crate) fn new(rests: usize) -> RestingWorkers {
        RestingWorkers { rests, since: 0 }
    }

    /// Goes towards `wanted` resting workers and returns how many rest now. While a handler is throttled
    /// (`is_held`), no worker is sent to rest.
    pub(crate) fn towards(&mut self, wanted: usize, is_held: bool, now: u64) -> usize {
        if wanted < self.rests && now - self.since >= RELEASE_TICKS {
            self.rests -= 1;
            self.since = now;
        } else if wanted > self.rests && !is_held {
            self.rests = wanted;
        }
        self.rests
    }
}

impl Rest {
    /// Blocks the calling worker for as long as it is to rest.
    fn take(&self) {
        let mut counts = self.lock();
        while counts.resting <= counts.wanted {
            let woken = self.changed.wait(counts);
            counts = woken.unwrap_or_else(PoisonError::into_inner);
        }
        counts.resting -= 1;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RestCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watchdog's ticks between two releases: long enough to see that the first worker is stuck too.
const RELEASE_TICKS: u64 = 3;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;
    use std::time::{Duration, Instant};

    use tokio::runtime::Builder;

    use super::*;

    /// A task that counts how often it went on after it had yielded to others.
    async fn count_turns(turns: Arc<AtomicUsize>) {
        loop {
            let mut has_yielded = false;
            poll_fn(|cx| {
                wakes::note_resumed(cx);
                if has_yielded {
                    return Poll::Ready(());
                }
                has_yielded = true;
                wakes::yield_to_others(cx);
                Poll::Pending
            })
            .await;
            turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_that_has_yielded_goes_on_whatever_worker_goes_to_rest() {
        let runtime = Builder::new_multi_thread().worker_threads(3).build();
        let runtime = runtime.expect("a runtime");
        let reserve = Reserve::new(runtime.handle().clone(), 1);
        let turns = Arc::new(AtomicUsize::new(0));
        runtime.spawn(count_turns(turns.clone()));

        let goes_on = |before| {
            let began = Instant::now();
            while turns.load(Ordering::Relaxed) == before {
                if began.elapsed() > Duration::from_secs(10) {
                    return false;
                }
                std::thread::yield_now();
            }
            true
        };
        let stopped = (0..500).find(|_| {
            reserve.rest(0);
            reserve.rest(2);
            !goes_on(turns.load(Ordering::Relaxed))
        });
        // A worker that rests would keep the runtime from its end.
        reserve.rest(0);
        runtime.shutdown_background();
        assert_eq!(stopped, None, "the round in which it stopped");
    }

    #[test]
    fn workers_of_the_reserve_are_released_one_after_another_and_rest_again_at_once() {
        let mut share = RestingWorkers::new(4);
        assert_eq!(share.towards(2, true, 100), 3);
        assert_eq!(share.towards(2, true, 101), 3);
        assert_eq!(share.towards(2, true, 100 + RELEASE_TICKS), 2);
        assert_eq!(share.towards(2, true, 200), 2);

        assert_eq!(share.towards(4, true, 300), 2);
        assert_eq!(share.towards(4, false, 301), 4);
    }
}
