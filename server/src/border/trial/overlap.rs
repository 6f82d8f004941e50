//! Finds out whether a trial was the only one under way.

use std::sync::{Mutex, PoisonError};

/// A trial under way, which finds out whether another one was under way at any time meanwhile.
pub(super) struct OverlapCheck {
    /// The number of trials that have begun, this one included; 0 if another one was under way then.
    begun: u64,
}

impl OverlapCheck {
    pub(super) fn begin() -> OverlapCheck {
        let mut trials = TRIALS.lock().unwrap_or_else(PoisonError::into_inner);
        trials.begun += 1;
        trials.running += 1;
        OverlapCheck {
            begun: if trials.running == 1 { trials.begun } else { 0 },
        }
    }

    /// Ends it. True if no other trial was under way from its beginning to its end.
    pub(super) fn end(self) -> bool {
        let mut trials = TRIALS.lock().unwrap_or_else(PoisonError::into_inner);
        trials.running -= 1;
        trials.begun == self.begun
    }
}

struct Trials {
    begun: u64,
    running: u64,
}

/// Global, because all trials of the process share the one helper.
static TRIALS: Mutex<Trials> = Mutex::new(Trials {
    begun: 0,
    running: 0,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_alone_if_no_other_one_was_under_way_at_any_time_of_it() {
        // No other test holds a trial.
        assert!(OverlapCheck::begin().end());

        let first = OverlapCheck::begin();
        let second = OverlapCheck::begin();
        assert!(!second.end(), "it began beside the first");
        assert!(!first.end(), "another one began and ended meanwhile");

        let first = OverlapCheck::begin();
        let second = OverlapCheck::begin();
        assert!(!first.end());
        assert!(!second.end(), "the first ended meanwhile");
        assert!(OverlapCheck::begin().end());
    }
}
