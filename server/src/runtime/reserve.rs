//! Workers of the runtime that rest until others are held by callbacks that do not return.
//!
//! A runtime gets no more workers than it began with, and a worker that is in a callback cannot be
//! taken out of it. So most of the workers sleep from the beginning, each in a task that blocks on
//! purpose; one is let go for every worker that is stuck, and is sent back when that one is free.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;

use tokio::runtime::Handle;

use crate::runtime::memory;

/// The resting workers of a runtime.
pub(crate) struct Reserve {
    runtime: Handle,
    /// How many workers work when nobody is stuck.
    pub(crate) usual: usize,
    /// How many rest then.
    pub(crate) workers: usize,
    rest: Arc<Rest>,
}

/// How many of the reserve rest. One after another is let go, not all at once: whatever holds workers
/// takes those that come next too before that is seen.
#[derive(Debug)]
pub(crate) struct Share {
    rests: usize,
    /// The tick at which one was let go last.
    since: u64,
}

#[derive(Default)]
struct Rest {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default)]
struct Counts {
    /// How many are to rest.
    wanted: usize,
    /// How many rest, or were sent to.
    resting: usize,
}

impl Reserve {
    /// All workers of the runtime but those that usually work.
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

    /// So many rest from now on, and the others go on in place of workers that are stuck.
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
                // This worker may be the one that drives the I/O: another is made to look.
                tokio::spawn(async {});
                memory::forget_here();
                rest.take();
            });
        }
    }

    /// Makes a worker that sleeps look for work, and drive the I/O if no worker does. It wakes the
    /// tasks of `woken`, which then lie where workers find them before what they wake from outside.
    pub(crate) fn stir(&self, woken: Vec<Waker>) {
        self.runtime.spawn(async move {
            woken.into_iter().for_each(Waker::wake);
        });
    }
}

impl Share {
    pub(crate) fn new(rests: usize) -> Share {
        Share { rests, since: 0 }
    }

    /// How many rest now, of whom `wanted` would do in the long run. While handlers are `held` back,
    /// none that works is sent to rest.
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
    /// Blocks the worker for as long as it is to rest.
    fn take(&self) {
        let mut counts = self.lock();
        while counts.resting <= counts.wanted {
            let woken = self.changed.wait(counts);
            counts = woken.unwrap_or_else(PoisonError::into_inner);
        }
        counts.resting -= 1;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From one that is let go to the next, in the watchdog's ticks: long enough to see the first taken.
const RELEASE_TICKS: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_of_the_reserve_are_let_go_one_after_another_and_rest_again_at_once() {
        let mut share = Share::new(4);
        assert_eq!(share.towards(2, true, 100), 3);
        assert_eq!(share.towards(2, true, 101), 3);
        assert_eq!(share.towards(2, true, 100 + RELEASE_TICKS), 2);
        assert_eq!(share.towards(2, true, 200), 2);

        assert_eq!(share.towards(4, true, 300), 2);
        assert_eq!(share.towards(4, false, 301), 4);
    }
}
