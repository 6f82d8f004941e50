//! The move of a session to newer code of its handler.
//!
//! It happens in the session's own task, between two messages, and is all or nothing. The old code
//! writes the state, the new code makes a session of it, and only then the old one is freed. The
//! socket, what is half received or half sent, timers, topics and the id belong to the server, and stay
//! where they are. A session that cannot move now tries again after each turn.

use std::sync::Arc;

use tracing::{debug, warn};

use super::Session;
use crate::border::state_transfer::NotMoved;
use crate::generation::Generation;
use crate::sessions::move_tracker::Ask;

/// A move that is to be made.
#[derive(Debug, Default)]
pub(super) struct Migration {
    /// The question that the first try answers, if there is one.
    ask: Option<Ask>,
    /// The tries that have failed.
    failures: u8,
}

impl Session {
    /// Has the session move to newer code as soon as it can.
    pub(super) fn plan_move(&mut self, ask: Option<Ask>) {
        self.moving = Some(Box::new(Migration { ask, failures: 0 }));
    }

    /// Moves, if a move is planned and possible now, and again if the code that it comes to is superseded.
    #[inline]
    pub(super) fn try_to_move(&mut self) {
        while self.moving.is_some() && self.try_this_move() {}
    }

    /// Tries the move once. True if the session moved and there is newer code already.
    #[cold]
    fn try_this_move(&mut self) -> bool {
        let Some(mut moving) = self.moving.take() else {
            return false;
        };
        let Some(to) = self.owner.generation().successor() else {
            return false; // The newer code is gone again, or cannot take the session.
        };
        match self.move_to(&to) {
            Ok(()) => {
                debug!(session = self.conn.id(), handler = %to.handler, generation = to.number, "session moved");
                if let Some(ask) = moving.ask {
                    ask.moved();
                }
                // The new code's first callback. An async function is polled in it.
                self.call(|instance, conn, _| instance.wake(conn));
                // The code may have been superseded while the session was on its way to it. The move
                // that followed then may have asked only the sessions that it found on this generation.
                let is_superseded = self.owner.generation().successor().is_some();
                if is_superseded && self.moving.is_none() {
                    self.plan_move(None);
                }
                return is_superseded;
            }
            Err(NotMoved::NotNow(why)) => {
                if let Some(ask) = moving.ask.take() {
                    ask.stays(why);
                }
                self.moving = Some(moving);
            }
            Err(NotMoved::Failed(error)) => {
                let is_first = moving.ask.take().is_some_and(|ask| ask.failed(&error));
                self.tell_failure(&to, &error, is_first);
                moving.failures += 1;
                if moving.failures < FAILURES_MAX {
                    self.moving = Some(moving);
                }
            }
            // The session finishes on the old code: another try would hold a worker as long.
            Err(NotMoved::Late(error)) => {
                let is_first = moving.ask.take().is_some_and(|ask| ask.failed(&error));
                self.tell_failure(&to, &error, is_first);
            }
        }
        false
    }

    /// Moves the session to the generation `to`, or leaves it as it is.
    fn move_to(&mut self, to: &Arc<Generation>) -> Result<(), NotMoved> {
        if !self.is_between_messages(to) {
            return Err(NotMoved::NotNow(BUSY));
        }
        let Some(old) = self.owner.instance() else {
            return Err(NotMoved::NotNow(BUSY));
        };
        let bytes_max = to.settings().limits.snapshot_bytes_max;
        let state = old.snapshot(&mut self.conn, bytes_max)?;
        let left = self.owner.move_to(to, &mut self.conn, &state)?;
        self.adopt_limits();
        // After the mailbox names the new generation, since no move asks sessions of one that is over.
        drop(left);
        Ok(())
    }

    /// Whether nothing is half said, as far as the old and the new code see. A half-received message is
    /// the server's own, if both get their messages whole.
    fn is_between_messages(&self, to: &Generation) -> bool {
        let sees_parts = self.owner.generation().takes_parts() || to.takes_parts();
        self.state().is_open()
            && !self.conn.controls.is_in_message()
            && !(sees_parts && self.decoder.is_in_message())
    }

    /// Applies the limits of the generation that the session is on now.
    fn adopt_limits(&mut self) {
        let generation = self.owner.generation().clone();
        let limits = generation.session_limits();
        self.registration
            .mailbox()
            .set_generation(generation.number, limits.outbound());
        self.decoder
            .set_limits(super::decoder_limits(&generation, &limits));
        self.deadlines.note_limits();
        self.controls().set_limits(limits);
    }

    /// Logs why the session stays. A move may fail alike for thousands of sessions; only the first is a
    /// warning.
    fn tell_failure(&self, to: &Generation, error: &str, is_first: bool) {
        let (session, handler, generation) = (self.conn.id(), &to.handler, to.number);
        if is_first {
            warn!(session, %handler, generation, error, "session stays on the old code");
        } else {
            debug!(session, %handler, generation, error, "session stays on the old code");
        }
    }
}

/// Why a session does not move while something of it is half said.
const BUSY: &str = "it closes, or is between two parts of a message";
/// A move is given up after so many tries that failed. A try that had to wait does not count.
const FAILURES_MAX: u8 = 3;
