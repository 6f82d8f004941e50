//! What a session does for its end: it tells `ws/closing` what happened, and performs what that asks for.
//!
//! Nothing is decided here. An event goes in by [`Session::meet`], or by a callback's answer; what is
//! due is performed by [`Session::act`], after each callback and at the end of each turn.

use tracing::debug;
use wsh::close_codes::ABNORMAL;

use super::receive::Unparsed;
use super::{HandlerEnd, Session};
use crate::border::calls::CallbackOutcome;
use crate::buffers::pool::Buffer;
use crate::sessions::cause::Cause;
use crate::ws::close::{self, CloseBody};
use crate::ws::closing::{ClosingAction, ClosingEvent, ClosingHandshake};
use crate::ws::violation::Violation;

impl Session {
    /// Takes an event of the session's end, and does what follows from it.
    #[cold]
    pub(super) fn meet(&mut self, event: ClosingEvent, cause: Cause) {
        let theirs = self.their_close.as_deref();
        self.conn.controls.note_event(event, cause, theirs);
        self.act();
    }

    /// Performs what is due for the session's end, which mostly is nothing.
    #[inline]
    pub(super) fn act(&mut self) {
        if self.conn.controls.closing.has_actions() {
            self.act_now();
        }
    }

    #[cold]
    fn act_now(&mut self) {
        let has_waited = self.handler_end == HandlerEnd::Waits;
        let may_call = !self.conn.controls.closing.has_call() || self.may_end();
        let next = match may_call {
            true => ClosingHandshake::next_action,
            false => ClosingHandshake::next_without_call,
        };
        while let Some(action) = next(&mut self.controls().closing) {
            match action {
                ClosingAction::TellHandler => self.note_end(),
                ClosingAction::SkipMessages => self.decoder.skip_messages(),
                ClosingAction::StartDeadline => self.deadlines.start_closing(&self.conn.controls),
                ClosingAction::DropInput => {
                    self.unparsed = Buffer::default();
                    self.unparsed_kind = Unparsed::PartOfAFrame;
                }
                ClosingAction::ShutDown => self.controls().wire.finish(),
                ClosingAction::AskHandler => self.ask_handler(),
            }
        }
        if has_waited && may_call && !self.state().is_over() {
            // After the wait for other sessions, peer and handler have the whole time again.
            self.deadlines.start_closing(&self.conn.controls);
        }
    }

    /// Takes the peer's Close: the first of the two, or the answer to ours.
    pub(super) fn take_close(&mut self, body: &[u8]) {
        match close::parse(body) {
            Ok((code, reason)) => {
                // Once the handler knows of the end, the peer's words change nothing.
                if self.handler_end < HandlerEnd::Due {
                    let reason = reason.to_owned();
                    self.their_close = Some(Box::new(CloseBody { code, reason }));
                }
                self.meet(ClosingEvent::PeerClosed, Cause::PeerClosed);
            }
            // It was the peer's Close all the same, so none is to come.
            Err(violation) => self.fail(violation, ClosingEvent::FramingLost),
        }
    }

    /// Takes a broken rule, after which the peer's messages mean nothing any more.
    pub(super) fn take_violation(&mut self, violation: Violation) {
        let event = match violation.leaves_frames_whole() {
            true => ClosingEvent::RuleBroken,
            false => ClosingEvent::FramingLost,
        };
        self.fail(violation, event);
    }

    fn fail(&mut self, violation: Violation, event: ClosingEvent) {
        debug!(session = self.conn.id(), peer = %self.about.peer, %violation, "protocol violation");
        self.meet(event, Cause::Violation(violation));
    }

    /// Asks the handler what it answers to the peer's Close.
    fn ask_handler(&mut self) {
        self.call(|instance, conn, from_peer| {
            let Some(CloseBody { code, reason }) = from_peer.close else {
                return CallbackOutcome::Done;
            };
            // Only in this callback OK leaves the answer to the server, as DONE does in every one.
            match instance.closing(conn, *code, reason) {
                CallbackOutcome::Continue => CallbackOutcome::Done,
                outcome => outcome,
            }
        });
    }

    /// Tells the handler that the session is over, or notes that it has to be told.
    pub(super) fn note_end(&mut self) {
        self.controls().leave_topics();
        self.registration.mailbox().refuse_letters();
        if !self.owner.has_instance() {
            return;
        }
        self.handler_end = HandlerEnd::Due;
        // A handler that is throttled has `closed` wait, like every callback.
        if !self.conn.context.throttle.is_on() {
            self.tell_end();
        }
    }

    /// Runs `closed`, which is due.
    #[cold]
    pub(super) fn tell_end(&mut self) {
        self.handler_end = HandlerEnd::Told;
        let outcome = self.call_after_end(|instance, conn, from_peer| {
            let theirs = from_peer.close.map(|it| (it.code, &*it.reason));
            let (code, reason) = theirs.unwrap_or((ABNORMAL, ""));
            instance.closed(conn, code, reason)
        });
        if outcome == CallbackOutcome::Panicked {
            self.owner.generation().context.record_panic();
        }
    }
}
