//! How a session ends: who closes first, what is said then, who is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use tracing::{Level, debug, error};

use super::{FromPeer, HandlerEnd, Session};
use crate::border::calls::{Instance, Outcome};
use crate::border::conn::Conn;
use crate::buffers::pool::Buffer;
use crate::logging::{self, line::LogLine};
use crate::outbound::controls::Controls;
use crate::process::clock::Moment;
use crate::sessions::cause::Cause;
use crate::ws::close::{self, ABNORMAL, CloseBody};
use crate::ws::closing::{Action, ClosingEvent};
use crate::ws::violation::Violation;

impl Session {
    /// Takes an event that bears on the end of the session, and does what follows from it.
    #[cold]
    pub(super) fn meet(&mut self, event: ClosingEvent, cause: Cause) {
        let theirs = self.their_close.as_deref();
        self.conn.controls.note_event(event, cause, theirs);
        self.act();
    }

    /// Does what the end of the session asks for, if it asks for anything.
    #[inline]
    pub(super) fn act(&mut self) {
        if self.conn.controls.closing.has_actions() {
            self.act_now();
        }
    }

    #[cold]
    fn act_now(&mut self) {
        while let Some(action) = self.controls().closing.next_action() {
            match action {
                Action::TellHandler => self.end(),
                Action::SkipMessages => self.decoder.skip_messages(),
                Action::StartDeadline => self.deadlines.start_closing(&self.conn.controls),
                Action::DropInput => {
                    self.unparsed = Buffer::default();
                    self.unparsed_has_frames = false;
                }
                Action::ShutDown => self.controls().wire.finish(),
                Action::AskHandler => self.ask_handler(),
            }
        }
    }

    /// The peer's Close: the first of the two, or the answer to ours.
    pub(super) fn take_close(&mut self, body: &[u8]) {
        match close::parse(body) {
            Ok((code, reason)) => {
                if self.handler_end == HandlerEnd::Untold {
                    let reason = reason.to_owned();
                    self.their_close = Some(Box::new(CloseBody { code, reason }));
                }
                self.meet(ClosingEvent::PeerClosed, Cause::PeerClosed);
            }
            // It was the peer's Close all the same, so none is to come.
            Err(violation) => self.fail(violation, ClosingEvent::FramingLost),
        }
    }

    /// The peer broke a rule, so its messages mean nothing any more.
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
                return Outcome::Done;
            };
            // Of all callbacks this one leaves the answer to the server by going on.
            match instance.closing(conn, *code, reason) {
                Outcome::Continue => Outcome::Done,
                outcome => outcome,
            }
        });
    }

    /// What a callback's answer means for the session. What follows from it stays due.
    #[inline]
    pub(super) fn settle(&mut self, outcome: Outcome) {
        if outcome != Outcome::Continue {
            self.settle_other(outcome);
        }
    }

    #[cold]
    fn settle_other(&mut self, outcome: Outcome) {
        let (event, cause) = match outcome {
            Outcome::Continue => return,
            Outcome::Done => (ClosingEvent::Done, Cause::HandlerDone),
            Outcome::Pending => (ClosingEvent::Pending, Cause::HandlerFailed),
            Outcome::Failed => (ClosingEvent::Close, Cause::HandlerFailed),
            Outcome::Panicked => {
                self.owner.generation().context.record_panic();
                (ClosingEvent::Close, Cause::HandlerPanicked)
            }
        };
        let theirs = self.their_close.as_deref();
        self.conn.controls.note_event(event, cause, theirs);
    }

    /// Tells the handler that the session is over, or notes that it has to be told.
    fn end(&mut self) {
        self.controls().unsubscribe_all();
        self.registration.mailbox().refuse_letters();
        if !self.owner.has_instance() {
            return;
        }
        self.handler_end = HandlerEnd::Due;
        // `closed` waits, like every callback.
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
        if outcome == Outcome::Panicked {
            self.owner.generation().context.record_panic();
        }
    }

    /// Runs `closed`, or a wake after it. Unless the handler says that it is not done yet, its part of
    /// the session is freed.
    fn call_after_end(
        &mut self,
        callback: impl FnOnce(&mut Instance, &mut Conn, FromPeer<'_>) -> Outcome,
    ) -> Outcome {
        let Some(instance) = self.owner.instance() else {
            return Outcome::Done;
        };
        let from_peer = FromPeer {
            decoder: &self.decoder,
            close: self.their_close.as_deref(),
        };
        let outcome = callback(instance, &mut self.conn, from_peer);
        if outcome != Outcome::Pending {
            self.owner.free_instance();
        }
        outcome
    }

    /// The connection is over. The handler may go on, but holds neither socket nor place nor what
    /// was half received or half sent.
    pub(super) fn leave_connection(&mut self) {
        let controls = &mut self.conn.controls;
        controls.wire.close();
        controls.deflation = None;
        self.decoder.clear();
        self.unparsed = Buffer::default();
        self.unparsed_has_frames = false;
        self.waiting = None;
        if let Some(guard) = &mut self.guard {
            guard.give_up_permit();
        }
    }

    pub(super) fn poll_afterlife(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_throttled(cx) {
                return Poll::Pending;
            }
            self.waiting = None;
            while let Some(post) = self.registration.mailbox().take(&mut self.waiting, false) {
                self.waiting = None;
                if post.woken {
                    self.call_after_end(|instance, conn, _| instance.wake_after_end(conn));
                }
                if !self.owner.has_instance() {
                    return Poll::Ready(());
                }
            }
            if !self.registration.mailbox().listen(cx.waker()) {
                return Poll::Pending;
            }
        }
    }

    pub(super) fn log_begin(&self, is_compressing: bool) {
        logging::session(Level::DEBUG, "session opened", |line| {
            self.name_in(line);
            let protocol = self.conn.protocol();
            if !protocol.is_empty() {
                line.text("protocol", protocol);
            }
            line.text("deflate", is_compressing);
        });
    }

    /// Which session it is.
    fn name_in(&self, line: &mut LogLine<'_>) {
        let generation = self.owner.generation();
        let (slash, path) = match &self.about.path {
            Some(path) => ("", &**path),
            None => ("/", &*generation.handler),
        };
        line.number("session", self.conn.id());
        line.text("peer", &self.about.peer);
        line.text("path", format_args!("{slash}{path}"));
        line.text("handler", &generation.handler);
        line.number("generation", generation.number);
    }

    pub(super) fn log_end(&self) {
        let Controls {
            wire,
            limits,
            cause,
            cut_short,
            ..
        } = &self.conn.controls;
        let (cause, cut_short) = (*cause, *cut_short);
        logging::session(Level::INFO, "session closed", |line| {
            self.name_in(line);
            line.number("code", self.end_code().into());
            if let Some(cause) = cause {
                line.text("cause", cause.word());
                match (cause.limit(limits), cause) {
                    (Some(limit), _) => line.number("limit", limit),
                    (None, Cause::Violation(violation)) => line.text("error", violation),
                    (None, _) => {}
                }
            }
            if let Some(cause) = cut_short {
                line.text("cut_short", cause.word());
            }
            line.number("bytes_in", wire.bytes_in);
            line.number("bytes_out", wire.bytes_out);
            line.number("elapsed_ms", Moment::now().ms_since(self.about.began));
        });
    }

    /// What we closed with, or else what the peer did.
    pub(super) fn end_code(&self) -> u16 {
        match self.conn.controls.close_code {
            0 => self.their_close.as_ref().map_or(ABNORMAL, |it| it.code),
            code => code,
        }
    }
}

/// A session that is dropped before its end, because the server panicked in its task, is over for
/// its handler as well.
impl Drop for Session {
    fn drop(&mut self) {
        if self.handler_end != HandlerEnd::Untold || !self.owner.has_instance() {
            return;
        }
        let (session, handler) = (self.conn.id(), &self.owner.generation().handler);
        if std::thread::panicking() {
            error!(session, %handler, "the server panicked in a session, and drops its connection");
        }
        // A second panic would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| self.end()));
    }
}
