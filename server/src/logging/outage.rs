//! When something of the log that fails is said to fail, and when it is tried again.

use std::time::{Duration, Instant};

/// Whether something works, such as writing to the log file. Nothing is tried between two attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Outage {
    /// It works, or was not tried yet.
    #[default]
    None,
    /// It failed, and is tried again at this time.
    Until(Instant),
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutageNews {
    /// It is as it was.
    Nothing,
    /// It fails from now on.
    Begins,
    /// It works again.
    Ends,
}

impl Outage {
    /// The state after an attempt that ended at `now`, and what is to be said of it.
    pub(super) fn step(self, has_worked: bool, now: Instant) -> (Outage, OutageNews) {
        match (self, has_worked) {
            (Outage::None, true) => (Outage::None, OutageNews::Nothing),
            (Outage::Until(_), true) => (Outage::None, OutageNews::Ends),
            (Outage::None, false) => (Outage::Until(now + RETRY), OutageNews::Begins),
            (Outage::Until(_), false) => (Outage::Until(now + RETRY), OutageNews::Nothing),
        }
    }

    /// When it is to be tried again. `None` while it works.
    pub(super) fn next_try(self) -> Option<Instant> {
        match self {
            Outage::None => None,
            Outage::Until(at) => Some(at),
        }
    }

    /// Whether an attempt is to be made at `now`.
    pub(super) fn is_over(self, now: Instant) -> bool {
        self.next_try().is_none_or(|at| at <= now)
    }
}

/// From a failure to the next attempt.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_said_once_and_tried_once_in_a_while_until_it_works() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let until = |millis| Outage::Until(at(millis));
        let mut outage = Outage::default();
        for (millis, has_worked, state, news) in [
            (0, true, Outage::None, OutageNews::Nothing),
            (100, false, until(1_100), OutageNews::Begins),
            (1_100, false, until(2_100), OutageNews::Nothing),
            (2_100, true, Outage::None, OutageNews::Ends),
            (2_200, true, Outage::None, OutageNews::Nothing),
            (2_300, false, until(3_300), OutageNews::Begins),
        ] {
            assert_eq!(
                outage.step(has_worked, at(millis)),
                (state, news),
                "{millis}"
            );
            outage = state;
        }
        assert_eq!(outage.next_try(), Some(at(3_300)));
        assert!(!outage.is_over(at(3_299)) && outage.is_over(at(3_300)));
        assert!(Outage::None.is_over(start));
    }
}
