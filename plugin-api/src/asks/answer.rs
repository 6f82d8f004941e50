//! The answer to an ask, as a session of the events style hears it.

use std::fmt;

use crate::{
    asks::{
        position::Position,
        results::{self, Entries, Entry, History, Joined, Members},
    },
    border::answer::AnswerTable,
    error::{Refused, Result, rule::Rule},
};

/// The answer to an ask, which [`Session::on_answer`](crate::Session::on_answer) gets together with the token of the ask.
///
/// A function reads it for each kind of ask. Each of them answers first whether the ask was carried out.
///
/// ```
/// use wsh::{Answer, Start, prelude::*};
///
/// #[derive(Default)]
/// struct Member;
///
/// // What this handler asks. A newer version of it may hear the answer, so a number keeps its meaning.
/// const JOIN: u64 = 1;
/// const ENTER: u64 = 2;
/// const WHO: u64 = 3;
/// const PUBLISH: u64 = 4;
/// const PAST: u64 = 5;
/// const MOTTO: u64 = 6;
/// const SET_MOTTO: u64 = 7;
/// const MOTTOES: u64 = 8;
///
/// impl Session for Member {
///     fn on_open(&mut self, conn: &mut Conn) -> Result {
///         conn.subscribe_from(JOIN, "lobby", Start::last(20))?;
///         conn.enter(ENTER, "lobby", "ann")?;
///         conn.store(MOTTO).get("motto")?;
///         Ok(())
///     }
///     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
///         match message.as_text() {
///             Some("who?") => conn.present(WHO, "lobby", None, 100)?,
///             Some("past?") => conn.history(PAST, "lobby", None, 20)?,
///             Some("mottoes?") => conn.store(MOTTOES).list("motto", None, 10)?,
///             Some(motto) if motto.starts_with("motto") => conn.store(SET_MOTTO).put("motto", motto)?,
///             Some("bye") => conn.leave("lobby")?,
///             _ => conn.publish_acked(PUBLISH, "lobby", message)?,
///         }
///         Ok(())
///     }
///     fn on_answer(&mut self, conn: &mut Conn, token: u64, answer: Answer<'_>) -> Result {
///         let text = match token {
///             JOIN => format!("you have missed {}", answer.joined()?.missed),
///             ENTER => format!("one of the members of version {}", answer.entered()?),
///             WHO => format!("{} are here in version {}", answer.members()?.members.len(), answer.version()),
///             PUBLISH => format!("published at {}", answer.published()?),
///             PAST => format!("{} messages", answer.history()?.publications.len()),
///             MOTTO => answer.entry()?.map_or("no motto".into(), |entry| entry.text().into_owned()),
///             SET_MOTTO => match answer.changed() {
///                 Ok(version) => format!("kept as version {version}"),
///                 Err(Refused::Conflict { version }) => format!("it is version {version} by now"),
///                 Err(refused) => return Err(refused.into()),
///             },
///             MOTTOES => format!("{} mottoes", answer.entries()?.entries.len()),
///             _ => return answer.done().map_err(Into::into),
///         };
///         conn.send(text)?;
///         Ok(())
///     }
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(Member));
/// # for wanted in ["you have missed 0", "one of the members of version 1", "no motto"] {
/// #     assert_eq!(client.receive().unwrap(), wanted);
/// # }
/// # client.send("who?");
/// # assert_eq!(client.receive().unwrap(), "1 are here in version 1");
/// # client.send("motto: alas");
/// # assert_eq!(client.receive().unwrap(), "kept as version 1");
/// # client.send("mottoes?");
/// # assert_eq!(client.receive().unwrap(), "1 mottoes");
/// # client.send("past?");
/// # assert_eq!(client.receive().unwrap(), "0 messages");
/// # client.send("bye");
/// # client.send("hello");
/// # assert_eq!(client.receive().unwrap(), "hello");
/// # assert!(client.receive().unwrap().to_string().starts_with("published at "));
/// ```
#[derive(Clone, Copy)]
pub struct Answer<'a>(AnswerTable<'a>);

impl<'a> Answer<'a> {
    pub(crate) fn new(table: AnswerTable<'a>) -> Self {
        Answer(table)
    }

    pub(crate) fn table(&self) -> AnswerTable<'a> {
        self.0
    }

    /// Whether the ask was carried out, whatever it was.
    ///
    /// # Errors
    /// [`Refused::Conflict`]: a value had another version. [`Refused::Unavailable`]: what servers share cannot be reached.
    /// [`Refused::Unsupported`]: `[topics]` of the configuration does not allow it for the topic. [`Refused::TooBig`],
    /// [`Refused::Full`]: a limit.
    pub fn done(&self) -> Result<(), Refused> {
        results::check(self.0, Rule::unknown, Rule::unknown)
    }

    /// The answer to [`Conn::subscribe_from`](crate::Conn::subscribe_from).
    ///
    /// # Errors
    /// Those of [`done`](Self::done). The session is no subscriber then.
    pub fn joined(&self) -> Result<Joined, Refused> {
        results::joined(self.0)
    }

    /// The answer to [`Conn::publish_acked`](crate::Conn::publish_acked): the position of the publication.
    ///
    /// # Errors
    /// Those of [`done`](Self::done).
    pub fn published(&self) -> Result<Position, Refused> {
        results::published(self.0)
    }

    /// The answer to [`Conn::history`](crate::Conn::history).
    ///
    /// # Errors
    /// Those of [`done`](Self::done).
    pub fn history(&self) -> Result<History, Refused> {
        results::history(self.0)
    }

    /// The answer to [`Conn::enter`](crate::Conn::enter): the version of the members after it.
    ///
    /// # Errors
    /// Those of [`done`](Self::done). The session is no member then.
    pub fn entered(&self) -> Result<u64, Refused> {
        results::entered(self.0)
    }

    /// The answer to [`Conn::present`](crate::Conn::present).
    ///
    /// # Errors
    /// Those of [`done`](Self::done).
    pub fn members(&self) -> Result<Members, Refused> {
        results::members(self.0)
    }

    /// The answer to [`Store::get`](crate::Store::get): `None` if no value is kept under the key.
    ///
    /// # Errors
    /// Those of [`done`](Self::done).
    pub fn entry(&self) -> Result<Option<Entry>, Refused> {
        results::entry(self.0)
    }

    /// The answer to each function of [`Store`](crate::Store) that changes a value: the version of the change.
    ///
    /// # Errors
    /// Those of [`done`](Self::done).
    pub fn changed(&self) -> Result<u64, Refused> {
        results::changed(self.0)
    }

    /// The answer to [`Store::list`](crate::Store::list).
    ///
    /// # Errors
    /// Those of [`done`](Self::done).
    pub fn entries(&self) -> Result<Entries, Refused> {
        results::entries(self.0)
    }

    /// The version in the answer: of a value, or of the members of a topic. After a conflict it is the version that the
    /// value has, and 0 if there is no value.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.version()
    }
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
