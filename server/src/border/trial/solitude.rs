//! Whether a trial was the only one under way.

use std::sync::{Mutex, PoisonError};

/// A trial under way, to find out whether another one was at the same time.
pub(super) struct Solitude {
    /// Trials that have begun, this one included; 0 if there was another one already.
    begun: u64,
}

impl Solitude {
    pub(super) fn begin() -> Solitude {
        let mut trials = TRIALS.lock().unwrap_or_else(PoisonError::into_inner);
        trials.begun += 1;
        trials.running += 1;
        Solitude {
            begun: if trials.running == 1 { trials.begun } else { 0 },
        }
    }

    /// Whether there was no other one from its beginning to its end.
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
        assert!(Solitude::begin().end());

        let first = Solitude::begin();
        let second = Solitude::begin();
        assert!(!second.end(), "it began beside the first");
        assert!(!first.end(), "another one began and ended meanwhile");

        let first = Solitude::begin();
        let second = Solitude::begin();
        assert!(!first.end());
        assert!(!second.end(), "the first ended meanwhile");
        assert!(Solitude::begin().end());
    }
}
