//! How often the watchdog looks.
//!
//! A callback of less than a millisecond needs no watching, and nearly all are shorter: while
//! callbacks run the watchdog looks now and then, and whether one that it sees is a long one shows
//! in a second look right behind. As long as there are long ones it looks often, to see each of
//! them early; while none runs at all it sleeps.

use std::time::Duration;

/// When the next look is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
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
pub(super) enum Sight {
    /// No callback.
    Nothing,
    /// A callback that is known to be late.
    Late,
    /// A callback that may have begun just now.
    Fresh,
    /// A callback that this look and the one before saw.
    TurnedLate,
}

impl Pace {
    /// How long to rest before the next look; none is until a callback begins.
    pub(super) fn rest(self) -> Option<Duration> {
        match self {
            Pace::Slow { .. } => Some(SLOW),
            Pace::Again | Pace::Fast { .. } => Some(FAST),
            Pace::Asleep => None,
        }
    }

    /// What follows a look. While it `must_stay` awake, the watchdog does.
    pub(super) fn after(self, sight: Sight, must_stay: bool) -> Pace {
        match (self, sight) {
            (_, Sight::TurnedLate) => Pace::Fast { calm: 0 },
            (Pace::Fast { calm }, _) if calm < CALM_LOOKS => Pace::Fast { calm: calm + 1 },
            (Pace::Slow { .. } | Pace::Asleep, Sight::Fresh) => Pace::Again,
            (Pace::Slow { idle }, Sight::Nothing) if idle < IDLE_LOOKS || must_stay => Pace::Slow {
                idle: idle.saturating_add(1),
            },
            (Pace::Slow { .. }, Sight::Nothing) => Pace::Asleep,
            _ => Pace::Slow { idle: 0 },
        }
    }
}

/// The watchdog's usual rest.
pub(super) const SLOW: Duration = Duration::from_millis(5);
/// A callback that lasts longer is late: others are woken in its worker's place.
const FAST: Duration = Duration::from_micros(300);
/// Looks without a callback after which the watchdog sleeps: 100 ms.
const IDLE_LOOKS: u32 = 20;
/// Looks without a callback that turns late, after which the watchdog looks less often: 1 s.
const CALM_LOOKS: u32 = 3_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_looks_often_while_callbacks_are_long_and_sleeps_without_any() {
        let slow = Pace::Slow { idle: 0 };
        let fast = Pace::Fast { calm: 0 };
        let idle = Pace::Slow { idle: IDLE_LOOKS };
        let calm = Pace::Fast { calm: CALM_LOOKS };
        for (pace, sight, must_stay, next) in [
            (slow, Sight::Nothing, false, Pace::Slow { idle: 1 }),
            (idle, Sight::Nothing, false, Pace::Asleep),
            (idle, Sight::Nothing, true, Pace::Slow { idle: 21 }),
            (idle, Sight::Late, false, slow),
            (idle, Sight::Fresh, false, Pace::Again),
            (slow, Sight::TurnedLate, false, fast),
            (Pace::Asleep, Sight::Nothing, false, slow),
            (Pace::Asleep, Sight::Fresh, false, Pace::Again),
            (Pace::Again, Sight::Nothing, false, slow),
            // Another callback than the one before: short ones, one after another.
            (Pace::Again, Sight::Fresh, false, slow),
            (Pace::Again, Sight::TurnedLate, false, fast),
            (fast, Sight::Nothing, false, Pace::Fast { calm: 1 }),
            (fast, Sight::Fresh, false, Pace::Fast { calm: 1 }),
            (fast, Sight::Late, true, Pace::Fast { calm: 1 }),
            (calm, Sight::Fresh, false, slow),
            (calm, Sight::Late, false, slow),
            (calm, Sight::TurnedLate, false, fast),
        ] {
            assert_eq!(pace.after(sight, must_stay), next, "{pace:?} {sight:?}");
        }
    }
}
