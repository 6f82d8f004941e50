//! What a handler may do with publications and with changes of members before they go to the peers.

use crate::{
    abi::answer,
    asks::position::Position,
    border::answer::ChangeTable,
    message::{Message, MessageBuf},
};

/// Makes the form in which publications go to the peers, with their position in it. So a peer that comes back can say
/// which one it has seen last.
///
/// It is for the type that `handler!` names: a [`Handler`](crate::Handler), a [`Session`](crate::Session) that is its own
/// handler, or the [`Shared`](crate::Shared) value of a function. [`handler!`](crate::handler) finds out by itself whether
/// the type has it. Of any other type it is never called. If that is the `Session` of the handler, `handler!` does not
/// compile; otherwise nothing tells, as where `shared = TYPE` is left out.
///
/// ```
/// use wsh::{Envelope, Publication, Start, prelude::*};
///
/// struct Headlines;
///
/// impl Shared for Headlines {
///     fn new(_: Config) -> Result<Self> {
///         Ok(Headlines)
///     }
/// }
///
/// impl Envelope for Headlines {
///     fn envelope(&self, publication: &Publication<'_>) -> Result<Option<MessageBuf>> {
///         let Publication { position, message, .. } = publication;
///         Ok(Some(MessageBuf::Text(format!("{position} {message}"))))
///     }
/// }
///
/// async fn news(conn: &mut AsyncConn, request: &Request<'_>, _: &Headlines) -> Result {
///     let seen = request.query("seen").and_then(|text| text.parse().ok());
///     conn.subscribe_from("news", Start::from(seen).or_last(20)).await?;
///     while let Some(message) = conn.recv().await {
///         conn.publish("news", message)?;
///     }
///     Ok(())
/// }
///
/// let server = wsh::test::serve(wsh::descriptor!(async news, shared = Headlines));
/// let mut ann = server.connect();
/// ann.send("one");
/// ann.send("two");
/// let one = ann.receive().unwrap().to_string();
/// let (seen, text) = one.split_once(' ').unwrap();
/// assert_eq!(text, "one");
/// let mut ben = server.request(&format!("/?seen={seen}")).connect();
/// assert!(ben.receive().unwrap().to_string().ends_with(" two"));
/// assert_eq!(ben.receive(), None);
/// ```
// A trait of its own, and no method of `Handler` with a default body: the server sends publications by a task once a
// handler has the callback, so it must be absent unless it is written, and only a trait tells the one from the other.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no `envelope`",
    label = "needs `impl Envelope for {Self}`"
)]
pub trait Envelope: Send + Sync + 'static {
    /// Makes the form in which a publication goes to the peers; `None` sends it as it is.
    ///
    /// It is called once for each publication of a topic with history, for one topic in order, and again for each session
    /// that the publication is sent to later. The history keeps the message as it was published, so newer code makes its
    /// own form of it. The form is of the kind that the message has: text or binary.
    ///
    /// # Errors
    /// With any error the publication goes as it is, and the error is logged.
    ///
    /// # Panics
    /// A panic is logged, and the publication goes as it is, also to sessions that join later: this generation of the
    /// handler is not called for it again. It counts for `panics_max` once on each server.
    fn envelope(&self, publication: &Publication<'_>) -> crate::Result<Option<MessageBuf>>;
}

/// Hears how the members of topics change, and may tell the subscribers.
///
/// It is for the type that `handler!` names: a [`Handler`](crate::Handler), a [`Session`](crate::Session) that is its own
/// handler, or the [`Shared`](crate::Shared) value of a function. [`handler!`](crate::handler) finds out by itself whether
/// the type has it. Of any other type it is never called. If that is the `Session` of the handler, `handler!` does not
/// compile; otherwise nothing tells, as where `shared = TYPE` is left out.
///
/// ```
/// use wsh::{Change, Presence, PresenceChange, prelude::*};
///
/// #[derive(Default)]
/// struct Lobby;
///
/// impl Presence for Lobby {
///     fn presence(&self, change: &PresenceChange<'_>) -> Result<Option<MessageBuf>> {
///         let who = change.text();
///         wsh::debug!(version = change.version, "session {} in {}", change.id, change.topic);
///         Ok(match change.kind {
///             Change::Joined => Some(MessageBuf::Text(format!("{who} is here"))),
///             Change::Left => Some(MessageBuf::Text(format!("{who} has left"))),
///             _ => None,
///         })
///     }
/// }
///
/// impl Session for Lobby {
///     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
///         conn.subscribe("lobby")?;
///         conn.enter(0, "lobby", message.as_bytes())?;
///         Ok(())
///     }
/// }
///
/// let server = wsh::test::serve(wsh::descriptor!(Lobby));
/// let (mut ann, mut ben) = (server.connect(), server.connect());
/// ann.send("ann");
/// ben.send("ben");
/// ben.lose();
/// assert_eq!(ann.receive().unwrap(), "ann is here");
/// assert_eq!(ann.receive().unwrap(), "ben is here");
/// assert_eq!(ann.receive().unwrap(), "ben has left");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no `presence`",
    label = "needs `impl Presence for {Self}`"
)]
pub trait Presence: Send + Sync + 'static {
    /// A session has become a member of a topic of this handler, has another value, or has left. What is returned is
    /// published to the topic's subscribers; `None`, or an empty message, tells them nothing.
    ///
    /// It is called once for each change, for one topic in order. A session that moves to newer code neither leaves nor
    /// joins.
    ///
    /// # Errors
    /// With any error the subscribers hear nothing, and the error is logged.
    ///
    /// # Panics
    /// A panic is logged, and the subscribers hear nothing. It counts for `panics_max`.
    fn presence(&self, change: &PresenceChange<'_>) -> crate::Result<Option<MessageBuf>>;
}

/// A message that was published to a topic with history, which [`Envelope::envelope`] borrows.
///
/// ```
/// # use wsh::{Envelope, Publication, prelude::*};
/// # struct Chat;
/// impl Envelope for Chat {
///     fn envelope(&self, publication: &Publication<'_>) -> Result<Option<MessageBuf>> {
///         if publication.topic != "lobby" {
///             return Ok(None);
///         }
///         let form = format!("{}: {}", publication.position, publication.message);
///         Ok(Some(MessageBuf::Text(form)))
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Publication<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Where the message stands among the publications of the topic.
    pub position: Position,
    /// The message as it was published, perhaps by another version of the handler.
    pub message: Message<'a>,
}

/// A change of the members of a topic, which [`Presence::presence`] borrows.
///
/// ```
/// # use wsh::{Presence, PresenceChange, prelude::*};
/// # struct Chat;
/// impl Presence for Chat {
///     fn presence(&self, change: &PresenceChange<'_>) -> Result<Option<MessageBuf>> {
///         // Version 7 comes after version 6: a client that knows the members of version 6 applies this change.
///         let news = format!("{:?} {} {} {}", change.kind, change.version, change.id, change.text());
///         Ok(Some(MessageBuf::Text(news)))
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PresenceChange<'a> {
    /// The topic.
    pub topic: &'a str,
    /// What has happened to the member.
    pub kind: Change,
    /// The version of the members after the change. The versions of a topic have no holes.
    pub version: u64,
    /// The number of the member's session.
    pub id: u64,
    /// What the member says of itself; the last that it said if it has left.
    pub value: &'a [u8],
}

/// What has happened to a member of a topic. See [`PresenceChange`].
///
/// ```
/// # use wsh::{Change, PresenceChange};
/// fn sentence(change: &PresenceChange<'_>) -> String {
///     match change.kind {
///         Change::Joined => format!("{} is here", change.text()),
///         Change::Left => format!("{} has left", change.text()),
///         Change::Changed => format!("one is now {}", change.text()),
///         _ => String::new(),
///     }
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A session has become a member.
    Joined,
    /// The member has left, its session is over, or its server is gone.
    Left,
    /// The member has another value.
    Changed,
}

impl<'a> PresenceChange<'a> {
    /// The change that the host tells; `None` if its kind is not known here.
    pub(crate) fn new(table: ChangeTable<'a>) -> Option<Self> {
        let kind = match table.kind {
            answer::JOINED => Change::Joined,
            answer::LEFT => Change::Left,
            answer::CHANGED => Change::Changed,
            _ => return None,
        };
        Some(PresenceChange {
            topic: table.topic,
            kind,
            version: table.version,
            id: table.id,
            value: table.value,
        })
    }

    /// The value as text, with U+FFFD for what is not UTF-8.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'a, str> {
        String::from_utf8_lossy(self.value)
    }

    /// Reads the value as JSON. It may borrow from this one.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// ```
    /// # use wsh::{Presence, PresenceChange, prelude::*};
    /// # struct Chat;
    /// impl Presence for Chat {
    ///     fn presence(&self, change: &PresenceChange<'_>) -> Result<Option<MessageBuf>> {
    ///         let (name, age): (&str, u8) = change.json()?;
    ///         Ok(Some(MessageBuf::Text(format!("{name} is {age}"))))
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// The value is not JSON, or not JSON of a `T`.
    #[cfg(feature = "serde")]
    pub fn json<T: serde_core::Deserialize<'a>>(&self) -> Result<T, crate::JsonError> {
        crate::message::json::read_value(self.value)
    }
}
