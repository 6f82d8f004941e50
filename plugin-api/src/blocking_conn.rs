//! A blocking session's side of its connection.

use std::{
    any::Any,
    fmt, panic,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    close::Close,
    conn::{self, Peer},
    error::{Elapsed, Refused},
    line::{Errand, Line, Told},
    message::{MessageBuf, Payload},
    sent::CROWD_BYTES,
};

/// The connection of a session that has a thread of its own: its calls wait.
///
/// ```
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
/// What the function returns ends the session: `Ok` closes with 1000, or answers a peer that
/// closed first with its own code; an error is logged and closes with 1011.
pub struct BlockingConn {
    line: Arc<Line>,
    attached: Vec<Box<dyn Any + Send>>,
}

impl BlockingConn {
    pub(crate) fn new(line: Arc<Line>, attached: Vec<Box<dyn Any + Send>>) -> Self {
        BlockingConn { line, attached }
    }

    /// The session's number: never 0, never used again.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.line.id
    }

    /// The subprotocol that the handshake chose, or `""`.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.line.protocol
    }

    /// Whether neither side has closed yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.line.is_ending()
    }

    /// What the peer closed with, or how else the session ended; `None` as long as it is open.
    #[must_use]
    pub fn closed(&self) -> Option<&Close> {
        self.line.closed()
    }

    /// Waits for the next message; `None` when the session is over, or when the peer closes and
    /// every message that it sent before was received. The peer is held back while many messages
    /// wait to be received.
    #[must_use]
    pub fn recv(&self) -> Option<MessageBuf> {
        self.receive(None).unwrap_or(None)
    }

    /// As [`recv`](Self::recv), but for so long only.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wsh::prelude::*;
    /// fn quiet(conn: BlockingConn) -> Result {
    ///     loop {
    ///         match conn.recv_timeout(Duration::from_secs(60)) {
    ///             Ok(Some(message)) => conn.send(message)?,
    ///             Ok(None) => return Ok(()),
    ///             Err(Elapsed) => conn.send("still there?")?,
    ///         }
    ///     }
    /// }
    /// # fn main() {}
    /// wsh::handler!(blocking quiet);
    /// ```
    ///
    /// # Errors
    /// [`Elapsed`]: nothing came in time.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<MessageBuf>, Elapsed> {
        // A time that no clock can say never comes.
        self.receive(Instant::now().checked_add(timeout))
    }

    fn receive(&self, deadline: Option<Instant>) -> Result<Option<MessageBuf>, Elapsed> {
        match self.line.receive(deadline)? {
            Ok(message) => Ok(Some(message)),
            Err(Told { listens: true }) => Ok(None),
            // It would spin for ever, on a thread that nobody can end from outside.
            Err(Told { listens: false }) => panic::resume_unwind(Box::new(Deaf)),
        }
    }

    /// Sends a message. It waits while the session has not taken what was sent before, and while
    /// more than 64 KiB are on their way to the peer.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over or closing.
    pub fn send<P: Payload>(&self, message: P) -> Result<(), Refused> {
        let buffered = loop {
            if self.line.is_silent() {
                return Err(Refused::Gone);
            }
            let (kind, bytes) = (message.kind(), message.bytes());
            match self.line.runtime.send_to(self.line.id, kind, bytes) {
                Err(Refused::Full) => self.line.wait_for_room()?,
                answer => break answer?,
            }
        };
        if let Some(memory) = message.recycle() {
            self.line.recycle(memory);
        }
        if buffered > CROWD_BYTES {
            self.line.wait_for_room()?;
        }
        Ok(())
    }

    /// Starts the closing handshake, as [`Conn::close`](crate::Conn::close) does.
    pub fn close(&self, code: u32, reason: &str) -> bool {
        let status = self.line.runtime.host.close_to(self.line.id, code, reason);
        let is_taken = conn::took(self.line.id, "close", status);
        if is_taken {
            self.line.is_closing_now();
        }
        is_taken
    }

    /// Drops the connection without a Close frame.
    pub fn abort(&self) -> bool {
        let is_taken = self.run("abort", Errand::Abort);
        if is_taken {
            self.line.is_closing_now();
        }
        is_taken
    }

    /// Sends a Ping of at most 125 bytes. It may leave before messages that were sent just before.
    pub fn ping(&self, data: &[u8]) -> bool {
        self.run("ping", Errand::Ping(data.into()))
    }

    /// Lets the session hear what is published to a topic, as
    /// [`Conn::subscribe`](crate::Conn::subscribe) does. What is published goes to the peer, not to
    /// this function.
    pub fn subscribe(&self, topic: &str) -> bool {
        let (topic, on) = (topic.into(), true);
        self.run("subscribe", Errand::Subscribe { topic, on })
    }

    /// Ends what [`subscribe`](Self::subscribe) began.
    pub fn unsubscribe(&self, topic: &str) -> bool {
        let (topic, on) = (topic.into(), false);
        self.run("unsubscribe", Errand::Subscribe { topic, on })
    }

    /// Sends a message to every subscriber of a topic, this session too if it is one. Answers about
    /// how many there are.
    pub fn publish<P: Payload>(&self, topic: &str, message: P) -> u64 {
        conn::publish(self.line.runtime, topic, &message, 0)
    }

    /// As [`publish`](Self::publish), but not to this session.
    pub fn publish_to_others<P: Payload>(&self, topic: &str, message: P) -> u64 {
        conn::publish(self.line.runtime, topic, &message, self.line.id)
    }

    /// What the handshake [attached](crate::Request::attach).
    #[must_use]
    pub fn attached<T: 'static>(&self) -> Option<&T> {
        self.attached.iter().find_map(|value| value.downcast_ref())
    }

    /// The other end, for other threads and other sessions.
    #[must_use]
    pub fn peer(&self) -> Peer {
        Peer {
            runtime: self.line.runtime,
            id: self.line.id,
        }
    }

    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    fn run(&self, call: &str, errand: Errand) -> bool {
        conn::took(self.line.id, call, self.line.run(errand))
    }
}

impl fmt::Debug for BlockingConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingConn")
            .field("id", &self.line.id)
            .field("protocol", &self.line.protocol)
            .finish_non_exhaustive()
    }
}

/// Message by message, until [`recv`](BlockingConn::recv) gives none.
impl Iterator for &BlockingConn {
    type Item = MessageBuf;

    fn next(&mut self) -> Option<MessageBuf> {
        self.recv()
    }
}

/// What a function is unwound with that does not listen to the end of its session.
pub(crate) struct Deaf;
