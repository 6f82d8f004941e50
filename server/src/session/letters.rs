//! What others posted to a session, taken between two callbacks.

use super::Session;
use crate::mailbox::{Letter, Post};

impl Session {
    /// What others posted, in their order.
    pub(super) fn deliver(&mut self, post: Post) {
        self.deliver_waiting();
        if post.ask.is_some() {
            self.plan_move(post.ask);
        }
        if post.overflowed && self.is_talking() {
            // GONE: it is closing already.
            let _ = self.controls().close(1008, "");
        }
        if post.woken && self.is_talking() {
            self.call(|instance, conn| instance.wake(conn));
        }
    }

    /// In their order; what has to wait, waits.
    pub(super) fn deliver_waiting(&mut self) {
        let Some(mut waiting) = self.waiting.take() else {
            return;
        };
        while let Some(letter) = waiting.front()
            && self.deliver_letter(letter)
        {
            waiting.pop_front();
        }
        self.waiting = Some(waiting);
    }

    /// False if it has to wait.
    fn deliver_letter(&mut self, letter: &Letter) -> bool {
        let controls = &mut self.conn.controls;
        match letter {
            Letter::Send(encoded) => return controls.send_encoded(encoded),
            // GONE: it is closing already.
            Letter::Close { code, reason } => drop(controls.close(*code, reason)),
            Letter::Evict { code, from } => {
                let here = self.owner.generation().number;
                if from.is_none_or(|from| from == here) {
                    let _ = controls.close(*code, "");
                }
            }
        }
        true
    }
}
