//! A session's side of its connection, in the events style.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    abi::{self, Status},
    border::{
        host::{ConnPtr, HostFunctions},
        host_session::HostSession,
    },
    error::{Refused, Result, rule::Rule},
    handle::{self, Handle},
    handshake::request,
    message::{Kind, payload::Payload},
};

/// The connection of one session, inside its callbacks. What it does takes effect in the order of
/// the calls.
///
/// ```
/// use std::time::Duration;
/// use wsh::prelude::*;
///
/// #[derive(Default)]
/// struct Member {
///     warnings: u32,
/// }
///
/// impl Session for Member {
///     fn on_open(&mut self, conn: &mut Conn) -> Result {
///         conn.subscribe("room")?;
///         conn.watermark(16 * 1024, 256 * 1024)?; // `on_drain`, when a slow peer has caught up
///         conn.timer(1, Duration::from_secs(60))?;
///         wsh::info!(protocol = conn.protocol(), moved = conn.is_restored(), "{} is here", conn.id());
///         Ok(())
///     }
///
///     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
///         conn.cancel_timer(1)?;
///         match message.as_text() {
///             Some("bye") => conn.close(1000, "goodbye")?,
///             Some("are you there?") => conn.ping(b"yes")?,
///             Some("leave me alone") => conn.unsubscribe("room")?,
///             Some(_) => drop(conn.publish("room", message)?), // to this session too
///             None => drop(conn.publish_to_others("room", message)?),
///         }
///         if conn.buffered() > 256 * 1024 {
///             conn.pause()?; // the peer sends no more until `resume`
///         }
///         Ok(())
///     }
///
///     fn on_drain(&mut self, conn: &mut Conn) -> Result {
///         conn.resume()?;
///         Ok(())
///     }
///
///     fn on_timer(&mut self, conn: &mut Conn, token: u64) -> Result {
///         self.warnings += 1;
///         if self.warnings > 3 {
///             conn.abort()?; // without a Close frame
///         } else {
///             conn.send("say something")?;
///             conn.timer(token, Duration::from_secs(60))?;
///         }
///         Ok(())
///     }
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(Member));
/// # client.advance(Duration::from_secs(60));
/// # assert_eq!(client.receive().unwrap(), "say something");
/// # client.send("hello");
/// # assert_eq!(client.receive().unwrap(), "hello");
/// # client.send("are you there?");
/// # assert_eq!(client.receive_ping().unwrap(), b"yes");
/// # client.send("bye");
/// # assert_eq!(client.closed().unwrap().reason, "goodbye");
/// ```
pub struct Conn {
    pub(super) session: Arc<HostSession>,
    attached: Vec<Box<dyn Any + Send + Sync>>,
    /// A call was answered that the session is over: passing that on is no failure of the handler.
    has_heard_of_end: AtomicBool,
}

impl Conn {
    pub(crate) fn new(
        session: Arc<HostSession>,
        attached: Vec<Box<dyn Any + Send + Sync>>,
    ) -> Self {
        Conn {
            session,
            attached,
            has_heard_of_end: AtomicBool::new(false),
        }
    }

    pub(crate) fn has_heard_of_end(&self) -> bool {
        self.has_heard_of_end.load(Ordering::Relaxed)
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

    /// Sends a Ping of at most 125 bytes. The server sends its own besides, to find dead peers.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::TooBig`]: more than 125 bytes.
    pub fn ping(&self, data: &[u8]) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.ping(conn, data));
        self.heard(Refused::check(status, |_| Rule::ping(data)))
    }

    /// Starts the closing handshake with a code that may be sent (RFC 6455 §7.4) and a reason of at
    /// most 123 bytes. Code 0 sends a Close frame without a body.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::Invalid`]: such a code may not be sent.
    /// [`Refused::TooBig`]: the reason has more than 123 bytes.
    // Apart: a handler's function that can close must not be slower when it does not.
    #[inline(never)]
    pub fn close(&self, code: u32, reason: &str) -> Result<(), Refused> {
        let status = self.session.close(code, reason);
        self.heard(Refused::check(status, |status| {
            Rule::close(status, code, reason)
        }))
    }

    /// Drops the connection without a Close frame.
    ///
    /// # Errors
    /// [`Refused::Gone`]: it is over.
    pub fn abort(&self) -> Result<(), Refused> {
        let status = self.session.abort();
        self.heard(Refused::check(status, |_| Rule::unknown()))
    }

    /// Lets the session hear what is published to a topic.
    ///
    /// A topic is 1 to 255 bytes of UTF-8 without NUL, none of which is a pattern. It belongs to this handler
    /// in all its generations; one that begins with `/` belongs to the server, and any handler may use it.
    /// Publications of this server are heard from now on, those of others that work with it soon after.
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
        self.heard(Refused::check(status, |status| Rule::topic(status, topic)))
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

    /// Calls [`on_timer`](crate::Session::on_timer) once, after a while. A second timer with the
    /// same token replaces the first.
    ///
    /// A timer moves with its session, so that a token may come to code that is newer.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::TooBig`]: it has as many timers as it may.
    pub fn timer(&self, token: u64, after: Duration) -> Result<(), Refused> {
        self.set_timer(token, whole_ms(after))
    }

    /// Forgets the timer with this token.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing.
    pub fn cancel_timer(&self, token: u64) -> Result<(), Refused> {
        self.set_timer(token, u64::MAX)
    }

    fn set_timer(&self, token: u64, after_ms: u64) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.timer(conn, token, after_ms));
        self.heard(Refused::check(status, |_| Rule::timers()))
    }

    /// Holds back what the peer sends, from this moment, until [`resume`](Self::resume). The peer's
    /// TCP window fills, and it has to wait. After [`close`](Self::close) it is accepted, and nothing comes of it.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over.
    pub fn pause(&self) -> Result<(), Refused> {
        self.reads(false)
    }

    /// Ends a [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over.
    pub fn resume(&self) -> Result<(), Refused> {
        self.reads(true)
    }

    fn reads(&self, on: bool) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.reads(conn, on));
        self.heard(Refused::check(status, |_| Rule::unknown()))
    }

    /// Calls [`on_drain`](crate::Session::on_drain) when [`buffered`](Self::buffered), having been
    /// above `high`, is at most `low`. After [`close`](Self::close) it is accepted, and nothing comes of it.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Invalid`]: `low` is above `high`.
    pub fn watermark(&self, low: u64, high: u64) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.watermark(conn, low, high));
        self.heard(Refused::check(status, |_| Rule::watermark(low)))
    }

    /// What the handshake [attached](crate::Request::attach), or [`attach`](Self::attach) did. It does not
    /// move to a newer generation: what must belongs in the state, and `restore` attaches it again.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # struct User(String);
    /// # fn on_message(conn: &mut Conn) -> Result {
    /// let name = conn.attached().map_or("someone", |User(name)| name);
    /// conn.send(format!("hello {name}"))?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn attached<T: 'static>(&self) -> Option<&T> {
        self.attached.iter().find_map(|value| value.downcast_ref())
    }

    /// Gives the session something to find as [`attached`](Self::attached): one value of each type, the last.
    ///
    /// In `restore` it makes of the state what the handshake had attached, so that all else in the session
    /// finds it where it was.
    ///
    /// ```
    /// use wsh::prelude::*;
    ///
    /// struct User(String);
    ///
    /// struct Guarded;
    ///
    /// impl Session for Guarded {
    ///     const SCHEMA: std::ops::RangeInclusive<u32> = 1..=1;
    ///
    ///     fn restore(conn: &mut Conn, state: &State) -> Result<Self> {
    ///         conn.attach(User(state.parse()?));
    ///         Ok(Guarded)
    ///     }
    ///     fn snapshot(&self, conn: &Conn) -> Result<Snapshot<Self>> {
    ///         let User(name) = conn.attached().ok_or("no user")?;
    ///         Snapshot::json(name)
    ///     }
    ///     fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
    ///         let User(name) = conn.attached().ok_or("no user")?;
    ///         conn.send(name)?;
    ///         Ok(())
    ///     }
    /// }
    /// # fn main() {}
    /// ```
    pub fn attach<T: Send + Sync + 'static>(&mut self, value: T) {
        request::attach(&mut self.attached, Box::new(value));
    }

    /// The session as other threads and other sessions may know it.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # fn on_message(conn: &mut Conn) -> Result {
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

    /// Calls what exists for the session of the running callback only.
    fn inside(&self, call: impl FnOnce(&HostFunctions, ConnPtr) -> Status) -> Status {
        self.session.inside(call)
    }

    pub(super) fn heard<T>(&self, answer: Result<T, Refused>) -> Result<T, Refused> {
        if let Err(Refused::Gone) = answer {
            self.has_heard_of_end.store(true, Ordering::Relaxed);
        }
        answer
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("id", &self.session.id)
            .field("protocol", &self.session.protocol)
            .finish_non_exhaustive()
    }
}

/// The kind of a part, from that of a whole message.
pub(crate) fn part_kind(kind: u32, is_last: bool) -> u32 {
    if is_last { kind } else { kind | abi::MORE }
}

impl Kind {
    pub(crate) fn opcode(self) -> u32 {
        match self {
            Kind::Text => abi::TEXT,
            Kind::Binary => abi::BINARY,
        }
    }
}

/// Rounded up: a timer never runs out too early. The largest number would mean cancel.
pub(crate) fn whole_ms(after: Duration) -> u64 {
    let after_ms = u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    after_ms.min(u64::MAX - 1)
}
