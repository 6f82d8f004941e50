//! How a move of many sessions goes: who was asked, and what they said.
//!
//! A session that is asked holds an [`Ask`] until it has answered, in the inbox or in its own hands;
//! whatever becomes of it, the answer comes, because letting go of the question is one.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The answers to one move. One thread waits for them.
#[derive(Debug, Default)]
pub(crate) struct MoveTracker {
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    /// Who waits wants to know when not more than so many are waiting: to be woken by each of
    /// thousands of answers would cost as much as the moves.
    wanted: usize,
}

/// What was said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Asked, and not answered yet.
    pub(crate) waiting: usize,
    /// On the new code now.
    pub(crate) moved: usize,
    /// On the old code for now: they move later, or finish there.
    pub(crate) stayed: usize,
    /// On the old code, because the move failed.
    pub(crate) failed: usize,
    /// Why those stayed that did.
    pub(crate) stayed_because: BTreeMap<&'static str, usize>,
    /// Why the first one failed.
    pub(crate) first_failure: Option<String>,
}

/// The question to one session. The default is no question.
// Each mailbox has room for one, and an `Option` of it would take twice as much.
#[derive(Debug, Default)]
pub(crate) struct Ask(Option<Arc<MoveTracker>>);

impl MoveTracker {
    /// One more is asked.
    pub(crate) fn ask(self: &Arc<Self>) -> Ask {
        self.lock().counts.waiting += 1;
        Ask(Some(self.clone()))
    }

    /// Waits until not more than `waiting` have yet to answer, or for `limit`.
    pub(crate) fn wait(&self, waiting: usize, limit: Duration) -> Counts {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        state.wanted = waiting;
        while state.counts.waiting > waiting {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.answered.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.counts.clone()
    }

    fn answer(&self, count: impl FnOnce(&mut Counts)) {
        let mut state = self.lock();
        state.counts.waiting -= 1;
        count(&mut state.counts);
        let is_wanted = state.counts.waiting == state.wanted;
        drop(state);
        if is_wanted {
            self.answered.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn stay(&mut self, why: &'static str) {
        self.stayed += 1;
        *self.stayed_because.entry(why).or_default() += 1;
    }
}

impl Ask {
    /// Takes the question, if it is one.
    pub(crate) fn take(&mut self) -> Option<Ask> {
        self.0.take().map(|tracker| Ask(Some(tracker)))
    }

    /// It is on the new code.
    pub(crate) fn moved(mut self) {
        self.answer(|counts| counts.moved += 1);
    }

    /// It stays on the old code for now.
    pub(crate) fn stays(mut self, why: &'static str) {
        self.answer(|counts| counts.stay(why));
    }

    /// It stays on the old code, because the move failed. Answers whether it is the first.
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

/// Why a session has not moved whose question was dropped.
const OVER: &str = "the session was over, or a handshake";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_answered_once_whatever_becomes_of_it() {
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
