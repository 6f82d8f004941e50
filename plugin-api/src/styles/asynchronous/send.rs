//! The answer to a send of the async style, and the wait until a message fits.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    abi,
    border::host_session::HostSession,
    error::Refused,
    message::{MessageBuf, payload::Payload},
    styles::asynchronous::channel::AsyncChannel,
};

/// The answer to [`AsyncConn::send`](crate::AsyncConn::send).
///
/// A message that fits is queued already, whatever is done with this answer. A message that does not fit waits until it
/// does, if the answer is awaited. If the answer is dropped instead, the message is sent then, and a peer that takes too
/// little is closed with 1008, as by [`Conn::send`](crate::Conn::send).
///
/// The awaited answer is ready at once while at most 64 KiB wait for the peer, and otherwise when most of that is gone.
///
/// ```
/// # use wsh::prelude::*;
/// async fn feed(conn: &mut AsyncConn) -> Result {
///     conn.send("first").await?; // waits while the peer takes too little
///     match conn.send("now or never").result() {
///         Ok(buffered) => wsh::debug!("{buffered} bytes wait"),
///         Err(Refused::Full) => wsh::debug!("left out"),
///         Err(other) => return Err(other.into()),
///     }
///     Ok(())
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(async feed));
/// # assert_eq!(client.receive().unwrap(), "first");
/// # assert_eq!(client.receive().unwrap(), "now or never");
/// ```
///
/// # Errors
/// [`Refused::Gone`]: the session is closing, or ends during the wait. [`Refused::TooBig`]: a message of this length never
/// fits; this is answered at once. [`Refused::Invalid`]: a message that was begun with
/// [`send_part`](crate::AsyncConn::send_part) is not complete.
///
/// # Cancel safety
/// A wait that is dropped, as in a `select!`, does not send its message, unless the message was queued already. Every
/// message that fits is queued at once. So a loop that repeats an unfinished send may send its message twice.
/// [`result`](Self::result) says at once whether the message was queued.
#[derive(Debug)]
#[must_use = "it is awaited, or given to `drop`"]
pub struct Sent<'a, P: Payload = MessageBuf> {
    session: &'a HostSession,
    channel: &'a AsyncChannel,
    kind: u32,
    /// How the message goes to the host: whole, or as a part.
    send: SendBy,
    progress: Progress<P>,
}

/// A function that sends bytes of a kind to the host, and answers how many bytes are buffered afterwards.
type SendBy = fn(&HostSession, u32, &[u8]) -> Result<u64, Refused>;

/// How far the send of a message has come.
#[derive(Debug)]
enum Progress<P> {
    /// The message is queued, and so many bytes wait for the peer.
    Queued(u64),
    /// The message was refused for good.
    Refused(Refused),
    /// The message does not fit, and its sender does not wait yet.
    Unsent(P),
    /// The message is sent when at most so many bytes wait for the peer.
    WaitsToSend(P, u64),
    /// The message is queued, and its sender waits until few bytes wait for the peer.
    WaitsForDrain,
    /// The answer was given.
    Finished,
}

impl<'a, P: Payload> Sent<'a, P> {
    /// Sends a whole message if it fits.
    #[inline]
    pub(crate) fn send(
        session: &'a HostSession,
        channel: &'a AsyncChannel,
        kind: u32,
        message: P,
        recycle: impl FnOnce(Vec<u8>),
    ) -> Self {
        Sent::send_by(HostSession::send, session, channel, kind, message, recycle)
    }

    /// Sends a message or a part, by the function `send`, if it fits.
    #[inline(always)]
    pub(crate) fn send_by(
        send: SendBy,
        session: &'a HostSession,
        channel: &'a AsyncChannel,
        kind: u32,
        message: P,
        recycle: impl FnOnce(Vec<u8>),
    ) -> Self {
        let progress = if channel.is_silent() {
            Progress::Refused(Refused::Gone)
        } else {
            match send(session, kind | abi::IF_ROOM, message.bytes()) {
                Ok(buffered) => {
                    if let Some(memory) = message.recycle() {
                        recycle(memory);
                    }
                    Progress::Queued(buffered)
                }
                Err(Refused::Full) => Progress::Unsent(message),
                Err(refused) => Progress::Refused(refused),
            }
        };
        Sent {
            session,
            channel,
            kind,
            send,
            progress,
        }
    }

    /// The answer for a message that was sent or refused already.
    pub(crate) fn told(
        session: &'a HostSession,
        channel: &'a AsyncChannel,
        answer: Result<u64, Refused>,
    ) -> Self {
        Sent {
            session,
            channel,
            kind: 0,
            send: HostSession::send,
            progress: answer.map_or_else(Progress::Refused, Progress::Queued),
        }
    }

    /// How many bytes are buffered, this message included, or why the message was not queued. A message that was not
    /// queued is not sent later.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::Full`]: the message does not fit now. [`Refused::TooBig`]: it
    /// never fits.
    pub fn result(mut self) -> Result<u64, Refused> {
        match std::mem::replace(&mut self.progress, Progress::Finished) {
            Progress::Queued(buffered) => Ok(buffered),
            Progress::Refused(refused) => Err(refused),
            Progress::Unsent(_) | Progress::WaitsToSend(..) => Err(Refused::Full),
            Progress::WaitsForDrain | Progress::Finished => Ok(self.session.buffered()),
        }
    }

    /// Makes as much progress as is possible now.
    #[cold]
    fn poll_on(&mut self) -> Poll<Result<(), Refused>> {
        loop {
            self.progress = match std::mem::replace(&mut self.progress, Progress::Finished) {
                Progress::Queued(buffered) if buffered > HIGH_WATER_BYTES => {
                    Progress::WaitsForDrain
                }
                Progress::Queued(_) | Progress::Finished => return Poll::Ready(Ok(())),
                Progress::Refused(refused) => return Poll::Ready(Err(refused)),
                Progress::Unsent(message) => {
                    let buffered = self.session.buffered();
                    let low = retry_mark(buffered, message.bytes().len());
                    self.progress = Progress::WaitsToSend(message, low);
                    if buffered > 0 {
                        continue;
                    }
                    // `buffered` is 0 between callbacks, so the next callback tries again.
                    self.session.wake_session();
                    return Poll::Pending;
                }
                Progress::WaitsForDrain => match self.poll_low_water(LOW_WATER_BYTES) {
                    Poll::Ready(answer) => return Poll::Ready(answer),
                    Poll::Pending => {
                        self.progress = Progress::WaitsForDrain;
                        return Poll::Pending;
                    }
                },
                Progress::WaitsToSend(message, low) => match self.poll_low_water(low) {
                    Poll::Ready(Ok(())) => {
                        let answer =
                            (self.send)(self.session, self.kind | abi::IF_ROOM, message.bytes());
                        self.sent(answer, message)
                    }
                    Poll::Ready(Err(refused)) => return Poll::Ready(Err(refused)),
                    Poll::Pending => {
                        self.progress = Progress::WaitsToSend(message, low);
                        return Poll::Pending;
                    }
                },
            };
        }
    }

    /// The progress of a message after another attempt to send it.
    fn sent(&self, answer: Result<u64, Refused>, message: P) -> Progress<P> {
        match answer {
            Ok(buffered) => {
                if let Some(memory) = message.recycle() {
                    self.channel.lock().inbox.recycle(memory);
                }
                Progress::Queued(buffered)
            }
            Err(Refused::Full) => Progress::Unsent(message),
            Err(refused) => Progress::Refused(refused),
        }
    }

    /// Ready when at most `low` bytes wait for the peer, or when the session is over.
    fn poll_low_water(&self, low: u64) -> Poll<Result<(), Refused>> {
        if self.channel.lock().end.is_over() {
            return Poll::Ready(Err(Refused::Gone));
        }
        if self.session.buffered() <= low {
            return Poll::Ready(Ok(()));
        }
        let low = self.channel.ask_for_mark(low);
        // Both marks are equal, so that setting them again never cancels a `drain` that is due.
        self.session
            .inside(|host, conn| host.watermark(conn, low, low));
        Poll::Pending
    }
}

// Nothing in it is pinned.
impl<P: Payload> Unpin for Sent<'_, P> {}

impl<P: Payload> Future for Sent<'_, P> {
    type Output = Result<(), Refused>;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let sent = self.get_mut();
        match sent.progress {
            Progress::Queued(buffered) if buffered <= HIGH_WATER_BYTES => Poll::Ready(Ok(())),
            _ => sent.poll_on(),
        }
    }
}

impl<P: Payload> Drop for Sent<'_, P> {
    #[inline]
    fn drop(&mut self) {
        if let Progress::Unsent(message) = &self.progress {
            // A refusal is not reported: the answer was dropped.
            let _ = (self.send)(self.session, self.kind, message.bytes());
        }
    }
}

/// The mark at which to retry a message that did not fit beside `buffered` bytes: so many bytes may wait for the peer then.
/// It is below `buffered`, so that a `drain` comes. At mark 0 every message fits that may be sent at all.
pub(crate) fn retry_mark(buffered: u64, message_bytes: usize) -> u64 {
    let needed = (message_bytes as u64).saturating_add(HEADER_BYTES_MAX);
    buffered.saturating_sub(needed).min(LOW_WATER_BYTES)
}

/// A sender waits while more bytes than this wait for the peer. That is far below the usual outbound limit, and enough to
/// keep a connection busy.
pub(crate) const HIGH_WATER_BYTES: u64 = 64 * 1024;
/// A sender that waits goes on when at most so many bytes wait for the peer.
pub(crate) const LOW_WATER_BYTES: u64 = 16 * 1024;
/// The longest header of a frame (RFC 6455 §5.2).
const HEADER_BYTES_MAX: u64 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_does_not_fit_waits_for_less_than_what_waits_now() {
        for (buffered, message_bytes, expected) in [
            (1_000_000, 1024, LOW_WATER_BYTES),
            (1_000_000, 1_000_000, 0),
            (20_000, 10_000, 9_986),
            (10, 0, 0),
            (1, usize::MAX, 0),
        ] {
            let low = retry_mark(buffered, message_bytes);
            assert_eq!(low, expected, "{buffered} {message_bytes}");
            assert!(low < buffered);
        }
    }
}
