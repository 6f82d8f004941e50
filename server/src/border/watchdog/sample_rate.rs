//! How often the watchdog looks.
//!
//! A callback of less than a millisecond needs no watching, and nearly all are shorter: while
//! callbacks run the watchdog looks now and then, and whether one that it sees is a long one shows
//! in a second look right behind. As long as there are long ones it looks often, to see each of
//! them early; while none runs at all it sleeps.

use std::time::Duration;

/// When the next look is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleRate {
    /// Now and then; so many looks in a row have seen no callback.
    Slow { idle: u32 },
    /// Once, right behind one that saw a callback.
    Again,
    /// Often; so many looks ago a callback turned late.
    Fast { calm: u32 },
    /// When a callback begins.
    Asleep,
}

/// What a look saw on all threads; of several things the last of these counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Observation {
    /// No callback.
    Nothing,
    /// A callback that is known to be late.
    Late,
    /// A callback that may have begun just now.
    Fresh,
    /// A callback that this look and the one before saw.
    TurnedLate,
}

impl SampleRate {
    /// How long to rest before the next look; none is until a callback begins.
    pub(super) fn rest(self) -> Option<Duration> {
        match self {
            SampleRate::Slow { .. } => Some(SLOW),
            SampleRate::Again | SampleRate::Fast { .. } => Some(FAST),
            SampleRate::Asleep => None,
        }
    }

    /// What follows a look. While it `must_stay` awake, the watchdog does.
    pub(super) fn after(self, observation: Observation, must_stay: bool) -> SampleRate {
        match (self, observation) {
            (_, Observation::TurnedLate) => SampleRate::Fast { calm: 0 },
            (SampleRate::Fast { calm }, _) if calm < CALM_SAMPLES => {
                SampleRate::Fast { calm: calm + 1 }
            }
            (SampleRate::Slow { .. } | SampleRate::Asleep, Observation::Fresh) => SampleRate::Again,
            (SampleRate::Slow { idle }, Observation::Nothing)
                if idle < IDLE_SAMPLES || must_stay =>
            {
                SampleRate::Slow {
                    idle: idle.saturating_add(1),
                }
            }
            (SampleRate::Slow { .. }, Observation::Nothing) => SampleRate::Asleep,
            _ => SampleRate::Slow { idle: 0 },
        }
    }
}

/// The watchdog's usual rest.
pub(super) const SLOW: Duration = Duration::from_millis(5);
/// A callback that lasts longer is late: others are woken in its worker's place.
const FAST: Duration = Duration::from_micros(300);
/// Looks without a callback after which the watchdog sleeps: 100 ms.
const IDLE_SAMPLES: u32 = 20;
/// Looks without a callback that turns late, after which the watchdog looks less often: 1 s.
const CALM_SAMPLES: u32 = 3_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_looks_often_while_callbacks_are_long_and_sleeps_without_any() {
        let slow = SampleRate::Slow { idle: 0 };
        let fast = SampleRate::Fast { calm: 0 };
        let idle = SampleRate::Slow { idle: IDLE_SAMPLES };
        let calm = SampleRate::Fast { calm: CALM_SAMPLES };
        for (rate, observation, must_stay, next) in [
            (
                slow,
                Observation::Nothing,
                false,
                SampleRate::Slow { idle: 1 },
            ),
            (idle, Observation::Nothing, false, SampleRate::Asleep),
            (
                idle,
                Observation::Nothing,
                true,
                SampleRate::Slow { idle: 21 },
            ),
            (idle, Observation::Late, false, slow),
            (idle, Observation::Fresh, false, SampleRate::Again),
            (slow, Observation::TurnedLate, false, fast),
            (SampleRate::Asleep, Observation::Nothing, false, slow),
            (
                SampleRate::Asleep,
                Observation::Fresh,
                false,
                SampleRate::Again,
            ),
            (SampleRate::Again, Observation::Nothing, false, slow),
            // Another callback than the one before: short ones, one after another.
            (SampleRate::Again, Observation::Fresh, false, slow),
            (SampleRate::Again, Observation::TurnedLate, false, fast),
            (
                fast,
                Observation::Nothing,
                false,
                SampleRate::Fast { calm: 1 },
            ),
            (
                fast,
                Observation::Fresh,
                false,
                SampleRate::Fast { calm: 1 },
            ),
            (fast, Observation::Late, true, SampleRate::Fast { calm: 1 }),
            (calm, Observation::Fresh, false, slow),
            (calm, Observation::Late, false, slow),
            (calm, Observation::TurnedLate, false, fast),
        ] {
            assert_eq!(
                rate.after(observation, must_stay),
                next,
                "{rate:?} {observation:?}"
            );
        }
    }
}
