//! The move of a session to newer code of its handler.
//!
//! It happens in the session's own task, between two messages, and is all or nothing: the old code
//! writes the state, the new code makes a session of it, and only then is the old one freed. What
//! the peer sent and was sent, timers, topics and the id belong to the server and stay where they
//! are. A session that cannot move now tries again after the next callback.

use std::sync::Arc;

use tracing::{debug, warn};

use super::Session;
use crate::border::state_transfer::NotMoved;
use crate::generation::Generation;
use crate::sessions::move_tracker::Ask;

/// A move that is to be made.
#[derive(Debug, Default)]
pub(super) struct Migration {
    /// Who wants to know what came of it.
    ask: Option<Ask>,
    failures: u8,
}

impl Session {
    /// There is newer code; the session moves to it as soon as it can.
    pub(super) fn plan_move(&mut self, ask: Option<Ask>) {
        self.moving = Some(Box::new(Migration { ask, failures: 0 }));
    }

    /// Moves, if a move is planned and possible now; on to the next, if that code is superseded too.
    #[inline]
    pub(super) fn try_to_move(&mut self) {
        while self.moving.is_some() && self.try_this_move() {}
    }

    /// True if it moved and there is newer code already.
    #[cold]
    fn try_this_move(&mut self) -> bool {
        let Some(mut moving) = self.moving.take() else {
            return false;
        };
        let Some(to) = self.owner.generation().successor() else {
            return false; // the newer code is gone again, or cannot take it
        };
        match self.move_to(&to) {
            Ok(()) => {
                debug!(session = self.conn.id(), handler = %to.handler, generation = to.number, "session moved");
                if let Some(ask) = moving.ask {
                    ask.moved();
                }
                // A callback like any other, and the new code's first.
                self.call(|instance, conn, _| instance.wake(conn));
                // Superseded while the session was on its way to it, and the move to what came then
                // may have looked for sessions of this generation only.
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
            // It finishes on the old code: each other try would hold a worker as long.
            Err(NotMoved::Late(error)) => {
                let is_first = moving.ask.take().is_some_and(|ask| ask.failed(&error));
                self.tell_failure(&to, &error, is_first);
            }
        }
        false
    }

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
        // Only now: a generation that is over is looked for by no move.
        drop(left);
        Ok(())
    }

    /// Whether nothing is half said, as the handlers see it. What is half received of a message
    /// that they get whole is the server's own.
    fn is_between_messages(&self, to: &Generation) -> bool {
        let sees_parts = self.owner.generation().takes_parts() || to.takes_parts();
        self.state().is_open()
            && !self.conn.controls.is_in_message()
            && !(sees_parts && self.decoder.is_in_message())
    }

    /// The limits of the generation that the session is on hold for it from now on.
    fn adopt_limits(&mut self) {
        let generation = self.owner.generation().clone();
        let limits = generation.session_limits();
        self.registration
            .mailbox()
            .set_generation(generation.number, limits.outbound_bytes_max);
        self.decoder
            .set_limits(super::decoder_limits(&generation, &limits));
        self.deadlines.note_limits();
        self.controls().set_limits(limits);
    }

    /// Of a move that fails alike for thousands of sessions, one says so aloud.
    fn tell_failure(&self, to: &Generation, error: &str, is_first: bool) {
        let (session, handler, generation) = (self.conn.id(), &to.handler, to.number);
        if is_first {
            warn!(session, %handler, generation, error, "session stays on the old code");
        } else {
            debug!(session, %handler, generation, error, "session stays on the old code");
        }
    }
}

/// Why a session does not move that a move would tear apart.
const BUSY: &str = "it closes, or is between two parts of a message";
/// So often a move is tried that fails, and not only has to wait.
const FAILURES_MAX: u8 = 3;
