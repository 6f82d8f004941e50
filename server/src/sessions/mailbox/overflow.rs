//! What becomes of a publication that finds no room in a mailbox: the session ends, or the publication or older ones are
//! dropped.

use std::sync::Arc;

use super::letter::Letter;
use super::{Inner, Intake, Mailbox, Marks, at_most_u32};
use crate::sessions::prepared_message::PreparedMessage;

impl Mailbox {
    /// Posts a publication that has found no room, as the policy says. Room may have come meanwhile.
    #[cold]
    pub(super) fn publish_to_full(&self, message: &Arc<PreparedMessage>) {
        let mut inner = self.lock();
        if inner.intake != Intake::Everything {
            return; // It was closed meanwhile, and such a session misses nothing.
        }
        if inner.marks.overflows() {
            inner.overflow();
            return self.notify(inner);
        }
        let letter = Letter::Send(message.clone());
        let length = at_most_u32(letter.len());
        let mut refused = Vec::new();
        if inner.marks.has(Marks::DROPS_OLDEST) {
            refused = inner.take_oldest(length);
        }
        let bytes = inner.bytes.saturating_add(length);
        if bytes <= inner.bytes_max {
            inner.bytes = bytes;
            inner.letters.get_or_insert_default().push_back(letter);
            self.notify(inner);
        } else {
            refused.push(letter);
            drop(inner);
        }
        self.traffic.add_messages_dropped(refused.len() as u64);
        // Dropping a letter may run other code, which must not happen under the lock.
        drop(refused);
    }
}

impl Inner {
    /// Takes the oldest messages out until so many bytes fit. Takes none if they would not fit after all.
    fn take_oldest(&mut self, needed: u32) -> Vec<Letter> {
        let mut taken = Vec::new();
        let Some(letters) = &mut self.letters else {
            return taken;
        };
        let is_message = |letter: &Letter| matches!(letter, Letter::Send(_));
        let wanted = self.bytes.saturating_add(needed);
        let mut left = wanted.saturating_sub(self.bytes_max) as usize;
        let are_enough = letters.iter().filter(|it| is_message(it)).any(|message| {
            left = left.saturating_sub(message.len());
            left == 0
        });
        if !are_enough {
            return taken;
        }
        while self.bytes.saturating_add(needed) > self.bytes_max
            && let Some(oldest) = letters.iter().position(is_message)
            && let Some(letter) = letters.remove(oldest)
        {
            self.bytes = self.bytes.saturating_sub(at_most_u32(letter.len()));
            taken.push(letter);
        }
        taken
    }

    /// Has the session end because too much waits for its peer. Nothing comes behind what is left out.
    pub(super) fn overflow(&mut self) {
        self.marks.set(Marks::OVERFLOWED);
        if self.intake == Intake::Everything {
            self.intake = Intake::Wakes;
        }
    }
}
