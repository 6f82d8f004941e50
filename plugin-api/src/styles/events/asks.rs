//! What a session of the events style asks of the state that servers share. Its answers come to `on_answer`.

use crate::{
    asks::{
        asker::ByToken,
        position::{Position, Start},
        questions,
        results::Next,
        store::Store,
    },
    error::{Refused, Result, rule::Rule},
    message::payload::Payload,
    styles::events::conn::Conn,
};

impl Conn {
    /// Subscribes the session to a topic with history, and has what it has missed sent to its peer first. [`Start`] says
    /// what that is. The answer, [`Answer::joined`](crate::Answer::joined), comes to
    /// [`on_answer`](crate::Session::on_answer) with the token. Then come the missed messages, and then what is published
    /// from now on: nothing is left out, and nothing comes twice.
    ///
    /// ```
    /// # use wsh::{Answer, Start, prelude::*};
    /// # #[derive(Default)]
    /// # struct Headlines;
    /// impl Session for Headlines {
    ///     fn on_open(&mut self, conn: &mut Conn) -> Result {
    ///         conn.subscribe_from(1, "news", Start::last(20))?;
    ///         Ok(())
    ///     }
    ///     fn on_answer(&mut self, conn: &mut Conn, _token: u64, answer: Answer<'_>) -> Result {
    ///         conn.send(format!("{} messages follow", answer.joined()?.missed))?;
    ///         Ok(())
    ///     }
    /// #   fn on_message(&mut self, _: &mut Conn, _: Message) -> Result { Ok(()) }
    /// }
    /// # let mut client = wsh::test::connect(wsh::descriptor!(Headlines));
    /// # assert_eq!(client.receive().unwrap(), "0 messages follow");
    /// ```
    ///
    /// On a topic without history it begins with what is published from now on. [`unsubscribe`](Self::unsubscribe) ends
    /// it.
    ///
    /// # Errors
    /// [`Refused::Invalid`]: the session has joined the topic already, or the name breaks its rule.
    /// [`Refused::Full`]: as many asks of the session wait as may. Otherwise those of [`subscribe`](Self::subscribe).
    pub fn subscribe_from(
        &self,
        token: u64,
        topic: &str,
        start: impl Into<Start>,
    ) -> Result<(), Refused> {
        let start = start.into();
        let status = self.inside(|host, conn| {
            host.subscribe_from(conn, token, topic, start.after_bytes(), start.last)
        });
        self.heard(Refused::check(status, |status| {
            Rule::subscribe_from(status, topic)
        }))
    }

    /// Makes the session a member of a topic, with a small value that says who it is. It is a member until
    /// [`leave`](Self::leave) or its end, also after a move to newer code. A member that enters again has the new value. It
    /// need not be a subscriber. The answer is [`Answer::entered`](crate::Answer::entered).
    ///
    /// [`present`](Self::present) lists the members, and [`Presence`](crate::Presence) hears how they change.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Full`]: as many asks of the session wait as may.
    /// [`Refused::TooBig`]: the value. [`Refused::Invalid`]: the topic breaks its rule.
    pub fn enter(&self, token: u64, topic: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        let value = value.as_ref();
        let status = self.inside(|host, conn| host.enter(conn, token, topic, value));
        self.heard(Refused::check(status, |status| {
            Rule::enter(status, topic, value)
        }))
    }

    /// Ends what [`enter`](Self::enter) began. Nothing is answered.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Invalid`]: the topic breaks its rule.
    pub fn leave(&self, topic: &str) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.leave(conn, topic));
        self.heard(Refused::check(status, |status| Rule::topic(status, topic)))
    }

    /// Asks for members of a topic, at most `limit`, in no promised order. `after` is
    /// [`Members::next`](crate::Members::next) of the page before. The answer is
    /// [`Answer::members`](crate::Answer::members).
    ///
    /// # Errors
    /// [`Refused::Full`]: as many asks of the session wait as may. [`Refused::Invalid`]: the topic breaks its rule, or
    /// `limit` is 0.
    pub fn present(
        &self,
        token: u64,
        topic: &str,
        after: Option<&Next>,
        limit: u64,
    ) -> Result<(), Refused> {
        questions::present(&self.by(token), topic, after, limit)
    }

    /// Asks for publications of a topic, the oldest first: at most `limit` behind the position `after`, or without one the
    /// last `limit`. The answer is [`Answer::history`](crate::Answer::history).
    ///
    /// # Errors
    /// [`Refused::Full`]: as many asks of the session wait as may. [`Refused::Invalid`]: the topic breaks its rule, or
    /// `limit` is 0. [`Refused::Unsupported`]: the topic has no history; this may also be the answer.
    pub fn history(
        &self,
        token: u64,
        topic: &str,
        after: Option<&Position>,
        limit: u64,
    ) -> Result<(), Refused> {
        questions::history(&self.by(token), topic, after, limit)
    }

    /// Publishes a message like [`publish`](Self::publish), and asks for its position, which comes once the topic's history
    /// has the message. The answer is [`Answer::published`](crate::Answer::published).
    ///
    /// # Errors
    /// [`Refused::Full`]: as many asks of the session wait as may. [`Refused::Unsupported`]: the topic has no history;
    /// this may also be the answer. Otherwise those of [`publish`](crate::publish).
    pub fn publish_acked<P: Payload>(
        &self,
        token: u64,
        topic: &str,
        message: P,
    ) -> Result<(), Refused> {
        questions::publish_acked(&self.by(token), topic, &message, 0)
    }

    /// The values that the handler keeps: see [`Store`]. The answers come with the token.
    ///
    /// Everything that can be asked, in one session; [`Answer`](crate::Answer) shows how the answers are read:
    ///
    /// ```
    /// # use wsh::{Answer, Start, prelude::*};
    /// # const JOIN: u64 = 1;
    /// # const ENTER: u64 = 2;
    /// # const WHO: u64 = 3;
    /// # const PAST: u64 = 4;
    /// # const PUBLISH: u64 = 5;
    /// # const VISITS: u64 = 6;
    /// # fn on_message(conn: &mut Conn, message: Message) -> Result {
    /// conn.subscribe_from(JOIN, "lobby", Start::last(20))?;
    /// conn.enter(ENTER, "lobby", "ann")?;
    /// conn.present(WHO, "lobby", None, 100)?;
    /// conn.history(PAST, "lobby", None, 100)?;
    /// conn.publish_acked(PUBLISH, "lobby", message)?;
    /// conn.store(VISITS).get("visits")?;
    /// conn.leave("lobby")?;
    /// # Ok(()) }
    /// ```
    pub fn store(&self, token: u64) -> Store<ByToken<'_>> {
        Store::new(self.by(token))
    }

    fn by(&self, token: u64) -> ByToken<'_> {
        ByToken { conn: self, token }
    }
}
