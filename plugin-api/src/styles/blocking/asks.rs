//! What a blocking function asks of the state that servers share. Each call waits for its answer.

use crate::{
    abi::Status,
    asks::{
        asker::{ByWaiting, ListAsker},
        position::{Position, Start},
        questions,
        results::{self, History, Joined, Member, Members, Next, ReadAnswer},
        store::Store,
    },
    error::{Refused, Result, rule::Rule},
    message::payload::Payload,
    styles::blocking::{
        command::{Command, Enter, SubscribeFrom},
        conn::BlockingConn,
    },
};

impl BlockingConn {
    /// Subscribes the session to a topic with history, and has what it has missed sent to its peer first. [`Start`] says
    /// what that is. The missed messages come first, and then what is published from now on: nothing is left out, and
    /// nothing comes twice. The call waits for the answer.
    ///
    /// ```
    /// # use wsh::{Start, prelude::*};
    /// fn news(conn: BlockingConn) -> Result {
    ///     let visits = conn.store().get("visits")?;
    ///     wsh::debug!("visits: {:?}", visits.map(|entry| entry.version));
    ///     let joined = conn.subscribe_from("news", Start::last(20))?;
    ///     conn.enter("news", "a reader")?;
    ///     let members = conn.present("news", None, 100)?.members.len();
    ///     conn.send(format!("{} missed, {members} here", joined.missed))?;
    ///     for message in &conn {
    ///         let position = conn.publish_acked("news", message)?;
    ///         let before = conn.history("news", Some(&position), 10)?;
    ///         wsh::debug!("{} came at once behind {position}", before.publications.len());
    ///     }
    ///     conn.leave("news")?;
    ///     Ok(())
    /// }
    /// # let mut client = wsh::test::connect(wsh::descriptor!(blocking news));
    /// # assert_eq!(client.receive().unwrap(), "0 missed, 1 here");
    /// # client.send("hello");
    /// # assert_eq!(client.receive().unwrap(), "hello");
    /// ```
    ///
    /// On a topic without history it begins with what is published from now on. [`unsubscribe`](Self::unsubscribe) ends
    /// it.
    ///
    /// # Errors
    /// [`Refused::Invalid`]: the session has joined the topic already, or the name breaks its rule.
    /// [`Refused::Gone`]: the session is over, or ends during the call. [`Refused::Full`]: as many asks of the session wait
    /// as may. Otherwise those of [`subscribe`](Self::subscribe), and [`Refused::Unavailable`].
    pub fn subscribe_from(&self, topic: &str, start: impl Into<Start>) -> Result<Joined, Refused> {
        let (name, start) = (topic, start.into());
        let command = |token| {
            let topic = name.into();
            Command::SubscribeFrom(Box::new(SubscribeFrom {
                token,
                topic,
                start,
            }))
        };
        let rule = |status| Rule::subscribe_from(status, name);
        self.ask_inside(results::joined, command, rule)
    }

    /// Makes the session a member of a topic, with a small value that says who it is. It is a member until
    /// [`leave`](Self::leave) or its end. A member that enters again has the new value. It need not be a subscriber.
    /// Answers the version of the members after it.
    ///
    /// [`present`](Self::present) lists the members, and [`Presence`](crate::Presence) hears how they change.
    ///
    /// # Errors
    /// [`Refused::TooBig`]: the value. [`Refused::Gone`]: the session is over, or ends during the call.
    /// [`Refused::Full`]: as many asks of the session wait as may. [`Refused::Unavailable`].
    pub fn enter(&self, topic: &str, value: impl AsRef<[u8]>) -> Result<u64, Refused> {
        let value = value.as_ref();
        let command = |token| {
            let (topic, value) = (topic.into(), value.into());
            Command::Enter(Box::new(Enter {
                token,
                topic,
                value,
            }))
        };
        self.ask_inside(results::entered, command, |status| {
            Rule::enter(status, topic, value)
        })
    }

    /// Ends what [`enter`](Self::enter) began.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Invalid`]: the topic breaks its rule.
    pub fn leave(&self, topic: &str) -> Result<(), Refused> {
        let status = self.channel.run_for_status(Command::Leave(topic.into()));
        Refused::check(status, |status| Rule::topic(status, topic))
    }

    /// Members of a topic, at most `limit`, in no promised order. `after` is [`Members::next`](crate::Members::next) of the
    /// page before. The call waits for the answer.
    ///
    /// # Errors
    /// [`Refused::Full`]: as many asks of the session wait as may. [`Refused::Gone`]: the session is over, or ends during
    /// the call. [`Refused::Unavailable`].
    pub fn present(
        &self,
        topic: &str,
        after: Option<&Next>,
        limit: u64,
    ) -> Result<Members, Refused> {
        questions::present(&self.by(), topic, after, limit)
    }

    /// All members of a topic, in no promised order. The call asks for one page after the other, and waits for each.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// fn door(conn: BlockingConn) -> Result {
    ///     conn.enter("lobby", "ann")?;
    ///     for member in conn.members("lobby")? {
    ///         conn.send(format!("{} is here", member.text()))?;
    ///     }
    ///     Ok(())
    /// }
    /// # let mut client = wsh::test::connect(wsh::descriptor!(blocking door));
    /// # assert_eq!(client.receive().unwrap(), "ann is here");
    /// ```
    ///
    /// A member that is there from the first page to the last is in the list exactly once. One that comes or goes meanwhile
    /// may be in it or not.
    ///
    /// # Errors
    /// [`Refused::TooBig`]: there are more than 1,048,576. Otherwise those of [`present`](Self::present).
    pub fn members(&self, topic: &str) -> Result<Vec<Member>, Refused> {
        self.by().ask_all(topic, questions::members)
    }

    /// Publications of a topic, the oldest first: at most `limit` behind the position `after`, or without one the last
    /// `limit`. The call waits for the answer.
    ///
    /// # Errors
    /// [`Refused::Unsupported`]: the topic has no history. Otherwise those of [`present`](Self::present).
    pub fn history(
        &self,
        topic: &str,
        after: Option<&Position>,
        limit: u64,
    ) -> Result<History, Refused> {
        questions::history(&self.by(), topic, after, limit)
    }

    /// Publishes a message like [`publish`](Self::publish), and answers its position once the topic's history has it.
    ///
    /// # Errors
    /// [`Refused::Unsupported`]: the topic has no history. Otherwise those of [`publish`](crate::publish) and of
    /// [`present`](Self::present).
    pub fn publish_acked<P: Payload>(&self, topic: &str, message: P) -> Result<Position, Refused> {
        self.flush();
        questions::publish_acked(&self.by(), topic, &message, 0)
    }

    /// The values that the handler keeps: see [`Store`]. Its functions wait for the answers.
    pub fn store(&self) -> Store<ByWaiting<'_>> {
        Store::new(self.by())
    }

    fn by(&self) -> ByWaiting<'_> {
        ByWaiting {
            channel: &self.channel,
        }
    }

    /// Asks by a command, which a callback runs, and waits for the answer.
    fn ask_inside<T: Send + 'static>(
        &self,
        read: ReadAnswer<T>,
        command: impl FnOnce(u64) -> Command,
        rule: impl FnOnce(Status) -> Rule,
    ) -> Result<T, Refused> {
        let token = self.channel.runtime.asks.token();
        let call = || self.channel.run_for_status(command(token));
        self.channel.ask(read, token, call, rule)
    }
}
