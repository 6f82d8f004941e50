//! Tracks a move of many sessions to newer code: how many were asked, and what they answered.
//!
//! A session that is asked has an [`Ask`], in its mailbox or in its task. Dropping the `Ask` is an answer
//! too, so every session answers exactly once, however it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The answers of one move. One thread waits for them.
#[derive(Debug, Default)]
pub(crate) struct MoveTracker {
    progress: Mutex<Progress>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    counts: Counts,
    /// The waiting thread is notified when exactly this many have yet to answer. A notification for each
    /// of thousands of answers would cost as much as the moves.
    wanted: usize,
}

/// The answers so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Sessions that were asked and have not answered yet.
    pub(crate) waiting: usize,
    /// Sessions that are on the new code now.
    pub(crate) moved: usize,
    /// Sessions that stay on the old code for now. They move later, or finish there.
    pub(crate) stayed: usize,
    /// Sessions that stay on the old code because their move failed.
    pub(crate) failed: usize,
    /// How many sessions stayed, by reason.
    pub(crate) stayed_because: BTreeMap<&'static str, usize>,
    /// Why the first failed move failed.
    pub(crate) first_failure: Option<String>,
}

/// The request to one session to move. The default is no request.
// Each mailbox has a field for one; an `Option` of this type would take twice as much.
#[derive(Debug, Default)]
pub(crate) struct Ask(Option<Arc<MoveTracker>>);

impl MoveTracker {
    /// Counts one more session as asked.
    pub(crate) fn ask(self: &Arc<Self>) -> Ask {
        self.lock().counts.waiting += 1;
        Ask(Some(self.clone()))
    }

    /// Waits until at most `waiting` sessions have yet to answer, but no longer than `limit`.
    pub(crate) fn wait(&self, waiting: usize, limit: Duration) -> Counts {
        let deadline = Instant::now() + limit;
        let mut progress = self.lock();
        progress.wanted = waiting;
        while progress.counts.waiting > waiting {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.answered.wait_timeout(progress, left);
            (progress, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        progress.counts.clone()
    }

    fn answer(&self, count: impl FnOnce(&mut Counts)) {
        let mut progress = self.lock();
        progress.counts.waiting -= 1;
        count(&mut progress.counts);
        let is_wanted = progress.counts.waiting == progress.wanted;
        drop(progress);
        if is_wanted {
            self.answered.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn stay(&mut self, why: &'static str) {
        self.stayed += 1;
        *self.stayed_because.entry(why).or_default() += 1;
    }
}

impl Ask {
    /// Takes the request out, if there is one.
    pub(crate) fn take(&mut self) -> Option<Ask> {
        self.0.take().map(|tracker| Ask(Some(tracker)))
    }

    /// Answers: the session is on the new code.
    pub(crate) fn moved(mut self) {
        self.answer(|counts| counts.moved += 1);
    }

    /// Answers: the session stays on the old code for now.
    pub(crate) fn stays(mut self, why: &'static str) {
        self.answer(|counts| counts.stay(why));
    }

    /// Answers: the move failed and the session stays on the old code. Returns whether it is the first
    /// that failed.
    pub(crate) fn failed(mut self, why: &str) -> bool {
        let mut is_first = false;
        self.answer(|counts| {
            counts.failed += 1;
            is_first = counts.first_failure.is_none();
            if is_first {
                counts.first_failure = Some(why.to_owned());
            }
        });
        is_first
    }

    fn answer(&mut self, count: impl FnOnce(&mut Counts)) {
        if let Some(tracker) = self.0.take() {
            tracker.answer(count);
        }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        self.answer(|counts| counts.stay(OVER));
    }
}

/// The reason that is counted when an [`Ask`] is dropped.
const OVER: &str = "the session was over, or a handshake";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_answered_once_whatever_becomes_of_it() {
        let tracker = Arc::new(MoveTracker::default());
        let [ann, ben, cat, dan, eve] = std::array::from_fn(|_| tracker.ask());
        assert_eq!(tracker.wait(5, Duration::ZERO).waiting, 5);

        ann.moved();
        drop(ben);
        assert!(cat.failed("no such state"));
        assert!(!dan.failed("another"));
        eve.stays("busy");

        let counts = tracker.wait(0, Duration::from_secs(10));
        let wanted = Counts {
            waiting: 0,
            moved: 1,
            stayed: 2,
            failed: 2,
            stayed_because: [(OVER, 1), ("busy", 1)].into(),
            first_failure: Some("no such state".to_owned()),
        };
        assert_eq!(counts, wanted);
    }
}
