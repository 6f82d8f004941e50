//! The watchdog's sleep while no callback runs. The first callback that begins ends it.
//!
//! A callback that begins first stores that it runs, then reads whether the watchdog sleeps. The watchdog first stores that
//! it sleeps, then reads whether callbacks run. One of the two sees the other, if each store is visible before the read
//! behind it. A fence ensures that, but a fence in each callback would cost more than all the rest of watching it. So the
//! watchdog has the kernel make one on every processor that runs a callback (`membarrier(2)`).

#[cfg(test)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(test))]
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the watchdog sleeps until a callback begins.
#[derive(Debug)]
pub(super) struct IdleSleep {
    is_asleep: AtomicBool,
}

impl IdleSleep {
    #[cfg(not(test))]
    pub(super) const fn new() -> IdleSleep {
        let is_asleep = AtomicBool::new(false);
        IdleSleep { is_asleep }
    }

    #[cfg(test)]
    pub(super) fn new() -> IdleSleep {
        let is_asleep = AtomicBool::new(false);
        IdleSleep { is_asleep }
    }

    /// Begins the sleep, and returns true, unless a callback runs. `runs` is asked only after each callback that begins from
    /// now on is sure to see the sleep.
    pub(super) fn try_begin(&self, runs: impl FnOnce() -> bool) -> bool {
        self.is_asleep.store(true, Ordering::Relaxed);
        fence::heavy();
        let may_sleep = !runs();
        if !may_sleep {
            self.end();
        }
        may_sleep
    }

    /// Ends the sleep, when the watchdog is awake.
    pub(super) fn end(&self) {
        self.is_asleep.store(false, Ordering::Relaxed);
    }

    /// Whether the watchdog may sleep, so that a callback that began must call [`take`](Self::take).
    #[inline]
    pub(super) fn is_asleep(&self) -> bool {
        fence::light();
        self.is_asleep.load(Ordering::Relaxed)
    }

    /// Ends the sleep. True for one caller, which then wakes the watchdog.
    pub(super) fn take(&self) -> bool {
        self.is_asleep.swap(false, Ordering::Relaxed)
    }
}

/// A fence of two halves: `heavy` on one thread makes one of each `light` on the others.
#[cfg(not(test))]
mod fence {
    use std::sync::LazyLock;
    use std::sync::atomic::{Ordering, compiler_fence, fence};
    use std::time::Duration;

    use rustix::thread::{MembarrierCommand, membarrier};

    use crate::process::optional::{Optional, is_allowed};

    /// Keeps the compiler from reordering, which costs no instruction. The processor's order is up to `heavy`.
    #[inline]
    pub(super) fn light() {
        compiler_fence(Ordering::SeqCst);
    }

    /// Runs a fence on every processor on which this process runs.
    pub(super) fn heavy() {
        fence(Ordering::SeqCst);
        if !*IS_REGISTERED || membarrier(MembarrierCommand::PrivateExpedited).is_err() {
            // Without the kernel's help, time does it: a store is visible to other processors within microseconds.
            std::thread::sleep(SETTLED);
            fence(Ordering::SeqCst);
        }
    }

    /// Whether the kernel makes fences for this process. Global, because the registration is the process's.
    static IS_REGISTERED: LazyLock<bool> = LazyLock::new(|| {
        is_allowed(Optional::Fences)
            && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
    });
    /// How long a store needs at most to become visible to all processors.
    const SETTLED: Duration = Duration::from_millis(1);
}

/// The fences of loom's model, in which each half is a whole fence.
#[cfg(test)]
mod fence {
    use loom::sync::atomic::{Ordering, fence};

    pub(super) fn light() {
        fence(Ordering::SeqCst);
    }

    pub(super) fn heavy() {
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use loom::sync::atomic::AtomicU64;
    use loom::thread;

    use super::*;

    #[test]
    fn a_watchdog_never_sleeps_while_a_callback_runs_that_did_not_wake_it() {
        loom::model(|| {
            let sleep = Arc::new(IdleSleep::new());
            // Stands for `Slot::since`.
            let since = Arc::new(AtomicU64::new(0));
            let (its_sleep, its_since) = (sleep.clone(), since.clone());
            let callback = thread::spawn(move || {
                its_since.store(1, Ordering::Release);
                its_sleep.is_asleep() && its_sleep.take()
            });

            let sleeps = sleep.try_begin(|| since.load(Ordering::Acquire) != 0);

            let woke = callback.join().unwrap();
            assert!(!sleeps || woke);
        });
    }
}
