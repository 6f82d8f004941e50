//! Where an async function waits for its connection: `recv` and its like, and `sleep`.
//!
//! When these are polled, they answer the request for the session's state. So a function that waits in one of them can
//! move to a newer generation. A function that waits for something else does not see the request.

use std::{future::poll_fn, task::Poll, time::Duration};

use crate::{
    abi,
    buffers::message_queue::MessageQueue,
    close_codes,
    error::{Elapsed, Refused, rule::Rule},
    instant::Instant,
    message::{
        MessageBuf,
        part::{PartBuf, PartPosition},
    },
    styles::{
        asynchronous::{channel::StateRequest, conn::AsyncConn},
        functions::inbox::{Assembled, Inbox},
    },
};

impl<S> AsyncConn<S> {
    /// Waits for the next message. `None` when the session is over, or when the peer has closed and every message that it
    /// sent before was received. The peer is held back while many messages wait to be received.
    ///
    /// A session that waits here moves to a newer generation of its handler with its [`state`](Self::state), and the
    /// function starts at its top there. It does not move during a [`stay`](Self::stay). Nor does it while the function
    /// also waits for something else, as in a `select!`, unless the function [lets go](Self::let_go) of that. A function
    /// without a state says `restarts` in [`handler!`](crate::handler) if it may begin again; otherwise its sessions stay.
    ///
    /// ```standalone_crate
    /// # use wsh::prelude::*;
    /// async fn echo(conn: &mut AsyncConn) -> Result {
    ///     while let Some(message) = conn.recv().await {
    ///         conn.send(message).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// wsh::handler!(async echo, restarts);
    /// ```
    ///
    /// # Cancel safety
    /// A wait that is dropped, as in a `select!` where something else comes first, loses nothing: a message is taken only
    /// when it is returned. This holds for [`recv_part`](Self::recv_part), [`recv_timeout`](Self::recv_timeout) and
    /// [`recv_until`](Self::recv_until), too, and for the parts of a message that is not complete. For a timer beside
    /// messages there is [`recv_until`](Self::recv_until), which borrows the connection once.
    pub async fn recv(&mut self) -> Option<MessageBuf> {
        if let Some(message) = self.taken.pop(self.spare.get_mut()) {
            return Some(message);
        }
        let mut wait = Wait::new(self);
        poll_fn(|_| wait.poll_recv(false)).await.unwrap_or(None)
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
    /// async fn upload(conn: &mut AsyncConn) -> Result {
    ///     let mut bytes = 0;
    ///     while let Some(part) = conn.recv_part().await {
    ///         bytes += part.len();
    ///         if part.is_last() {
    ///             conn.send(format!("{bytes} bytes")).await?;
    ///             bytes = 0;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// wsh::handler!(async upload, parts);
    /// ```
    pub async fn recv_part(&mut self) -> Option<PartBuf> {
        if let Some(message) = self.taken.pop(self.spare.get_mut()) {
            return Some(PartBuf::new(message, PartPosition::WHOLE));
        }
        let mut wait = Wait::new(self);
        poll_fn(|_| wait.poll_taken(false, |inbox, _, _| inbox.pop_part()))
            .await
            .unwrap_or(None)
    }

    /// Like [`recv`](Self::recv), but waits no longer than `timeout`.
    ///
    /// ```standalone_crate
    /// # use std::time::Duration;
    /// # use wsh::prelude::*;
    /// async fn quiet(conn: &mut AsyncConn) -> Result {
    ///     loop {
    ///         match conn.recv_timeout(Duration::from_secs(60)).await {
    ///             Ok(Some(message)) => conn.send(message).await?,
    ///             Ok(None) => return Ok(()),
    ///             Err(Elapsed) => conn.send("still there?").await?,
    ///         }
    ///     }
    /// }
    /// # fn main() {}
    /// wsh::handler!(async quiet);
    /// ```
    ///
    /// # Errors
    /// [`Elapsed`]: nothing came in time.
    pub async fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<MessageBuf>, Elapsed> {
        let mut wait = Wait::new(self);
        let mut is_set = false;
        poll_fn(|_| {
            let polled = wait.poll_recv(is_set);
            if polled.is_pending() && !std::mem::replace(&mut is_set, true) {
                return wait.set_timer(timeout).map(Err);
            }
            polled
        })
        .await
    }

    /// Like [`recv`](Self::recv), but waits no longer than until `deadline`: for messages beside something that happens at
    /// its time, such as a tick each second. A deadline that has passed is reported at once, before messages that wait. So
    /// a peer that sends without a pause does not delay the ticks.
    ///
    /// ```standalone_crate
    /// # use std::time::Duration;
    /// # use wsh::{Instant, prelude::*};
    /// async fn game(conn: &mut AsyncConn) -> Result {
    ///     let (mut moves, mut tick) = (0, Instant::now());
    ///     loop {
    ///         match conn.recv_until(tick).await {
    ///             Ok(Some(_)) => moves += 1,
    ///             Ok(None) => return Ok(()),
    ///             Err(Elapsed) => {
    ///                 conn.send(format!("{moves} moves")).await?;
    ///                 // From tick to tick, however long it took to send.
    ///                 tick += Duration::from_secs(1);
    ///             }
    ///         }
    ///     }
    /// }
    /// # fn main() {}
    /// wsh::handler!(async game);
    /// ```
    ///
    /// # Errors
    /// [`Elapsed`]: the deadline has passed.
    pub async fn recv_until(&mut self, deadline: Instant) -> Result<Option<MessageBuf>, Elapsed> {
        match deadline.left() {
            Duration::ZERO => Err(Elapsed),
            left => self.recv_timeout(left).await,
        }
    }

    /// Waits for a while. The wait ends early when the session is over. For a function that never asks for messages it
    /// also ends when the peer closes. A send is then answered with [`Refused::Gone`](crate::Refused::Gone), which ends a
    /// function that says `?`.
    ///
    /// A session that waits here moves to a newer generation like one in [`recv`](Self::recv).
    ///
    /// ```standalone_crate
    /// # use std::time::Duration;
    /// # use wsh::prelude::*;
    /// async fn ticks(conn: &mut AsyncConn) -> Result {
    ///     loop {
    ///         conn.send("tick").await?;
    ///         conn.sleep(Duration::from_secs(1)).await;
    ///     }
    /// }
    /// # fn main() {}
    /// wsh::handler!(async ticks);
    /// ```
    pub async fn sleep(&mut self, duration: Duration) {
        let mut wait = Wait::new(self);
        let mut is_set = false;
        poll_fn(|_| {
            let polled = wait.poll_sleep(is_set);
            if polled.is_pending() && !std::mem::replace(&mut is_set, true) {
                return wait.set_timer(duration).map(drop);
            }
            polled
        })
        .await;
    }
}

/// One wait. It borrows the connection, so the state that it has written stays right while it lives.
struct Wait<'a, S> {
    conn: &'a mut AsyncConn<S>,
    has_answered: bool,
}

impl<'a, S> Wait<'a, S> {
    fn new(conn: &'a mut AsyncConn<S>) -> Self {
        Wait {
            conn,
            has_answered: false,
        }
    }

    #[inline]
    fn poll_recv(&mut self, is_timed: bool) -> Poll<Result<Option<MessageBuf>, Elapsed>> {
        if self.conn.is_in_parts {
            return self.poll_whole(is_timed);
        }
        if self.conn.taken.is_empty() {
            // All at once: the lock is taken once for many.
            match self.poll_taken(is_timed, Inbox::take_all) {
                Poll::Ready(Ok(Some(()))) => {}
                Poll::Ready(Ok(None)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(elapsed)) => return Poll::Ready(Err(elapsed)),
                Poll::Pending => return Poll::Pending,
            }
        }
        let AsyncConn { taken, spare, .. } = &mut *self.conn;
        Poll::Ready(Ok(taken.pop(spare.get_mut())))
    }

    /// Assembles a message of its parts. The parts that have come stay in the inbox, so a dropped wait loses nothing.
    #[cold]
    fn poll_whole(&mut self, is_timed: bool) -> Poll<Result<Option<MessageBuf>, Elapsed>> {
        loop {
            let taken = match self.poll_taken(is_timed, |inbox, _, _| inbox.pop_whole()) {
                Poll::Ready(Ok(Some(taken))) => taken,
                Poll::Ready(Ok(None)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(elapsed)) => return Poll::Ready(Err(elapsed)),
                Poll::Pending => return Poll::Pending,
            };
            match taken {
                Assembled::Message(message) => return Poll::Ready(Ok(Some(message))),
                Assembled::Incomplete => {}
                // The end of the session follows, and ends the wait.
                Assembled::TooLong => drop(self.conn.close(close_codes::TOO_BIG.into(), "")),
            }
        }
    }

    #[inline]
    fn poll_taken<T>(
        &mut self,
        is_timed: bool,
        take: impl FnOnce(&mut Inbox, &mut MessageQueue, &mut Vec<u8>) -> Option<(T, bool)>,
    ) -> Poll<Result<Option<T>, Elapsed>> {
        let AsyncConn {
            channel,
            taken,
            spare,
            ..
        } = &mut *self.conn;
        let mut inner = channel.lock();
        inner.end.asks_for_messages();
        inner.inbox.recycle(spare.take());
        if let Some((message, may_resume)) = take(&mut inner.inbox, taken, spare.get_mut()) {
            let resumes = may_resume && !inner.is_paused;
            drop(inner);
            if resumes {
                self.conn.inside(|host, conn| host.reads(conn, true));
            }
            return Poll::Ready(Ok(Some(message)));
        }
        if !inner.end.is_open() {
            return told(channel.tell_end(&mut inner), Ok(None));
        }
        if is_timed && inner.has_elapsed {
            return Poll::Ready(Err(Elapsed));
        }
        let is_asked = !matches!(inner.state_request, StateRequest::None);
        drop(inner);
        if is_asked {
            self.answer();
        }
        Poll::Pending
    }

    fn poll_sleep(&mut self, is_set: bool) -> Poll<()> {
        let channel = &self.conn.channel;
        let mut inner = channel.lock();
        let has_messages = !inner.inbox.is_empty() || !self.conn.taken.is_empty();
        if inner.end.ends_sleep(has_messages) {
            return told(channel.tell_end(&mut inner), ());
        }
        if is_set && inner.has_elapsed {
            return Poll::Ready(());
        }
        // A session whose messages wait to be received cannot move.
        let is_asked = !matches!(inner.state_request, StateRequest::None) && !has_messages;
        drop(inner);
        if is_asked {
            self.answer();
        }
        Poll::Pending
    }

    /// Answers the request for the state: that the function waits here, or the state itself.
    #[cold]
    fn answer(&mut self) {
        let mut inner = self.conn.channel.lock();
        if inner.stays > 0 {
            return;
        }
        match inner.state_request {
            StateRequest::WaitsForConnection => inner.state_request = StateRequest::Waits,
            StateRequest::Write => {
                drop(inner);
                // Not under the lock: it is the author's `Serialize`.
                if let Some(state) = (self.conn.write_state)(&self.conn.state) {
                    self.conn.channel.lock().state_request = StateRequest::Written(state);
                }
            }
            StateRequest::None | StateRequest::Waits | StateRequest::Written(_) => return,
        }
        self.has_answered = true;
    }

    /// Sets the timer of this wait, in the place of an earlier one. A timer that cannot be set counts as run out, so that
    /// the function does not wait for ever.
    fn set_timer(&mut self, after: Duration) -> Poll<Elapsed> {
        self.conn.channel.lock().has_elapsed = false;
        match self.conn.set_timer(after) {
            abi::OK => Poll::Pending,
            // The session is closing: the callback `closed` comes, and ends every wait.
            abi::GONE => Poll::Pending,
            status => {
                let error = Refused::check(status, |_| Rule::timers()).err();
                crate::warn!(error = ?error, "timer refused");
                Poll::Ready(Elapsed)
            }
        }
    }
}

impl<S> Drop for Wait<'_, S> {
    fn drop(&mut self) {
        // The function goes on, so its answer is out of date.
        if self.has_answered {
            self.conn.channel.lock().state_request.undo_answer();
        }
    }
}

/// The answer of a wait at the end of the session. A function that must not go on waits for ever, and is dropped with its
/// future.
fn told<T>(may_go_on: bool, answer: T) -> Poll<T> {
    if may_go_on {
        Poll::Ready(answer)
    } else {
        Poll::Pending
    }
}
