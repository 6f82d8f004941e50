//! The connection of a blocking function. Waiting for messages is in `recv`.

use std::{any::Any, fmt, sync::Arc};

use crate::{
    close::Close,
    error::{Refused, Result, rule::Rule},
    handle::{self, Handle},
    message::payload::Payload,
    styles::{
        blocking::{channel::BlockingChannel, command::Command},
        events::conn::part_kind,
    },
};

/// The connection of a session whose function has a thread of its own. Its calls wait.
///
/// ```standalone_crate
/// use wsh::prelude::*;
///
/// fn echo(conn: BlockingConn) -> Result {
///     for message in &conn {
///         conn.send(message)?;
///     }
///     Ok(())
/// }
/// # fn main() {}
/// wsh::handler!(blocking echo);
/// ```
///
/// The session ends when the function returns. `Ok` closes with 1000, or answers a peer that closed first with its own
/// code. An error is logged and closes with 1011.
///
/// Besides receiving and sending it can do the following:
///
/// ```standalone_crate
/// use wsh::prelude::*;
///
/// struct User(String); // what the handshake attached
///
/// fn member(conn: BlockingConn) -> Result {
///     let name = conn.attached().map_or("someone", |User(name)| name);
///     wsh::info!(protocol = conn.protocol(), "{name} is session {}", conn.id());
///     conn.subscribe("room")?;
///     while let Some(message) = conn.recv() {
///         match message.as_text() {
///             Some("ping") => conn.ping(b"hello?")?,
///             Some("leave") => conn.unsubscribe("room")?,
///             Some("bye") => conn.close(1000, "goodbye")?,
///             Some("hang up") => conn.abort()?,
///             Some("work") => {
///                 conn.pause()?; // the peer's messages are held back until the work is done
///                 let handle = conn.handle(); // for other threads
///                 std::thread::scope(|scope| {
///                     scope.spawn(|| handle.send("working"));
///                 });
///                 conn.resume()?;
///             }
///             Some(text) => drop(conn.publish("room", format!("{name}: {text}"))?),
///             None => drop(conn.publish_to_others("room", message)?),
///         }
///         if !conn.is_open() {
///             wsh::info!("{name} leaves: {:?}", conn.closed());
///         }
///     }
///     Ok(())
/// }
/// # fn main() {
/// #     let mut client = wsh::test::connect(&WSH_HANDLER);
/// #     client.send("hello");
/// #     assert_eq!(client.receive().unwrap(), "someone: hello");
/// #     client.send("work");
/// #     assert_eq!(client.receive().unwrap(), "working");
/// #     client.send("bye");
/// #     assert_eq!(client.receive(), None);
/// #     assert_eq!(client.closed().unwrap().reason, "goodbye");
/// # }
/// wsh::handler!(blocking member);
/// ```
pub struct BlockingConn {
    pub(super) channel: Arc<BlockingChannel>,
    attached: Vec<Box<dyn Any + Send + Sync>>,
}

impl BlockingConn {
    pub(crate) fn new(
        channel: Arc<BlockingChannel>,
        attached: Vec<Box<dyn Any + Send + Sync>>,
    ) -> Self {
        BlockingConn { channel, attached }
    }

    /// The session's number. It is never 0, and no other session of all servers that work together has it.
    ///
    /// It is opaque and may use all 64 bits: JSON for a browser should carry it as text. A server that works alone counts
    /// from 1 when it starts, so data outside the process should not refer to sessions by it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.channel.id
    }

    /// The subprotocol that the handshake chose, or `""`.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.channel.protocol
    }

    /// Whether neither side has closed yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.channel.is_ending()
    }

    /// The code and reason that the peer closed with, or how else the session ended. `None` while it is open.
    #[must_use]
    pub fn closed(&self) -> Option<&Close> {
        self.channel.closed()
    }

    /// Sends a message. The call returns when the message has been queued and at most 64 KiB wait for the peer. A peer
    /// that takes nothing ends the session by the server's `outbound_timeout_ms`. While other messages wait to be
    /// received, the message may leave a millisecond later, together with the answers to those.
    ///
    /// ```standalone_crate
    /// # use wsh::prelude::*;
    /// fn count(conn: BlockingConn) -> Result {
    ///     for number in 0..1_000_000 {
    ///         // As fast as this peer reads.
    ///         conn.send(number.to_string())?;
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// wsh::handler!(blocking count);
    /// ```
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over or closing, or ends during the call. [`Refused::TooBig`]: a message of this
    /// length never fits; this is answered at once. [`Refused::Invalid`]: a message that was begun with
    /// [`send_part`](Self::send_part) is not complete.
    pub fn send<P: Payload>(&self, message: P) -> Result<(), Refused> {
        self.channel.send(message)
    }

    /// How many bytes the server has accepted for sending and still holds. HTML5 calls it `bufferedAmount`. The call asks
    /// the server, which takes a moment. 0 when the session is over.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # fn tell(conn: &BlockingConn, position: &str) -> Result {
    /// // A slow peer skips positions.
    /// if conn.buffered() == 0 {
    ///     conn.send(position)?;
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn buffered(&self) -> u64 {
        u64::try_from(self.channel.run(Command::Buffered)).unwrap_or(0)
    }

    /// Holds back what the peer sends, from this moment until [`resume`](Self::resume). The peer's TCP window fills, and
    /// the peer has to wait. Messages that came before can still be received.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing.
    pub fn pause(&self) -> Result<(), Refused> {
        self.reads(false)
    }

    /// Ends a [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing.
    pub fn resume(&self) -> Result<(), Refused> {
        self.reads(true)
    }

    fn reads(&self, on: bool) -> Result<(), Refused> {
        let status = self.channel.run_for_status(Command::Reads(on));
        Refused::check(status, |_| Rule::unknown())
    }

    /// Sends a part of a message, so that a long message is never in memory as a whole. `last` says whether the message
    /// ends with this part. All parts are of one kind, and the peer receives one message. The call returns when the part
    /// has been queued and at most 64 KiB wait for the peer.
    ///
    /// ```standalone_crate
    /// # use wsh::prelude::*;
    /// fn download(conn: BlockingConn) -> Result {
    ///     while conn.recv().is_some() {
    ///         for part in 0..16384 {
    ///             conn.send_part(&[0; 65536], part == 16383)?;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// wsh::handler!(blocking download);
    /// ```
    ///
    /// While a message is not complete, messages of other senders to this session wait, be they sent by its handle or to a
    /// topic. A whole message from this connection, on any thread, is [`Refused::Invalid`] meanwhile. A function that
    /// returns before the last part has failed, and closes with 1011.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over or closing. [`Refused::Invalid`]: the parts before it are of the other kind.
    /// [`Refused::TooBig`]: a part of this length never fits.
    pub fn send_part<P: Payload>(&self, part: P, last: bool) -> Result<(), Refused> {
        let kind = part_kind(part.kind(), last);
        self.channel.send_part(kind, part.into_owned())
    }

    /// Starts the closing handshake, with a code that may be sent (RFC 6455 §7.4) and a reason of at most 123 bytes. Code 0
    /// sends a Close frame without a body.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::Invalid`]: the code may not be sent.
    /// [`Refused::TooBig`]: the reason has more than 123 bytes.
    pub fn close(&self, code: u32, reason: &str) -> Result<(), Refused> {
        let status = self.channel.run_for_status(Command::Close {
            code,
            reason: reason.into(),
        });
        Refused::check(status, |status| Rule::close(status, code, reason))
    }

    /// Drops the connection without a Close frame.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over.
    pub fn abort(&self) -> Result<(), Refused> {
        let status = self.channel.run_for_status(Command::Abort);
        Refused::check(status, |_| Rule::unknown())
    }

    /// Sends a Ping of at most 125 bytes, behind what was sent before.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::TooBig`]: more than 125 bytes.
    pub fn ping(&self, data: &[u8]) -> Result<(), Refused> {
        let status = self.channel.run_for_status(Command::Ping(data.into()));
        Refused::check(status, |_| Rule::ping(data))
    }

    /// Subscribes the session to a topic. What is published there goes to the peer, not to this function.
    ///
    /// A topic is 1 to 255 bytes of UTF-8 without NUL, and has no wildcards. It belongs to this handler in all its
    /// generations. A topic that begins with `/` belongs to the server, and any handler may use it. Publications of this
    /// server arrive from now on, those of servers that work with it soon after.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::Invalid`], [`Refused::TooBig`]: the topic breaks its rule, or
    /// the session has as many topics as it may.
    pub fn subscribe(&self, topic: &str) -> Result<(), Refused> {
        self.topic(topic, true)
    }

    /// Ends a subscription that [`subscribe`](Self::subscribe) began.
    ///
    /// # Errors
    /// Those of [`subscribe`](Self::subscribe).
    pub fn unsubscribe(&self, topic: &str) -> Result<(), Refused> {
        self.topic(topic, false)
    }

    fn topic(&self, name: &str, on: bool) -> Result<(), Refused> {
        let topic = name.into();
        let status = self
            .channel
            .run_for_status(Command::Subscribe { topic, on });
        Refused::check(status, |status| Rule::topic(status, name))
    }

    /// If this session is a subscriber, its peer receives what the function sent before a publication first.
    pub(super) fn flush(&self) {
        if self.channel.has_unsent() {
            let _ = self.channel.run(Command::Flush);
        }
    }

    /// Sends a message to every subscriber of a topic, this session included if it is one. Answers how many subscribers
    /// this server has, as last known.
    ///
    /// This session's peer may receive it after what this session sends next; see [`publish`](crate::publish) for what
    /// keeps its order.
    ///
    /// # Errors
    /// Those of [`publish`](crate::publish).
    pub fn publish<P: Payload>(&self, topic: &str, message: P) -> Result<u64, Refused> {
        self.publish_except(topic, message, 0)
    }

    /// Like [`publish`](Self::publish), but neither sends to this session nor counts it.
    ///
    /// # Errors
    /// Those of [`publish`](crate::publish).
    pub fn publish_to_others<P: Payload>(&self, topic: &str, message: P) -> Result<u64, Refused> {
        self.publish_except(topic, message, self.channel.id)
    }

    fn publish_except<P: Payload>(
        &self,
        topic: &str,
        message: P,
        except: u64,
    ) -> Result<u64, Refused> {
        self.flush();
        handle::publish_in(self.channel.runtime, topic, &message, except)
    }

    /// A value that the handshake [attached](crate::Request::attach).
    #[must_use]
    pub fn attached<T: 'static>(&self) -> Option<&T> {
        self.attached.iter().find_map(|value| value.downcast_ref())
    }

    /// A handle of this session, for other threads and other sessions.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.channel.runtime, self.channel.id)
    }

    pub(crate) fn channel(&self) -> &BlockingChannel {
        &self.channel
    }
}

impl fmt::Debug for BlockingConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingConn")
            .field("id", &self.channel.id)
            .field("protocol", &self.channel.protocol)
            .finish_non_exhaustive()
    }
}
