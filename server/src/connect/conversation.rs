//! When a client's WebSocket closes, as a state machine: what happens goes in, what to do comes out. It does no
//! I/O and has no clock.

/// How far a conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There may be more to send.
    Open,
    /// All is sent. The server may still answer.
    Listening,
    /// The client's Close frame is sent, and the server's has not come.
    Closing,
    /// Both Close frames are sent. The server closes the connection.
    Closed,
    /// Nothing follows.
    Over,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// There is nothing more to send.
    InputEnded,
    /// The operator asks for a Close, or all messages that were wanted have come.
    CloseAsked,
    /// The server's Close frame.
    CloseReceived,
    /// The server breaks a rule, or a limit. The code says which kind of fault it is.
    Fault(u16),
    /// Nothing has come for too long after a Ping.
    Silence,
    /// The connection has ended.
    Disconnected,
    /// The time of the phase is over.
    TimeOver,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    /// Send the Close frame that was asked for.
    SendClose,
    /// Send back the code of the server's Close frame.
    AnswerClose,
    /// Send a Close frame with the code of the fault, and read nothing more.
    SendFault(u16),
    /// Leave, since the server is silent.
    Silent,
    /// Leave, since the connection ended without a Close frame of the server.
    Lost,
    /// Leave, since no Close frame answered the client's.
    Unanswered,
    /// Leave after both Close frames.
    Leave,
}

impl Phase {
    /// The next phase after an event, and what to do.
    pub(super) fn step(self, event: Event) -> (Phase, Action) {
        match (self, event) {
            (Phase::Open, Event::InputEnded) => (Phase::Listening, Action::Nothing),
            (Phase::Open | Phase::Listening, Event::CloseAsked)
            | (Phase::Listening, Event::TimeOver) => (Phase::Closing, Action::SendClose),
            (Phase::Open | Phase::Listening, Event::CloseReceived) => {
                (Phase::Closed, Action::AnswerClose)
            }
            (Phase::Closing, Event::CloseReceived) => (Phase::Closed, Action::Nothing),
            (Phase::Closing, Event::TimeOver) => (Phase::Over, Action::Unanswered),
            (Phase::Open | Phase::Listening | Phase::Closing, Event::Fault(code)) => {
                (Phase::Over, Action::SendFault(code))
            }
            (Phase::Open | Phase::Listening, Event::Silence) => (Phase::Over, Action::Silent),
            (Phase::Open | Phase::Listening | Phase::Closing, Event::Disconnected) => {
                (Phase::Over, Action::Lost)
            }
            (Phase::Closed, Event::Disconnected | Event::TimeOver) => (Phase::Over, Action::Leave),
            (phase, _) => (phase, Action::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_in_each_phase_leads_to_one_phase_and_one_action() {
        use Action::{AnswerClose, Leave, Lost, Nothing, SendClose, SendFault, Silent, Unanswered};
        use Phase::{Closed, Closing, Listening, Open, Over};
        let events = [
            Event::InputEnded,
            Event::CloseAsked,
            Event::CloseReceived,
            Event::Fault(1002),
            Event::Silence,
            Event::Disconnected,
            Event::TimeOver,
        ];
        let table = [
            (
                Open,
                [
                    (Listening, Nothing),
                    (Closing, SendClose),
                    (Closed, AnswerClose),
                    (Over, SendFault(1002)),
                    (Over, Silent),
                    (Over, Lost),
                    (Open, Nothing),
                ],
            ),
            (
                Listening,
                [
                    (Listening, Nothing),
                    (Closing, SendClose),
                    (Closed, AnswerClose),
                    (Over, SendFault(1002)),
                    (Over, Silent),
                    (Over, Lost),
                    (Closing, SendClose),
                ],
            ),
            (
                Closing,
                [
                    (Closing, Nothing),
                    (Closing, Nothing),
                    (Closed, Nothing),
                    (Over, SendFault(1002)),
                    (Closing, Nothing),
                    (Over, Lost),
                    (Over, Unanswered),
                ],
            ),
            (
                Closed,
                [
                    (Closed, Nothing),
                    (Closed, Nothing),
                    (Closed, Nothing),
                    (Closed, Nothing),
                    (Closed, Nothing),
                    (Over, Leave),
                    (Over, Leave),
                ],
            ),
            (Over, [(Over, Nothing); 7]),
        ];
        for (phase, row) in table {
            for (event, expected) in events.into_iter().zip(row) {
                assert_eq!(phase.step(event), expected, "{phase:?}, {event:?}");
            }
        }
    }
}
