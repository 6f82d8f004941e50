//! Sending to a session by its handle, and publishing to a topic, from any thread.

use crate::{
    border::runtime::{self, Runtime},
    error::{Refused, Result, rule::Rule},
    message::payload::Payload,
};

/// A session by its number, for any thread and for any time. A send to a session that is over is answered with
/// [`Refused::Gone`].
///
/// The handle finds the session wherever it has moved, also from code of an older generation. The calls of one thread by
/// handles of one session keep their order. Messages that the session itself sends, or that are [published](publish), may
/// come before or after them.
///
/// ```
/// # use wsh::prelude::*;
/// # fn on_message(conn: &Conn) -> Result {
/// let handle = conn.handle();
/// wsh::spawn(move |_| {
///     let _ = handle.send("worked out on another thread");
/// })?;
/// # Ok(()) }
/// ```
///
/// A table of sessions, which send messages to one another:
///
/// ```standalone_crate
/// use std::{collections::HashMap, sync::Mutex};
/// use wsh::prelude::*;
///
/// #[derive(Default)]
/// struct Post(Mutex<HashMap<u64, Handle>>);
///
/// impl Shared for Post {
///     fn new(_: Config) -> Result<Self> {
///         Ok(Post::default())
///     }
/// }
///
/// async fn post(conn: &mut AsyncConn, post: &Post) -> Result {
///     let all = || post.0.lock().map_err(|_| "a session has panicked");
///     let handle = conn.handle();
///     all()?.insert(handle.id(), handle);
///     while let Some(message) = conn.recv().await {
///         for other in all()?.values().filter(|other| other.id() != conn.id()) {
///             let _ = if message == "fire!" {
///                 other.close(1001, "leave by the stairs")
///             } else {
///                 other.send(&message).map(drop)
///             };
///         }
///     }
///     all()?.remove(&conn.id());
///     Ok(())
/// }
/// # fn main() {
/// #     let server = wsh::test::serve(&WSH_HANDLER);
/// #     let (mut ann, mut ben) = (server.connect(), server.connect());
/// #     ann.send("hello");
/// #     assert_eq!(ben.receive().unwrap(), "hello");
/// #     ann.send("fire!");
/// #     assert_eq!(ben.closed().unwrap().code, 1001);
/// # }
/// wsh::handler!(async post, shared = Post);
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    runtime: &'static Runtime,
    id: u64,
}

impl Handle {
    pub(crate) fn new(runtime: &'static Runtime, id: u64) -> Self {
        Handle { runtime, id }
    }

    pub(crate) fn runtime(&self) -> &'static Runtime {
        self.runtime
    }

    /// The session's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sends a message, which leaves between two callbacks of the session. Answers how many bytes wait for the peer, as
    /// last known.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Full`]: too much waits for the session already.
    pub fn send<P: Payload>(&self, message: P) -> Result<u64, Refused> {
        self.runtime
            .send_to(self.id, message.kind(), message.bytes())
    }

    /// Has the session's [`on_note`](crate::Session::on_note) called with a number, once for each call, in order with what
    /// is [sent](Self::send).
    ///
    /// The session may have moved to newer code by then, so the number should mean one thing in every version.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// #[derive(Default)]
    /// struct Alarm;
    ///
    /// impl Session for Alarm {
    ///     fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
    ///         let handle = conn.handle();
    ///         wsh::spawn(move |_| {
    ///             let _ = handle.notify(7); // from another thread
    ///         })?;
    ///         Ok(())
    ///     }
    ///     fn on_note(&mut self, conn: &mut Conn, note: u64) -> Result {
    ///         conn.send(format!("note {note}"))?; // in the session's own callback
    ///         Ok(())
    ///     }
    /// }
    /// # let mut client = wsh::test::connect(wsh::descriptor!(Alarm));
    /// # client.send("go");
    /// # assert_eq!(client.receive().unwrap(), "note 7");
    /// ```
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Full`]: too much waits for the session already.
    pub fn notify(&self, note: u64) -> Result<(), Refused> {
        let status = self.runtime.host.notify(self.id, note);
        Refused::check(status, |_| Rule::unknown())
    }

    /// Closes the session, after the messages that were sent to it before.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Invalid`]: the code may not be sent.
    /// [`Refused::TooBig`]: the reason has more than 123 bytes.
    pub fn close(&self, code: u32, reason: &str) -> Result<(), Refused> {
        let status = self.runtime.host.close_to(self.id, code, reason);
        Refused::check(status, |status| Rule::close(status, code, reason))
    }
}

/// Sends a message to every subscriber of a topic. Any thread may call it. Answers how many subscribers this server has,
/// as last known; 0 says nothing of other servers that work with it.
///
/// What one thread publishes to one topic keeps its order. No other order is kept: none between topics, between threads,
/// or between publications and messages that are sent to a session. A subscriber that has too much waiting is closed as
/// past its limit. A subscriber may receive publications of another version of the handler.
///
/// [`Conn::subscribe`](crate::Conn::subscribe) says what a topic is.
///
/// ```
/// # fn news(headline: &str) -> wsh::Result {
/// let subscribers = wsh::publish("news", headline)?;
/// wsh::debug!(subscribers, "published");
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Refused::Invalid`], [`Refused::TooBig`]: the topic is not 1 to 255 bytes without NUL. [`Refused::TooBig`]: the topic's
/// history could never have the message, by its `bytes` or by `history_bytes_max`; the history keeps what it has.
/// [`Refused::Full`]: the server has too much to deliver. [`Refused::Gone`]: this generation of the handler is over.
/// [`Refused::Misuse`]: in [`test`](mod@crate::test), on a thread that the handler has not begun by
/// [`spawn()`](crate::spawn()).
pub fn publish<P: Payload>(topic: &str, message: P) -> Result<u64, Refused> {
    match runtime::current() {
        Some(runtime) => publish_in(runtime, topic, &message, 0),
        None => Err(Refused::Misuse),
    }
}

/// Publishes a message to all subscribers of a topic but the session `except`; 0 is none.
pub(crate) fn publish_in<P: Payload>(
    runtime: &Runtime,
    topic: &str,
    message: &P,
    except: u64,
) -> Result<u64, Refused> {
    let (kind, bytes) = (message.kind(), message.bytes());
    let answer = runtime.host.publish(topic, kind, bytes, except);
    Refused::check_count(answer, |status| Rule::publish(status, topic, bytes))
}
