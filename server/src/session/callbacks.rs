//! The common way into a handler: runs a callback of a session, and acts on its answer.
//!
//! Messages that come whole run in a loop of `session/receive`, whose answers are acted on here too. `open`,
//! `snapshot`, `restore` and `destroy` are called through the owner of the session (`generation/owners`).

use super::Session;
use crate::border::calls::{CallbackOutcome, SessionInstance};
use crate::border::host_conn::HostConn;
use crate::sessions::cause::Cause;
use crate::ws::close::CloseBody;
use crate::ws::closing::ClosingEvent;
use crate::ws::decoder::Decoder;

/// What came from the peer, for a callback to be given.
#[derive(Clone, Copy)]
pub(super) struct FromPeer<'a> {
    pub(super) decoder: &'a Decoder,
    /// What the peer's Close said, once it came.
    pub(super) close: Option<&'a CloseBody>,
}

impl Session {
    /// Runs one callback of a session that has not ended, and does what follows from it.
    ///
    /// It does nothing where `open` failed, so that there is nothing to call.
    #[inline(always)]
    pub(super) fn call(
        &mut self,
        callback: impl FnOnce(&mut SessionInstance, &mut HostConn, FromPeer<'_>) -> CallbackOutcome,
    ) {
        if let Some(instance) = self.owner.instance() {
            let from_peer = FromPeer {
                decoder: &self.decoder,
                close: self.their_close.as_deref(),
            };
            let outcome = callback(instance, &mut self.conn, from_peer);
            self.follow_answer(outcome);
        }
    }

    /// Does what follows from a callback: from what it answered, and from what the handler did in it.
    #[inline(always)]
    pub(super) fn follow_answer(&mut self, outcome: CallbackOutcome) {
        self.settle(outcome);
        self.act();
    }

    /// Runs `closed`, or a wake after it. Unless the handler answers that it is not done yet, its part
    /// of the session is freed.
    pub(super) fn call_after_end(
        &mut self,
        callback: impl FnOnce(&mut SessionInstance, &mut HostConn, FromPeer<'_>) -> CallbackOutcome,
    ) -> CallbackOutcome {
        let Some(instance) = self.owner.instance() else {
            return CallbackOutcome::Done;
        };
        let from_peer = FromPeer {
            decoder: &self.decoder,
            close: self.their_close.as_deref(),
        };
        let outcome = callback(instance, &mut self.conn, from_peer);
        if outcome != CallbackOutcome::Pending {
            self.owner.free_instance();
        }
        outcome
    }

    /// Takes what a callback answered as an event of the session's end. What follows stays due.
    #[inline]
    pub(super) fn settle(&mut self, outcome: CallbackOutcome) {
        if outcome != CallbackOutcome::Continue {
            self.settle_other(outcome);
        }
    }

    #[cold]
    fn settle_other(&mut self, outcome: CallbackOutcome) {
        let (event, cause) = match outcome {
            CallbackOutcome::Continue => return,
            CallbackOutcome::Done => (ClosingEvent::Done, Cause::HandlerDone),
            CallbackOutcome::Pending => (ClosingEvent::Pending, Cause::HandlerFailed),
            CallbackOutcome::Failed => (ClosingEvent::Close, Cause::HandlerFailed),
            CallbackOutcome::Panicked => {
                self.owner.generation().context.record_panic();
                (ClosingEvent::Close, Cause::HandlerPanicked)
            }
        };
        let theirs = self.their_close.as_deref();
        self.conn.controls.note_event(event, cause, theirs);
    }

    /// Tells the handler that there is room to send again.
    #[cold]
    pub(super) fn tell_drain(&mut self) {
        if self.state().may_send() {
            self.call(|instance, conn, _| instance.drain(conn));
        }
    }
}
