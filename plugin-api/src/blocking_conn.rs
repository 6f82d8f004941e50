//! A session's connection as a blocking function has it.

use std::{
    any::Any,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    blocking::{Command, Line},
    border::link::Link,
    close::Close,
    conn::{self, Peer},
    error::{Elapsed, Refused},
    message::{MessageBuf, Payload},
    sent::CROWD_BYTES,
};

/// The connection of a session that runs on a thread of its own. Every call may be made from any
/// thread.
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
pub struct BlockingConn {
    link: Arc<Link>,
    line: Arc<Line>,
    attached: Vec<Box<dyn Any + Send>>,
}

impl BlockingConn {
    pub(crate) fn new(
        link: Arc<Link>,
        line: Arc<Line>,
        attached: Vec<Box<dyn Any + Send>>,
    ) -> Self {
        BlockingConn {
            link,
            line,
            attached,
        }
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

    /// Waits for the next message; `None` when the session is over, or when the peer closes and
    /// every message that it sent before was received.
    #[must_use]
    pub fn recv(&self) -> Option<MessageBuf> {
        self.recv_until(None).unwrap_or(None)
    }

    /// As [`recv`](Self::recv), but for so long only.
    ///
    /// # Errors
    /// [`Elapsed`]: nothing came in time.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<MessageBuf>, Elapsed> {
        self.recv_until(Some(Instant::now() + timeout))
    }

    /// Sends a message, and waits while much of what was sent before is still on its way.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::TooBig`]: past the outbound limit.
    pub fn send<P: Payload>(&self, message: P) -> Result<(), Refused> {
        loop {
            match self.link.send_by_id(message.kind(), message.bytes()) {
                Ok(buffered) if buffered <= CROWD_BYTES => return Ok(()),
                Ok(_) => {
                    self.wait_for_room();
                    return Ok(());
                }
                Err(Refused::Full) => self.wait_for_room(),
                Err(refused) => return Err(refused),
            }
        }
    }

    /// Sends a Ping of at most 125 bytes.
    pub fn ping(&self, data: &[u8]) {
        self.command(Command::Ping(data.into()));
    }

    /// Starts the closing handshake, as [`Conn::close`](crate::Conn::close) does.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is over. [`Refused::Invalid`]: such a code may not be sent.
    pub fn close(&self, code: u16, reason: &str) -> Result<(), Refused> {
        self.peer().close(code, reason)
    }

    /// Drops the connection without a Close frame.
    pub fn abort(&self) {
        self.command(Command::Abort);
    }

    /// Lets [`recv`](Self::recv)'s peer hear what is published to a topic, as
    /// [`Conn::subscribe`](crate::Conn::subscribe) does.
    pub fn subscribe(&self, topic: &str) {
        self.command(Command::Subscribe(topic.into(), true));
    }

    /// Ends what [`subscribe`](Self::subscribe) began.
    pub fn unsubscribe(&self, topic: &str) {
        self.command(Command::Subscribe(topic.into(), false));
    }

    /// Sends a message to every subscriber of a topic. Answers about how many there are.
    pub fn publish<P: Payload>(&self, topic: &str, message: P) -> u64 {
        conn::publish(self.link.runtime, topic, &message, 0)
    }

    /// As [`publish`](Self::publish), but not to this session.
    pub fn publish_to_others<P: Payload>(&self, topic: &str, message: P) -> u64 {
        conn::publish(self.link.runtime, topic, &message, self.link.id)
    }

    /// What the peer closed with, or how else the session ended; `None` as long as it is open.
    #[must_use]
    pub fn closed(&self) -> Option<Close> {
        self.line.lock().closed.clone()
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
            runtime: self.link.runtime,
            id: self.link.id,
        }
    }

    fn recv_until(&self, deadline: Option<Instant>) -> Result<Option<MessageBuf>, Elapsed> {
        let mut inner = self.line.lock();
        inner.is_reader = true;
        loop {
            if let Some((message, may_resume)) = inner.inbox.pop() {
                drop(inner);
                if may_resume {
                    self.command(Command::Resume);
                }
                return Ok(Some(message));
            }
            if inner.is_over || inner.closed.is_some() {
                return Ok(None);
            }
            inner = match deadline {
                None => self.line.wait(inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Elapsed);
                    }
                    self.line.wait_for(inner, left)
                }
            };
        }
    }

    /// Waits until most of what was sent is on its way, or the session is over.
    fn wait_for_room(&self) {
        self.line.lock().has_room = false;
        self.command(Command::WatchRoom);
        let mut inner = self.line.lock();
        while !inner.has_room && !inner.is_over {
            inner = self.line.wait(inner);
        }
    }

    fn command(&self, command: Command) {
        self.line.lock().commands.push_back(command);
        self.link.wake_session();
    }
}

/// Message by message, until [`recv`](BlockingConn::recv) gives none.
impl Iterator for &BlockingConn {
    type Item = MessageBuf;

    fn next(&mut self) -> Option<MessageBuf> {
        self.recv()
    }
}

impl fmt::Debug for BlockingConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingConn")
            .field("id", &self.link.id)
            .field("protocol", &self.link.protocol)
            .finish_non_exhaustive()
    }
}
