//! What became of a message that was sent.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{border::link::Link, error::Refused, task::Task};

/// The answer to [`AsyncConn::send`](crate::AsyncConn::send). The message is queued already: this may be
/// dropped, looked at with [`result`](Self::result), or awaited until there is room.
///
/// Awaited, it is ready at once while less than 64 KiB are on their way to the peer, and otherwise
/// when most of that is gone. It fails with [`Refused::Gone`] if the session ends meanwhile.
#[derive(Debug)]
pub struct Sent<'a> {
    link: &'a Link,
    task: &'a Task,
    answer: Result<u64, Refused>,
    is_waiting: bool,
}

impl<'a> Sent<'a> {
    #[inline]
    pub(crate) fn new(link: &'a Link, task: &'a Task, answer: Result<u64, Refused>) -> Self {
        Sent {
            link,
            task,
            answer,
            is_waiting: false,
        }
    }

    /// The bytes buffered with this message, or why it was not queued.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::TooBig`]: past the outbound limit.
    pub fn result(self) -> Result<u64, Refused> {
        self.answer
    }

    /// Whether the message was queued.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.answer.is_ok()
    }

    #[cold]
    fn poll_room(&mut self) -> Poll<Result<(), Refused>> {
        if self.task.lock().ending.is_over() {
            return Poll::Ready(Err(Refused::Gone));
        }
        self.is_waiting = true;
        if self.link.buffered() <= ROOM_BYTES {
            return Poll::Ready(Ok(()));
        }
        // Both marks are one, so that setting them again never takes back a `drain` that is due.
        self.link
            .inside(|host, conn| host.watermark(conn, ROOM_BYTES, ROOM_BYTES));
        Poll::Pending
    }
}

impl Future for Sent<'_> {
    type Output = Result<(), Refused>;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let sent = self.get_mut();
        match sent.answer {
            Err(refused) => Poll::Ready(Err(refused)),
            Ok(buffered) if buffered > CROWD_BYTES || sent.is_waiting => sent.poll_room(),
            Ok(_) => Poll::Ready(Ok(())),
        }
    }
}

/// How few bytes may wait for the peer before a message is tried again that did not fit beside `buffered`
/// bytes. It is less than those, so that a `drain` comes; when nothing waits, every message fits that may
/// be sent at all.
pub(crate) fn room_for(buffered: u64, message_bytes: usize) -> u64 {
    let needed = (message_bytes as u64).saturating_add(HEADER_BYTES_MAX);
    buffered.saturating_sub(needed).min(ROOM_BYTES)
}

/// More than this on its way to the peer, and the sender waits: far below the outbound limit, and
/// enough to keep a connection busy.
pub(crate) const CROWD_BYTES: u64 = 64 * 1024;
/// So little on its way, and there is room again.
pub(crate) const ROOM_BYTES: u64 = 16 * 1024;
/// The largest header of a frame (RFC 6455 §5.2).
const HEADER_BYTES_MAX: u64 = 14;
