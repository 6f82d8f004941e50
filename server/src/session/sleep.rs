//! When the task of a session may sleep: whether something is left to do, and what it waits for.

use std::task::{Context, Poll};

use super::Session;
use super::receive::Unparsed;
use crate::sessions::cause::Cause;
use crate::ws::closing::ClosingEvent;

impl Session {
    /// Whether it is plain that the session has nothing to do now and waits for nothing but input. So it is after nearly
    /// every turn. False says nothing: then [`has_work`](Self::has_work), [`is_settled`](Self::is_settled) and
    /// [`poll_input`](Self::poll_input) look closely.
    // Those ask some facts several times, because they act on them one by one. This asks each fact once, and of two facts
    // that go together only one: a session whose deadlines are armed listens, and one that has joined a topic is not plain.
    #[inline]
    pub(super) fn waits_only_for_input(&self) -> bool {
        let controls = &self.conn.controls;
        controls.is_plain()
            && self.unparsed_kind == Unparsed::PartOfAFrame
            && self.holding.is_nothing()
            && !self.has_waiting()
            && !self.registration.mailbox().has_post()
            && self.deadlines.are_plainly_armed()
    }

    /// Ready when the socket may have bytes that are wanted.
    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_wanted = !self.unparsed_kind.has_frames() && self.reads();
        if is_wanted && self.conn.controls.wire.poll_readable(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Whether a turn has something to do besides input.
    pub(super) fn has_work(&self) -> bool {
        self.registration.mailbox().has_post()
            || self.unparsed_kind.has_frames() && self.reads()
            || self.deadlines.is_due()
            || self.has_waiting() && !self.holds_letters()
            || self.conn.controls.is_drain_due()
    }

    /// Whether there is nothing left to do now, and the task is woken for whatever comes next.
    pub(super) fn is_settled(&mut self, cx: &mut Context<'_>) -> bool {
        let wire = &self.conn.controls.wire;
        if wire.is_broken() && !(self.state().is_open() && self.reads()) {
            // Nothing can be sent any more, so nothing is waited for.
            self.meet(ClosingEvent::ConnectionLost, Cause::ConnectionLost);
            return false;
        }
        if wire.buffered() > 0 {
            if !wire.is_broken() && wire.poll_writable(cx).is_ready() {
                self.controls().wire.flush();
                self.controls().wire.give_back();
                self.controls().note_buffered();
                return false;
            }
            self.holding.note();
        }
        if self.state().is_flushing() && self.conn.controls.wire.buffered() == 0 {
            self.controls().closing.advance(ClosingEvent::Flushed);
            self.act();
            return false;
        }
        // One task polls a session all its life, so one waker does.
        if !self.is_listening {
            self.registration.mailbox().listen(cx.waker());
            self.is_listening = true;
            if self.registration.mailbox().has_post() {
                return false; // Something was posted before there was a waker.
            }
        }
        let is_open = self.state().is_open();
        let rests = is_open && !self.reads();
        let is_armed = is_open && !rests && self.deadlines.is_armed_before(&self.conn.controls);
        is_armed || self.poll_deadlines(cx, is_open).is_pending()
    }
}
