//! An async session's side of its connection; what waits is in `waits`.

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

/// The connection of one session, for the async function that serves it. What it does takes effect in the
/// order of the calls.
///
/// On another thread that the function lends it to, [`send`](Self::send) and [`close`](Self::close) go by the
/// session's [`handle`](Self::handle), and [`publish`](Self::publish) works as everywhere. `send_part`, `ping`,
/// `abort`, `subscribe`, `unsubscribe`, `pause` and `resume` are [`Refused::Misuse`] there, and
/// [`buffered`](Self::buffered) is 0.
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
/// What it can do besides receiving and sending:
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
///             conn.pause()?; // the peer sends no more, until
///             conn.send("slowly").await?; // most of what waits is gone
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
    /// What of the session moves on to the next generation of the handler.
    pub state: S,
    session: Arc<HostSession>,
    attached: Vec<Box<dyn Any + Send + Sync>>,
    /// What it shares with the session's callbacks.
    pub(crate) channel: Arc<AsyncChannel>,
    pub(crate) write_state: fn(&S) -> Option<Vec<u8>>,
    /// The memory of a message that was sent on; the next `recv` gives it to the inbox.
    pub(crate) spare: SpareBuffer,
    /// Messages that were taken out of the inbox together.
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

    /// The session's number, never 0: no other session has it, on all servers that work together.
    ///
    /// It is opaque and may use all 64 bits, so that JSON for a browser has it as text. A server that works
    /// alone counts from 1 when it starts: what is kept outside the process should not know sessions by it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.session.id
    }

    /// The subprotocol that the handshake chose, or `""`.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.session.protocol
    }

    /// Whether the session was begun by an older generation of the handler.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.session.is_restored
    }

    /// Bytes accepted for sending that the server still holds; HTML5 calls it `bufferedAmount`.
    #[must_use]
    pub fn buffered(&self) -> u64 {
        self.session.buffered()
    }

    /// What the peer closed with, or how else the session ended; `None` as long as it is open.
    #[must_use]
    pub fn closed(&self) -> Option<&Close> {
        self.channel.closed()
    }

    /// Sends a message. Awaited, it waits until the message fits beside what waits for the peer, and while
    /// more than 64 KiB are on their way; a peer that takes nothing ends the session by the server's
    /// `outbound_timeout_ms`. What is sent and not awaited is explained at [`Sent`].
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

    /// Sends a message of at most `max` bytes that is written straight into the server's buffer, or into
    /// memory of its own while other messages wait there. The answer is that of [`send`](Self::send).
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
    /// If `write` fails, as it does past `max`, nothing is sent and the answer is
    /// [`Refused::TooBig`].
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
            // Beside nothing every message fits, so what is written in place is not wanted again.
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

    /// Sends a part of a message, be it the `last` one: a long message need never be in memory as a whole.
    /// All parts of a message are of one kind, and the peer gets them as one message. The answer is that of
    /// [`send`](Self::send): awaited, it waits until the part fits, and while more than 64 KiB are on their
    /// way to the peer.
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
    /// Until the last part was sent, what others send to this session, by its handle or to a topic, waits,
    /// and a whole message from here is [`Refused::Invalid`]. A function that returns before the last part
    /// has failed, and closes with 1011.
    ///
    /// It is [`Refused::Invalid`] if the parts before it are of the other kind, and
    /// [`Refused::Misuse`] outside the session's own function, on a thread that the connection was lent to.
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

    /// Starts the closing handshake with a code that may be sent (RFC 6455 §7.4) and a reason of at
    /// most 123 bytes. Code 0 sends a Close frame without a body.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::Invalid`]: such a code may not be sent.
    /// [`Refused::TooBig`]: the reason has more than 123 bytes.
    #[inline(never)]
    pub fn close(&self, code: u32, reason: &str) -> Result<(), Refused> {
        let status = self.session.close(code, reason);
        Refused::check(status, |status| Rule::close(status, code, reason))
    }

    /// Drops the connection without a Close frame.
    ///
    /// # Errors
    /// [`Refused::Gone`]: it is over.
    pub fn abort(&self) -> Result<(), Refused> {
        let status = self.session.abort();
        Refused::check(status, |_| Rule::unknown())
    }

    /// Lets the session hear what is published to a topic.
    ///
    /// A topic is 1 to 255 bytes of UTF-8 without NUL, none of which is a pattern. It belongs to this handler
    /// in all its generations; one that begins with `/` belongs to the server, and any handler may use it.
    /// Publications of this server are heard from now on, those of others that work with it soon after.
    /// What is published goes to the peer, not to this function.
    ///
    /// After [`close`](Self::close) it is accepted, and nothing comes of it.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Invalid`], [`Refused::TooBig`]: the topic
    /// breaks its rule, or the session has as many as it may.
    pub fn subscribe(&self, topic: &str) -> Result<(), Refused> {
        self.topic(topic, true)
    }

    /// Ends what [`subscribe`](Self::subscribe) began.
    ///
    /// # Errors
    /// As of [`subscribe`](Self::subscribe).
    pub fn unsubscribe(&self, topic: &str) -> Result<(), Refused> {
        self.topic(topic, false)
    }

    fn topic(&self, topic: &str, on: bool) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.subscribe(conn, topic, on));
        Refused::check(status, |status| Rule::topic(status, topic))
    }

    /// Sends a message to every subscriber of a topic, this session too if it is one. Answers how many
    /// of them this server has, as last known.
    ///
    /// This session may hear it after what it sends next: see [`publish`](crate::publish) for what is in
    /// order and what is not.
    ///
    /// # Errors
    /// As of [`publish`](crate::publish).
    pub fn publish<P: Payload>(&self, topic: &str, message: P) -> Result<u64, Refused> {
        handle::publish_in(self.session.runtime, topic, &message, 0)
    }

    /// As [`publish`](Self::publish), but not to this session, which is not counted either.
    ///
    /// # Errors
    /// As of [`publish`](crate::publish).
    pub fn publish_to_others<P: Payload>(&self, topic: &str, message: P) -> Result<u64, Refused> {
        handle::publish_in(self.session.runtime, topic, &message, self.session.id)
    }

    /// Holds back what the peer sends, from this moment, until [`resume`](Self::resume). The peer's
    /// TCP window fills, and it has to wait. After [`close`](Self::close) it is accepted, and nothing comes of it.
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
                // `recv` lets the peer in again.
                return Ok(());
            }
        }
        self.reads(true)
    }

    fn reads(&self, on: bool) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.reads(conn, on));
        Refused::check(status, |_| Rule::unknown())
    }

    /// What the handshake [attached](crate::Request::attach), or [`attach`](Self::attach) did. It does not
    /// move to a newer generation: what must belongs in the state.
    #[must_use]
    pub fn attached<T: 'static>(&self) -> Option<&T> {
        self.attached.iter().find_map(|value| value.downcast_ref())
    }

    /// Gives the session something to find as [`attached`](Self::attached): one value of each type, the last.
    ///
    /// A function that began again in newer code makes of its [`state`](Self::state) what the handshake had
    /// attached, so that the functions that it calls find it.
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

    /// The session as other threads and other sessions may know it.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # async fn ask(conn: &mut AsyncConn) -> Result {
    /// let handle = conn.handle();
    /// wsh::spawn(move |_| {
    ///     // On another thread, whenever it has found out.
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

    /// Calls what exists for the session of the running callback only.
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
