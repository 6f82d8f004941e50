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
    /// Waits for the next message; `None` when the session is over, or when the peer closes and
    /// every message that it sent before was received. The peer is held back while many messages
    /// wait to be received.
    #[must_use]
    pub fn recv(&self) -> Option<MessageBuf> {
        self.receive(None).unwrap_or(None)
    }

    /// As [`recv`](Self::recv), but for so long only.
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
        // A time that no clock can say never comes.
        self.receive(Instant::now().checked_add(timeout))
    }

    /// As [`recv`](Self::recv), but until a moment only: messages beside something that is to happen at its
    /// time, such as a tick each second. A moment that has passed is told at once, before messages that
    /// wait, so that a peer that sends without a pause does not hold the ticks up.
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
    /// [`Elapsed`]: the moment has come.
    pub fn recv_until(&self, deadline: crate::Instant) -> Result<Option<MessageBuf>, Elapsed> {
        match deadline.left() {
            Duration::ZERO => Err(Elapsed),
            left => self.recv_timeout(left),
        }
    }

    /// Waits for the next part of a message, or for the first of another one; `None` as
    /// [`recv`](Self::recv). Where `handler!` says `parts`, a message may be of any length and takes no more
    /// memory than a few parts do, since the peer is held back meanwhile; elsewhere each message is one part.
    ///
    /// In the same function [`recv`](Self::recv) still waits for a whole message, of at most 1 MiB, as the
    /// words that say what is to come. It takes what is left of a message that was begun with this.
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
            Err(NoMoreMessages { listens: true }) => Ok(None),
            // It asks from a destructor while it unwinds, and a panic from there ends the process. What
            // asks in a loop even so is to leave the processor to others.
            Err(NoMoreMessages { listens: false }) if thread::panicking() => {
                thread::sleep(UNWINDING_PAUSE);
                Ok(None)
            }
            // It would spin for ever, on a thread that cannot be ended from outside.
            Err(NoMoreMessages { listens: false }) => panic::resume_unwind(Box::new(EndIgnored)),
        }
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
pub(crate) struct EndIgnored;

const UNWINDING_PAUSE: Duration = Duration::from_millis(10);
