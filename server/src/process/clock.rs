//! The time, exact to a few milliseconds, for the price of a load.
//!
//! Reading the system's clock for every receive would cost as much as a short message. While callbacks run,
//! the watchdog ticks anyway, and stores the time at each tick. While it sleeps, a caller reads the
//! system's clock.

use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A moment: milliseconds since the process began, counted from 1. An `Option` of it is as small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(NonZeroU64);

impl Moment {
    /// When the process began.
    pub(crate) const ORIGIN: Moment = Moment(NonZeroU64::MIN);

    /// The present moment, or one a few milliseconds ago.
    #[inline]
    pub(crate) fn recent() -> Moment {
        NonZeroU64::new(KEPT.load(Ordering::Relaxed)).map_or_else(Moment::now, Moment)
    }

    pub(crate) fn now() -> Moment {
        Moment::ORIGIN.after(START.elapsed().as_millis() as u64)
    }

    /// The millisecond in which `instant` lies.
    pub(crate) fn at(instant: Instant) -> Moment {
        let since = instant.saturating_duration_since(*START);
        Moment::ORIGIN.after(since.as_millis() as u64)
    }

    /// The moment `ms` milliseconds later.
    pub(crate) fn after(self, ms: u64) -> Moment {
        Moment(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; 0 if that is later.
    pub(crate) fn ms_since(self, earlier: Moment) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }

    /// This moment as an `Instant`, at most a century after the process began.
    pub(crate) fn instant(self) -> Instant {
        let ms = self.ms_since(Moment::ORIGIN);
        *START + Duration::from_millis(ms.min(CENTURY_MS))
    }
}

/// The time since the process began in nanoseconds, counted from 1.
pub(crate) fn nanos() -> u64 {
    let elapsed = START.elapsed().as_nanos();
    u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1)
}

/// Stores the time. The watchdog calls it every few milliseconds until [`stop`].
pub(crate) fn keep() {
    KEPT.store(Moment::now().0.get(), Ordering::Relaxed);
}

/// Says that the time is not stored from now on.
pub(crate) fn stop() {
    KEPT.store(0, Ordering::Relaxed);
}

const CENTURY_MS: u64 = 100 * 365 * 24 * 3_600 * 1_000;

// Global, because there is one time for the whole process, which every message asks for.

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// The moment that was stored; 0 while none is.
static KEPT: AtomicU64 = AtomicU64::new(0);
