//! What both roads share, for the life of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::{Limits, LogLevel};
use crate::process::patient_threads::PatientThreads;
use crate::sessions::descriptors::Descriptors;
use crate::sessions::registry::Registry;
use crate::sessions::timer_wheel::TimerWheel;
use crate::sessions::topics::Topics;
use crate::ws::deflate::budget::Budget;

/// The sessions, the topics and the log level.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) sessions: Arc<Registry>,
    pub(crate) topics: Arc<Topics>,
    /// What wakes sessions for their deadlines.
    pub(crate) timer_wheel: Arc<TimerWheel>,
    /// What compression contexts may take.
    pub(crate) deflate_budget: Arc<Budget>,
    /// What the system allows.
    pub(crate) descriptors: Arc<Descriptors>,
    /// What makes the calls of generations' lives, and moves sessions.
    pub(crate) lifecycle: Arc<PatientThreads>,
    /// In the ABI's numbers; plugins read it in place, so it lives as long as the process.
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
            lifecycle: PatientThreads::new(),
            log_level: Box::leak(Box::new(AtomicU32::new(0))),
        };
        shared.set_log_level(level);
        Arc::new(shared)
    }

    /// What plugins see from now on.
    pub(crate) fn set_log_level(&self, level: LogLevel) {
        self.log_level.store(level as u32, Ordering::Relaxed);
    }
}
