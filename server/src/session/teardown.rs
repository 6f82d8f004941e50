//! What is left of a session once its connection is over: the handler's part, for a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tracing::{debug, error};

use super::receive::Unparsed;
use super::{HandlerEnd, Session};
use crate::buffers::pool::Buffer;

/// What a session has given back since its connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Teardown {
    /// Nothing: the connection is there, or its end has not been followed yet.
    Connected,
    /// The socket, the permit and the buffers. What is left is the handler's.
    Left,
    /// What `Left` says; the handler was told of the end, and has some time to finish.
    Afterlife,
}

impl Session {
    /// Ready when the handler is done with the session, or has had its time.
    // Cold, like all that most polls do without, so that these pay nothing for it.
    #[cold]
    pub(super) fn poll_after_the_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.teardown == Teardown::Connected {
            self.count_end();
            self.log_end();
            self.leave_connection();
            self.teardown = Teardown::Left;
        }
        if self.teardown == Teardown::Left {
            if self.handler_end == HandlerEnd::Due {
                if self.is_throttled(cx) {
                    return Poll::Pending;
                }
                self.tell_end();
            }
            if !self.owner.has_instance() {
                return Poll::Ready(());
            }
            // Async handlers go on after the end until they are done.
            self.controls().limit_time(AFTERLIFE);
            self.teardown = Teardown::Afterlife;
        }
        if self.poll_afterlife(cx).is_ready() {
            return Poll::Ready(());
        }
        ready!(self.controls().poll_time_left(cx));
        debug!(
            session = self.conn.id(),
            "handler took too long after the close"
        );
        Poll::Ready(())
    }

    /// Gives back the socket, the permit, and what was half received or half sent.
    fn leave_connection(&mut self) {
        self.release_held();
        let controls = &mut self.conn.controls;
        controls.wire.close();
        controls.set_deflation(None);
        self.decoder.clear();
        self.unparsed = Buffer::default();
        self.unparsed_kind = Unparsed::PartOfAFrame;
        self.waiting = None;
        if let Some(guard) = &mut self.guard {
            guard.give_up_permits();
        }
    }

    /// Runs the handler's `wake` for each wake, until the handler is done. Letters are dropped.
    fn poll_afterlife(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
}

/// Takes the socket back, and tells the handler of the end when a session is dropped before it, as happens when the server
/// panicked in its task.
impl Drop for Session {
    fn drop(&mut self) {
        self.release_held();
        // The drop closes the socket, so no other thread may be sending on it.
        if self.has_offered_wire {
            self.registration.mailbox().reclaim_wire_for_good();
        }
        if self.teardown == Teardown::Connected {
            self.count_end();
        }
        if self.handler_end >= HandlerEnd::Due || !self.owner.has_instance() {
            return;
        }
        let (session, handler) = (self.conn.id(), &self.owner.generation().handler);
        if std::thread::panicking() {
            error!(session, %handler, "the server panicked in a session, and drops its connection");
        }
        // A second panic would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| self.note_end()));
    }
}

/// How long a handler's `closed` may stay PENDING.
const AFTERLIFE: Duration = Duration::from_secs(30);
