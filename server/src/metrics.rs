//! What is counted of the server's work, for operators.
//!
//! Nothing of it is on the way of a message. Messages and bytes are counted in `sessions/traffic`, the numbers here where a
//! connection, a handshake, a session or a load begins or ends. Every label has a bounded number of values: names of
//! handlers, and words of the server's own. No peer chooses one.

pub(crate) mod closes;
pub(crate) mod exposition;
pub(crate) mod histogram;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::closes::Closes;
use self::histogram::Histogram;

/// What is counted of the server as a whole, since the process began.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    /// Accepted connections, by what carries them.
    pub(crate) connections: WordCounts,
    /// Requests for an upgrade and others that were refused, by what became of them.
    pub(crate) handshakes: WordCounts,
    /// How often each limit was reached, by its key.
    pub(crate) limits: WordCounts,
    /// Loads of handlers, by their outcome.
    pub(crate) handler_loads: WordCounts,
    /// Readings of the configuration, by their outcome.
    pub(crate) configurations: WordCounts,
    /// Readings of certificates, by their outcome.
    pub(crate) certificates: WordCounts,
    /// How sessions ended.
    pub(crate) closes: Closes,
    handlers: Mutex<BTreeMap<Arc<str>, Arc<HandlerMeters>>>,
}

/// What is counted of one handler, over all its generations.
#[derive(Debug, Default)]
pub(crate) struct HandlerMeters {
    /// Sessions that have begun.
    pub(crate) opened: AtomicU64,
    /// Sessions that are over, by the word of their cause in the log.
    pub(crate) ended: WordCounts,
    pub(crate) panics: AtomicU64,
    /// How long callbacks took, of those that were timed.
    pub(crate) callbacks: Histogram,
}

/// Counts, each under a word of the server's own.
#[derive(Debug, Default)]
pub(crate) struct WordCounts(Mutex<BTreeMap<&'static str, u64>>);

impl Meters {
    /// What is counted of the handler of this name.
    pub(crate) fn handler(&self, name: &str) -> Arc<HandlerMeters> {
        let mut handlers = self.lock();
        if let Some(known) = handlers.get(name) {
            return known.clone();
        }
        let meters = Arc::<HandlerMeters>::default();
        handlers.insert(name.into(), meters.clone());
        meters
    }

    /// Every handler of which something can have been counted.
    pub(crate) fn handlers(&self) -> BTreeMap<Arc<str>, Arc<HandlerMeters>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<HandlerMeters>>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HandlerMeters {
    /// The number of its open sessions.
    pub(crate) fn sessions(&self) -> u64 {
        // In this order no session is missed that has ended meanwhile.
        let ended = self.ended.sum();
        self.opened.load(Ordering::Relaxed).saturating_sub(ended)
    }
}

impl WordCounts {
    /// Counts one more under this word.
    pub(crate) fn count(&self, word: &'static str) {
        *self.lock().entry(word).or_default() += 1;
    }

    /// Every word that was counted, in order.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.lock();
        counts.iter().map(|(word, count)| (*word, *count)).collect()
    }

    fn sum(&self) -> u64 {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
