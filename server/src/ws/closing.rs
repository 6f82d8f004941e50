//! The end of a session as a state machine: events in, the next state and what is to be done out.
//!
//! It covers the closing handshake of RFC 6455 §7 and each way around it: a lost connection, a broken
//! rule, a handler that drops the connection, a time that is over.
//!
//! ```text
//!          we close               the peer's Close             all has left
//!   Open ────────────▶ WeClose ──────────────────▶ Exchanged ────────────────▶ Closed
//!   Open ────────────▶ PeerCloses ───────────────▶ Exchanged
//!     the peer's Close            our answer
//!   Open, WeClose ───▶ Skipping ─────────────────▶ Exchanged
//!     a broken rule               the peer's Close             all has left
//!   Open, WeClose, Skipping ─────────────────────▶ GivenUp ──────────────────▶ HalfShut ──▶ Closed
//!                             a broken framing
//! ```
//!
//! It performs nothing. The caller that tells an event queues our Close frame, at once. Every other
//! [`ClosingAction`] stays due until the session takes it with [`ClosingHandshake::next_action`], between
//! two callbacks.
//!
//! What always holds: at most one Close frame is sent, nothing is sent after it, the handler is told
//! of the end once, and each state but [`ClosingState::Open`] ends by its deadline.

#[cfg(any(test, fuzzing))]
pub(crate) mod promises;

/// How far one session's end has come, and what is still to be done for it.
#[derive(Debug)]
pub(crate) struct ClosingHandshake {
    state: ClosingState,
    due: Actions,
}

/// Where a session is between the 101 and the end of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ClosingState {
    /// Neither side closes.
    Open,
    /// The peer's Close came. The handler may still send, and has to answer it.
    PeerCloses,
    /// Our Close frame is out. Messages of the peer are dropped until its Close comes.
    WeClose,
    /// Our Close frame is out, the peer broke a rule, and the handler was told of the end. The peer's
    /// frames are told apart and skipped until its Close comes, so that a browser sees a clean end.
    Skipping,
    /// Both sides have closed. What is queued still leaves, our Close frame last.
    Exchanged,
    /// Our Close frame is out, and the peer's frames cannot be told apart any more. What is queued
    /// still leaves, and what comes is dropped.
    GivenUp,
    /// Everything has left, and our side of the connection is shut. The peer has to close its side.
    HalfShut,
    /// The connection is over. A Close frame was sent or received, or the handler dropped the connection.
    Closed,
    /// The connection is over, and neither side had begun to close it.
    Lost,
}

/// What can happen to a session that bears on its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosingEvent {
    /// The peer's Close frame came.
    PeerClosed,
    /// The peer broke a rule; the frames that follow can be told apart.
    RuleBroken,
    /// The peer broke a rule; no frame can be found after it, or none is to come.
    FramingLost,
    /// The handler, the server or a limit closes the session.
    Close,
    /// A callback said that the handler is done, or `closing` left the answer to the server.
    Done,
    /// A callback said that the answer comes later, which only a peer's Close allows.
    Pending,
    /// The handler drops the connection.
    Abort,
    /// The connection broke, or the peer gives no sign of life or takes nothing.
    ConnectionLost,
    /// The time to close is over: the handler's while it owes an answer, else the peer's.
    Overdue,
    /// The kernel has taken everything that was queued.
    Flushed,
}

/// Whose code and reason our Close frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseFrame {
    /// Those of the event.
    Own,
    /// Those of the peer's Close.
    Echo,
}

/// What the session has to do, in the order in which it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosingAction {
    /// Tell the handler that the session is over, with the peer's code or else with 1006.
    TellHandler,
    /// Have the decoder skip data frames.
    SkipMessages,
    /// Give the peer, or the handler that has to answer it, its time from now on.
    StartDeadline,
    /// Drop what came and was not parsed.
    DropInput,
    /// Shut our side of the connection.
    ShutDown,
    /// Ask the handler what it answers to the peer's Close.
    AskHandler,
}

/// A set of [`ClosingAction`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Actions(u8);

/// What one event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transition {
    state: ClosingState,
    /// The Close frame that is to be queued now.
    pub(crate) frame: Option<CloseFrame>,
    /// Whether the event breaks off an end that was under way.
    pub(crate) cuts_short: bool,
    actions: Actions,
}

impl ClosingHandshake {
    /// A session that has just been opened.
    pub(crate) fn new() -> ClosingHandshake {
        ClosingHandshake {
            state: ClosingState::Open,
            due: Actions::default(),
        }
    }

    /// How far the end has come.
    #[inline]
    pub(crate) fn state(&self) -> ClosingState {
        self.state
    }

    /// Moves to the next state. The caller queues the Close frame of the answer before it does
    /// anything else.
    pub(crate) fn advance(&mut self, event: ClosingEvent) -> Transition {
        let transition = self.state.after(event);
        self.state = transition.state;
        self.due = self.due.with(transition.actions);
        if self.state != ClosingState::PeerCloses {
            // The answer is not open any more.
            self.due = self.due.without(ClosingAction::AskHandler);
        }
        transition
    }

    /// Whether there is an action to take.
    #[inline]
    pub(crate) fn has_actions(&self) -> bool {
        self.due != Actions::default()
    }

    /// Whether a callback of the handler is due.
    pub(crate) fn has_call(&self) -> bool {
        ClosingAction::IN_ORDER
            .into_iter()
            .any(|it| it.is_call() && self.due.has(it))
    }

    /// Takes the next action.
    pub(crate) fn next_action(&mut self) -> Option<ClosingAction> {
        self.next_of(|_| true)
    }

    /// Takes the next action that calls no handler. The others stay due.
    pub(crate) fn next_without_call(&mut self) -> Option<ClosingAction> {
        self.next_of(|action| !action.is_call())
    }

    fn next_of(&mut self, is_wanted: impl Fn(ClosingAction) -> bool) -> Option<ClosingAction> {
        let next = ClosingAction::IN_ORDER
            .into_iter()
            .find(|it| self.due.has(*it) && is_wanted(*it))?;
        self.due = self.due.without(next);
        Some(next)
    }
}

impl ClosingState {
    /// Whether neither side closes.
    #[inline]
    pub(crate) fn is_open(self) -> bool {
        self == ClosingState::Open
    }

    /// Whether our Close frame is still to come: then anything may be sent, and callbacks run.
    #[inline]
    pub(crate) fn may_send(self) -> bool {
        self <= ClosingState::PeerCloses
    }

    /// Whether the peer's bytes still mean something.
    #[inline]
    pub(crate) fn is_parsing(self) -> bool {
        match self {
            ClosingState::Open | ClosingState::WeClose | ClosingState::Skipping => true,
            ClosingState::PeerCloses
            | ClosingState::Exchanged
            | ClosingState::GivenUp
            | ClosingState::HalfShut
            | ClosingState::Closed
            | ClosingState::Lost => false,
        }
    }

    /// Whether the end of the queue is waited for.
    pub(crate) fn is_flushing(self) -> bool {
        matches!(self, ClosingState::Exchanged | ClosingState::GivenUp)
    }

    /// Whether the connection is over.
    #[inline]
    pub(crate) fn is_over(self) -> bool {
        self >= ClosingState::Closed
    }

    /// Whether a Close frame was sent or received, or the handler dropped the connection.
    pub(crate) fn has_begun(self) -> bool {
        !matches!(self, ClosingState::Open | ClosingState::Lost)
    }

    /// What `event` does in this state.
    pub(crate) fn after(self, event: ClosingEvent) -> Transition {
        use ClosingAction::*;
        use ClosingEvent as On;
        use ClosingState::*;
        match (self, event) {
            (Open, On::PeerClosed) => to(PeerCloses).and(&[StartDeadline, AskHandler]),
            (Open, On::RuleBroken) => (to(Skipping).sending(CloseFrame::Own)).and(&[
                TellHandler,
                SkipMessages,
                StartDeadline,
            ]),
            (Open, On::FramingLost) => {
                (to(GivenUp).sending(CloseFrame::Own)).and(&[TellHandler, StartDeadline, DropInput])
            }
            (Open, On::Close | On::Done | On::Pending) => {
                (to(WeClose).sending(CloseFrame::Own)).and(&[StartDeadline])
            }
            (Open, On::Abort) => to(Closed).and(&[TellHandler]),
            (Open, On::ConnectionLost) => to(Lost).and(&[TellHandler]),
            (Open, On::Overdue | On::Flushed) => to(Open),

            (PeerCloses, On::Close) => (to(Exchanged).sending(CloseFrame::Own)).and(&[
                TellHandler,
                StartDeadline,
                DropInput,
            ]),
            (PeerCloses, On::Done | On::Overdue) => (to(Exchanged).sending(CloseFrame::Echo))
                .and(&[TellHandler, StartDeadline, DropInput]),
            (PeerCloses, On::Abort | On::ConnectionLost) => {
                to(Closed).and(&[TellHandler]).cutting_short()
            }
            // What comes behind a Close is not read, so the peer can break no rule.
            (PeerCloses, On::PeerClosed | On::RuleBroken | On::FramingLost) => to(PeerCloses),
            (PeerCloses, On::Pending | On::Flushed) => to(PeerCloses),

            (WeClose, On::PeerClosed) => {
                to(Exchanged).and(&[TellHandler, StartDeadline, DropInput])
            }
            (WeClose, On::RuleBroken) => to(Skipping).and(&[TellHandler, SkipMessages]),
            (WeClose, On::FramingLost) => to(GivenUp).and(&[TellHandler, StartDeadline, DropInput]),
            (WeClose, On::Abort | On::ConnectionLost | On::Overdue) => {
                to(Closed).and(&[TellHandler]).cutting_short()
            }
            (WeClose, On::Close | On::Done | On::Pending | On::Flushed) => to(WeClose),

            (Skipping, On::PeerClosed) => to(Exchanged).and(&[StartDeadline, DropInput]),
            // A second broken rule: such a peer is not waited for any more.
            (Skipping, On::RuleBroken | On::FramingLost) => {
                to(GivenUp).and(&[StartDeadline, DropInput])
            }
            (Skipping, On::Abort | On::ConnectionLost | On::Overdue) => to(Closed).cutting_short(),
            (Skipping, On::Close | On::Done | On::Pending | On::Flushed) => to(Skipping),

            // The server closes the connection first (RFC 6455 §7.1.1).
            (Exchanged, On::Flushed) => to(Closed).and(&[ShutDown]),
            (GivenUp, On::Flushed) => to(HalfShut).and(&[ShutDown]),
            (Exchanged | GivenUp, On::Abort | On::ConnectionLost | On::Overdue) => {
                to(Closed).cutting_short()
            }
            // All that was left is the peer's side of the connection, so nothing is cut short.
            (HalfShut, On::Abort | On::ConnectionLost | On::Overdue) => to(Closed),
            (Exchanged | GivenUp | HalfShut, _) => to(self),

            (Closed | Lost, _) => to(self),
        }
    }
}

/// The change to a state, with nothing to do yet.
fn to(state: ClosingState) -> Transition {
    Transition {
        state,
        frame: None,
        cuts_short: false,
        actions: Actions::default(),
    }
}

impl Transition {
    fn sending(self, frame: CloseFrame) -> Transition {
        Transition {
            frame: Some(frame),
            ..self
        }
    }

    fn and(self, actions: &[ClosingAction]) -> Transition {
        let all = (actions.iter()).fold(self.actions, |all, it| all.with(it.alone()));
        Transition {
            actions: all,
            ..self
        }
    }

    fn cutting_short(self) -> Transition {
        Transition {
            cuts_short: true,
            ..self
        }
    }
}

impl ClosingAction {
    /// The handler is told before its peer's time begins, and asked after that: a callback may take long.
    const IN_ORDER: [ClosingAction; 6] = [
        ClosingAction::TellHandler,
        ClosingAction::SkipMessages,
        ClosingAction::StartDeadline,
        ClosingAction::DropInput,
        ClosingAction::ShutDown,
        ClosingAction::AskHandler,
    ];

    /// Whether the handler is called.
    fn is_call(self) -> bool {
        matches!(self, ClosingAction::TellHandler | ClosingAction::AskHandler)
    }

    fn alone(self) -> Actions {
        Actions(1 << self as u8)
    }
}

impl Actions {
    fn has(self, action: ClosingAction) -> bool {
        self.0 & action.alone().0 != 0
    }

    fn with(self, others: Actions) -> Actions {
        Actions(self.0 | others.0)
    }

    fn without(self, action: ClosingAction) -> Actions {
        Actions(self.0 & !action.alone().0)
    }
}

#[cfg(test)]
mod tests;
