//! A session as other threads and other sessions know it, and what goes to the sessions of a topic.

use crate::{
    border::runtime::{self, Runtime},
    error::{Refused, Result},
    message::Payload,
    rule::Rule,
};

/// A session by its number, from any thread and for any time: what is sent to a session that is
/// over is answered with [`Refused::Gone`].
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
        let status = self.runtime.host.notify(self.id, note);
        Refused::check(status, |_| Rule::unknown())
    }

    /// Closes the session, behind what was sent to it before.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Invalid`]: such a code may not be sent.
    /// [`Refused::TooBig`]: the reason has more than 123 bytes.
    pub fn close(&self, code: u32, reason: &str) -> Result<(), Refused> {
        let status = self.runtime.host.close_to(self.id, code, reason);
        Refused::check(status, |status| Rule::close(status, code, reason))
    }
}

/// Sends a message to every subscriber of a topic of this handler, from any thread. Answers about
/// how many there are.
///
/// # Errors
/// [`Refused::Invalid`], [`Refused::TooBig`]: the topic is not 1 to 255 bytes without NUL.
/// [`Refused::Full`]: the server has too much to deliver. [`Refused::Gone`]: this generation of the
/// handler is over.
pub fn publish<P: Payload>(topic: &str, message: P) -> Result<u64, Refused> {
    match runtime::current() {
        Some(runtime) => publish_in(runtime, topic, &message, 0),
        None => Err(Refused::Misuse),
    }
}

/// As [`publish`], but not to the session `except`.
pub(crate) fn publish_in<P: Payload>(
    runtime: &Runtime,
    topic: &str,
    message: &P,
    except: u64,
) -> Result<u64, Refused> {
    let (kind, bytes) = (message.kind(), message.bytes());
    let answer = runtime.host.publish(topic, kind, bytes, except);
    Refused::check_count(answer, |_| Rule::publish(topic, bytes))
}
