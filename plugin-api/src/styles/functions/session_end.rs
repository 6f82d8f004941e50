//! How a session ends for a function that serves it, async or blocking.
//!
//! A peer that closes first is answered with its own code, after the messages that it sent before:
//! when the function ends. An async function that was told ([`recv`](crate::Conn::recv) gave
//! `None`) and then waits for something else is not waited for, nor is a function that has not
//! asked for messages, if none waits for it. In any case the server answers within its close
//! timeout.

use crate::{
    abi::{self, Status},
    close_codes,
};

/// What of the session's end has come, and what of it the function knows.
#[derive(Debug, Default)]
pub(crate) struct SessionEnd {
    phase: Phase,
    /// Whether the function asks for messages.
    is_reader: bool,
    /// How often the function was told.
    told: u8,
    is_answered: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Phase {
    #[default]
    Open,
    /// The peer's Close came, and ours is not sent.
    PeerCloses,
    /// There is no connection any more.
    Over,
}

/// Which of the three kinds of callback is running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallbackKind {
    Closing,
    Closed,
    Other,
}

/// What a callback does while the function goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallbackAnswer {
    /// It answers this.
    Status(Status),
    /// It closes with the peer's code, then answers OK.
    Echo,
}

impl SessionEnd {
    pub(crate) fn peer_closes(&mut self) {
        self.phase = Phase::PeerCloses;
    }

    pub(crate) fn is_over_now(&mut self) {
        self.phase = Phase::Over;
    }

    /// Nobody has closed yet, as far as the callbacks said.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// There is no connection any more.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether nothing more may be sent: it is over, or the function knows that the peer closes.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_over() || self.told > 0
    }

    /// The function asks for messages.
    pub(crate) fn reads(&mut self) {
        self.is_reader = true;
    }

    /// Whether the function may have something to answer before the peer's Close: a message in
    /// hand, or one that waits.
    pub(crate) fn is_waited_for(&self, has_mail: bool) -> bool {
        self.is_reader || has_mail
    }

    /// Whether a function that sleeps is to be told now.
    pub(crate) fn ends_sleep(&self, has_mail: bool) -> bool {
        match self.phase {
            Phase::Open => false,
            Phase::PeerCloses => !self.is_waited_for(has_mail),
            Phase::Over => true,
        }
    }

    /// Tells the function. False: it was told so often that it does not listen, and would spin for
    /// ever; it must be ended.
    pub(crate) fn tell(&mut self) -> bool {
        self.told = self.told.saturating_add(1);
        self.told <= TOLD_MAX
    }

    /// What the callback does after the function had its turn and has not ended.
    pub(crate) fn course(&mut self, callback: CallbackKind, has_mail: bool) -> CallbackAnswer {
        match self.phase {
            Phase::Open => CallbackAnswer::Status(abi::OK),
            Phase::Over => CallbackAnswer::Status(abi::PENDING),
            Phase::PeerCloses => {
                let is_time = !self.is_answered && (self.told > 0 || !self.is_waited_for(has_mail));
                self.is_answered |= is_time;
                match callback {
                    CallbackKind::Closing if !is_time => CallbackAnswer::Status(abi::PENDING),
                    // The host echoes what this callback says OK to.
                    CallbackKind::Closing => CallbackAnswer::Status(abi::OK),
                    _ if is_time => CallbackAnswer::Echo,
                    _ => CallbackAnswer::Status(abi::OK),
                }
            }
        }
    }
}

/// The code to answer a peer's Close with: 1005 says that its frame had none, so ours has none.
pub(crate) fn echoed(code: u32) -> u32 {
    if code == u32::from(close_codes::NO_STATUS) {
        0
    } else {
        code
    }
}

/// How often a function may ask on after the end. One that asks in a loop would spin, one that is
/// made of several loops is told by each of them.
const TOLD_MAX: u8 = 16;
