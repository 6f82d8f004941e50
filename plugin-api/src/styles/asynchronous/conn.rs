//! The connection of an async function. Waiting for messages is in `recv`, the answer to a send in `send`.

use std::{any::Any, fmt, sync::Arc};

use crate::{
    abi::Status,
    border::{
        host::{ConnPtr, HostFunctions},
        host_session::HostSession,
        writer::Writer,
    },
    buffers::{message_queue::MessageQueue, pool::SpareBuffer},
    close::Close,
    error::{Refused, Result, rule::Rule},
    handle::{self, Handle},
    handshake::request,
    message::{Kind, payload::Payload},
    styles::{
        asynchronous::{
            channel::{AsyncChannel, WAIT_TIMER},
            send::Sent,
        },
        events::conn::{part_kind, whole_ms},
    },
};

/// The connection of one session, for the async function that serves it. Its calls take effect in their order.
///
/// A function may lend it to another thread. There, [`send`](Self::send) and [`close`](Self::close) act by the session's
/// [`handle`](Self::handle), and [`publish`](Self::publish) works as everywhere. `send_part`, `ping`, `abort`,
/// `subscribe`, `unsubscribe`, `pause` and `resume` answer [`Refused::Misuse`] there, and [`buffered`](Self::buffered)
/// is 0.
///
/// ```standalone_crate
/// use wsh::prelude::*;
///
/// async fn echo(conn: &mut AsyncConn) -> Result {
///     while let Some(message) = conn.recv().await {
///         conn.send(message).await?;
///     }
///     Ok(())
/// }
/// # fn main() {}
/// wsh::handler!(async echo);
/// ```
///
/// Besides receiving and sending it can do the following:
///
/// ```standalone_crate
/// use wsh::prelude::*;
///
/// struct User(String); // what the handshake attached
///
/// async fn member(conn: &mut AsyncConn) -> Result {
///     if !conn.is_restored() {
///         conn.subscribe("room")?;
///     }
///     let name = conn.attached().map_or("someone".to_owned(), |User(name)| name.clone());
///     wsh::info!(protocol = conn.protocol(), "{name} is session {}", conn.id());
///     while let Some(message) = conn.recv().await {
///         match message.as_text() {
///             Some("ping") => conn.ping(b"hello?")?,
///             Some("leave") => conn.unsubscribe("room")?,
///             Some("bye") => conn.close(1000, "goodbye")?,
///             Some("hang up") => conn.abort()?,
///             Some(text) => drop(conn.publish("room", format!("{name}: {text}"))?),
///             None => drop(conn.publish_to_others("room", message)?),
///         }
///         if conn.buffered() > 64 * 1024 {
///             conn.pause()?; // the peer's messages are held back,
///             conn.send("slowly").await?; // until most of what waits for it is gone
///             conn.resume()?;
///         }
///     }
///     if let Some(close) = conn.closed() {
///         wsh::info!("{name} has left with {close}");
///     }
///     Ok(())
/// }
/// # fn main() {
/// #     let server = wsh::test::serve(&WSH_HANDLER);
/// #     let mut client = server.connect();
/// #     client.send("hello");
/// #     assert_eq!(client.receive().unwrap(), "someone: hello");
/// #     client.send("ping");
/// #     assert_eq!(client.receive_ping().unwrap(), b"hello?");
/// #     client.close(1001, "");
/// #     assert!(server.log().iter().any(|line| line.message == "someone has left with 1001"));
/// # }
/// wsh::handler!(async member, restarts);
/// ```
pub struct AsyncConn<S = ()> {
    /// The part of the session that moves to the next generation of the handler.
    pub state: S,
    session: Arc<HostSession>,
    attached: Vec<Box<dyn Any + Send + Sync>>,
    /// The channel to the session's callbacks.
    pub(crate) channel: Arc<AsyncChannel>,
    pub(crate) write_state: fn(&S) -> Option<Vec<u8>>,
    /// The buffer of a message that was sent; the next `recv` gives it to the inbox.
    pub(crate) spare: SpareBuffer,
    /// Messages that were taken out of the inbox together, and are received one by one.
    pub(crate) taken: MessageQueue,
    /// Whether messages come in parts.
    pub(crate) is_in_parts: bool,
}

impl<S> AsyncConn<S> {
    pub(crate) fn new(
        session: Arc<HostSession>,
        attached: Vec<Box<dyn Any + Send + Sync>>,
        state: S,
        channel: Arc<AsyncChannel>,
        write_state: fn(&S) -> Option<Vec<u8>>,
        is_in_parts: bool,
    ) -> Self {
        AsyncConn {
            state,
            session,
            attached,
            channel,
            write_state,
            spare: SpareBuffer::default(),
            taken: MessageQueue::default(),
            is_in_parts,
        }
    }

    pub(crate) fn session(&self) -> &HostSession {
        &self.session
    }

    /// The session's number. It is never 0, and no other session of all servers that work together has it.
    ///
    /// It is opaque and may use all 64 bits: JSON for a browser should carry it as text. A server that works alone counts
    /// from 1 when it starts, so data outside the process should not refer to sessions by it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.session.id
    }

    /// The subprotocol that the handshake chose, or `""`.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.session.protocol
    }

    /// Whether an older generation of the handler began the session.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.session.is_restored
    }

    /// How many bytes the server has accepted for sending and still holds. HTML5 calls it `bufferedAmount`.
    #[must_use]
    pub fn buffered(&self) -> u64 {
        self.session.buffered()
    }

    /// The code and reason that the peer closed with, or how else the session ended. `None` while it is open.
    #[must_use]
    pub fn closed(&self) -> Option<&Close> {
        self.channel.closed()
    }

    /// Sends a message. The answer is to be awaited: it is ready when the message has been queued and at most 64 KiB wait
    /// for the peer. A peer that takes nothing ends the session by the server's `outbound_timeout_ms`. [`Sent`] explains
    /// what a send does that is not awaited.
    ///
    /// ```standalone_crate
    /// # use wsh::prelude::*;
    /// async fn count(conn: &mut AsyncConn) -> Result {
    ///     for number in 0..1_000_000 {
    ///         // As fast as this peer reads.
    ///         conn.send(number.to_string()).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// wsh::handler!(async count);
    /// ```
    #[inline]
    pub fn send<P: Payload>(&self, message: P) -> Sent<'_, P> {
        Sent::send(
            &self.session,
            &self.channel,
            message.kind(),
            message,
            |memory| self.spare.put(memory),
        )
    }

    /// Sends a message of at most `max` bytes, which `write` writes straight into the server's buffer, or into a buffer
    /// of its own while other messages wait for the peer. The answer is that of [`send`](Self::send).
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # async fn tell(conn: &mut AsyncConn, x: f64, y: f64) -> Result {
    /// use std::fmt::Write;
    ///
    /// conn.send_with(Kind::Text, 64, |out| write!(out, "{x},{y}")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// If `write` fails, as it does past `max`, nothing is sent and the answer is [`Refused::TooBig`].
    pub fn send_with(
        &mut self,
        kind: Kind,
        max: usize,
        write: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> Sent<'_, Vec<u8>> {
        let (session, channel) = (&*self.session, &*self.channel);
        if channel.is_silent() {
            return Sent::told(session, channel, Err(Refused::Gone));
        }
        if session.buffered() == 0 {
            // Nothing waits for the peer, so the message fits, and need not be sent a second time.
            return Sent::told(
                session,
                channel,
                session.send_with(kind.opcode(), max, write),
            );
        }
        let mut memory = self.spare.get();
        memory.clear();
        match Writer::fill(&mut memory, kind.opcode(), max, write) {
            Ok(kind) => Sent::send(session, channel, kind, memory, |memory| {
                self.spare.put(memory)
            }),
            Err(refused) => Sent::told(session, channel, Err(refused)),
        }
    }

    /// Sends a part of a message, so that a long message is never in memory as a whole. `last` says whether the message
    /// ends with this part. All parts are of one kind, and the peer receives one message. The answer is that of
    /// [`send`](Self::send).
    ///
    /// ```standalone_crate
    /// # use wsh::prelude::*;
    /// async fn download(conn: &mut AsyncConn) -> Result {
    ///     while conn.recv().await.is_some() {
    ///         for part in 0..16384 {
    ///             conn.send_part(&[0; 65536], part == 16383).await?;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// wsh::handler!(async download);
    /// ```
    ///
    /// While a message is not complete, messages of other senders to this session wait, be they sent by its handle or to a
    /// topic. A whole message from this session is [`Refused::Invalid`] meanwhile. A function that returns before the last
    /// part has failed, and closes with 1011.
    ///
    /// The answer is [`Refused::Invalid`] if the parts before it are of the other kind, and [`Refused::Misuse`] on a
    /// thread that the connection was lent to.
    pub fn send_part<P: Payload>(&self, part: P, last: bool) -> Sent<'_, P> {
        let kind = part_kind(part.kind(), last);
        Sent::send_by(
            HostSession::send_part,
            &self.session,
            &self.channel,
            kind,
            part,
            |memory| self.spare.put(memory),
        )
    }

    /// Sends a Ping of at most 125 bytes. The server sends its own besides, to find dead peers.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::TooBig`]: more than 125 bytes.
    pub fn ping(&self, data: &[u8]) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.ping(conn, data));
        Refused::check(status, |_| Rule::ping(data))
    }

    /// Starts the closing handshake, with a code that may be sent (RFC 6455 §7.4) and a reason of at most 123 bytes. Code 0
    /// sends a Close frame without a body.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::Invalid`]: the code may not be sent.
    /// [`Refused::TooBig`]: the reason has more than 123 bytes.
    #[inline(never)]
    pub fn close(&self, code: u32, reason: &str) -> Result<(), Refused> {
        let status = self.session.close(code, reason);
        Refused::check(status, |status| Rule::close(status, code, reason))
    }

    /// Drops the connection without a Close frame.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over.
    pub fn abort(&self) -> Result<(), Refused> {
        let status = self.session.abort();
        Refused::check(status, |_| Rule::unknown())
    }

    /// Subscribes the session to a topic. What is published there goes to the peer, not to this function.
    ///
    /// A topic is 1 to 255 bytes of UTF-8 without NUL, and has no wildcards. It belongs to this handler in all its
    /// generations. A topic that begins with `/` belongs to the server, and any handler may use it. Publications of this
    /// server arrive from now on, those of servers that work with it soon after.
    ///
    /// After [`close`](Self::close) the call is accepted and has no effect.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Invalid`], [`Refused::TooBig`]: the topic breaks its rule, or the
    /// session has as many topics as it may.
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

    fn topic(&self, topic: &str, on: bool) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.subscribe(conn, topic, on));
        Refused::check(status, |status| Rule::topic(status, topic))
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
        handle::publish_in(self.session.runtime, topic, &message, 0)
    }

    /// Like [`publish`](Self::publish), but neither sends to this session nor counts it.
    ///
    /// # Errors
    /// Those of [`publish`](crate::publish).
    pub fn publish_to_others<P: Payload>(&self, topic: &str, message: P) -> Result<u64, Refused> {
        handle::publish_in(self.session.runtime, topic, &message, self.session.id)
    }

    /// Holds back what the peer sends, from this moment until [`resume`](Self::resume). The peer's TCP window fills, and
    /// the peer has to wait. After [`close`](Self::close) the call is accepted and has no effect.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over.
    pub fn pause(&self) -> Result<(), Refused> {
        self.channel.lock().is_paused = true;
        self.reads(false)
    }

    /// Ends a [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over.
    pub fn resume(&self) -> Result<(), Refused> {
        {
            let mut inner = self.channel.lock();
            inner.is_paused = false;
            if inner.inbox.is_full() {
                // A later `recv` lets the peer's messages in again.
                return Ok(());
            }
        }
        self.reads(true)
    }

    fn reads(&self, on: bool) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.reads(conn, on));
        Refused::check(status, |_| Rule::unknown())
    }

    /// A value that the handshake [attached](crate::Request::attach), or [`attach`](Self::attach) did. It does not move to
    /// a newer generation: what must move belongs in the state.
    #[must_use]
    pub fn attached<T: 'static>(&self) -> Option<&T> {
        self.attached.iter().find_map(|value| value.downcast_ref())
    }

    /// Attaches a value, which [`attached`](Self::attached) finds by its type. A value replaces an earlier one of its type.
    ///
    /// A function that began again in newer code attaches, from its [`state`](Self::state), what the handshake had
    /// attached. So the functions that it calls need not know of the move.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// struct User(String);
    ///
    /// async fn greet(conn: &mut AsyncConn<String>) -> Result {
    ///     if conn.attached::<User>().is_none() {
    ///         conn.attach(User(conn.state.clone()));
    ///     }
    ///     hello(conn).await
    /// }
    ///
    /// async fn hello<S>(conn: &AsyncConn<S>) -> Result {
    ///     let User(name) = conn.attached().ok_or("no user")?;
    ///     conn.send(format!("hello {name}")).await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn attach<T: Send + Sync + 'static>(&mut self, value: T) {
        request::attach(&mut self.attached, Box::new(value));
    }

    /// A handle of this session, for other threads and other sessions.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # async fn ask(conn: &mut AsyncConn) -> Result {
    /// let handle = conn.handle();
    /// wsh::spawn(move |_| {
    ///     // On another thread, when the answer is known.
    ///     let _ = handle.send("42");
    /// })?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.session.runtime, self.session.id)
    }

    /// Sets the one timer of the function's waits.
    pub(crate) fn set_timer(&self, after: std::time::Duration) -> Status {
        let after_ms = whole_ms(after);
        self.inside(|host, conn| host.timer(conn, WAIT_TIMER, after_ms))
    }

    /// Calls a function that the host has for the session of the running callback only.
    pub(crate) fn inside(&self, call: impl FnOnce(&HostFunctions, ConnPtr) -> Status) -> Status {
        self.session.inside(call)
    }
}

impl<S> fmt::Debug for AsyncConn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncConn")
            .field("id", &self.session.id)
            .field("protocol", &self.session.protocol)
            .finish_non_exhaustive()
    }
}
