//! What an async function asks of the state that servers share, to await the answers.

use crate::{
    abi::Status,
    asks::{
        ask::Ask,
        asker::{Asker, ByFuture, HostCall, ListAsker, Read},
        pages::AskAll,
        position::{Position, Start},
        questions,
        results::{self, History, Joined, Member, Members, Next, ReadAnswer},
        store::Store,
    },
    border::host::{ConnPtr, HostFunctions},
    error::{Refused, Result, rule::Rule},
    message::payload::Payload,
    styles::asynchronous::conn::AsyncConn,
};

impl<S> AsyncConn<S> {
    /// Subscribes the session to a topic with history, and has what it has missed sent to its peer first. [`Start`] says
    /// what that is. The answer comes first, then the missed messages, and then what is published from now on: nothing is
    /// left out, and nothing comes twice.
    ///
    /// ```
    /// use wsh::{Start, prelude::*};
    ///
    /// async fn lobby(conn: &mut AsyncConn, request: &Request<'_>) -> Result {
    ///     let name = request.query("name").unwrap_or("someone").to_owned();
    ///     let seen = request.query("seen").and_then(|text| text.parse().ok());
    ///     let joined = conn.subscribe_from("lobby", Start::from(seen).or_last(20)).await?;
    ///     conn.enter("lobby", &name).await?;
    ///     let here = conn.present("lobby", None, 100).await?.members.len();
    ///     let visits = conn.store().get("visits").await?.map_or(Ok(0), |entry| entry.json::<u64>())?;
    ///     conn.store().put_json("visits", &(visits + 1)).await?;
    ///     conn.send(format!("{here} here, {} missed, {visits} visits", joined.missed)).await?;
    ///     while let Some(message) = conn.recv().await {
    ///         let position = conn.publish_acked("lobby", format!("{name}: {message}")).await?;
    ///         let newer = conn.history("lobby", Some(&position), 1).await?;
    ///         wsh::debug!(is_last = newer.publications.is_empty(), "published at {position}");
    ///     }
    ///     Ok(())
    /// }
    /// # let server = wsh::test::serve(wsh::descriptor!(async lobby));
    /// # let mut ann = server.request("/?name=ann").connect();
    /// # assert_eq!(ann.receive().unwrap(), "1 here, 0 missed, 0 visits");
    /// # ann.send("hello");
    /// # assert_eq!(ann.receive().unwrap(), "ann: hello");
    /// # let mut ben = server.request("/?name=ben").connect();
    /// # assert_eq!(ben.receive().unwrap(), "ann: hello");
    /// # assert_eq!(ben.receive().unwrap(), "2 here, 1 missed, 1 visits");
    /// ```
    ///
    /// On a topic without history it begins with what is published from now on. [`unsubscribe`](Self::unsubscribe) ends
    /// it.
    ///
    /// The answer is [`Refused::Invalid`] if the session has joined the topic already, [`Refused::Full`] if as many asks of
    /// the session wait as may, and otherwise refused as by [`subscribe`](Self::subscribe). The session is no subscriber
    /// then.
    pub fn subscribe_from(&self, topic: &str, start: impl Into<Start>) -> Ask<Joined> {
        let start = start.into();
        let after = start.after_bytes();
        self.ask_inside(
            results::joined,
            |host, conn, token| host.subscribe_from(conn, token, topic, after, start.last),
            |status| Rule::subscribe_from(status, topic),
        )
    }

    /// Makes the session a member of a topic, with a small value that says who it is. It is a member until
    /// [`leave`](Self::leave) or its end, also after a move to newer code. A member that enters again has the new value. It
    /// need not be a subscriber. The answer is the version of the members after it. [`Members`] has an example.
    ///
    /// [`present`](Self::present) lists the members, and [`Presence`](crate::Presence) hears how they change.
    ///
    /// The answer is [`Refused::TooBig`] if the value is, and [`Refused::Full`] if as many asks of the session wait as may.
    pub fn enter(&self, topic: &str, value: impl AsRef<[u8]>) -> Ask<u64> {
        let value = value.as_ref();
        self.ask_inside(
            results::entered,
            |host, conn, token| host.enter(conn, token, topic, value),
            |status| Rule::enter(status, topic, value),
        )
    }

    /// Ends what [`enter`](Self::enter) began.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # async fn nap(conn: &mut AsyncConn) -> Result {
    /// conn.leave("lobby")?;
    /// conn.sleep(std::time::Duration::from_secs(60)).await;
    /// conn.enter("lobby", "ann").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Invalid`]: the topic breaks its rule.
    pub fn leave(&self, topic: &str) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.leave(conn, topic));
        Refused::check(status, |status| Rule::topic(status, topic))
    }

    /// Asks for members of a topic, at most `limit`, in no promised order. `after` is
    /// [`Members::next`](crate::Members::next) of the page before. [`Members`] has an example.
    pub fn present(&self, topic: &str, after: Option<&Next>, limit: u64) -> Ask<Members> {
        questions::present(&self.by(), topic, after, limit)
    }

    /// Asks for all members of a topic, in no promised order, and so for one page after the other. The answer is a list of
    /// [`Member`].
    ///
    /// ```
    /// use wsh::prelude::*;
    ///
    /// async fn door(conn: &mut AsyncConn) -> Result {
    ///     conn.enter("lobby", "ann").await?;
    ///     for member in conn.members("lobby").await? {
    ///         conn.send(format!("{} is here", member.text())).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # let mut client = wsh::test::connect(wsh::descriptor!(async door));
    /// # assert_eq!(client.receive().unwrap(), "ann is here");
    /// ```
    ///
    /// [`AskAll`] says what is in the list if members come and go meanwhile. A list of more than 1,048,576 members is
    /// [`Refused::TooBig`]. In bytes it is as long as members may be: `presence_bytes_max`. A client that keeps a list up to
    /// date by changes needs the version in the first page of [`present`](Self::present).
    pub fn members(&self, topic: &str) -> AskAll<ByFuture<'_>, Member> {
        self.by().ask_all(topic, questions::members)
    }

    /// Asks for publications of a topic, the oldest first: at most `limit` behind the position `after`, or without one the
    /// last `limit`. [`History`] has an example.
    ///
    /// The answer is [`Refused::Unsupported`] for a topic without history.
    pub fn history(&self, topic: &str, after: Option<&Position>, limit: u64) -> Ask<History> {
        questions::history(&self.by(), topic, after, limit)
    }

    /// Publishes a message like [`publish`](Self::publish), and answers with its position once the topic's history has it.
    ///
    /// The answer is [`Refused::Unsupported`] for a topic without history, and otherwise refused as by
    /// [`publish`](crate::publish).
    pub fn publish_acked<P: Payload>(&self, topic: &str, message: P) -> Ask<Position> {
        questions::publish_acked(&self.by(), topic, &message, 0)
    }

    /// The values that the handler keeps: see [`Store`].
    pub fn store(&self) -> Store<ByFuture<'_>> {
        Store::new(self.by())
    }

    fn by(&self) -> ByFuture<'_> {
        ByFuture {
            session: self.session(),
            channel: &self.channel,
        }
    }

    /// Asks by a function of the host that needs the Conn of the running callback.
    fn ask_inside<T: Send + 'static>(
        &self,
        read: ReadAnswer<T>,
        call: impl FnOnce(&HostFunctions, ConnPtr, u64) -> Status,
        rule: impl FnOnce(Status) -> Rule,
    ) -> Ask<T> {
        let call = |at: &HostCall<'_>| call(at.host, self.session().conn(), at.token);
        self.by().ask(Read(read), call, rule)
    }
}
