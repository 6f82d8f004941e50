//! Where a blocking function waits for messages: `recv` and its like.

use std::{
    panic, thread,
    time::{Duration, Instant},
};

use crate::{
    close_codes,
    error::{Elapsed, Result},
    message::{MessageBuf, part::PartBuf},
    styles::{
        blocking::{channel::NoMoreMessages, conn::BlockingConn},
        functions::inbox::{Assembled, Inbox},
    },
};

impl BlockingConn {
    /// Waits for the next message. `None` when the session is over, or when the peer has closed and every message that it
    /// sent before was received. The peer is held back while many messages wait to be received.
    #[must_use]
    pub fn recv(&self) -> Option<MessageBuf> {
        self.receive(None).unwrap_or(None)
    }

    /// Like [`recv`](Self::recv), but waits no longer than `timeout`.
    ///
    /// ```standalone_crate
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
        // A deadline past the range of the clock never comes.
        self.receive(Instant::now().checked_add(timeout))
    }

    /// Like [`recv`](Self::recv), but waits no longer than until `deadline`: for messages beside something that happens at
    /// its time, such as a tick each second. A deadline that has passed is reported at once, before messages that wait. So
    /// a peer that sends without a pause does not delay the ticks.
    ///
    /// ```standalone_crate
    /// # use std::time::Duration;
    /// # use wsh::prelude::*;
    /// fn game(conn: BlockingConn) -> Result {
    ///     let (mut moves, mut tick) = (0, wsh::Instant::now());
    ///     loop {
    ///         match conn.recv_until(tick) {
    ///             Ok(Some(_)) => moves += 1,
    ///             Ok(None) => return Ok(()),
    ///             Err(Elapsed) => {
    ///                 conn.send(format!("{moves} moves"))?;
    ///                 // From tick to tick, however long it took to send.
    ///                 tick += Duration::from_secs(1);
    ///             }
    ///         }
    ///     }
    /// }
    /// # fn main() {}
    /// wsh::handler!(blocking game);
    /// ```
    ///
    /// # Errors
    /// [`Elapsed`]: the deadline has passed.
    pub fn recv_until(&self, deadline: crate::Instant) -> Result<Option<MessageBuf>, Elapsed> {
        match deadline.left() {
            Duration::ZERO => Err(Elapsed),
            left => self.recv_timeout(left),
        }
    }

    /// Waits for the next part of a message, or for the first part of another message. `None` when the session is over, or
    /// when the peer has closed and everything before was received.
    ///
    /// Where `handler!` says `parts`, a message may be of any length and takes no more memory than a few parts do, since
    /// the peer is held back meanwhile. Elsewhere each message is one part.
    ///
    /// A function that takes parts can still wait for a whole message with [`recv`](Self::recv), of at most 1 MiB: for the
    /// text that announces an upload, say. `recv` returns the rest of a message that was begun with this function.
    ///
    /// ```standalone_crate
    /// # use wsh::prelude::*;
    /// fn upload(conn: BlockingConn) -> Result {
    ///     let mut bytes = 0;
    ///     while let Some(part) = conn.recv_part() {
    ///         bytes += part.len();
    ///         if part.is_last() {
    ///             conn.send(format!("{bytes} bytes"))?;
    ///             bytes = 0;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// wsh::handler!(blocking upload, parts);
    /// ```
    #[must_use]
    pub fn recv_part(&self) -> Option<PartBuf> {
        self.take(None, Inbox::pop_part).unwrap_or(None)
    }

    fn receive(&self, deadline: Option<Instant>) -> Result<Option<MessageBuf>, Elapsed> {
        loop {
            match self.take(deadline, Inbox::pop_whole)? {
                Some(Assembled::Message(message)) => return Ok(Some(message)),
                Some(Assembled::Incomplete) => {}
                // The end of the session follows, and ends the wait.
                Some(Assembled::TooLong) => drop(self.close(close_codes::TOO_BIG.into(), "")),
                None => return Ok(None),
            }
        }
    }

    fn take<T>(
        &self,
        deadline: Option<Instant>,
        take: impl Fn(&mut Inbox) -> Option<(T, bool)>,
    ) -> Result<Option<T>, Elapsed> {
        match self.channel.receive(deadline, take)? {
            Ok(taken) => Ok(Some(taken)),
            Err(NoMoreMessages { may_go_on: true }) => Ok(None),
            // A destructor asks while the function unwinds, where a second panic would end the process. The pause leaves
            // the processor to others if it asks in a loop.
            Err(NoMoreMessages { may_go_on: false }) if thread::panicking() => {
                thread::sleep(UNWINDING_PAUSE);
                Ok(None)
            }
            // The function would spin for ever, on a thread that cannot be ended from outside.
            Err(NoMoreMessages { may_go_on: false }) => panic::resume_unwind(Box::new(EndIgnored)),
        }
    }
}

/// Iterates over the messages, until [`recv`](BlockingConn::recv) returns `None`.
impl Iterator for &BlockingConn {
    type Item = MessageBuf;

    fn next(&mut self) -> Option<MessageBuf> {
        self.recv()
    }
}

/// The payload of the unwinding that ends a function which ignores the end of its session.
pub(crate) struct EndIgnored;

const UNWINDING_PAUSE: Duration = Duration::from_millis(10);
