//! A session's side of its connection.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use crate::{
    abi::{self, Status},
    border::{
        host::{ConnPtr, Host},
        link::{Link, Writer},
        runtime::Runtime,
    },
    error::Refused,
    message::{Kind, Payload},
    sent::Sent,
    task::Task,
};

/// The connection of one session. What it does takes effect in the order of the calls.
///
/// Calls that say `true` or [`Sent`] may be used as statements: a connection that is over swallows
/// them, and what breaks a rule is logged.
pub struct Conn<S = ()> {
    /// What of an async session moves on to the next generation of the handler.
    pub state: S,
    link: Arc<Link>,
    /// What the callback was given that this is lent to, in the events style; in the others it is
    /// in the link. Read in the function that wrote it, it stays in the processor's registers.
    pub(crate) here: Option<ConnPtr>,
    attached: Vec<Box<dyn Any + Send>>,
    /// What an async session shares with its callbacks.
    pub(crate) task: Option<Arc<Task>>,
    pub(crate) write_state: fn(&S) -> Option<Vec<u8>>,
    /// The memory of a message that was sent on; the next `recv` gives it to the inbox.
    pub(crate) spare: Vec<u8>,
}

impl<S> Conn<S> {
    pub(crate) fn new(link: Arc<Link>, attached: Vec<Box<dyn Any + Send>>, state: S) -> Self {
        Conn {
            state,
            link,
            here: None,
            attached,
            task: None,
            write_state: |_| None,
            spare: Vec::new(),
        }
    }

    /// The connection of an async session.
    pub(crate) fn for_task(
        link: Arc<Link>,
        attached: Vec<Box<dyn Any + Send>>,
        state: S,
        task: Arc<Task>,
        write_state: fn(&S) -> Option<Vec<u8>>,
    ) -> Self {
        Conn {
            task: Some(task),
            write_state,
            ..Conn::new(link, attached, state)
        }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The session's number: never 0, never used again.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.link.id
    }

    /// The subprotocol that the handshake chose, or `""`.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.link.protocol
    }

    /// Whether the session was begun by an older generation of the handler.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.link.is_restored
    }

    /// Bytes accepted for sending that the server still holds; HTML5 calls it `bufferedAmount`.
    #[must_use]
    pub fn buffered(&self) -> u64 {
        self.link.buffered(self.here)
    }

    /// Sends a message, at once. In async code the answer may be awaited, which waits until the
    /// peer has taken enough of what was sent.
    #[inline]
    pub fn send<P: Payload>(&mut self, message: P) -> Sent<'_> {
        // In the events style, and then there is no task.
        if let Some(here) = self.here {
            let answer = self.link.send_here(here, message.kind(), message.bytes());
            if answer != i64::from(abi::MISUSE) {
                return Sent::new(&self.link, None, Refused::check_count(answer));
            }
        }
        let answer = self.send_apart(message.kind(), message.bytes());
        if self.task.is_some()
            && let Some(memory) = message.recycle()
        {
            self.spare = memory;
        }
        self.sent(answer)
    }

    // Apart: what a message in the events style needs fits into the handler's own function.
    #[cold]
    #[inline(never)]
    fn send_apart(&self, kind: u32, bytes: &[u8]) -> Result<u64, Refused> {
        if self.is_silent() {
            return Err(Refused::Gone);
        }
        self.link.send(self.here, kind, bytes)
    }

    /// Sends a message of at most `max` bytes that is written straight into the server's buffer.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # fn tell(conn: &mut Conn, x: f64, y: f64) {
    /// use std::fmt::Write;
    ///
    /// conn.send_with(Kind::Text, 64, |out| write!(out, "{x},{y}"));
    /// # }
    /// ```
    ///
    /// If `write` fails, as it does past `max`, nothing is sent and the answer is
    /// [`Refused::TooBig`].
    pub fn send_with(
        &mut self,
        kind: Kind,
        max: usize,
        write: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> Sent<'_> {
        if self.is_silent() {
            return self.sent(Err(Refused::Gone));
        }
        let kind = match kind {
            Kind::Text => abi::TEXT,
            Kind::Binary => abi::BINARY,
        };
        let answer = self.link.send_with(self.here, kind, max, write);
        self.sent(answer)
    }

    #[inline]
    fn sent(&self, answer: Result<u64, Refused>) -> Sent<'_> {
        Sent::new(&self.link, self.task.as_deref(), answer)
    }

    /// Whether an async session may not send any more.
    #[inline]
    fn is_silent(&self) -> bool {
        self.task.as_ref().is_some_and(|task| task.is_silent())
    }

    /// Sends a Ping of at most 125 bytes. The server sends its own besides, to find dead peers.
    pub fn ping(&mut self, data: &[u8]) -> bool {
        let status = self.inside(|host, conn| host.ping(conn, data));
        self.took("ping", status)
    }

    /// Starts the closing handshake with a code that may be sent (RFC 6455 §7.4) and a reason of at
    /// most 123 bytes. Code 0 sends a Close frame without a body.
    // Apart: a handler's function that can close must not be slower when it does not.
    #[inline(never)]
    pub fn close(&mut self, code: u32, reason: &str) -> bool {
        let status = self.link.close(self.here, code, reason);
        self.took("close", status)
    }

    /// Drops the connection without a Close frame.
    pub fn abort(&mut self) -> bool {
        let status = self.inside(|host, conn| host.abort(conn));
        self.took("abort", status)
    }

    /// Lets the session hear what is published to a topic of this handler, or with a leading `/`
    /// to one of the server's. In UTF-8, not empty.
    pub fn subscribe(&mut self, topic: &str) -> bool {
        let status = self.inside(|host, conn| host.subscribe(conn, topic, true));
        self.took("subscribe", status)
    }

    /// Ends what [`subscribe`](Self::subscribe) began.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        let status = self.inside(|host, conn| host.subscribe(conn, topic, false));
        self.took("unsubscribe", status)
    }

    /// Sends a message to every subscriber of a topic, this session too if it is one. Answers about
    /// how many there are.
    pub fn publish<P: Payload>(&mut self, topic: &str, message: P) -> u64 {
        publish(self.link.runtime, topic, &message, 0)
    }

    /// As [`publish`](Self::publish), but not to this session.
    pub fn publish_to_others<P: Payload>(&mut self, topic: &str, message: P) -> u64 {
        publish(self.link.runtime, topic, &message, self.link.id)
    }

    /// Calls [`on_timer`](crate::Session::on_timer) once, after a while. A second timer with the
    /// same token replaces the first. Async code has [`sleep`](Self::sleep) instead.
    pub fn timer(&mut self, token: u64, after: Duration) -> bool {
        let after_ms = whole_ms(after);
        let status = self.inside(|host, conn| host.timer(conn, token, after_ms));
        self.took("timer", status)
    }

    /// Forgets the timer with this token.
    pub fn cancel_timer(&mut self, token: u64) -> bool {
        let status = self.inside(|host, conn| host.timer(conn, token, u64::MAX));
        self.took("cancel_timer", status)
    }

    /// Holds back what the peer sends, from this moment, until [`resume`](Self::resume). The peer's
    /// TCP window fills, and it has to wait.
    pub fn pause(&mut self) -> bool {
        if let Some(task) = &self.task {
            task.lock().is_paused = true;
        }
        let status = self.inside(|host, conn| host.reads(conn, false));
        self.took("pause", status)
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self) -> bool {
        if let Some(task) = &self.task {
            let mut inner = task.lock();
            inner.is_paused = false;
            if inner.inbox.is_full() {
                // `recv` lets the peer in again.
                return true;
            }
        }
        let status = self.inside(|host, conn| host.reads(conn, true));
        self.took("resume", status)
    }

    /// Calls [`on_drain`](crate::Session::on_drain) when [`buffered`](Self::buffered), having been
    /// above `high`, is at most `low`. Async code awaits what [`send`](Self::send) answers instead.
    pub fn watermark(&mut self, low: u64, high: u64) -> bool {
        let status = self.inside(|host, conn| host.watermark(conn, low, high));
        self.took("watermark", status)
    }

    /// What the handshake [attached](crate::Request::attach). It does not move to a newer
    /// generation: what must belongs in the state.
    #[must_use]
    pub fn attached<T: 'static>(&self) -> Option<&T> {
        self.attached.iter().find_map(|value| value.downcast_ref())
    }

    /// The other end, for other threads and other sessions.
    #[must_use]
    pub fn peer(&self) -> Peer {
        Peer {
            runtime: self.link.runtime,
            id: self.link.id,
        }
    }

    /// Calls what exists for the session of the running callback only.
    pub(crate) fn inside(&self, call: impl FnOnce(&Host, ConnPtr) -> Status) -> Status {
        self.link.inside(self.here, call)
    }

    fn took(&self, call: &str, status: Status) -> bool {
        took(self.link.id, call, status)
    }
}

impl<S> fmt::Debug for Conn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("id", &self.link.id)
            .field("protocol", &self.link.protocol)
            .finish_non_exhaustive()
    }
}

/// The far end of a session, from any thread and for any time: what is sent to a session that is
/// over is answered with [`Refused::Gone`].
#[derive(Clone, Debug)]
pub struct Peer {
    pub(crate) runtime: &'static Runtime,
    pub(crate) id: u64,
}

impl Peer {
    /// The session's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sends a message; it leaves between two callbacks of the session. Answers the bytes that are
    /// on their way, as last known.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Full`]: it takes too long to take what it
    /// was sent.
    pub fn send<P: Payload>(&self, message: P) -> Result<u64, Refused> {
        self.runtime
            .send_to(self.id, message.kind(), message.bytes())
    }

    /// Calls the session's [`on_note`](crate::Session::on_note) with a number, once for each call, in
    /// order with what is [sent](Self::send).
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Full`]: it takes too long to take what it
    /// was sent.
    pub fn notify(&self, note: u64) -> Result<(), Refused> {
        Refused::check(self.runtime.host.notify(self.id, note))
    }

    /// Closes the session, as [`Conn::close`] does.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Invalid`]: such a code may not be sent.
    pub fn close(&self, code: u32, reason: &str) -> Result<(), Refused> {
        Refused::check(self.runtime.host.close_to(self.id, code, reason))
    }
}

/// Whether a call was taken. What broke a rule is a mistake in the handler. A server says so itself, in a
/// warning that names the argument; this line says it in the handler's own words.
pub(crate) fn took(session: u64, call: &str, status: Status) -> bool {
    match Refused::check(status) {
        Ok(()) => return true,
        Err(Refused::Gone) => {}
        Err(refused) => match broken_rule(call, refused) {
            Some(rule) => crate::debug!(session, call, error = refused, rule, "call refused"),
            None => crate::debug!(session, call, error = refused, "call refused"),
        },
    }
    false
}

/// Which argument it is, and what is wanted of it.
fn broken_rule(call: &str, refused: Refused) -> Option<&'static str> {
    match (call, refused) {
        ("close", Refused::Invalid) => Some(
            "`code` is 1000 to 1003, 1007 to 1014 or 3000 to 4999, or 0 with an empty `reason`, \
             which has at most 123 bytes",
        ),
        ("subscribe" | "unsubscribe", Refused::Invalid) => Some("`topic` is not empty"),
        ("subscribe", Refused::TooBig) => Some("a session joins at most `topics_max` topics"),
        ("ping", Refused::TooBig) => Some("`payload` has at most 125 bytes"),
        ("timer", Refused::TooBig) => Some("a session has at most `timers_max` timers"),
        ("watermark", Refused::Invalid) => Some("`low` is not above `high`"),
        _ => None,
    }
}

/// Rounded up: a timer never runs out too early. The largest number would mean cancel.
pub(crate) fn whole_ms(after: Duration) -> u64 {
    let after_ms = u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    after_ms.min(u64::MAX - 1)
}

/// Publishes and counts; a topic that nobody may use is logged.
pub(crate) fn publish<P: Payload>(runtime: &Runtime, topic: &str, message: &P, except: u64) -> u64 {
    let answer = runtime
        .host
        .publish(topic, message.kind(), message.bytes(), except);
    match Refused::check_count(answer) {
        Ok(subscribers) => subscribers,
        Err(refused) => {
            if refused != Refused::Gone {
                crate::debug!(topic, error = refused, "publish refused");
            }
            0
        }
    }
}
