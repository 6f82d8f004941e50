//! The asks of a session in its mailbox: how many wait, and their answers.

use super::letter::Letter;
use super::{Intake, Mailbox, Undelivered};
use crate::runtime::wakes;
use crate::sessions::answer::AnswerLetter;

impl Mailbox {
    /// Counts one more ask of the session, until [`end_ask`](Self::end_ask).
    ///
    /// # Errors
    /// [`Undelivered::Gone`]: the session is over or closes. [`Undelivered::Full`]: `asks_max` of them wait.
    pub(in crate::sessions) fn begin_ask(&self, asks_max: usize) -> Result<(), Undelivered> {
        let mut inner = self.lock();
        if inner.intake != Intake::Everything {
            return Err(Undelivered::Gone);
        }
        let asks = inner.asks.saturating_add(1);
        if usize::from(asks) > asks_max || asks == inner.asks {
            return Err(Undelivered::Full);
        }
        inner.asks = asks;
        Ok(())
    }

    /// Counts one ask less.
    pub(in crate::sessions) fn end_ask(&self) {
        let mut inner = self.lock();
        // A mailbox that was closed meanwhile counts from 0 again.
        inner.asks = inner.asks.saturating_sub(1);
    }

    /// Posts an answer. The count of asks bounds them, so a full mailbox refuses none.
    pub(in crate::sessions) fn post_answer(&self, letter: AnswerLetter) {
        // An answer does not overtake what its thread has published before.
        wakes::do_work_now();
        let mut inner = self.lock();
        if inner.intake != Intake::Everything {
            drop(inner);
            // After the lock, which the drop of the letter takes.
            return drop(letter);
        }
        let letters = inner.letters.get_or_insert_default();
        letters.push_back(Letter::Answer(Box::new(letter)));
        self.notify(inner);
    }

    /// Whether an ask of the session waits for its answer, or for the callback that tells it.
    pub(crate) fn has_asks(&self) -> bool {
        self.lock().asks > 0
    }
}
