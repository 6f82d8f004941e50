//! What both roads share, for the life of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::LogLevel;
use crate::mailbox::Registry;
use crate::topics::Topics;

/// The sessions, the topics and the log level.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) sessions: Arc<Registry>,
    pub(crate) topics: Arc<Topics>,
    /// In the ABI's numbers; plugins read it in place, so it lives as long as the process.
    pub(crate) log_level: &'static AtomicU32,
}

impl Shared {
    pub(crate) fn new(level: LogLevel) -> Arc<Shared> {
        let shared = Shared {
            sessions: Registry::new(),
            topics: Topics::new(),
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
