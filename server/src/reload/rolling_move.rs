//! Moves the sessions of old generations to the one that serves now.
//!
//! Each session moves by itself, in its own task. Here the sessions are asked, a slice at a time, with
//! a rest after each slice that is half as long as the slice took. So a move of ten thousand sessions
//! leaves a third of the machine free, and no other session waits for more than a slice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::Moved;
use crate::generation::Generation;
use crate::sessions::move_tracker::{Counts, MoveTracker};

/// One move of a handler's sessions.
#[derive(Debug)]
pub(super) struct RollingMove {
    /// The generations that the sessions come from.
    pub(super) from: Vec<Arc<Generation>>,
    pub(super) to: Arc<Generation>,
}

impl RollingMove {
    /// Begins to move. `done` is called when every session has answered, or has had the time to.
    pub(super) fn begin(self, done: impl FnOnce(Moved) + Send + 'static) {
        let threads = self.to.context.shared.lifecycle.clone();
        threads.run(move || done(self.run()));
    }

    fn run(&self) -> Moved {
        let began = Instant::now();
        let (movable, fixed): (Vec<_>, Vec<_>) = self
            .from
            .iter()
            .partition(|old| old.obstacle_to(&self.to).is_none());
        let kept: usize = fixed.iter().map(|old| self.tell_kept(old)).sum();
        let numbers: Vec<u64> = movable.iter().map(|old| old.number).collect();
        let (counts, longest_slice) = self.ask(&numbers);
        let Counts {
            waiting,
            moved,
            stayed,
            failed,
            first_failure,
            stayed_because,
        } = counts;
        let mut reasons = Reasons::default();
        for old in &fixed {
            if let Some(obstacle) = old.obstacle_to(&self.to) {
                reasons.add(old.sessions(), &obstacle.to_string());
            }
        }
        reasons.add(waiting, "its callback takes long");
        for (why, sessions) in stayed_because {
            reasons.add(sessions, why);
        }
        let drained = kept + waiting + stayed;
        let elapsed = began.elapsed();
        if moved + drained + failed > 0 {
            info!(
                handler = %self.to.handler,
                generation = self.to.number,
                moved,
                drained,
                refused = failed,
                reason = reasons.0,
                error = first_failure,
                elapsed_ms = elapsed.as_millis() as u64,
                slice_us = longest_slice.as_micros() as u64,
                "sessions moved"
            );
        }
        Moved {
            sessions: moved,
            elapsed,
        }
    }

    /// Asks every session of these generations. Returns the answers, and the time of the slowest slice,
    /// from its first question to its last answer.
    ///
    /// No thread was held up for longer than that, but by the callback of a session that was late.
    fn ask(&self, numbers: &[u64]) -> (Counts, Duration) {
        let tracker = Arc::new(MoveTracker::default());
        let is_wanted =
            |owner: &str, number| *owner == *self.to.handler && numbers.contains(&number);
        let sessions = self.to.context.shared.sessions.list(is_wanted);
        let (mut late, mut longest_slice) = (0, Duration::ZERO);
        for slice in sessions.chunks(SLICE) {
            let began = Instant::now();
            if !self.to.is_newest() {
                break; // the newer generation asks all sessions
            }
            for mailbox in slice {
                mailbox.ask_to_move(&tracker);
            }
            // Late sessions are not waited for again with the next slice.
            let waiting = tracker.wait(late, SLICE_PATIENCE).waiting;
            late = late.max(waiting);
            let took = began.elapsed();
            longest_slice = longest_slice.max(took);
            std::thread::sleep((took / 2).min(REST_MAX));
        }
        (tracker.wait(0, PATIENCE), longest_slice)
    }

    /// Logs why the sessions of a generation cannot move. Returns their number.
    fn tell_kept(&self, old: &Generation) -> usize {
        let sessions = old.sessions();
        if let (1.., Some(obstacle)) = (sessions, old.obstacle_to(&self.to)) {
            info!(
                handler = %old.handler,
                generation = old.number,
                sessions,
                reason = %obstacle,
                "sessions stay on the old code"
            );
        }
        sessions
    }
}

/// Why sessions stay where they are, with the number of sessions for each reason, as one text.
#[derive(Default)]
struct Reasons(Option<String>);

impl Reasons {
    fn add(&mut self, sessions: usize, why: &str) {
        if sessions > 0 {
            let mut reasons = self.0.take().map_or(String::new(), |it| it + "; ");
            reasons += &format!("{sessions}: {why}");
            self.0 = Some(reasons);
        }
    }
}

/// The number of sessions that are asked at a time.
const SLICE: usize = 64;
/// How long a slice waits for its last answers. A session whose callback runs long does not hold up the
/// others.
const SLICE_PATIENCE: Duration = Duration::from_millis(20);
/// The longest rest between two slices.
const REST_MAX: Duration = Duration::from_millis(1);
/// How long the last sessions may take to answer before the move is logged.
const PATIENCE: Duration = Duration::from_secs(1);
