//! What became of a message that was sent.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{border::link::Link, error::Refused};

/// The answer to [`Conn::send`](crate::Conn::send). The message is queued already: this may be
/// dropped, looked at with [`result`](Self::result), or in async code awaited until there is room.
#[derive(Debug)]
pub struct Sent<'a> {
    link: &'a Link,
    answer: Result<u64, Refused>,
}

impl<'a> Sent<'a> {
    #[inline]
    pub(crate) fn new(link: &'a Link, answer: Result<u64, Refused>) -> Self {
        Sent { link, answer }
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
}

impl Future for Sent<'_> {
    type Output = Result<(), Refused>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let _ = self.link;
        Poll::Ready(self.answer.map(|_| ()))
    }
}
