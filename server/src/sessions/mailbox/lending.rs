//! A session that sleeps lends its socket: what is published to it leaves without waking it.
//!
//! The session offers the socket when it goes to sleep with nothing queued, and reclaims it before it does anything
//! else. In between another thread may borrow it for one send that does not wait. What the kernel does not take of
//! that becomes the session's first letter, and the session is woken.

#![allow(unsafe_code)] // The borrower has the descriptor of a socket that the session owns.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::Ordering;

use rustix::net::{SendFlags, send};

use super::letter::Letter;
use super::wire_state::{Action, Event};
use super::{Mailbox, at_most_u32};
use crate::sessions::prepared_message::Form;

/// What a session finds when it is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reclaimed {
    /// Another thread is sending on the socket. It wakes the session when it is done.
    NotYet,
    /// The socket is the session's again. `traffic` has the bytes that others have sent.
    Yes,
    /// Like `Yes`, and a rest may wait for [`take_rest`](Mailbox::take_rest).
    WithRest,
}

/// The socket of a session that sleeps, for one send. A drop without one gives it back too.
#[derive(Debug)]
pub(crate) struct BorrowedWire<'a>(&'a Mailbox);

impl Mailbox {
    /// Notes that the session has joined a topic, so that it offers its socket from now on.
    pub(crate) fn note_subscribed(&self) {
        self.is_subscriber.store(true, Ordering::Relaxed);
    }

    /// Whether the session has ever joined a topic.
    #[inline]
    pub(crate) fn is_subscriber(&self) -> bool {
        self.is_subscriber.load(Ordering::Relaxed)
    }

    /// Lets others send on `socket` in the session's place, until [`reclaim_wire`](Self::reclaim_wire).
    ///
    /// The session has nothing queued, has told `traffic` all its bytes, and closes the socket only after it has reclaimed it.
    pub(crate) fn offer_wire(&self, socket: RawFd, form: Form) {
        self.socket.store(socket, Ordering::Relaxed);
        self.form.store(form.bits(), Ordering::Relaxed);
        self.wire.meet(Event::Offer);
    }

    /// Takes the socket back for the session.
    pub(crate) fn reclaim_wire(&self) -> Reclaimed {
        match self.wire.meet(Event::Reclaim) {
            Action::Wait => Reclaimed::NotYet,
            Action::CollectRest => Reclaimed::WithRest,
            _ => Reclaimed::Yes,
        }
    }

    /// Like [`reclaim_wire`](Self::reclaim_wire), and waits out a thread that is sending: for a session that is dropped.
    pub(crate) fn reclaim_wire_for_good(&self) {
        while self.reclaim_wire() == Reclaimed::NotYet {
            // The other thread is in a send that does not wait.
            std::thread::yield_now();
        }
    }

    /// Takes the rest that a borrower has left.
    pub(crate) fn take_rest(&self) -> Option<Box<[u8]>> {
        let mut inner = self.lock();
        let letters = inner.letters.as_mut()?;
        let Some(Letter::Rest(_)) = letters.front() else {
            return None;
        };
        let letter = letters.pop_front()?;
        let bytes = at_most_u32(letter.len());
        inner.bytes = inner.bytes.saturating_sub(bytes);
        // Until the session has queued it and tells what it has buffered.
        let buffered = self.buffered.load(Ordering::Relaxed);
        self.set_buffered(u64::from(buffered) + u64::from(bytes));
        match letter {
            Letter::Rest(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Borrows the socket, if the session sleeps and nothing waits for it.
    #[inline]
    pub(crate) fn borrow_wire(&self) -> Option<BorrowedWire<'_>> {
        if self.wire.meet(Event::Borrow) != Action::GoOn {
            return None;
        }
        let wire = BorrowedWire(self);
        // A letter was posted before, and keeps its place.
        (!self.has_post()).then_some(wire)
    }

    /// Puts the rest of several messages, or of one, in front of all letters, and wakes the session.
    #[cold]
    pub(super) fn leave_rest(&self, rest: &[u8], messages: usize) {
        let letter = Letter::Rest(rest.into());
        let mut inner = self.lock();
        inner.bytes = inner.bytes.saturating_add(at_most_u32(letter.len()));
        // One message may be larger than the limit, as one letter may.
        if messages > 1 && inner.bytes > inner.bytes_max && inner.marks.overflows() {
            inner.overflow();
        }
        inner.letters.get_or_insert_default().push_front(letter);
        self.wire.meet(Event::LeaveRest);
        self.notify(inner);
    }

    #[cold]
    fn wake_for_wire(&self) {
        super::wake(self.lock());
    }
}

impl BorrowedWire<'_> {
    /// The form in which the session sends publications.
    #[inline]
    pub(crate) fn form(&self) -> Form {
        Form::of_bits(self.0.form.load(Ordering::Relaxed))
    }

    /// Sends whole frames of so many messages. False if nothing was sent; otherwise the session sends what the kernel
    /// has not taken.
    #[inline]
    pub(crate) fn send(self, frames: &[u8], messages: usize) -> bool {
        let mailbox = self.0;
        // SAFETY: the session offered this descriptor, and closes it only after it has reclaimed the wire, which it cannot
        // before this borrower gives it back.
        let socket = unsafe { BorrowedFd::borrow_raw(mailbox.socket.load(Ordering::Relaxed)) };
        // After an error the session gets letters, and sees by itself what is wrong with its socket.
        let Ok(length) = send(socket, frames, AT_ONCE) else {
            return false;
        };
        // Only the borrower counts.
        mailbox.traffic.add_bytes_out(length as u64);
        mailbox.traffic.add_messages_out(messages as u64);
        if length < frames.len() {
            std::mem::forget(self);
            mailbox.leave_rest(&frames[length..], messages);
        }
        true
    }
}

impl Drop for BorrowedWire<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.0.wire.meet(Event::GiveBack) == Action::Wake {
            self.0.wake_for_wire();
        }
    }
}

/// The call does not wait for room, and a lost connection is an error of it, and no signal.
const AT_ONCE: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

#[cfg(test)]
#[path = "lending_tests.rs"]
mod tests;
