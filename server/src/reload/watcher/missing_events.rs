//! Whether events tell of changes at all. Some file systems have no events, and a link may lead to a
//! directory that is not watched.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is known of the events for a set of directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MissingEvents {
    /// Every change that was found had a hint.
    Unsuspected {
        /// Whether a hint has come since the last look.
        is_hinted: bool,
    },
    /// No hint has told of this change, which was found at this time. One may still come.
    Suspected { path: PathBuf, since: Instant },
    /// A change had no hint in time, so that none is expected any more.
    Certain,
}

/// What follows from a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AfterLook {
    Nothing,
    /// Look again at this time: a hint may still come.
    LookAgain(Instant),
    /// Say that no event told of a change of this path.
    Tell(PathBuf),
}

impl Default for MissingEvents {
    fn default() -> MissingEvents {
        MissingEvents::Unsuspected { is_hinted: false }
    }
}

impl MissingEvents {
    /// The state after a hint.
    pub(super) fn after_hint(self) -> MissingEvents {
        match self {
            MissingEvents::Certain => MissingEvents::Certain,
            MissingEvents::Unsuspected { .. } | MissingEvents::Suspected { .. } => {
                MissingEvents::Unsuspected { is_hinted: true }
            }
        }
    }

    /// The state after a look that has found this change first, or none, and what follows.
    pub(super) fn after_look(
        self,
        changed: Option<&Path>,
        now: Instant,
    ) -> (MissingEvents, AfterLook) {
        let (path, since) = match (self, changed) {
            (MissingEvents::Certain, _) => return (MissingEvents::Certain, AfterLook::Nothing),
            (MissingEvents::Suspected { path, since }, _) => (path, since),
            (MissingEvents::Unsuspected { is_hinted: false }, Some(path)) => (path.to_owned(), now),
            (MissingEvents::Unsuspected { .. }, _) => {
                return (MissingEvents::default(), AfterLook::Nothing);
            }
        };
        let until = since + GRACE;
        if now < until {
            (
                MissingEvents::Suspected { path, since },
                AfterLook::LookAgain(until),
            )
        } else {
            (MissingEvents::Certain, AfterLook::Tell(path))
        }
    }
}

/// How long an event may take to arrive.
pub(super) const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_without_a_hint_in_time_shows_that_events_are_missing() {
        let start = Instant::now();
        let (soon, late) = (start + GRACE / 2, start + GRACE);
        let path = PathBuf::from("echo_wsh.so");
        let other = Some(Path::new("other_wsh.so"));
        let quiet = MissingEvents::default();
        let hinted = MissingEvents::Unsuspected { is_hinted: true };
        let suspected = || MissingEvents::Suspected {
            path: path.clone(),
            since: start,
        };
        let again = || AfterLook::LookAgain(late);
        for (state, changed, now, next, follows) in [
            (
                quiet.clone(),
                None,
                start,
                quiet.clone(),
                AfterLook::Nothing,
            ),
            (quiet.clone(), Some(&*path), start, suspected(), again()),
            (
                hinted.clone(),
                None,
                start,
                quiet.clone(),
                AfterLook::Nothing,
            ),
            (
                hinted.clone(),
                other,
                start,
                quiet.clone(),
                AfterLook::Nothing,
            ),
            (suspected(), None, soon, suspected(), again()),
            (suspected(), other, soon, suspected(), again()),
            (
                suspected(),
                None,
                late,
                MissingEvents::Certain,
                AfterLook::Tell(path.clone()),
            ),
            (
                suspected(),
                other,
                late,
                MissingEvents::Certain,
                AfterLook::Tell(path.clone()),
            ),
            (
                MissingEvents::Certain,
                other,
                late,
                MissingEvents::Certain,
                AfterLook::Nothing,
            ),
        ] {
            let found = state.clone().after_look(changed, now);
            assert_eq!(found, (next, follows), "{state:?} {changed:?}");
        }
        for (state, next) in [
            (quiet, hinted.clone()),
            (hinted.clone(), hinted.clone()),
            (suspected(), hinted),
            (MissingEvents::Certain, MissingEvents::Certain),
        ] {
            assert_eq!(state.clone().after_hint(), next, "{state:?}");
        }
    }
}
