//! What the road of a connection and the road of a change share, for the life of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::{Limits, LogLevel};
use crate::process::thread_pool::ThreadPool;
use crate::sessions::descriptors::Descriptors;
use crate::sessions::registry::Registry;
use crate::sessions::timer_wheel::TimerWheel;
use crate::sessions::topics::Topics;
use crate::ws::deflate::budget::Budget;

/// The one value that reaches every session, generation and handler.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) sessions: Arc<Registry>,
    pub(crate) topics: Arc<Topics>,
    /// Wakes sessions for their deadlines.
    pub(crate) timer_wheel: Arc<TimerWheel>,
    /// The memory that compression contexts may take.
    pub(crate) deflate_budget: Arc<Budget>,
    /// How many files the system lets the process open.
    pub(crate) descriptors: Arc<Descriptors>,
    /// Threads that make the calls of generations' lives, and ask sessions to move.
    pub(crate) lifecycle: Arc<ThreadPool>,
    /// In the numbers of the ABI. Plugins read it in place, so it lives as long as the process.
    pub(crate) log_level: &'static AtomicU32,
}

impl Shared {
    pub(crate) fn new(level: LogLevel, limits: &Limits) -> Arc<Shared> {
        let shared = Shared {
            sessions: Registry::new(),
            topics: Topics::new(),
            timer_wheel: TimerWheel::new(),
            deflate_budget: Budget::new(limits.deflate_contexts_bytes_max),
            descriptors: Arc::new(Descriptors::now()),
            lifecycle: ThreadPool::new(),
            log_level: Box::leak(Box::new(AtomicU32::new(0))),
        };
        shared.set_log_level(level);
        Arc::new(shared)
    }

    /// Sets the level that plugins see from now on.
    pub(crate) fn set_log_level(&self, level: LogLevel) {
        self.log_level.store(level as u32, Ordering::Relaxed);
    }
}
