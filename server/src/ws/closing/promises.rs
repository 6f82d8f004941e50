//! What must hold of a session's end, whatever happens in which order: for `cargo test` and for the
//! fuzz target `closing`.
//!
//! The events of a script go into the machine, and a session that is no more than a few flags does
//! what the machine says. Half of the time it does so between two events, and half of the time
//! later, as after a callback in which several things happened.

use super::{CloseFrame, ClosingAction, ClosingEvent, ClosingHandshake, ClosingState};

/// Every event.
pub(crate) const EVENTS: [ClosingEvent; 10] = [
    ClosingEvent::PeerClosed,
    ClosingEvent::RuleBroken,
    ClosingEvent::FramingLost,
    ClosingEvent::Close,
    ClosingEvent::Done,
    ClosingEvent::Pending,
    ClosingEvent::Abort,
    ClosingEvent::ConnectionLost,
    ClosingEvent::Overdue,
    ClosingEvent::Flushed,
];

/// A session as far as its end goes.
#[derive(Default)]
struct Model {
    /// Our Close frames that were queued.
    frames: u32,
    /// The peer's Close came while it meant something.
    peer_has_closed: bool,
    /// The handler dropped the connection while it was there.
    has_aborted: bool,
    /// The connection broke or was dropped, or a deadline ended it.
    is_cut: bool,
    was_asked: bool,
    was_told: bool,
    has_deadline: bool,
    skips: bool,
    has_dropped_input: bool,
    is_shut: bool,
}

/// Runs a script to the end, and panics if a promise breaks. Answers the last state.
///
/// One byte is one event. Its two highest bits say whether what is due is done before the next one, and whether callbacks
/// wait even so.
pub(crate) fn check(script: &[u8]) -> ClosingState {
    let (mut closing, mut session) = (ClosingHandshake::new(), Model::default());
    for byte in script {
        let event = EVENTS[usize::from(byte & 0x3f) % EVENTS.len()];
        session.advance(&mut closing, event);
        match byte >> 6 {
            0 => session.act(&mut closing),
            1 => session.act_without_calls(&mut closing),
            _ => {}
        }
    }
    session.act(&mut closing);

    // Once a side has begun to close, time alone brings the end. Else the server stops.
    if closing.state().is_open() {
        session.advance(&mut closing, ClosingEvent::Close);
        session.act(&mut closing);
    }
    for _ in 0..2 {
        let state = closing.state();
        assert!(
            state.is_over() || session.has_deadline,
            "{state:?} has no end"
        );
        session.advance(&mut closing, ClosingEvent::Overdue);
        session.act(&mut closing);
    }
    session.check_end(closing.state());
    closing.state()
}

impl Model {
    fn advance(&mut self, closing: &mut ClosingHandshake, event: ClosingEvent) {
        let before = closing.state();
        let transition = closing.advance(event);
        let after = closing.state();
        if before.is_over() {
            assert_eq!(after, before, "{event:?} changes an end");
        }
        if before.is_parsing() && event == ClosingEvent::PeerClosed {
            self.peer_has_closed = true;
        }
        if !before.is_over() && after.is_over() {
            self.is_cut = event != ClosingEvent::Flushed;
            self.has_aborted = event == ClosingEvent::Abort;
        }
        if let Some(frame) = transition.frame {
            assert!(before.may_send(), "{event:?} sends a Close in {before:?}");
            assert!(
                !after.may_send(),
                "{event:?} leaves something to follow the Close"
            );
            assert!(
                frame == CloseFrame::Own || self.peer_has_closed,
                "{event:?} echoes what never came"
            );
            self.frames += 1;
        }
        assert!(self.frames <= 1, "{event:?} sends a second Close");
        let has_sent = self.frames == 1;
        assert_eq!(after.may_send(), !has_sent && !after.is_over());
        let has_begun = has_sent || self.peer_has_closed || self.has_aborted;
        assert_eq!(after.has_begun(), has_begun, "{event:?} leads to {after:?}");
        let is_exchanged = has_sent && self.peer_has_closed;
        assert!(is_exchanged || after != ClosingState::Exchanged);
    }

    /// Does what is due.
    fn act(&mut self, closing: &mut ClosingHandshake) {
        while let Some(action) = closing.next_action() {
            self.perform(action, closing.state());
        }
        assert!(!closing.has_actions());
        let state = closing.state();
        // Callbacks run until the handler is told, and it is told when nothing of the peer reaches it.
        assert!(!(state.may_send() && self.was_told), "told in {state:?}");
        assert!(state.may_send() || state == ClosingState::WeClose || self.was_told);
        self.check_state(state);
    }

    /// Does what is due, but for the callbacks, which wait.
    fn act_without_calls(&mut self, closing: &mut ClosingHandshake) {
        while let Some(action) = closing.next_without_call() {
            self.perform(action, closing.state());
        }
        assert_eq!(closing.has_actions(), closing.has_call());
        self.check_state(closing.state());
    }

    fn perform(&mut self, action: ClosingAction, state: ClosingState) {
        match action {
            ClosingAction::TellHandler => once(&mut self.was_told, action),
            ClosingAction::SkipMessages => once(&mut self.skips, action),
            ClosingAction::StartDeadline => self.has_deadline = true,
            ClosingAction::DropInput => {
                assert!(!state.is_parsing(), "input is dropped in {state:?}");
                self.has_dropped_input = true;
            }
            ClosingAction::ShutDown => {
                assert_eq!(self.frames, 1, "shut before our Close frame");
                once(&mut self.is_shut, action);
            }
            ClosingAction::AskHandler => {
                assert_eq!(
                    state,
                    ClosingState::PeerCloses,
                    "there is nothing to answer"
                );
                once(&mut self.was_asked, action);
            }
        }
    }

    /// Checks what needs no callback.
    fn check_state(&self, state: ClosingState) {
        let waits = !state.is_open() && !state.is_over();
        assert!(!waits || self.has_deadline, "{state:?} has no deadline");
        assert!(self.skips || state != ClosingState::Skipping);
        assert!(self.has_dropped_input || !state.is_flushing());
    }

    fn check_end(&self, state: ClosingState) {
        assert!(state.is_over(), "{state:?} is no end");
        assert!(self.was_told, "the handler was not told");
        assert!(
            self.frames == 1 || self.is_cut,
            "no Close frame and no lost connection"
        );
    }
}

/// Notes what may happen once.
fn once(has_happened: &mut bool, action: ClosingAction) {
    assert!(!*has_happened, "{action:?} comes twice");
    *has_happened = true;
}
