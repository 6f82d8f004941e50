//! How a session ends: who closes first, what is said then, who is told.

use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use tracing::{Level, debug, error};

use super::{Close, Phase, Session};
use crate::border::calls::Outcome;
use crate::buffers::pool::Buffer;
use crate::logging::{self, line::Line};
use crate::outbound::controls::{Controls, Ending};
use crate::process::clock::Moment;
use crate::sessions::cause::Cause;
use crate::ws::close::ABNORMAL;
use crate::ws::violation::Violation;

impl Session {
    /// The peer's Close: the first of the two, or the answer to ours.
    pub(super) fn take_close(&mut self, body: &[u8]) {
        let (code, reason) = match crate::ws::close::parse(body) {
            Ok(parsed) => parsed,
            Err(violation) => {
                self.fail(violation);
                if self.phase == Phase::Closing {
                    // It was the peer's Close, so none is to come.
                    self.linger();
                }
                return;
            }
        };
        self.conn.set_closing();
        self.controls().blame(Cause::PeerClosed);
        self.peer_has_closed = true;
        if self.conn.controls.ending != Ending::No {
            self.end(code, reason);
            self.linger();
            return;
        }
        self.phase = Phase::PeerCloses;
        self.their_close = Some(Box::new(Close {
            code,
            reason: reason.to_owned(),
        }));
        self.deadlines.start_closing(&self.conn.controls);
        let outcome = match self.owner.instance() {
            Some(instance) => instance.closing(&mut self.conn, code, reason),
            None => Outcome::Continue,
        };
        match outcome {
            Outcome::Continue | Outcome::Done => self.answer_close(),
            Outcome::Pending => {}
            Outcome::Failed | Outcome::Panicked => self.settle(outcome),
        }
    }

    /// Echoes the peer's code and reason, unless the handler has closed in its own words.
    pub(super) fn answer_close(&mut self) {
        self.echo_close();
        self.follow_ending();
    }

    fn echo_close(&mut self) {
        if let Some(close) = &self.their_close {
            let code = code_to_echo(close.code);
            // GONE: the handler's own `close` or `abort` came first.
            let _ = (self.conn.controls).close(code.into(), &close.reason, Cause::PeerClosed);
        }
    }

    /// The peer broke a rule: one Close frame, and its messages mean nothing any more.
    ///
    /// Where its frames can still be told apart, they are skipped until its own Close comes, so that
    /// a browser finds the connection closed cleanly.
    pub(super) fn fail(&mut self, violation: Violation) {
        debug!(session = self.conn.id(), peer = %self.about.peer, %violation, "protocol violation");
        if self.conn.controls.ending == Ending::Aborted {
            return;
        }
        let is_first = self.conn.controls.ending == Ending::No;
        self.controls().close_for(Cause::Violation(violation));
        self.end(ABNORMAL, "");
        if !violation.leaves_frames_whole() || !self.decoder.skip_messages() {
            self.linger();
        } else if is_first {
            self.phase = Phase::Closing;
            self.deadlines.start_closing(&self.conn.controls);
        }
    }

    /// The connection is gone, or nothing can be expected of it.
    #[cold]
    pub(super) fn lose(&mut self, cause: Cause) {
        let controls = &mut self.conn.controls;
        match controls.cause {
            // What is left when our side is shut is the peer's side of the connection.
            Some(first) if first != cause && self.phase != Phase::Finished => {
                controls.cut_short = Some(cause);
            }
            Some(_) => {}
            None => controls.blame(cause),
        }
        self.phase = Phase::Over;
        self.end_as_told(ABNORMAL);
    }

    /// The end as the peer wants it, or else with this code.
    fn end_as_told(&mut self, otherwise: u16) {
        if self.is_untold {
            return;
        }
        match self.their_close.take() {
            Some(close) => self.end(close.code, &close.reason),
            None => self.end(otherwise, ""),
        }
    }

    /// What a callback's answer means for the session.
    #[inline]
    pub(super) fn settle(&mut self, outcome: Outcome) {
        if outcome != Outcome::Continue {
            self.settle_other(outcome);
        }
    }

    #[cold]
    fn settle_other(&mut self, outcome: Outcome) {
        let cause = match outcome {
            Outcome::Continue => return,
            Outcome::Done if self.their_close.is_some() => return self.echo_close(),
            Outcome::Done => Cause::HandlerDone,
            Outcome::Pending if self.phase == Phase::PeerCloses => return,
            Outcome::Pending | Outcome::Failed => Cause::HandlerFailed,
            Outcome::Panicked => {
                self.owner.generation().context.record_panic();
                Cause::HandlerPanicked
            }
        };
        self.controls().close_for(cause);
    }

    /// Moves the phase after a callback, or the server, closed or aborted.
    #[inline]
    pub(super) fn follow_ending(&mut self) {
        if self.conn.controls.ending != Ending::No {
            self.follow_this_ending();
        }
    }

    #[cold]
    fn follow_this_ending(&mut self) {
        match (self.phase, self.conn.controls.ending) {
            (Phase::Over | Phase::Left | Phase::Afterlife, _) | (_, Ending::No) => {}
            (_, Ending::Aborted) => self.lose(Cause::HandlerAborted),
            (Phase::Open, Ending::Closed { .. }) => {
                self.phase = Phase::Closing;
                self.deadlines.start_closing(&self.conn.controls);
            }
            (Phase::PeerCloses, Ending::Closed { .. }) => {
                self.end_as_told(ABNORMAL);
                self.linger();
            }
            (Phase::Closing | Phase::Lingering | Phase::Finished, Ending::Closed { .. }) => {}
        }
    }

    pub(super) fn linger(&mut self) {
        self.phase = Phase::Lingering;
        self.deadlines.start_closing(&self.conn.controls);
        self.held = Buffer::default();
        self.held_is_ripe = false;
    }

    /// Tells the handler that the session is over, once.
    pub(super) fn end(&mut self, code: u16, reason: &str) {
        self.controls().unsubscribe_all();
        self.registration.mailbox().refuse_letters();
        let has_ended = self.told.is_some() || self.is_untold;
        if has_ended || !self.owner.has_instance() {
            return;
        }
        if self.conn.context.hold.is_on() {
            // `closed` waits, like every callback.
            self.is_untold = true;
            let reason = reason.to_owned();
            self.their_close = Some(Box::new(Close { code, reason }));
            return;
        }
        self.tell(code, reason);
    }

    /// Tells the handler of an end that was put off while the handler's callbacks had to wait.
    #[cold]
    pub(super) fn tell_end(&mut self) {
        self.is_untold = false;
        if let Some(close) = self.their_close.take() {
            self.tell(close.code, &close.reason);
        }
    }

    fn tell(&mut self, code: u16, reason: &str) {
        let Some(instance) = self.owner.instance() else {
            return;
        };
        self.told = NonZeroU16::new(code).or(NonZeroU16::new(ABNORMAL));
        let outcome = instance.closed(&mut self.conn, code, reason);
        if outcome == Outcome::Panicked {
            self.owner.generation().context.record_panic();
        }
        if outcome != Outcome::Pending {
            self.owner.free_instance();
        }
    }

    /// The connection is over. The handler may go on, but holds neither socket nor place nor what
    /// was half received or half sent.
    pub(super) fn leave_connection(&mut self) {
        let controls = &mut self.conn.controls;
        controls.wire.close();
        controls.deflation = None;
        self.decoder.clear();
        self.held = Buffer::default();
        self.held_is_ripe = false;
        self.waiting = None;
        if let Some(guard) = &mut self.guard {
            guard.give_up_permit();
        }
    }

    pub(super) fn poll_afterlife(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_held(cx) {
                return Poll::Pending;
            }
            self.waiting = None;
            while let Some(post) = self.registration.mailbox().take(&mut self.waiting, false) {
                self.waiting = None;
                let Some(instance) = self.owner.instance() else {
                    return Poll::Ready(());
                };
                if post.woken && instance.wake_after_end(&mut self.conn) != Outcome::Pending {
                    self.owner.free_instance();
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
    fn name_in(&self, line: &mut Line<'_>) {
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
        match self.conn.controls.ending {
            Ending::Closed { code } if code != 0 => code,
            _ if self.is_untold => self
                .their_close
                .as_ref()
                .map_or(ABNORMAL, |close| close.code),
            _ => self.told.map_or(ABNORMAL, NonZeroU16::get),
        }
    }
}

/// A session that is dropped before its end, because the server panicked in its task, is over for
/// its handler as well.
impl Drop for Session {
    fn drop(&mut self) {
        if self.told.is_some() || !self.owner.has_instance() {
            return;
        }
        let (session, handler) = (self.conn.id(), &self.owner.generation().handler);
        if std::thread::panicking() {
            error!(session, %handler, "the server panicked in a session, and drops its connection");
        }
        // A second panic would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| self.end(ABNORMAL, "")));
    }
}

/// An empty Close is echoed by an empty one.
fn code_to_echo(code: u16) -> u16 {
    if code == crate::ws::close::NO_STATUS {
        0
    } else {
        code
    }
}
