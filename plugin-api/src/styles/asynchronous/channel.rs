//! The channel between the callbacks of an async session and the function that serves it.
//!
//! Both run on the thread of the callback, one after the other, so the lock is nearly always free. It is there because
//! the author's function may lend its connection to another thread while the callback waits.

use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    asks::waiting::WaitingAsks,
    close::Close,
    error::Refused,
    styles::functions::{inbox::Inbox, session_end::SessionEnd},
};

/// Shared by the session adapter, which puts events in, and the [`AsyncConn`](crate::AsyncConn), which takes them out.
#[derive(Debug, Default)]
pub(crate) struct AsyncChannel {
    inner: Mutex<ChannelState>,
    closed: OnceLock<Close>,
    /// One side has closed, as far as the callbacks said. A copy of the state, which is read without the lock.
    is_ending: AtomicBool,
    /// Nothing may be sent any more. A copy of the state, which is read without the lock.
    is_silent: AtomicBool,
}

/// The part of the channel behind its lock.
#[derive(Debug, Default)]
pub(crate) struct ChannelState {
    pub(crate) inbox: Inbox,
    pub(crate) end: SessionEnd,
    pub(crate) state_request: StateRequest,
    /// How many [`Stay`](crate::Stay) guards live.
    pub(crate) stays: u32,
    /// How many [`LetGo`](crate::LetGo) guards live.
    pub(crate) let_go_guards: u32,
    /// The author holds the peer back.
    pub(crate) is_paused: bool,
    /// The timer of the running `sleep` or `recv_timeout` has run out.
    pub(crate) has_elapsed: bool,
    /// The function ignores the end of its session, and is dropped.
    pub(crate) ignores_end: bool,
    /// The lowest watermark that a waiting send asks for.
    low: Option<u64>,
    /// What the function has asked, and has no answer to yet.
    pub(crate) asks: WaitingAsks,
}

/// The request for the session's state, and the function's answer. The function answers where it waits for its
/// connection; a function that waits for something else does not see the request.
///
/// There are two requests, because writing the state is in vain if the function also waits for something else, as in a
/// `select!`.
#[derive(Debug, Default)]
pub(crate) enum StateRequest {
    /// Nothing is asked.
    #[default]
    None,
    /// Asked: does the function wait for its connection?
    WaitsForConnection,
    /// Answered: it does.
    Waits,
    /// Asked: write the state.
    Write,
    /// Answered: this is the state.
    Written(Vec<u8>),
}

impl StateRequest {
    /// Undoes the answer of a wait that is over: the function went on.
    pub(crate) fn undo_answer(&mut self) {
        *self = match std::mem::take(self) {
            StateRequest::Waits => StateRequest::WaitsForConnection,
            StateRequest::Written(_) => StateRequest::Write,
            unanswered => unanswered,
        };
    }
}

impl AsyncChannel {
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, ChannelState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the session ends: what the first callback about its end said.
    pub(crate) fn closed(&self) -> Option<&Close> {
        self.closed.get()
    }

    /// The peer's Close came.
    pub(crate) fn peer_closes(&self, close: Close) {
        let _ = self.closed.set(close);
        self.lock().end.peer_closes();
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// The session is over.
    pub(crate) fn is_over_now(&self, close: Close) {
        // Already set if the peer closed first.
        let _ = self.closed.set(close);
        let asks = {
            let mut inner = self.lock();
            inner.end.is_over_now();
            inner.asks.take_all()
        };
        // A session that is over gets no answers.
        asks.fail(Refused::Gone);
        self.is_ending.store(true, Ordering::Relaxed);
        self.is_silent.store(true, Ordering::Relaxed);
    }

    /// Whether one side has closed, as far as the callbacks said.
    #[inline]
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Tells the function that no message follows. False: the function was told too often, and must not go on.
    pub(crate) fn tell_end(&self, inner: &mut ChannelState) -> bool {
        self.is_silent.store(true, Ordering::Relaxed);
        let may_go_on = inner.end.tell();
        inner.ignores_end = !may_go_on;
        may_go_on
    }

    /// Whether nothing may be sent any more: the session is over, or the function knows that the peer closes.
    #[inline]
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }

    /// Notes that a send waits until at most `low` bytes wait for the peer. Answers the lowest such mark of all waiting
    /// sends: a session has one watermark.
    pub(crate) fn ask_for_mark(&self, low: u64) -> u64 {
        let mut inner = self.lock();
        let least = inner.low.map_or(low, |other| other.min(low));
        inner.low = Some(least);
        least
    }

    /// Whether a send waits until fewer bytes wait for the peer.
    pub(crate) fn has_waiting_send(&self) -> bool {
        self.lock().low.is_some()
    }

    /// The host's `drain` came: waiting sends try again, and ask anew if they still have to wait.
    pub(crate) fn drained(&self) {
        self.lock().low = None;
    }

    pub(crate) fn ask(&self, request: StateRequest) {
        self.lock().state_request = request;
    }

    pub(crate) fn take_answer(&self) -> StateRequest {
        std::mem::take(&mut self.lock().state_request)
    }
}

/// The token of the one timer that a function's waits use. It is the same number in every generation, so that a newer
/// one can cancel the timer of an older one. Its highest bit tells it from the small numbers that authors choose.
pub(crate) const WAIT_TIMER: u64 = 1 << 63;
