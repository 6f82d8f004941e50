//! What the callbacks of an async session and the function that serves it have in common.
//!
//! Both run on the thread of the callback, one after the other, so the lock is always free. It is
//! there because the function is the author's, who may lend its connection to another thread while
//! the callback waits.

use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    close::Close,
    styles::functions::{inbox::Inbox, session_end::SessionEnd},
};

/// Shared by the slot, which puts in what happens, and the [`AsyncConn`](crate::AsyncConn), which takes it.
#[derive(Debug, Default)]
pub(crate) struct AsyncChannel {
    inner: Mutex<ChannelState>,
    closed: OnceLock<Close>,
    /// One side has closed, as far as the callbacks said: one load instead of the lock.
    is_ending: AtomicBool,
    /// Nothing may be sent any more: likewise.
    is_silent: AtomicBool,
}

/// Behind the lock.
#[derive(Debug, Default)]
pub(crate) struct ChannelState {
    pub(crate) inbox: Inbox,
    pub(crate) ending: SessionEnd,
    pub(crate) question: Question,
    /// How many stretches of the function that no newer generation can take up.
    pub(crate) stays: u32,
    /// How many in which it lets go of what it waits for beside its connection.
    pub(crate) let_gos: u32,
    /// The author holds the peer back.
    pub(crate) is_paused: bool,
    /// The timer of the `sleep` or `recv_timeout` that the function is in ran out.
    pub(crate) has_elapsed: bool,
    /// The function does not listen to being told of the end.
    pub(crate) is_deaf: bool,
    /// What waits until little is on its way to the peer wants it to be as little as this, at least.
    low: Option<u64>,
}

/// How far the question for the session's state has come. The function answers it where it waits
/// for its connection; anywhere else the question passes.
///
/// There are two questions: what is written down is in vain when the function waits for something else
/// besides, as in a `select!`.
#[derive(Debug, Default)]
pub(crate) enum Question {
    #[default]
    No,
    /// Whether it waits for its connection.
    Where,
    /// It does.
    Here,
    /// What its state is.
    What,
    Answered(Vec<u8>),
}

impl Question {
    /// The wait that has answered is over: the function went on, and what it said holds no more.
    pub(crate) fn take_back(&mut self) {
        *self = match std::mem::take(self) {
            Question::Here => Question::Where,
            Question::Answered(_) => Question::What,
            unanswered => unanswered,
        };
    }
}

impl AsyncChannel {
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, ChannelState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the peer closed with, as it was heard first.
    pub(crate) fn closed(&self) -> Option<&Close> {
        self.closed.get()
    }

    pub(crate) fn peer_closes(&self, close: Close) {
        let _ = self.closed.set(close);
        self.lock().ending.peer_closes();
        self.is_ending.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over_now(&self, close: Close) {
        // Already set if the peer closed first.
        let _ = self.closed.set(close);
        self.lock().ending.is_over_now();
        self.is_ending.store(true, Ordering::Relaxed);
        self.is_silent.store(true, Ordering::Relaxed);
    }

    /// Whether one side has closed, as far as the callbacks said.
    #[inline]
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Tells the function that its session is over; false: it is not to go on.
    pub(crate) fn tell(&self, inner: &mut ChannelState) -> bool {
        self.is_silent.store(true, Ordering::Relaxed);
        let listens = inner.ending.tell();
        inner.is_deaf = !listens;
        listens
    }

    /// Whether nothing may be sent any more: it is over, or the function knows that the peer closes.
    #[inline]
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }

    /// One more wait until no more than `low` bytes are on their way to the peer. Answers the least that
    /// any wait wants: a session has one watermark.
    pub(crate) fn wants_room(&self, low: u64) -> u64 {
        let mut inner = self.lock();
        let least = inner.low.map_or(low, |other| other.min(low));
        inner.low = Some(least);
        least
    }

    /// Whether something waits until less is on its way to the peer.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.lock().low.is_some()
    }

    /// What waits for room asks again.
    pub(crate) fn drained(&self) {
        self.lock().low = None;
    }

    pub(crate) fn ask(&self, question: Question) {
        self.lock().question = question;
    }

    pub(crate) fn take_answer(&self) -> Question {
        std::mem::take(&mut self.lock().question)
    }
}

/// The timer of the function's waits, one at a time and in every generation the same: what an older
/// one left can be cancelled by its name. The highest bit keeps it apart from the small numbers that
/// authors choose.
pub(crate) const WAIT_TIMER: u64 = 1 << 63;
