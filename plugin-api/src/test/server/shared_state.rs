//! What a test does with the state that the handler shares: looks at it, sets its limits, makes it fail.

use std::time::Duration;

use super::Server;
use crate::{
    abi,
    asks::{
        position::Position,
        results::{Entry, Member, PublicationBuf},
    },
    message::MessageBuf,
    rules::asks,
    test::{
        engine::{AnswerBuf, HistoryBounds, ItemBuf, TopicRule},
        hub::topics::{TopicEvent, sent},
        limits::OutboundPolicy,
    },
};

impl Server {
    /// Sets how many publications are kept of some topics, and for how long. With a count of 0 there is no history.
    /// `topics` is a name, or the beginning of names and `*`. The last call that a topic matches counts.
    ///
    /// Without a call each topic keeps 1,000 publications for 24 hours. On a server, `[topics]` of its configuration says
    /// it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wsh::{Start, prelude::*};
    ///
    /// async fn news(conn: &mut AsyncConn) -> Result {
    ///     while let Some(message) = conn.recv().await {
    ///         conn.publish("news", message)?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// let server = wsh::test::serve(wsh::descriptor!(async news, restarts));
    /// server.set_history("new*", 2, Duration::from_secs(60));
    /// let mut client = server.connect();
    /// for headline in ["one", "two", "three"] {
    ///     client.send(headline);
    /// }
    /// let kept: Vec<String> = server.history("news").iter().map(|it| it.message.to_string()).collect();
    /// assert_eq!(kept, ["two", "three"]);
    /// server.advance(Duration::from_secs(60));
    /// assert!(server.history("news").is_empty());
    /// ```
    pub fn set_history(&self, topics: &str, count: usize, age: Duration) {
        let rule = TopicRule::History(HistoryBounds { count, age });
        self.core
            .hub
            .with_engine(|engine, now| engine.set(topics, rule, now));
    }

    /// Sets whether some topics may have members. By default all may. `topics` is as for
    /// [`set_history`](Self::set_history).
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// async fn door(conn: &mut AsyncConn) -> Result {
    ///     if let Err(refused) = conn.enter("lobby", "ann").await {
    ///         conn.send(refused.to_string()).await?;
    ///     }
    ///     while conn.recv().await.is_some() {}
    ///     Ok(())
    /// }
    /// let server = wsh::test::serve(wsh::descriptor!(async door));
    /// let _ann = server.connect();
    /// assert_eq!(server.members("lobby")[0].text(), "ann");
    /// server.set_presence("lobby", false);
    /// assert!(server.connect().receive().unwrap().to_string().contains("no `presence = false`"));
    /// ```
    pub fn set_presence(&self, topics: &str, is_allowed: bool) {
        let rule = TopicRule::Presence(is_allowed);
        self.core
            .hub
            .with_engine(|engine, now| engine.set(topics, rule, now));
    }

    /// Sets whether the handler may use some topics. By default it may use all. On a server, `handlers` of a topic that
    /// begins with `/` says which handlers may. `topics` is as for [`set_history`](Self::set_history).
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// async fn speaker(conn: &mut AsyncConn) -> Result {
    ///     if let Err(refused) = conn.publish("/all", "hello") {
    ///         conn.send(refused.to_string()).await?;
    ///     }
    ///     Ok(())
    /// }
    /// let server = wsh::test::serve(wsh::descriptor!(async speaker));
    /// server.set_use("/all", false);
    /// assert!(server.connect().receive().unwrap().to_string().contains("is not for this handler"));
    /// ```
    pub fn set_use(&self, topics: &str, is_allowed: bool) {
        let rule = TopicRule::Use(is_allowed);
        self.core
            .hub
            .with_engine(|engine, now| engine.set(topics, rule, now));
    }

    /// Sets how many bytes the keys and values of the handler may have in all. It is 16 MiB by default.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// async fn saves(conn: &mut AsyncConn) -> Result {
    ///     let answer = conn.store().put("motto", "a long one").await;
    ///     conn.send(format!("{answer:?}")).await?;
    ///     Ok(())
    /// }
    /// let server = wsh::test::serve(wsh::descriptor!(async saves));
    /// server.set_store_bytes_max(10);
    /// assert!(server.connect().receive().unwrap().to_string().contains("`store_bytes_max`"));
    /// ```
    pub fn set_store_bytes_max(&self, bytes: usize) {
        self.core
            .hub
            .with_engine(|engine, _| engine.store.bytes_max = bytes);
    }

    /// Sets what happens to a message that passes the limit of what may wait for a client, as the key `outbound_policy`
    /// does. By default its session closes.
    ///
    /// ```
    /// # use wsh::{Refused, prelude::*, test::OutboundPolicy};
    /// #[derive(Default)]
    /// struct Pours;
    ///
    /// impl Session for Pours {
    ///     fn on_message(&mut self, conn: &mut Conn, _message: Message) -> Result {
    ///         let mut sent = 0;
    ///         while conn.send(&[0; 65536]) != Err(Refused::Dropped) {
    ///             sent += 1;
    ///         }
    ///         wsh::info!("{sent} fit");
    ///         Ok(())
    ///     }
    /// }
    /// let server = wsh::test::serve(wsh::descriptor!(Pours));
    /// server.set_outbound_policy(OutboundPolicy::DropNew);
    /// let mut client = server.connect();
    /// client.stall();
    /// client.send("begin");
    /// client.resume();
    /// assert_eq!(std::iter::from_fn(|| client.receive()).count(), 15);
    /// ```
    pub fn set_outbound_policy(&self, policy: OutboundPolicy) {
        self.core.hub.set_outbound_policy(policy);
    }

    /// Lets what is shared be out of reach, or back again. Meanwhile every ask is answered
    /// [`Refused::Unavailable`](crate::Refused::Unavailable), and nothing is done; publishing to a topic with history is
    /// [`Refused::Full`](crate::Refused::Full).
    ///
    /// ```
    /// # use wsh::{Refused, prelude::*};
    /// async fn saves(conn: &mut AsyncConn) -> Result {
    ///     while let Some(motto) = conn.recv().await {
    ///         match conn.store().put("motto", motto.as_bytes()).await {
    ///             Ok(_) => conn.send("kept").await?,
    ///             Err(Refused::Unavailable) => conn.send("try again").await?,
    ///             Err(other) => return Err(other.into()),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// let server = wsh::test::serve(wsh::descriptor!(async saves, restarts));
    /// let mut client = server.connect();
    /// server.set_engine_available(false);
    /// client.send("alas");
    /// assert_eq!(client.receive().unwrap(), "try again");
    /// server.set_engine_available(true);
    /// client.send("alas");
    /// assert_eq!(client.receive().unwrap(), "kept");
    /// ```
    pub fn set_engine_available(&self, is_available: bool) {
        self.core.hub.set_away(!is_available);
    }

    /// Sets how long every ask takes from now on, by the clock of the test. It is 0 by default. So a test sees what a
    /// handler does while it waits: what it receives, whether it moves, how it ends.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wsh::prelude::*;
    /// async fn asker(conn: &mut AsyncConn) -> Result {
    ///     let motto = conn.store().get("motto").await?;
    ///     conn.send(motto.map_or("none".into(), |entry| entry.text().into_owned())).await?;
    ///     while conn.recv().await.is_some() {}
    ///     Ok(())
    /// }
    /// let server = wsh::test::serve(wsh::descriptor!(async asker, restarts));
    /// server.set_answer_delay(Duration::from_secs(1));
    /// let mut client = server.connect();
    /// assert!(client.receive().is_none() && !client.migrate());
    /// client.advance(Duration::from_secs(1));
    /// assert_eq!(client.receive().unwrap(), "none");
    /// ```
    pub fn set_answer_delay(&self, delay: Duration) {
        self.core.hub.set_delay(delay);
    }

    /// Puts a value into the store of the handler, in the place of one under this key.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// async fn motto(conn: &mut AsyncConn) -> Result {
    ///     let motto = conn.store().get("motto").await?.ok_or("no motto")?;
    ///     conn.send(motto.text().into_owned()).await?;
    ///     conn.store().delete("motto").await?;
    ///     Ok(())
    /// }
    /// let server = wsh::test::serve(wsh::descriptor!(async motto));
    /// server.put("motto", "kept by another test");
    /// assert_eq!(server.store()[0].key, "motto");
    /// assert_eq!(server.connect().receive().unwrap(), "kept by another test");
    /// assert!(server.store().is_empty());
    /// ```
    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) {
        assert!(
            asks::key(key).is_ok(),
            "`key` is `{key}`, wanted 1 to 255 bytes without NUL"
        );
        let value = value.as_ref();
        let put = |answer: AnswerBuf| assert_eq!(answer.status, abi::OK, "the value does not fit");
        put(self
            .core
            .hub
            .with_engine(|engine, now| engine.store.put(key, value, None, 0, now)));
    }

    /// The values that the handler keeps, by their keys.
    #[must_use]
    pub fn store(&self) -> Vec<Entry> {
        let hub = &self.core.hub;
        let all = hub.with_engine(|engine, now| engine.store.list("", None, usize::MAX, now));
        all.items.into_iter().map(Entry::of_test).collect()
    }

    /// The members of a topic, by the numbers of their sessions.
    #[must_use]
    pub fn members(&self, topic: &str) -> Vec<Member> {
        let hub = &self.core.hub;
        let all = hub.with_engine(|engine, _| engine.present(topic, None, usize::MAX));
        all.items.into_iter().map(Member::of_test).collect()
    }

    /// The publications of a topic that its history has, the oldest first.
    #[must_use]
    pub fn history(&self, topic: &str) -> Vec<PublicationBuf> {
        let hub = &self.core.hub;
        let all =
            hub.with_engine(|engine, now| engine.history(topic, &[], u64::MAX, usize::MAX, now));
        all.items
            .into_iter()
            .filter_map(PublicationBuf::of_test)
            .collect()
    }
}

impl super::ServerCore {
    /// Gives the handler the answers to its own asks, and has it called for what concerns topics. Answers whether there
    /// was something.
    pub(super) fn serve_topics(&self) -> bool {
        let hub = &self.hub;
        hub.carry_out_due();
        let mut progress = false;
        while let Some(found) = hub.take_handler_answer() {
            progress = true;
            // The answers to a generation that is over are dropped.
            if let Some(generation) = self.generation_of(found.generation) {
                generation.answered(found.token, &found.answer);
            }
        }
        while let Some(event) = hub.take_event() {
            progress = true;
            self.serve_event(event);
            hub.delivered();
        }
        progress
    }

    /// Calls the newest generation for an event, and delivers what comes of it.
    fn serve_event(&self, event: TopicEvent) {
        let (hub, generation) = (&self.hub, self.generation());
        match event {
            TopicEvent::Publication {
                topic,
                position,
                item,
                except,
            } => {
                let form = generation.envelope(&topic, &position, item);
                hub.deliver(&topic, &form, except);
            }
            TopicEvent::Join {
                topic,
                id,
                token,
                join,
            } => {
                let missed = join.missed.iter();
                let missed = missed
                    .map(|(position, kept)| generation.envelope(&topic, position, sent(kept)))
                    .collect();
                hub.end_join(&topic, id, token, join, missed);
            }
            TopicEvent::Change(change) => {
                if let Some(news) = generation.presence(&change) {
                    hub.deliver(&change.topic, &news, 0);
                }
            }
        }
    }
}

impl Entry {
    fn of_test(item: ItemBuf) -> Entry {
        Entry {
            key: item.name,
            value: item.value,
            version: item.version,
        }
    }
}

impl Member {
    fn of_test(item: ItemBuf) -> Member {
        Member {
            id: item.id,
            value: item.value,
        }
    }
}

impl PublicationBuf {
    fn of_test(item: ItemBuf) -> Option<PublicationBuf> {
        Some(PublicationBuf {
            position: Position::new(&item.position)?,
            message: match String::from_utf8(item.value) {
                Ok(text) if item.kind == abi::TEXT => MessageBuf::Text(text),
                Ok(text) => MessageBuf::Binary(text.into_bytes()),
                Err(error) => MessageBuf::Binary(error.into_bytes()),
            },
        })
    }
}
