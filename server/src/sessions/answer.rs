//! The answer to an ask of a handler, on its way to the callback that tells it.

use std::sync::Arc;

use wsh::abi::{self, Status};

use crate::sessions::mailbox::{Mailbox, Undelivered};
use crate::sessions::prepared_message::PreparedMessage;

/// The answer to an ask. `wsh::abi::answer` says what its fields mean for each ask.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) flags: u32,
    pub(crate) version: u64,
    /// How many missed messages follow.
    pub(crate) follows: u64,
    /// Empty where there is none.
    pub(crate) position: Box<[u8]>,
    pub(crate) items: Vec<AnswerItem>,
    /// Where the next page begins; empty after the last page.
    pub(crate) next: Box<[u8]>,
}

/// One item of an answer.
#[derive(Debug)]
pub(crate) enum AnswerItem {
    Publication {
        message: Arc<PreparedMessage>,
        position: Box<[u8]>,
    },
    Member {
        id: u64,
        value: Arc<[u8]>,
    },
    KeptValue {
        key: Arc<str>,
        value: Arc<[u8]>,
        version: u64,
    },
}

/// An answer that waits in the mailbox of its session.
#[derive(Debug)]
pub(crate) struct AnswerLetter {
    /// The number that the handler gave the ask.
    pub(crate) token: u64,
    pub(crate) answer: Answer,
    /// What the session takes back before the handler hears of it.
    pub(crate) not_joined: Option<NotJoined>,
    /// Counts the ask until the answer is delivered or dropped.
    ask: Option<SessionAsk>,
}

/// What a session has tried to join and could not. Until the answer it counts as joined.
#[derive(Debug)]
pub(crate) enum NotJoined {
    /// As a subscriber.
    Topic(Box<str>),
    /// As a member.
    Members(Box<str>),
}

/// One of the asks of a session that wait for their answers. It counts until the drop.
#[derive(Debug)]
pub(crate) struct SessionAsk(Arc<Mailbox>);

impl Answer {
    /// The answer that something was not done.
    pub(crate) fn failed(status: Status) -> Answer {
        Answer {
            status,
            ..Answer::default()
        }
    }
}

impl AnswerLetter {
    /// Counts the ask no more: its answer is delivered, and the session may ask again.
    pub(crate) fn end_ask(&mut self) {
        self.ask = None;
    }
}

impl SessionAsk {
    /// Counts one more ask of the session.
    ///
    /// # Errors
    /// [`Undelivered::Gone`]: the session is over or closes. [`Undelivered::Full`]: `asks_max` of them wait.
    pub(crate) fn begin(
        mailbox: &Arc<Mailbox>,
        asks_max: usize,
    ) -> Result<SessionAsk, Undelivered> {
        mailbox.begin_ask(asks_max)?;
        Ok(SessionAsk(mailbox.clone()))
    }

    /// The session's id.
    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    /// Has the answer come to the session, between two callbacks. It is dropped if the session is over or closes.
    pub(crate) fn answer(self, token: u64, answer: Answer, not_joined: Option<NotJoined>) {
        let mailbox = self.0.clone();
        mailbox.post_answer(AnswerLetter {
            token,
            answer,
            not_joined,
            ask: Some(self),
        });
    }
}

impl Drop for SessionAsk {
    fn drop(&mut self) {
        self.0.end_ask();
    }
}

const _: () = assert!(abi::OK == 0, "the default of a status");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::mailbox::letter::Letter;
    use crate::sessions::registry::{Registration, Registry};
    use crate::ws::frame;

    /// A session whose mailbox holds as many bytes as one letter.
    fn session() -> Registration {
        Registry::new().register(&Arc::from("chat"), 1, 1)
    }

    fn send(mailbox: &Mailbox) -> Result<u64, Undelivered> {
        mailbox.post(Letter::Send(PreparedMessage::new(
            frame::TEXT,
            b"hi",
            false,
        )))
    }

    /// 0 for a letter that is no answer.
    fn token_of(letter: &Letter) -> u64 {
        match letter {
            Letter::Answer(letter) => letter.token,
            _ => 0,
        }
    }

    #[test]
    fn an_ask_counts_until_its_answer_is_dropped() {
        let session = session();
        let mailbox = session.mailbox();
        let first = SessionAsk::begin(mailbox, 2).unwrap();
        let second = SessionAsk::begin(mailbox, 2).unwrap();
        let third = || SessionAsk::begin(mailbox, 2).map(drop);
        assert_eq!(third(), Err(Undelivered::Full));

        second.answer(7, Answer::default(), None);
        assert_eq!(third(), Err(Undelivered::Full), "it waits in the mailbox");
        let mut letters = None;
        mailbox.take(&mut letters, false);
        drop(letters);

        assert_eq!(third(), Ok(()));
        drop(first);
        assert_eq!(third(), Ok(()));
    }

    #[test]
    fn a_full_mailbox_takes_answers_and_an_answer_fills_none() {
        let session = session();
        let mailbox = session.mailbox();
        let ask = || SessionAsk::begin(mailbox, 64).unwrap();
        ask().answer(1, Answer::default(), None);
        assert!(send(mailbox).is_ok());
        assert_eq!(send(mailbox), Err(Undelivered::Full));
        ask().answer(2, Answer::default(), None);

        let mut letters = None;
        mailbox.take(&mut letters, false);

        let letters = letters.as_deref().into_iter().flatten();
        let tokens: Vec<_> = letters.map(token_of).collect();
        assert_eq!(tokens, [1, 0, 2], "in the order posted");
    }

    #[test]
    fn a_session_that_closes_is_asked_no_more_and_hears_nothing() {
        let session = session();
        let mailbox = session.mailbox().clone();
        let ask = SessionAsk::begin(&mailbox, 64).unwrap();
        mailbox.refuse_letters();

        ask.answer(7, Answer::default(), None);

        let begun = SessionAsk::begin(&mailbox, 64);
        assert_eq!(begun.map(drop), Err(Undelivered::Gone));
        let mut letters = None;
        mailbox.take(&mut letters, false);
        assert!(letters.is_none_or(|letters| letters.is_empty()));

        // An ask that is answered after the end changes no count of the mailbox.
        drop(session);
        assert_eq!(Arc::strong_count(&mailbox), 1, "nothing of it is left");
    }
}
