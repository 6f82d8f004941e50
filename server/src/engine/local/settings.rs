//! What the engine asks for whenever it needs it, so that another configuration applies at once.

use std::fmt;

use crate::config::{HandlerLimits, HistoryBounds, Limits};
use crate::engine::TopicName;
use crate::process::clock::Moment;

/// The configuration, the clock and the threads of an engine. No function of it calls the engine.
pub(crate) struct Settings {
    /// How much history a topic has.
    pub(crate) history: Box<BoundsOf>,
    /// What all topics together may take.
    pub(crate) limits: Box<dyn Fn() -> TopicLimits + Send + Sync>,
    /// How much a handler may keep.
    pub(crate) store: Box<dyn Fn(&str) -> StoreLimits + Send + Sync>,
    pub(crate) now: Box<dyn Fn() -> Moment + Send + Sync>,
    /// Runs a job soon, on another thread.
    pub(crate) run_later: Box<dyn Fn(Job) + Send + Sync>,
}

/// The history of a topic; `None` is none.
type BoundsOf = dyn Fn(&TopicName) -> Option<HistoryBounds> + Send + Sync;

/// Work for another thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Limits of all topics, with their names in config.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicLimits {
    pub(crate) history_bytes_max: usize,
    pub(crate) presence_bytes_max: usize,
    pub(crate) presence_value_bytes_max: usize,
}

/// How much one handler may keep, with the names in config.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreLimits {
    /// All keys and values, with the memory that they take besides.
    pub(crate) store_bytes_max: usize,
    /// One value, without its key.
    pub(crate) store_value_bytes_max: usize,
}

impl TopicLimits {
    pub(crate) fn of(limits: &Limits) -> TopicLimits {
        TopicLimits {
            history_bytes_max: limits.history_bytes_max,
            presence_bytes_max: limits.presence_bytes_max,
            presence_value_bytes_max: limits.presence_value_bytes_max,
        }
    }
}

impl StoreLimits {
    pub(crate) fn of(limits: &HandlerLimits) -> StoreLimits {
        StoreLimits {
            store_bytes_max: limits.store_bytes_max,
            store_value_bytes_max: limits.store_value_bytes_max,
        }
    }
}

/// No topic has history, the limits are the defaults, the clock is the system's, and a job gets a thread of its own.
impl Default for Settings {
    fn default() -> Settings {
        let limits = TopicLimits::of(&Limits::default());
        let store = StoreLimits::of(&HandlerLimits::default());
        Settings {
            history: Box::new(|_| None),
            limits: Box::new(move || limits),
            store: Box::new(move |_| store),
            now: Box::new(Moment::recent),
            run_later: Box::new(|job| {
                std::thread::spawn(job);
            }),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}
