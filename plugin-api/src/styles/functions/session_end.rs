//! How a session ends for a function that serves it, async or blocking: a state machine without I/O.
//!
//! A peer that closes first is answered with its own code when the function ends: first the messages that the peer sent
//! before are received. The answer does not wait for an async function that was told of the end ([`recv`] gave `None`)
//! and then waits for something else. Nor does it wait for a function that has never asked for messages, if there are
//! none. In any case the server answers within its close timeout.
//!
//! [`recv`]: crate::AsyncConn::recv

use crate::{
    abi::{self, Status},
    close_codes,
};

/// How far the end of the session has come, and what the function knows of it.
#[derive(Debug, Default)]
pub(crate) struct SessionEnd {
    state: EndState,
    /// The function has asked for messages.
    asks_for_messages: bool,
    /// How often the function was told that no message follows.
    told: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum EndState {
    #[default]
    Open,
    /// The peer's Close came, and a callback has still to answer it.
    PeerClosed,
    /// The peer's Close came, and a callback has answered it.
    Answered,
    /// There is no connection any more.
    Over,
}

/// Which callback is running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallbackKind {
    Closing,
    Closed,
    Other,
}

/// What a callback answers while the function goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallbackAnswer {
    /// It returns this status.
    Status(Status),
    /// It closes with the peer's code, and returns OK.
    Echo,
}

impl SessionEnd {
    /// The peer's Close came.
    pub(crate) fn peer_closes(&mut self) {
        self.state = EndState::PeerClosed;
    }

    /// The session is over.
    pub(crate) fn is_over_now(&mut self) {
        self.state = EndState::Over;
    }

    /// The function asks for a message.
    pub(crate) fn asks_for_messages(&mut self) {
        self.asks_for_messages = true;
    }

    /// The function is told that no message follows. False: it was told so often that it would spin for ever, and must be
    /// ended.
    pub(crate) fn tell(&mut self) -> bool {
        self.told = self.told.saturating_add(1);
        self.told <= TOLD_MAX
    }

    /// What a callback answers after the function was polled and has not ended. `has_messages`: some wait to be received.
    pub(crate) fn answer(&mut self, callback: CallbackKind, has_messages: bool) -> CallbackAnswer {
        let is_time = self.told > 0 || !self.is_waited_for(has_messages);
        let answer = match (self.state, callback) {
            (EndState::Open, _) => CallbackAnswer::Status(abi::OK),
            (EndState::Over, _) => CallbackAnswer::Status(abi::PENDING),
            // The host echoes the code when `closing` answers OK.
            (EndState::PeerClosed, CallbackKind::Closing) if is_time => {
                CallbackAnswer::Status(abi::OK)
            }
            (EndState::PeerClosed, _) if is_time => CallbackAnswer::Echo,
            (EndState::PeerClosed | EndState::Answered, CallbackKind::Closing) => {
                CallbackAnswer::Status(abi::PENDING)
            }
            (EndState::PeerClosed | EndState::Answered, _) => CallbackAnswer::Status(abi::OK),
        };
        if self.state == EndState::PeerClosed && is_time {
            self.state = EndState::Answered;
        }
        answer
    }

    /// Whether neither side has closed, as far as the callbacks said.
    pub(crate) fn is_open(&self) -> bool {
        self.state == EndState::Open
    }

    /// Whether there is no connection any more.
    pub(crate) fn is_over(&self) -> bool {
        self.state == EndState::Over
    }

    /// Whether nothing more may be sent: the session is over, or the function knows that the peer closes.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_over() || self.told > 0
    }

    /// Whether the function may still have something to send before the peer's Close is answered: the answer to a message
    /// that it has received, or to one that waits.
    pub(crate) fn is_waited_for(&self, has_messages: bool) -> bool {
        self.asks_for_messages || has_messages
    }

    /// Whether a function that sleeps is to be woken and told of the end.
    pub(crate) fn ends_sleep(&self, has_messages: bool) -> bool {
        match self.state {
            EndState::Open => false,
            EndState::PeerClosed | EndState::Answered => !self.is_waited_for(has_messages),
            EndState::Over => true,
        }
    }
}

/// The code that answers a peer's Close: its own, or 0 (an empty body) for [`close_codes::NO_STATUS`].
pub(crate) fn echoed(code: u32) -> u32 {
    if code == u32::from(close_codes::NO_STATUS) {
        0
    } else {
        code
    }
}

/// How often a function may be told of the end. One that asks in a loop would spin; one that is made of several loops is
/// told by each of them.
const TOLD_MAX: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const OK: CallbackAnswer = CallbackAnswer::Status(abi::OK);
    const PENDING: CallbackAnswer = CallbackAnswer::Status(abi::PENDING);
    const ECHO: CallbackAnswer = CallbackAnswer::Echo;

    fn end(state: EndState, asks_for_messages: bool, told: u8) -> SessionEnd {
        SessionEnd {
            state,
            asks_for_messages,
            told,
        }
    }

    #[test]
    fn every_state_has_its_answer_to_every_callback() {
        use CallbackKind::{Closed, Closing, Other};
        use EndState::{Answered, Open, Over, PeerClosed};
        // State, the function is waited for, it was told; the answers of `closing`, of `closed`, of another callback; the
        // state afterwards.
        for (state, is_waited_for, told, answers, after) in [
            (Open, false, 0, [OK, OK, OK], Open),
            (Open, true, 0, [OK, OK, OK], Open),
            (Open, true, 1, [OK, OK, OK], Open),
            (PeerClosed, true, 0, [PENDING, OK, OK], PeerClosed),
            (PeerClosed, false, 0, [OK, ECHO, ECHO], Answered),
            (PeerClosed, true, 1, [OK, ECHO, ECHO], Answered),
            (Answered, true, 0, [PENDING, OK, OK], Answered),
            (Answered, false, 0, [PENDING, OK, OK], Answered),
            (Answered, true, 1, [PENDING, OK, OK], Answered),
            (Over, false, 0, [PENDING, PENDING, PENDING], Over),
            (Over, true, 0, [PENDING, PENDING, PENDING], Over),
            (Over, true, 1, [PENDING, PENDING, PENDING], Over),
        ] {
            for (callback, expected) in [Closing, Closed, Other].into_iter().zip(answers) {
                // A function is waited for if it has asked, or if messages wait for it.
                for (asks, has_messages) in [(is_waited_for, false), (false, is_waited_for)] {
                    let mut end = end(state, asks, told);
                    let answer = end.answer(callback, has_messages);
                    let case = format!("{state:?} {callback:?} {asks} {has_messages} {told}");
                    assert_eq!((answer, end.state), (expected, after), "{case}");
                }
            }
        }
    }

    #[test]
    fn a_close_of_the_peer_is_answered_once() {
        let mut end = SessionEnd::default();
        end.asks_for_messages();
        end.peer_closes();
        let mut answers = vec![end.answer(CallbackKind::Closing, true)];
        answers.extend((0..3).map(|_| end.answer(CallbackKind::Other, false)));
        end.tell();
        answers.extend((0..3).map(|_| end.answer(CallbackKind::Other, false)));

        assert_eq!(answers, [PENDING, OK, OK, OK, ECHO, OK, OK]);
    }

    #[test]
    fn a_sleep_ends_with_the_session_or_when_the_answer_waits_for_nothing_else() {
        use EndState::{Answered, Open, Over, PeerClosed};
        for (state, is_waited_for, ends) in [
            (Open, false, false),
            (Open, true, false),
            (PeerClosed, false, true),
            (PeerClosed, true, false),
            (Answered, false, true),
            (Answered, true, false),
            (Over, false, true),
            (Over, true, true),
        ] {
            let found = end(state, false, 0).ends_sleep(is_waited_for);
            assert_eq!(found, ends, "{state:?} {is_waited_for}");
        }
    }

    #[test]
    fn a_function_is_told_sixteen_times_and_nothing_is_sent_after_the_first() {
        let mut end = SessionEnd::default();
        end.peer_closes();
        assert!(!end.is_silent());
        assert!((0..TOLD_MAX).all(|_| end.tell() && end.is_silent()));
        assert!(!end.tell());
        assert!((0..1000).all(|_| !end.tell()));
    }
}
