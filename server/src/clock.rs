//! The time to a few milliseconds, for the price of a load.
//!
//! Reading the real clock for every receive would cost as much as a short message does. While any
//! callback runs the watchdog ticks anyway, and keeps the time as it does so; while nothing happens
//! it sleeps, and whoever asks first reads the real one.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A moment: milliseconds since the process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Now, or a few milliseconds ago.
    #[inline]
    pub(crate) fn recent() -> Moment {
        if IS_KEPT.load(Ordering::Acquire) {
            return Moment(KEPT.load(Ordering::Relaxed));
        }
        Moment::now()
    }

    fn now() -> Moment {
        Moment(START.elapsed().as_millis() as u64)
    }

    pub(crate) fn instant(self) -> Instant {
        *START + Duration::from_millis(self.0)
    }
}

/// Keeps the time, to be called every few milliseconds until [`stop`].
pub(crate) fn keep() {
    KEPT.store(Moment::now().0, Ordering::Relaxed);
    IS_KEPT.store(true, Ordering::Release);
}

/// The time is not kept from now on.
pub(crate) fn stop() {
    IS_KEPT.store(false, Ordering::Relaxed);
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static KEPT: AtomicU64 = AtomicU64::new(0);
static IS_KEPT: AtomicBool = AtomicBool::new(false);
