//! How the watchdog falls asleep while no callback runs, and is woken by the first that begins.
//!
//! A callback that begins first says so and then looks whether the watchdog sleeps; the watchdog
//! first says that it sleeps and then looks for callbacks. One of the two sees the other, provided
//! that neither looks before its own word is out. Callbacks are many, and a fence for each would
//! cost more than all the rest of watching them: so the kernel makes one on their processors for
//! the watchdog, which pays for both (`membarrier(2)`).

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

    /// True if the watchdog may sleep. It may not if a callback `runs`, which is looked at after
    /// every callback that begins from now on has been told to wake it.
    pub(super) fn try_begin(&self, runs: impl FnOnce() -> bool) -> bool {
        self.is_asleep.store(true, Ordering::Relaxed);
        fence::heavy();
        let may_sleep = !runs();
        if !may_sleep {
            self.end();
        }
        may_sleep
    }

    /// The watchdog looks again.
    pub(super) fn end(&self) {
        self.is_asleep.store(false, Ordering::Relaxed);
    }

    /// Whether a callback that began must look whether to wake the watchdog.
    #[inline]
    pub(super) fn is_asleep(&self) -> bool {
        fence::light();
        self.is_asleep.load(Ordering::Relaxed)
    }

    /// Whether the watchdog sleeps; true to one caller, which wakes it.
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

    /// Free: the compiler keeps the order, and the processor for as long as `heavy` does not ask.
    #[inline]
    pub(super) fn light() {
        compiler_fence(Ordering::SeqCst);
    }

    /// Runs a fence on every processor on which this process runs.
    pub(super) fn heavy() {
        fence(Ordering::SeqCst);
        if !*IS_REGISTERED || membarrier(MembarrierCommand::PrivateExpedited).is_err() {
            // A processor writes down what it has said within microseconds.
            std::thread::sleep(SETTLED);
            fence(Ordering::SeqCst);
        }
    }

    /// Whether the kernel makes fences for us.
    static IS_REGISTERED: LazyLock<bool> = LazyLock::new(|| {
        is_allowed(Optional::Fences)
            && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
    });
    const SETTLED: Duration = Duration::from_millis(1);
}

/// For the model both halves are whole.
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
            // As `Slot::since`.
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
