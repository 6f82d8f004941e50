//! The end of a session of the test host: the closing handshake, a lost connection, and what follows.

use std::{mem, time::Duration};

use super::{Phase, TestSession};
use crate::{
    abi, close_codes,
    test::{
        controls::LocalEnd,
        plugin_session::{CallbackEvent, CallbackOutcome},
    },
};

impl TestSession {
    /// The connection is lost.
    pub(in crate::test) fn lose(&mut self) {
        self.controls().wire.cut();
        self.controls().blame(abi::CAUSE_LOST);
        match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Over => {}
            Phase::PeerCloses(code, reason) => self.end(code, &reason),
            Phase::Open | Phase::Closing => self.end(close_codes::ABNORMAL.into(), ""),
        }
    }

    /// The peer's Close came: it closes first, or answers the Close of this side.
    pub(super) fn hear_close(&mut self, code: u32, reason: String) {
        self.table.set_closing();
        self.controls().blame(abi::CAUSE_PEER);
        if self.ready().ending != LocalEnd::None {
            self.phase = Phase::Over;
            return self.end(code, &reason);
        }
        self.phase = Phase::PeerCloses(code, reason.clone());
        self.start_closing();
        match self.run(&CallbackEvent::Closing(code, &reason)) {
            CallbackOutcome::Continue | CallbackOutcome::Done => self.settle(CallbackOutcome::Done),
            CallbackOutcome::Pending => {}
            CallbackOutcome::Failed => self.settle(CallbackOutcome::Failed),
        }
    }

    /// Calls `wake` for a handler that answered PENDING to `closed`.
    pub(super) fn wake_after_end(&mut self) {
        if self.run(&CallbackEvent::WakeAfterEnd) != CallbackOutcome::Pending {
            self.forget();
        }
    }

    /// Moves to the next phase after the handler or the server has closed or aborted.
    pub(super) fn follow_ending(&mut self) {
        match (&self.phase, self.ready().ending) {
            (Phase::Over, _) | (_, LocalEnd::None) | (Phase::Closing, LocalEnd::Closed) => {}
            (_, LocalEnd::Aborted) => {
                // What was queued before still leaves, also a Close frame.
                self.controls().flush();
                self.lose();
            }
            (Phase::Open, LocalEnd::Closed) => {
                self.phase = Phase::Closing;
                self.start_closing();
            }
            (Phase::PeerCloses(code, reason), LocalEnd::Closed) => {
                let (code, reason) = (*code, reason.clone());
                self.controls().flush();
                self.phase = Phase::Over;
                self.end(code, &reason);
            }
        }
    }

    /// Tells the handler that the session is over, once.
    pub(super) fn end(&mut self, code: u32, reason: &str) {
        self.controls().unsubscribe_all();
        self.hub.leave_all(self.id);
        self.hub.refuse_items(self.id);
        self.incoming.clear();
        self.destination = None;
        if mem::replace(&mut self.is_told, true) {
            return;
        }
        self.deadline = Some(self.ready().now + AFTERLIFE);
        if self.run(&CallbackEvent::Closed(code, reason)) != CallbackOutcome::Pending {
            self.forget();
        }
    }

    /// Destroys the session, after its last callback.
    pub(super) fn forget(&mut self) {
        self.instance = None;
        self.hub.remove(self.id);
    }

    /// Gives the closing handshake its time from now on.
    pub(super) fn start_closing(&mut self) {
        self.deadline = Some(self.ready().now + CLOSE_TIMEOUT);
    }

    /// Whether the closing handshake, or the handler after it, has taken too long.
    pub(super) fn is_late(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
            && self.phase != Phase::Open
            && !self.is_destroyed()
    }
}

/// How long a closing handshake may take: the default of a server.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a handler may go on after its session.
const AFTERLIFE: Duration = Duration::from_secs(30);
