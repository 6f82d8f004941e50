//! The life of a generation, from its load to the last thread of its plugin.

use std::time::{Duration, Instant};

/// A stage in the life of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Life {
    /// `init` has returned, and no route leads to it.
    #[default]
    Loaded,
    /// New sessions begin on it.
    Serving,
    /// It was superseded or removed, and may have sessions.
    Draining,
    /// It has no sessions any more, and `shutdown` runs or is about to.
    ShuttingDown,
    /// `shutdown` has returned; threads of the plugin may still run.
    Retired {
        since: Instant,
        /// Whether the log says that threads still run.
        is_told: bool,
    },
    /// None of its code runs any more.
    Silent,
}

/// What happens to a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LifeEvent {
    /// The table of routes leads to it.
    Serve,
    /// It was superseded or removed, or never serves.
    End,
    /// Its last session is gone, and none will come.
    Empty,
    /// `shutdown` has returned.
    ShutDown,
    /// It was looked at, and so many threads of the plugin run.
    Look { threads: usize },
}

/// What is to be done after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LifeAction {
    /// Call `serving(1)`.
    TellServing,
    /// Call `serving(0)`.
    TellNotServing,
    /// Call `shutdown`.
    ShutDown,
    /// Log that the generation is retired.
    LogRetired,
    /// Log that threads still run, which keep what they use.
    LogThreads,
    /// Free the plugin's thread keys, of which a process has few.
    FreeThreadKeys,
}

impl Life {
    /// The stage after an event, and what is to be done.
    pub(super) fn after(self, event: LifeEvent, now: Instant) -> (Life, Option<LifeAction>) {
        match (self, event) {
            (Life::Loaded, LifeEvent::Serve) => (Life::Serving, Some(LifeAction::TellServing)),
            // `serving(1)` was never called.
            (Life::Loaded, LifeEvent::End) => (Life::Draining, None),
            (Life::Serving, LifeEvent::End) => (Life::Draining, Some(LifeAction::TellNotServing)),
            (Life::Draining, LifeEvent::Empty) => (Life::ShuttingDown, Some(LifeAction::ShutDown)),
            (Life::ShuttingDown, LifeEvent::ShutDown) => {
                let (since, is_told) = (now, false);
                (
                    Life::Retired { since, is_told },
                    Some(LifeAction::LogRetired),
                )
            }
            (Life::Retired { .. }, LifeEvent::Look { threads: 0 }) => {
                (Life::Silent, Some(LifeAction::FreeThreadKeys))
            }
            (Life::Retired { since, is_told }, LifeEvent::Look { .. })
                if !is_told && now.saturating_duration_since(since) >= THREADS_PATIENCE =>
            {
                let is_told = true;
                (
                    Life::Retired { since, is_told },
                    Some(LifeAction::LogThreads),
                )
            }
            (life, _) => (life, None),
        }
    }

    /// Whether new sessions may begin on it.
    pub(crate) fn is_serving(self) -> bool {
        matches!(self, Life::Loaded | Life::Serving)
    }

    /// Whether `shutdown` has returned.
    pub(crate) fn is_retired(self) -> bool {
        matches!(self, Life::Retired { .. } | Life::Silent)
    }

    /// Its name in the list of handlers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Life::Loaded | Life::Serving => "serving",
            Life::Draining => "draining",
            Life::ShuttingDown | Life::Retired { .. } | Life::Silent => "retired",
        }
    }
}

/// How long threads may run on before they are logged: a thread that was told to end needs a moment.
const THREADS_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_goes_one_way_and_each_call_is_made_once() {
        let now = Instant::now();
        let late = now + THREADS_PATIENCE;
        let retired = |is_told| Life::Retired {
            since: now,
            is_told,
        };
        let every = [
            LifeEvent::Serve,
            LifeEvent::End,
            LifeEvent::Empty,
            LifeEvent::ShutDown,
            LifeEvent::Look { threads: 0 },
            LifeEvent::Look { threads: 2 },
        ];
        // What each event does, in the order above; nothing where there is none.
        let nothing = |life| [(life, None); 6];
        let mut loaded = nothing(Life::Loaded);
        loaded[0] = (Life::Serving, Some(LifeAction::TellServing));
        loaded[1] = (Life::Draining, None);
        let mut serving = nothing(Life::Serving);
        serving[1] = (Life::Draining, Some(LifeAction::TellNotServing));
        let mut draining = nothing(Life::Draining);
        draining[2] = (Life::ShuttingDown, Some(LifeAction::ShutDown));
        let mut shutting_down = nothing(Life::ShuttingDown);
        shutting_down[3] = (
            Life::Retired {
                since: late,
                is_told: false,
            },
            Some(LifeAction::LogRetired),
        );
        let mut untold = nothing(retired(false));
        untold[4] = (Life::Silent, Some(LifeAction::FreeThreadKeys));
        untold[5] = (retired(true), Some(LifeAction::LogThreads));
        let mut told = nothing(retired(true));
        told[4] = untold[4];

        for (life, wanted) in [
            (Life::Loaded, loaded),
            (Life::Serving, serving),
            (Life::Draining, draining),
            (Life::ShuttingDown, shutting_down),
            (retired(false), untold),
            (retired(true), told),
            (Life::Silent, nothing(Life::Silent)),
        ] {
            for (event, wanted) in every.into_iter().zip(wanted) {
                assert_eq!(life.after(event, late), wanted, "{life:?} {event:?}");
            }
        }
    }

    #[test]
    fn threads_are_given_a_moment_to_end() {
        let now = Instant::now();
        let retired = Life::Retired {
            since: now,
            is_told: false,
        };
        let look = LifeEvent::Look { threads: 1 };
        assert_eq!(retired.after(look, now), (retired, None));
    }
}
