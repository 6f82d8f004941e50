//! When the handler is called about the end of its session, where many sessions end at one moment.
//!
//! An end takes as long as many messages: callbacks, the Close frame, the line in the log, the socket. It begins with the
//! first callback about it, and then goes as far as it can. So what waits, if too many end at once, is that callback, and what
//! follows it: a session whose connection is gone keeps its socket, its permit and its topics until then. The closing
//! deadline does not wait, so that a peer can hold no session.

use std::task::{Context, Poll};

use super::{HandlerEnd, Session};

impl Session {
    /// Whether the handler may be called about the end. Otherwise the session [waits](Self::wait_to_end).
    pub(super) fn may_end(&mut self) -> bool {
        let pacer = &self.conn.context.shared.ends;
        let (may, next) = match self.handler_end {
            HandlerEnd::Untold if pacer.may_begin() => (true, HandlerEnd::Called),
            HandlerEnd::Untold | HandlerEnd::Refused => (false, HandlerEnd::Refused),
            HandlerEnd::Waits if pacer.has_come(self.conn.id()) => (true, HandlerEnd::Called),
            HandlerEnd::Waits => (false, HandlerEnd::Waits),
            called @ (HandlerEnd::Called | HandlerEnd::Due | HandlerEnd::Told) => (true, called),
        };
        self.handler_end = next;
        may
    }

    /// Has the task woken when the handler may be called, if that waits.
    pub(super) fn wait_to_end(&mut self, cx: &mut Context<'_>) {
        if self.handler_end == HandlerEnd::Refused {
            self.handler_end = HandlerEnd::Waits;
            let pacer = &self.conn.context.shared.ends;
            pacer.wait(self.conn.id(), cx.waker());
        }
    }

    /// Ready when everything is done that follows at once from the end of the connection.
    #[cold]
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A session that is over before its first turn, since `open` has aborted it, has its 101 still to send.
        self.controls().wire.flush();
        self.act();
        if !self.conn.controls.closing.has_actions() {
            return Poll::Ready(());
        }
        self.wait_to_end(cx);
        Poll::Pending
    }
}
