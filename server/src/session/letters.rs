//! What others posted to a session, taken between two callbacks.

use super::Session;
use crate::sessions::cause::Cause;
use crate::sessions::mailbox::{Dismissal, Letter, Post};
use crate::ws::closing::ClosingEvent;

impl Session {
    /// What others posted, in their order; the server's own orders last.
    pub(super) fn deliver(&mut self, post: Post) {
        self.deliver_waiting();
        if post.ask.is_some() {
            self.plan_move(post.ask);
        }
        if let Some(dismissal) = post.dismissal {
            self.leave(dismissal);
        }
        if post.overflowed {
            self.meet(ClosingEvent::Close, Cause::OutboundFull);
        }
        if post.woken && self.state().may_send() {
            self.call(|instance, conn, _| instance.wake(conn));
        }
    }

    /// Closes for the server, if this session is meant.
    pub(super) fn leave(&mut self, dismissal: Dismissal) {
        if dismissal.concerns(self.owner.generation().number) {
            let cause = match dismissal {
                Dismissal::STOPPING => Cause::Stopping,
                _ => Cause::Replaced,
            };
            self.meet(ClosingEvent::Close, cause);
        }
    }

    /// Whether letters have to wait: a message is being sent in parts, and a letter that is one
    /// too cannot be sent between two of them.
    pub(super) fn holds_letters(&self) -> bool {
        let controls = &self.conn.controls;
        controls.is_in_message() && controls.may_send()
    }

    /// In their order; what has to wait, waits. Answers the bytes that have left.
    pub(super) fn deliver_waiting(&mut self) -> usize {
        let Some(mut waiting) = self.waiting.take() else {
            return 0;
        };
        let mut bytes = 0;
        while let Some(letter) = waiting.front()
            && self.deliver_letter(letter)
        {
            bytes += letter.len();
            waiting.pop_front();
        }
        self.waiting = Some(waiting);
        bytes
    }

    /// False if it has to wait.
    fn deliver_letter(&mut self, letter: &Letter) -> bool {
        let controls = &mut self.conn.controls;
        match letter {
            Letter::Send(message) => controls.send_prepared(message),
            // GONE: it is closing already.
            Letter::Close { code, reason } => {
                let _ = controls.close((*code).into(), reason, Cause::HandlerClosed);
                true
            }
            Letter::Note(note) => {
                if self.state().may_send() {
                    self.call(|instance, conn, _| instance.note(conn, *note));
                }
                true
            }
        }
    }
}
