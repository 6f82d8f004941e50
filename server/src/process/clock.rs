//! The time to a few milliseconds, for the price of a load.
//!
//! Reading the real clock for every receive would cost as much as a short message does. While any
//! callback runs the watchdog ticks anyway, and keeps the time as it does so; while nothing happens
//! it sleeps, and whoever asks first reads the real one.

use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A moment: milliseconds since the process began, counted from 1. An `Option` of it is as small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(NonZeroU64);

impl Moment {
    /// When the process began.
    pub(crate) const ORIGIN: Moment = Moment(NonZeroU64::MIN);

    /// Now, or a few milliseconds ago.
    #[inline]
    pub(crate) fn recent() -> Moment {
        if IS_KEPT.load(Ordering::Acquire) {
            return Moment(NonZeroU64::MIN.saturating_add(KEPT.load(Ordering::Relaxed)));
        }
        Moment::now()
    }

    pub(crate) fn now() -> Moment {
        Moment::ORIGIN.after(START.elapsed().as_millis() as u64)
    }

    /// The millisecond in which `instant` lies.
    pub(crate) fn at(instant: Instant) -> Moment {
        let since = instant.saturating_duration_since(*START);
        Moment::ORIGIN.after(since.as_millis() as u64)
    }

    /// So many milliseconds later.
    pub(crate) fn after(self, ms: u64) -> Moment {
        Moment(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; 0 if that is later.
    pub(crate) fn ms_since(self, earlier: Moment) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }

    /// A century after the process began is as late as it gets.
    pub(crate) fn instant(self) -> Instant {
        let ms = self.ms_since(Moment::ORIGIN);
        *START + Duration::from_millis(ms.min(CENTURY_MS))
    }
}

/// Keeps the time, to be called every few milliseconds until [`stop`].
pub(crate) fn keep() {
    let ms = Moment::now().ms_since(Moment::ORIGIN);
    KEPT.store(ms, Ordering::Relaxed);
    IS_KEPT.store(true, Ordering::Release);
}

/// The time is not kept from now on.
pub(crate) fn stop() {
    IS_KEPT.store(false, Ordering::Relaxed);
}

const CENTURY_MS: u64 = 100 * 365 * 24 * 3_600 * 1_000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static KEPT: AtomicU64 = AtomicU64::new(0);
static IS_KEPT: AtomicBool = AtomicBool::new(false);
