//! What the answers to asks say: publications, members and kept values, each with its own memory.

use crate::{
    abi::{self, Status},
    asks::position::Position,
    border::answer::{AnswerItem, AnswerTable},
    error::{Refused, Result, rule::Rule},
    message::MessageBuf,
};

/// The answer to `subscribe_from`: what of the past follows it.
///
/// ```
/// use wsh::{Position, Start, prelude::*};
///
/// async fn news(conn: &mut AsyncConn, request: &Request<'_>) -> Result {
///     let seen: Option<Position> = request.query("seen").and_then(|text| text.parse().ok());
///     let joined = conn.subscribe_from("news", Start::from(seen).or_last(20)).await?;
///     if !joined.is_recovered {
///         conn.send("you have missed something").await?; // comes before the missed messages
///     }
///     wsh::debug!(missed = joined.missed, "joined");
///     while conn.recv().await.is_some() {}
///     Ok(())
/// }
/// # let server = wsh::test::serve(wsh::descriptor!(async news));
/// # let mut client = server.request("/?seen=AAAA").connect();
/// # assert_eq!(client.receive().unwrap(), "you have missed something");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Joined {
    /// Everything that was published since the position of [`Start`](crate::Start) follows, or no position was named.
    ///
    /// It is false if some of that is gone, and if it is more than the session may have waiting: more than
    /// `outbound_bytes_max` has room for, or more than 1 MiB.
    pub is_recovered: bool,
    /// How many missed messages follow, before what is published from now on. They are fewer than
    /// [`or_last`](crate::Start::or_last) asks for where the history has fewer, or where no more may wait.
    pub missed: u64,
    /// The position of the last publication before those from now on, or the place before the first one. `None` if the topic
    /// has no history, and if the session has left the topic before it could join.
    pub position: Option<Position>,
}

/// A part of the history of a topic: at most 1,024 publications, and no more than 1 MiB if it has several. The rest comes
/// with `next` as the position.
///
/// ```
/// use wsh::prelude::*;
///
/// async fn reader(conn: &mut AsyncConn) -> Result {
///     let mut seen = None;
///     while let Some(ask) = conn.recv().await {
///         // The last ten, and then ten at a time from where the page before has ended.
///         let page = conn.history("news", seen.as_ref(), 10).await?;
///         for publication in &page.publications {
///             conn.send(&publication.message).await?;
///         }
///         wsh::debug!(more = page.next.is_some(), complete = page.is_complete, "{ask}: {:?}", page.head);
///         if let Some(last) = page.publications.last() {
///             seen = Some(last.position.clone());
///         }
///     }
///     Ok(())
/// }
/// # let server = wsh::test::serve(wsh::descriptor!(async reader));
/// # let mut client = server.connect();
/// # client.send("more");
/// # assert_eq!(client.receive(), None);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct History {
    /// The oldest first.
    pub publications: Vec<PublicationBuf>,
    /// Nothing is missing between the position that was named and the first publication, or no position was named.
    /// Otherwise there are no publications.
    pub is_complete: bool,
    /// The position of the last publication of the topic. `None` if there was none, or if it is dropped and the topic is
    /// forgotten.
    pub head: Option<Position>,
    /// Where the next page begins; `None` if this is the last page.
    pub next: Option<Position>,
}

/// A message in the history of a topic, with a copy of its bytes. See [`History`].
///
/// ```
/// # use wsh::prelude::*;
/// # async fn tell(conn: &mut AsyncConn) -> Result {
/// for publication in conn.history("news", None, 10).await?.publications {
///     conn.send(format!("{}: {}", publication.position, publication.message)).await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PublicationBuf {
    /// Where it stands among the publications of its topic.
    pub position: Position,
    /// The message as it was published.
    pub message: MessageBuf,
}

/// Some of the members of a topic, in no promised order.
///
/// ```
/// use wsh::prelude::*;
///
/// async fn door(conn: &mut AsyncConn) -> Result {
///     conn.enter("lobby", "ann").await?;
///     let mut page = conn.present("lobby", None, 100).await?;
///     loop {
///         for member in &page.members {
///             conn.send(format!("{} is here", member.text())).await?;
///         }
///         let Some(next) = page.next else { break };
///         page = conn.present("lobby", Some(&next), 100).await?;
///     }
///     wsh::debug!("the members of version {}", page.version);
///     Ok(())
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(async door));
/// # assert_eq!(client.receive().unwrap(), "ann is here");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Members {
    /// The members of this page.
    pub members: Vec<Member>,
    /// The changes up to this version are in the page, and none after it: see
    /// [`PresenceChange::version`](crate::PresenceChange::version). The first version of a topic may be any number.
    pub version: u64,
    /// Where the next page begins; `None` if this is the last page.
    pub next: Option<Next>,
}

/// A session that is a member of a topic. See [`Members`].
///
/// ```
/// # use wsh::prelude::*;
/// # async fn tell(conn: &mut AsyncConn) -> Result {
/// for member in conn.present("lobby", None, 100).await?.members {
///     conn.send(format!("{} is session {}", member.text(), member.id)).await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Member {
    /// The session's number.
    pub id: u64,
    /// What the member says of itself.
    pub value: Vec<u8>,
}

/// Some of the values that the handler keeps, in no promised order.
///
/// ```
/// use wsh::prelude::*;
///
/// async fn names(conn: &mut AsyncConn) -> Result {
///     conn.store().put("name/1", "ann").await?;
///     conn.store().put("name/2", "ben").await?;
///     let mut page = conn.store().list("name/", None, 1).await?;
///     loop {
///         for entry in &page.entries {
///             conn.send(format!("{} is {}", entry.key, entry.text())).await?;
///         }
///         let Some(next) = page.next else { break };
///         page = conn.store().list("name/", Some(&next), 1).await?;
///     }
///     Ok(())
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(async names));
/// # assert_eq!(client.receive().unwrap(), "name/1 is ann");
/// # assert_eq!(client.receive().unwrap(), "name/2 is ben");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Entries {
    /// The entries of this page.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None` if this is the last page.
    pub next: Option<Next>,
}

/// A value that the handler keeps, under its key. See [`Store`](crate::Store).
///
/// ```
/// # use wsh::prelude::*;
/// # async fn tell(conn: &mut AsyncConn) -> Result {
/// if let Some(entry) = conn.store().get("motto").await? {
///     conn.send(format!("{} {} in version {}", entry.key, entry.text(), entry.version)).await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The version of the value, which is never 0. Each change of a key gives it a higher one; see
    /// [`Store`](crate::Store) for how versions are counted.
    pub version: u64,
}

/// Where the next page of a list begins: see [`Members::next`] and [`Entries::next`].
///
/// ```
/// # use wsh::prelude::*;
/// # async fn tell(conn: &mut AsyncConn) -> Result {
/// let mut next: Option<wsh::Next> = None;
/// loop {
///     let page = conn.present("lobby", next.as_ref(), 100).await?;
///     conn.send(format!("{} more", page.members.len())).await?;
///     next = page.next;
///     if next.is_none() {
///         break Ok(());
///     }
/// }
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Next(Box<[u8]>);

impl Next {
    pub(crate) fn new(bytes: &[u8]) -> Option<Next> {
        (!bytes.is_empty()).then(|| Next(bytes.into()))
    }

    /// The bytes that an ask names the page by.
    pub(crate) fn bytes_of(next: Option<&Next>) -> &[u8] {
        next.map_or(&[], |next| &next.0)
    }
}

macro_rules! values {
    ($($owner:ident)*) => {
        $(impl $owner {
            /// The value as text, with U+FFFD for what is not UTF-8.
            ///
            /// ```
            /// # use wsh::prelude::*;
            /// # async fn tell(conn: &mut AsyncConn) -> Result {
            /// for member in conn.present("lobby", None, 100).await?.members {
            ///     conn.send(member.text().into_owned()).await?;
            /// }
            /// # Ok(()) }
            /// ```
            #[must_use]
            pub fn text(&self) -> std::borrow::Cow<'_, str> {
                String::from_utf8_lossy(&self.value)
            }

            /// Reads the value as JSON. It may borrow from this one.
            ///
            /// Needs the feature `serde`, which is on by default.
            ///
            /// ```
            /// # use wsh::prelude::*;
            /// # async fn count(conn: &mut AsyncConn) -> Result {
            /// let visits = conn.store().get("visits").await?.map_or(Ok(0), |entry| entry.json::<u64>())?;
            /// let ages = conn.present("lobby", None, 100).await?;
            /// let ages: Vec<u8> = ages.members.iter().map(|member| member.json()).collect::<Result<_, _>>()?;
            /// conn.send_json(&(visits, ages)).await?;
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// The value is not JSON, or not JSON of a `T`.
            #[cfg(feature = "serde")]
            pub fn json<'a, T: serde_core::Deserialize<'a>>(
                &'a self,
            ) -> Result<T, crate::JsonError> {
                crate::message::json::read_value(&self.value)
            }
        })*
    };
}

values! { Member Entry }

/// What an answer means; the first argument of [`Asker::ask`](crate::asks::asker::Asker::ask).
pub(crate) type ReadAnswer<T> = fn(AnswerTable<'_>) -> Result<T, Refused>;

pub(crate) fn joined(answer: AnswerTable<'_>) -> Result<Joined, Refused> {
    check(answer, Rule::topics, Rule::unknown)?;
    Ok(Joined {
        is_recovered: answer.is_recovered(),
        missed: answer.follows(),
        position: Position::new(answer.position()),
    })
}

pub(crate) fn published(answer: AnswerTable<'_>) -> Result<Position, Refused> {
    check(answer, Rule::history_full, no_history)?;
    Position::new(answer.position()).ok_or(Refused::Failed)
}

pub(crate) fn history(answer: AnswerTable<'_>) -> Result<History, Refused> {
    check(answer, Rule::unknown, no_history)?;
    let publication = |item: AnswerItem<'_>| {
        let position = Position::new(item.position)?;
        let message = match (item.kind & 0xff, str::from_utf8(item.value)) {
            (abi::TEXT, Ok(text)) => MessageBuf::Text(text.into()),
            _ => MessageBuf::Binary(item.value.into()),
        };
        Some(PublicationBuf { position, message })
    };
    Ok(History {
        publications: answer.items().filter_map(publication).collect(),
        is_complete: answer.is_recovered(),
        head: Position::new(answer.position()),
        next: Position::new(answer.next()),
    })
}

pub(crate) fn entered(answer: AnswerTable<'_>) -> Result<u64, Refused> {
    check(answer, Rule::members_full, no_presence)?;
    Ok(answer.version())
}

pub(crate) fn members(answer: AnswerTable<'_>) -> Result<Members, Refused> {
    check(answer, Rule::unknown, no_presence)?;
    let member = |item: AnswerItem<'_>| Member {
        id: item.id,
        value: item.value.into(),
    };
    Ok(Members {
        members: answer.items().map(member).collect(),
        version: answer.version(),
        next: Next::new(answer.next()),
    })
}

pub(crate) fn entry(answer: AnswerTable<'_>) -> Result<Option<Entry>, Refused> {
    check(answer, Rule::unknown, Rule::unknown)?;
    Ok(answer.items().next().map(Entry::new))
}

pub(crate) fn changed(answer: AnswerTable<'_>) -> Result<u64, Refused> {
    check(answer, Rule::store_full, Rule::unknown)?;
    Ok(answer.version())
}

pub(crate) fn entries(answer: AnswerTable<'_>) -> Result<Entries, Refused> {
    check(answer, Rule::unknown, Rule::unknown)?;
    Ok(Entries {
        entries: answer.items().map(Entry::new).collect(),
        next: Next::new(answer.next()),
    })
}

/// Whether an ask was carried out. `too_big` is the rule that it broke if its status is [`abi::TOO_BIG`], and
/// `unsupported` if it is [`abi::UNSUPPORTED`].
pub(crate) fn check(
    answer: AnswerTable<'_>,
    too_big: fn() -> Rule,
    unsupported: fn() -> Rule,
) -> Result<(), Refused> {
    if answer.status() == abi::CONFLICT {
        let version = answer.version();
        return Err(Refused::Conflict { version });
    }
    Refused::check(answer.status(), |status: Status| match status {
        abi::TOO_BIG => too_big(),
        abi::UNSUPPORTED => unsupported(),
        _ => Rule::unknown(),
    })
}

/// The rule of an answer, which does not name its topic.
fn no_history() -> Rule {
    Rule::history("")
}

/// The rule of an answer, which does not name its topic.
fn no_presence() -> Rule {
    Rule::presence("")
}

impl Entry {
    fn new(item: AnswerItem<'_>) -> Entry {
        Entry {
            key: item.name.into(),
            value: item.value.into(),
            version: item.version,
        }
    }
}
