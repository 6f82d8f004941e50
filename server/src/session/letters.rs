//! What was posted to a session's mailbox, taken and acted on between two callbacks.

use std::collections::VecDeque;

use super::Session;
use crate::sessions::cause::Cause;
use crate::sessions::inquiry::OperatorOrders;
use crate::sessions::mailbox::Post;
use crate::sessions::mailbox::dismissal::Dismissal;
use crate::sessions::mailbox::lending::Reclaimed;
use crate::sessions::mailbox::letter::Letter;
use crate::ws::closing::ClosingEvent;

impl Session {
    /// Lets others send on the socket while the session sleeps, if it has joined a topic and nothing of its own is
    /// on the way.
    #[inline]
    pub(super) fn offer_wire(&mut self) {
        if self.registration.mailbox().is_subscriber() {
            self.offer_wire_now();
        }
    }

    #[inline(never)]
    fn offer_wire_now(&mut self) {
        if !self.has_waiting()
            && let Some((socket, form)) = self.conn.controls.lendable()
        {
            self.has_offered_wire = true;
            self.conn.controls.note_bytes();
            self.registration.mailbox().offer_wire(socket, form);
        }
    }

    /// Takes the socket back. False if another thread is sending on it, which then wakes the session.
    #[inline(never)]
    pub(super) fn reclaim_wire(&mut self) -> bool {
        let mailbox = self.registration.mailbox();
        let rest = match mailbox.reclaim_wire() {
            Reclaimed::NotYet => return false,
            Reclaimed::Yes => None,
            Reclaimed::WithRest => mailbox.take_rest(),
        };
        self.has_offered_wire = false;
        let wire = &mut self.conn.controls.wire;
        wire.bytes_out = mailbox.traffic.bytes_out();
        if let Some(rest) = rest {
            wire.put_raw(&rest);
            self.conn.controls.note_buffered();
        }
        true
    }

    /// Whether letters wait.
    pub(super) fn has_waiting(&self) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|waiting| !waiting.is_empty())
    }

    /// Delivers the letters that waited behind a message in parts, if that is complete.
    #[cold]
    pub(super) fn deliver_what_waits(&mut self) {
        if !self.holds_letters() {
            let bytes = self.deliver_waiting();
            self.registration.mailbox().release(bytes);
        }
    }

    /// Takes what was posted, and delivers it. Notes whether it was the timer wheel that had something for the session.
    #[inline(never)]
    pub(super) fn take_post(&mut self) {
        let stay = self.holds_letters();
        if let Some(post) = self.registration.mailbox().take(&mut self.waiting, stay) {
            self.deliver(post);
        }
        // What is due is done in this turn, not in one of its own.
        self.deadlines.note_deadline_due(&self.conn.controls);
    }

    /// Delivers the letters in their order, and follows the server's own orders last.
    fn deliver(&mut self, post: Post) {
        self.conn.controls.letter_bytes = post.letter_bytes;
        self.deliver_waiting();
        self.conn.controls.letter_bytes = 0;
        if post.ask.is_some() {
            self.plan_move(post.ask);
        }
        if let Some(dismissal) = post.dismissal {
            self.leave(dismissal);
        }
        if let Some(orders) = self.registration.take_orders() {
            self.obey(orders);
        }
        if post.overflowed {
            self.meet(ClosingEvent::Close, Cause::OutboundFull);
        }
        if post.woken && self.state().may_send() {
            self.call(|instance, conn, _| instance.wake(conn));
        }
    }

    /// Does what an operator wants. A Close overtakes the parts of a message, as the server's own does.
    #[cold]
    fn obey(&mut self, orders: OperatorOrders) {
        for close in orders.closes {
            let address = self.about.peer.ip();
            let is_meant = close.of.is_none_or(|of| of.contains(address));
            if let Some(told) = close.told {
                // The operator may have gone.
                let _ = told.send(is_meant);
            }
            if is_meant {
                let controls = &mut self.conn.controls;
                // GONE: our Close frame is queued already.
                let _ = controls.close(close.code.into(), &close.reason, Cause::OperatorClosed);
            }
        }
        if let Some(report_to) = orders.report_to {
            // The operator may have gone.
            let _ = report_to.send(self.report());
        }
    }

    /// Closes for the server, if the order concerns this session.
    pub(super) fn leave(&mut self, dismissal: Dismissal) {
        if dismissal.concerns(self.owner.generation().number) {
            let cause = match dismissal {
                Dismissal::STOPPING => Cause::Stopping,
                Dismissal::OVERLOADED => Cause::Overloaded,
                Dismissal::RESTARTING => Cause::Restarting,
                _ => Cause::Replaced,
            };
            self.meet(ClosingEvent::Close, cause);
        }
    }

    /// Whether letters have to wait, because a message is being sent in parts: no other message may
    /// stand between two of them.
    pub(super) fn holds_letters(&self) -> bool {
        let controls = &self.conn.controls;
        controls.is_in_message() && controls.may_send()
    }

    /// Delivers letters in their order, up to the first that has to wait. Answers the bytes of those
    /// that were delivered.
    fn deliver_waiting(&mut self) -> usize {
        let Some(mut waiting) = self.waiting.take() else {
            return 0;
        };
        let mut bytes = 0;
        while let Some(letter) = waiting.front_mut()
            && self.deliver_letter(letter)
        {
            let length = letter.len();
            bytes += length;
            waiting.pop_front();
            let left = &mut self.conn.controls.letter_bytes;
            *left = left.saturating_sub(u32::try_from(length).unwrap_or(u32::MAX));
        }
        if !waiting.is_empty() && self.registration.mailbox().has_asks() {
            self.deliver_answers(&mut waiting);
        }
        self.waiting = Some(waiting);
        bytes
    }

    /// Delivers the answers among letters that wait for the end of a message in parts. That end may depend on an answer.
    fn deliver_answers(&mut self, waiting: &mut VecDeque<Letter>) {
        let mut index = 0;
        while self.holds_letters()
            && let Some(letter) = waiting.get_mut(index)
        {
            if matches!(letter, Letter::Answer(_)) {
                self.deliver_letter(letter);
                waiting.remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// Delivers one letter; false if it has to wait.
    fn deliver_letter(&mut self, letter: &mut Letter) -> bool {
        let controls = &mut self.conn.controls;
        match letter {
            Letter::Send(message) => controls.send_prepared(message),
            Letter::Close { code, reason } => {
                // GONE: our Close frame is queued already.
                let _ = controls.close((*code).into(), reason, Cause::HandlerClosed);
                true
            }
            Letter::Rest(bytes) => {
                controls.wire.put_raw(bytes);
                true
            }
            Letter::Note(note) => {
                if self.state().may_send() {
                    let note = *note;
                    self.call(|instance, conn, _| instance.note(conn, note));
                }
                true
            }
            Letter::Answer(letter) => {
                letter.end_ask();
                if let Some(not_joined) = letter.not_joined.take() {
                    controls.take_back(&not_joined);
                }
                if self.state().may_send() {
                    self.call(|instance, conn, _| {
                        instance.answer(conn, letter.token, &letter.answer)
                    });
                }
                true
            }
        }
    }
}
