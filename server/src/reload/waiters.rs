//! Requests for what became of changed files, and the answer as far as it is known.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Change, Moved};

/// Requests that wait for an answer, and the answer as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Vec<mpsc::Sender<Vec<Change>>>,
    /// Requests that wait until nothing is left to be decided.
    patient: Vec<mpsc::Sender<()>>,
    /// What became of each handler since the last answer.
    changes: Vec<Change>,
    /// Moves whose end belongs to the answer: the handler, its generation, and the time at which the
    /// answer is given without it.
    moves: Vec<(String, u64, Instant)>,
}

impl Waiters {
    /// Adds a request. It is answered when nothing is under way.
    pub(super) fn join(&mut self, reply: mpsc::Sender<Vec<Change>>) {
        self.waiting.push(reply);
    }

    /// Adds a request that is answered when all that was found is loaded or refused. Young files are left alone for it as
    /// ever.
    pub(super) fn join_patiently(&mut self, reply: mpsc::Sender<()>) {
        self.patient.push(reply);
    }

    /// Answers those that wait until nothing is left to be decided.
    pub(super) fn answer_patient(&mut self) {
        for waiting in self.patient.drain(..) {
            let _ = waiting.send(());
        }
    }

    /// Whether a request waits. As long as one does, files are taken for whole although they are young:
    /// the request says that they are.
    pub(super) fn are_there(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Notes what became of a handler. The answer holds the last note of each handler.
    pub(super) fn note(&mut self, change: Change) {
        self.changes.retain(|it| it.handler != change.handler);
        self.changes.push(change);
    }

    /// Notes that sessions begin to move to a generation.
    pub(super) fn expect_move(&mut self, handler: &str, generation: u64, now: Instant) {
        // A plugin may keep the move from ever beginning.
        let until = now + PATIENCE;
        self.moves.push((handler.to_owned(), generation, until));
    }

    /// The time until which a move of this handler is waited for; `None` if none is under way.
    pub(super) fn moves_until(&self, handler: &str, now: Instant) -> Option<Instant> {
        let its = self.moves.iter().filter(|(name, ..)| name == handler);
        its.map(|(.., until)| *until).filter(|it| *it > now).min()
    }

    /// Notes that the sessions of a handler have moved, as far as they can.
    pub(super) fn end_move(&mut self, handler: &str, generation: u64, moved: Moved) {
        self.moves
            .retain(|(name, number, _)| (&**name, *number) != (handler, generation));
        let mut changes = self.changes.iter_mut();
        let its = |it: &&mut Change| it.handler == handler && it.outcome == Ok(generation);
        if let Some(change) = changes.find(its) {
            change.moved = Some(moved);
        }
    }

    /// Answers all requests, unless a load or a move is under way. Returns when to try again, if nothing
    /// happens before.
    pub(super) fn answer(&mut self, is_loading: bool, now: Instant) -> Option<Instant> {
        self.moves.retain(|(.., until)| *until > now);
        if self.waiting.is_empty() || is_loading {
            return None;
        }
        if let Some(until) = self.moves.iter().map(|(.., until)| *until).min() {
            return Some(until);
        }
        let changes = std::mem::take(&mut self.changes);
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(changes.clone());
        }
        None
    }
}

/// How long a move is waited for: longer than the move itself waits for its last sessions.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_the_last_of_each_handler_with_its_move() {
        let mut waiters = Waiters::default();
        let now = Instant::now();
        let change = |handler: &str, outcome| Change {
            handler: handler.to_owned(),
            outcome,
            elapsed: Duration::ZERO,
            moved: None,
        };
        let moved = Moved {
            sessions: 3,
            elapsed: Duration::from_millis(1),
        };
        waiters.note(change("chat", Err("not yet".to_owned())));
        waiters.note(change("echo", Ok(7)));
        waiters.note(change("chat", Ok(1)));
        waiters.expect_move("echo", 7, now);
        let (reply, answer) = mpsc::channel();
        waiters.join(reply);

        assert_eq!(waiters.answer(true, now), None);
        assert_eq!(waiters.answer(false, now), Some(now + PATIENCE));
        assert!(waiters.are_there());
        assert_eq!(waiters.moves_until("echo", now), Some(now + PATIENCE));
        assert_eq!(waiters.moves_until("chat", now), None);
        assert_eq!(waiters.moves_until("echo", now + PATIENCE), None);
        waiters.end_move("echo", 7, moved);
        assert_eq!(waiters.answer(false, now), None);
        assert!(!waiters.are_there());

        let mut echo = change("echo", Ok(7));
        echo.moved = Some(moved);
        assert_eq!(answer.try_recv(), Ok(vec![echo, change("chat", Ok(1))]));
        // A move that does not end is not waited for without end.
        waiters.expect_move("echo", 8, now);
        let (reply, answer) = mpsc::channel();
        waiters.join(reply);
        assert_eq!(waiters.answer(false, now + PATIENCE), None);
        assert_eq!(answer.try_recv(), Ok(Vec::new()));
    }
}
