//! Which thread may send on a session's socket: the session's own, or for a moment another one.
//!
//! A session that sleeps and has nothing to send lets others send in its place, which saves it a poll. Before the
//! session does anything it takes the right back. Where another thread is just sending, it waits to be woken by it.

use std::sync::atomic::{AtomicU8, Ordering};

/// The state of the right to send, in one byte that all threads change.
#[derive(Debug)]
pub(super) struct WireState<Byte>(Byte);

/// Who has the right to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// The session.
    Busy,
    /// The session, which sleeps: another thread may borrow it.
    Free,
    /// A thread that borrowed it.
    Lent,
    /// A thread that borrowed it, and the session waits to be woken by that thread.
    Awaited,
    /// The session, which is woken and has to look for what the last borrower left.
    Returned,
}

/// What a thread wants of the right to send, or does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The session goes to sleep and has nothing to send.
    Offer,
    /// The session is polled.
    Reclaim,
    /// Another thread wants to send.
    Borrow,
    /// The borrower has sent all or nothing.
    GiveBack,
    /// The borrower has sent a part, and the session is to send the rest.
    LeaveRest,
}

/// What the thread has to do then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Go on: it was the thread's right, or it is now.
    GoOn,
    /// Go on, and note what borrowers have sent since the offer.
    Collect,
    /// Like `Collect`, and first send the rest that a borrower may have left.
    CollectRest,
    /// Return. The borrower wakes the session.
    Wait,
    /// Do without the right.
    Refuse,
    /// Wake the session.
    Wake,
}

impl State {
    const fn after(self, event: Event) -> (State, Action) {
        match (self, event) {
            (State::Busy | State::Free, Event::Offer) => (State::Free, Action::GoOn),
            (State::Busy, Event::Reclaim) => (State::Busy, Action::GoOn),
            (State::Free, Event::Reclaim) => (State::Busy, Action::Collect),
            (State::Returned, Event::Reclaim) => (State::Busy, Action::CollectRest),
            (State::Lent | State::Awaited, Event::Reclaim) => (State::Awaited, Action::Wait),
            (State::Free, Event::Borrow) => (State::Lent, Action::GoOn),
            (State::Lent, Event::GiveBack) => (State::Free, Action::GoOn),
            (State::Awaited, Event::GiveBack) => (State::Returned, Action::Wake),
            (State::Lent | State::Awaited, Event::LeaveRest) => (State::Returned, Action::Wake),
            // A second borrower, and what cannot be: only the session offers, and only a borrower gives back.
            (state, Event::Borrow | Event::Offer | Event::GiveBack | Event::LeaveRest) => {
                (state, Action::Refuse)
            }
        }
    }

    const fn of(byte: u8) -> State {
        match byte {
            1 => State::Free,
            2 => State::Lent,
            3 => State::Awaited,
            4 => State::Returned,
            _ => State::Busy,
        }
    }
}

impl<Byte: AtomicByte> WireState<Byte> {
    /// The right is the session's.
    pub(super) fn new() -> WireState<Byte> {
        WireState(Byte::new(State::Busy as u8))
    }

    /// Takes an event. Answers what the caller has to do.
    #[inline]
    pub(super) fn meet(&self, event: Event) -> Action {
        // Nearly always the state is this one, and then nothing has to be read before.
        let likely = match event {
            Event::Offer => State::Busy,
            Event::Reclaim | Event::Borrow => State::Free,
            Event::GiveBack | Event::LeaveRest => State::Lent,
        };
        let (next, action) = likely.after(event);
        match self.0.replace(likely as u8, next as u8) {
            Ok(()) => action,
            Err(byte) => self.meet_in_any(byte, event),
        }
    }

    #[cold]
    fn meet_in_any(&self, mut byte: u8, event: Event) -> Action {
        loop {
            let (next, action) = State::of(byte).after(event);
            if next as u8 == byte {
                return action;
            }
            match self.0.replace(byte, next as u8) {
                Ok(()) => return action,
                Err(changed) => byte = changed,
            }
        }
    }
}

/// A byte that threads share. A trait, so that a model checker can take its place.
pub(super) trait AtomicByte {
    fn new(byte: u8) -> Self;
    /// Replaces `from` by `to`, or answers what is there instead.
    fn replace(&self, from: u8, to: u8) -> Result<(), u8>;
}

impl AtomicByte for AtomicU8 {
    fn new(byte: u8) -> AtomicU8 {
        AtomicU8::new(byte)
    }

    #[inline]
    fn replace(&self, from: u8, to: u8) -> Result<(), u8> {
        self.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
    use loom::thread;

    use super::*;

    impl AtomicByte for AtomicU8 {
        fn new(byte: u8) -> AtomicU8 {
            AtomicU8::new(byte)
        }

        fn replace(&self, from: u8, to: u8) -> Result<(), u8> {
            self.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
                .map(drop)
        }
    }

    #[test]
    fn the_right_to_send_changes_hands_as_this_table_says() {
        use Action::{Collect, CollectRest, GoOn, Refuse, Wait, Wake};
        use State::{Awaited, Busy, Free, Lent, Returned};
        // Offer, Reclaim, Borrow, GiveBack, LeaveRest.
        let table = [
            (
                Busy,
                [
                    (Free, GoOn),
                    (Busy, GoOn),
                    (Busy, Refuse),
                    (Busy, Refuse),
                    (Busy, Refuse),
                ],
            ),
            (
                Free,
                [
                    (Free, GoOn),
                    (Busy, Collect),
                    (Lent, GoOn),
                    (Free, Refuse),
                    (Free, Refuse),
                ],
            ),
            (
                Lent,
                [
                    (Lent, Refuse),
                    (Awaited, Wait),
                    (Lent, Refuse),
                    (Free, GoOn),
                    (Returned, Wake),
                ],
            ),
            (
                Awaited,
                [
                    (Awaited, Refuse),
                    (Awaited, Wait),
                    (Awaited, Refuse),
                    (Returned, Wake),
                    (Returned, Wake),
                ],
            ),
            (
                Returned,
                [
                    (Returned, Refuse),
                    (Busy, CollectRest),
                    (Returned, Refuse),
                    (Returned, Refuse),
                    (Returned, Refuse),
                ],
            ),
        ];
        let events = [
            Event::Offer,
            Event::Reclaim,
            Event::Borrow,
            Event::GiveBack,
            Event::LeaveRest,
        ];
        for (state, wanted) in table {
            assert_eq!(State::of(state as u8), state);
            assert_eq!(events.map(|event| state.after(event)), wanted, "{state:?}");
        }
    }

    /// A session that is polled once, and is polled again if it is woken, beside two borrowers. In the end it has the right
    /// for good. `sleeps_again`: it offers the right once more after the first poll.
    fn poll_beside_two_borrowers(sleeps_again: bool) {
        let wire = Arc::new(WireState::<AtomicU8>::new());
        let senders = Arc::new(AtomicUsize::new(0));
        let woken = Arc::new(AtomicBool::new(false));
        assert_eq!(wire.meet(Event::Offer), Action::GoOn);

        let borrowers = [Event::GiveBack, Event::LeaveRest].map(|end| {
            let (wire, senders, woken) = (wire.clone(), senders.clone(), woken.clone());
            thread::spawn(move || {
                if wire.meet(Event::Borrow) == Action::GoOn {
                    assert_eq!(senders.fetch_add(1, Ordering::Relaxed), 0);
                    senders.fetch_sub(1, Ordering::Relaxed);
                    if wire.meet(end) == Action::Wake {
                        woken.store(true, Ordering::Release);
                    }
                }
            })
        });
        let reclaim = || match wire.meet(Event::Reclaim) {
            Action::Wait => false,
            action => {
                assert_ne!(action, Action::Refuse);
                assert_eq!(senders.fetch_add(1, Ordering::Relaxed), 0);
                true
            }
        };
        let had_to_wait = !reclaim();
        if !had_to_wait && sleeps_again {
            senders.fetch_sub(1, Ordering::Relaxed);
            assert_eq!(wire.meet(Event::Offer), Action::GoOn);
        }
        for borrower in borrowers {
            borrower.join().unwrap();
        }
        if had_to_wait {
            assert!(woken.load(Ordering::Acquire), "it sleeps for ever");
        }
        if had_to_wait || sleeps_again {
            assert!(reclaim());
        }
    }

    #[test]
    fn no_two_threads_send_at_once_and_a_session_that_waits_is_woken() {
        loom::model(|| poll_beside_two_borrowers(false));
        loom::model(|| poll_beside_two_borrowers(true));
    }
}
