//! The connection of a session in the events style.

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

/// The connection of one session, for its callbacks. Its calls take effect in their order.
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
///         conn.watermark(16 * 1024, 256 * 1024)?; // `on_drain` comes when a slow peer has caught up
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
    /// A call was answered with `Gone`. A callback that passes this on has not failed.
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

    /// Sends a Ping of at most 125 bytes. The server sends its own besides, to find dead peers.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::TooBig`]: more than 125 bytes.
    pub fn ping(&self, data: &[u8]) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.ping(conn, data));
        self.heard(Refused::check(status, |_| Rule::ping(data)))
    }

    /// Starts the closing handshake, with a code that may be sent (RFC 6455 §7.4) and a reason of at most 123 bytes. Code 0
    /// sends a Close frame without a body.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::Invalid`]: the code may not be sent.
    /// [`Refused::TooBig`]: the reason has more than 123 bytes.
    // Not inlined: a handler's function that may close must not be slower when it does not.
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
    /// [`Refused::Gone`]: the session is over.
    pub fn abort(&self) -> Result<(), Refused> {
        let status = self.session.abort();
        self.heard(Refused::check(status, |_| Rule::unknown()))
    }

    /// Subscribes the session to a topic: its peer receives what is published there.
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
        self.heard(Refused::check(status, |status| Rule::topic(status, topic)))
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

    /// Has [`on_timer`](crate::Session::on_timer) called once, after a while. A timer replaces an earlier one with its
    /// token.
    ///
    /// A timer moves with its session, so its token may come to code that is newer.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::TooBig`]: the session has as many timers as it may.
    pub fn timer(&self, token: u64, after: Duration) -> Result<(), Refused> {
        self.set_timer(token, whole_ms(after))
    }

    /// Cancels the timer with this token.
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

    /// Holds back what the peer sends, from this moment until [`resume`](Self::resume). The peer's TCP window fills, and
    /// the peer has to wait. After [`close`](Self::close) the call is accepted and has no effect.
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

    /// Has [`on_drain`](crate::Session::on_drain) called each time that [`buffered`](Self::buffered), having been above
    /// `high`, is at most `low`. After [`close`](Self::close) the call is accepted and has no effect.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Invalid`]: `low` is above `high`.
    pub fn watermark(&self, low: u64, high: u64) -> Result<(), Refused> {
        let status = self.inside(|host, conn| host.watermark(conn, low, high));
        self.heard(Refused::check(status, |_| Rule::watermark(low)))
    }

    /// A value that the handshake [attached](crate::Request::attach), or [`attach`](Self::attach) did. It does not move to
    /// a newer generation: what must move belongs in the state, and `restore` attaches it again.
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

    /// Attaches a value, which [`attached`](Self::attached) finds by its type. A value replaces an earlier one of its type.
    ///
    /// In `restore` it attaches again what the handshake had attached, so that the session's other code need not know
    /// of the move.
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

    /// A handle of this session, for other threads and other sessions.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # fn on_message(conn: &mut Conn) -> Result {
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

    /// Calls a function that the host has for the session of the running callback only.
    pub(super) fn inside(&self, call: impl FnOnce(&HostFunctions, ConnPtr) -> Status) -> Status {
        self.session.inside(call)
    }

    /// Passes an answer on, and notes if it says that the session is over.
    pub(crate) fn heard<T>(&self, answer: Result<T, Refused>) -> Result<T, Refused> {
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

/// The kind bits of a part, from those of a whole message.
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

/// The duration in milliseconds, rounded up: a timer never runs out too early. It is never `u64::MAX`, which cancels.
pub(crate) fn whole_ms(after: Duration) -> u64 {
    let after_ms = u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    after_ms.min(u64::MAX - 1)
}
