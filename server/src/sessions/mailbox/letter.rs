//! A letter: one thing that others have for a session to do.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::sessions::answer::AnswerLetter;
use crate::sessions::prepared_message::PreparedMessage;

/// One thing for a session to do.
#[derive(Debug)]
pub(crate) enum Letter {
    /// Send this whole message.
    Send(Arc<PreparedMessage>),
    /// Start the closing handshake for the handler. The code and the reason were checked.
    Close { code: u16, reason: String },
    /// Call the handler's `note` with this number.
    Note(u64),
    /// Call the handler's `answer` with this.
    Answer(Box<AnswerLetter>),
    /// Send the bytes that are left of what another thread began to send. It is always the first letter, and the
    /// session takes it before it does anything else.
    Rest(Box<[u8]>),
}

/// Letters in the order posted. `None` until the first one.
pub(crate) type Letters = Option<Box<VecDeque<Letter>>>;

impl Letter {
    /// The bytes that a letter counts for. An empty message counts too, because it takes memory. Answers are bounded by the
    /// count of asks instead.
    pub(crate) fn len(&self) -> usize {
        let text = match self {
            Letter::Send(message) => message.plain().len(),
            Letter::Close { reason, .. } => reason.len(),
            Letter::Note(_) => 0,
            Letter::Answer(_) => return 0,
            Letter::Rest(bytes) => bytes.len(),
        };
        size_of::<Letter>() + text
    }
}
