//! How often the watchdog samples what runs on the threads.
//!
//! A callback of less than a millisecond needs no watching, and nearly all callbacks are shorter. So the watchdog samples
//! slowly, and a second sample right behind one that saw a callback shows whether it is a long one. As long as there are
//! long callbacks, it samples fast, to see each of them early. While no callback runs at all, it sleeps.

use std::time::Duration;

/// When the next sample is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleRate {
    /// After a usual rest. `idle` samples in a row have seen no callback.
    Slow { idle: u32 },
    /// Once, right behind a sample that saw a callback.
    Again,
    /// After a short rest. The last `calm` samples have seen no callback turn late.
    Fast { calm: u32 },
    /// When the next callback begins.
    Asleep,
}

/// What a sample saw. For all threads together it is the greatest of what each showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ThreadObservation {
    /// No callback.
    Nothing,
    /// A callback that is known to be late.
    Late,
    /// A callback that may have begun just now.
    Fresh,
    /// A callback that this sample and the previous one saw.
    TurnedLate,
}

impl SampleRate {
    /// How long the watchdog rests before the next sample. `None`: until a callback begins.
    pub(super) fn rest(self) -> Option<Duration> {
        match self {
            SampleRate::Slow { .. } => Some(SLOW),
            SampleRate::Again | SampleRate::Fast { .. } => Some(FAST),
            SampleRate::Asleep => None,
        }
    }

    /// The rate after a sample. `must_stay` keeps the watchdog from falling asleep.
    pub(super) fn after(self, observation: ThreadObservation, must_stay: bool) -> SampleRate {
        match (self, observation) {
            (_, ThreadObservation::TurnedLate) => SampleRate::Fast { calm: 0 },
            (SampleRate::Fast { calm }, _) if calm < CALM_SAMPLES => {
                SampleRate::Fast { calm: calm + 1 }
            }
            (SampleRate::Slow { .. } | SampleRate::Asleep, ThreadObservation::Fresh) => {
                SampleRate::Again
            }
            (SampleRate::Slow { idle }, ThreadObservation::Nothing)
                if idle < IDLE_SAMPLES || must_stay =>
            {
                SampleRate::Slow {
                    idle: idle.saturating_add(1),
                }
            }
            (SampleRate::Slow { .. }, ThreadObservation::Nothing) => SampleRate::Asleep,
            _ => SampleRate::Slow { idle: 0 },
        }
    }
}

/// The watchdog's usual rest.
pub(super) const SLOW: Duration = Duration::from_millis(5);
/// The short rest. A callback that lasts longer is late, and an idle worker is woken in its place.
const FAST: Duration = Duration::from_micros(300);
/// Samples without a callback after which the watchdog sleeps: 100 ms.
const IDLE_SAMPLES: u32 = 20;
/// Fast samples without a callback that turns late, after which the watchdog samples slowly again: 1 s.
const CALM_SAMPLES: u32 = 3_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_samples_fast_while_callbacks_are_long_and_sleeps_without_any() {
        let slow = SampleRate::Slow { idle: 0 };
        let fast = SampleRate::Fast { calm: 0 };
        let idle = SampleRate::Slow { idle: IDLE_SAMPLES };
        let calm = SampleRate::Fast { calm: CALM_SAMPLES };
        for (rate, observation, must_stay, next) in [
            (
                slow,
                ThreadObservation::Nothing,
                false,
                SampleRate::Slow { idle: 1 },
            ),
            (idle, ThreadObservation::Nothing, false, SampleRate::Asleep),
            (
                idle,
                ThreadObservation::Nothing,
                true,
                SampleRate::Slow { idle: 21 },
            ),
            (idle, ThreadObservation::Late, false, slow),
            (idle, ThreadObservation::Fresh, false, SampleRate::Again),
            (slow, ThreadObservation::TurnedLate, false, fast),
            (SampleRate::Asleep, ThreadObservation::Nothing, false, slow),
            (
                SampleRate::Asleep,
                ThreadObservation::Fresh,
                false,
                SampleRate::Again,
            ),
            (SampleRate::Again, ThreadObservation::Nothing, false, slow),
            // Short callbacks, one after another.
            (SampleRate::Again, ThreadObservation::Fresh, false, slow),
            (
                SampleRate::Again,
                ThreadObservation::TurnedLate,
                false,
                fast,
            ),
            (
                fast,
                ThreadObservation::Nothing,
                false,
                SampleRate::Fast { calm: 1 },
            ),
            (
                fast,
                ThreadObservation::Fresh,
                false,
                SampleRate::Fast { calm: 1 },
            ),
            (
                fast,
                ThreadObservation::Late,
                true,
                SampleRate::Fast { calm: 1 },
            ),
            (calm, ThreadObservation::Fresh, false, slow),
            (calm, ThreadObservation::Late, false, slow),
            (calm, ThreadObservation::TurnedLate, false, fast),
        ] {
            assert_eq!(
                rate.after(observation, must_stay),
                next,
                "{rate:?} {observation:?}"
            );
        }
    }
}
