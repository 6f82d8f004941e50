//! Workers of the runtime that rest until others are held by callbacks that do not return.
//!
//! A runtime gets no more workers than it began with, and a worker that is in a callback cannot be
//! taken out of it. So most of the workers sleep from the beginning, each in a task that blocks on
//! purpose; one is let go for every worker that is stuck, and is sent back when that one is free.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::runtime::Handle;

/// The resting workers of a runtime.
pub(super) struct Reserve {
    runtime: Handle,
    /// How many there are when nobody is stuck.
    pub(super) workers: usize,
    rest: Arc<Rest>,
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
    pub(super) fn new(runtime: Handle, workers: usize) -> Reserve {
        let reserve = Reserve {
            runtime,
            workers,
            rest: Arc::default(),
        };
        reserve.replace(0);
        reserve
    }

    /// As many work in place of others as are stuck, if so many are there.
    pub(super) fn replace(&self, stuck: usize) {
        let wanted = self.workers.saturating_sub(stuck);
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
                rest.take();
            });
        }
    }

    /// Makes a worker that sleeps look for work, and drive the I/O if nobody does.
    pub(super) fn stir(&self) {
        self.runtime.spawn(async {});
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
