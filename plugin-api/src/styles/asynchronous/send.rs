//! What became of a message that was sent, and the wait until it fits.

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
/// A message for which there is room is queued already, whatever is done with this. One for which there
/// is none waits until there is some, if this is awaited. Otherwise it is sent when this is dropped, and
/// a peer that takes too little is then closed with 1008, as for
/// [`Conn::send`](crate::Conn::send).
///
/// Awaited, it is ready at once while at most 64 KiB are on their way to the peer, and otherwise when most
/// of that is gone.
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
/// [`Refused::Gone`]: the session is closing, or ends meanwhile. [`Refused::TooBig`]: the message is so
/// long that there is never room for it; this is said at once. [`Refused::Invalid`]: a message that was
/// begun with [`send_part`](crate::AsyncConn::send_part) is open.
///
/// # Cancel safety
/// A wait that is dropped, as in a `select!`, does not send its message unless it was queued already, as every
/// message is for which there was room: a loop that sends again what it has not seen the end of may send it
/// twice. [`result`](Self::result) says at once whether it was queued.
#[derive(Debug)]
#[must_use = "it is awaited, or given to `drop`"]
pub struct Sent<'a, P: Payload = MessageBuf> {
    session: &'a HostSession,
    channel: &'a AsyncChannel,
    kind: u32,
    /// How a message goes to the host: whole or in parts.
    send: SendBy,
    progress: Progress<P>,
}

/// A way to send so many bytes of a kind; answers the bytes buffered with them.
type SendBy = fn(&HostSession, u32, &[u8]) -> Result<u64, Refused>;

/// How far a message has come.
#[derive(Debug)]
enum Progress<P> {
    /// It is queued, and so many bytes wait with it.
    Queued(u64),
    /// It was refused for good.
    Refused(Refused),
    /// It does not fit, and nothing was done yet.
    Unsent(P),
    /// It waits until at most so many bytes wait for the peer, then it is sent.
    WaitsToSend(P, u64),
    /// It is queued, and its sender waits until most of what waits is gone.
    WaitsForRoom,
    /// The answer was given.
    Told,
}

impl<'a, P: Payload> Sent<'a, P> {
    /// Sends the message, if there is room for it.
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

    /// As [`send`](Self::send), by another way.
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

    /// Of a message that was sent already.
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

    /// The bytes buffered with this message, or why it was not queued. It is not sent later then.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::Full`]: there is no room for it now.
    /// [`Refused::TooBig`]: there never is.
    pub fn result(mut self) -> Result<u64, Refused> {
        match std::mem::replace(&mut self.progress, Progress::Told) {
            Progress::Queued(buffered) => Ok(buffered),
            Progress::Refused(refused) => Err(refused),
            Progress::Unsent(_) | Progress::WaitsToSend(..) => Err(Refused::Full),
            Progress::WaitsForRoom | Progress::Told => Ok(self.session.buffered()),
        }
    }

    /// Goes on as far as it can.
    #[cold]
    fn poll_on(&mut self) -> Poll<Result<(), Refused>> {
        loop {
            self.progress = match std::mem::replace(&mut self.progress, Progress::Told) {
                Progress::Queued(buffered) if buffered > CROWD_BYTES => Progress::WaitsForRoom,
                Progress::Queued(_) | Progress::Told => return Poll::Ready(Ok(())),
                Progress::Refused(refused) => return Poll::Ready(Err(refused)),
                Progress::Unsent(message) => {
                    let buffered = self.session.buffered();
                    let low = room_for(buffered, message.bytes().len());
                    self.progress = Progress::WaitsToSend(message, low);
                    if buffered > 0 {
                        continue;
                    }
                    // No callback runs here, so the next one tries again.
                    self.session.wake_session();
                    return Poll::Pending;
                }
                Progress::WaitsForRoom => match self.poll_room(ROOM_BYTES) {
                    Poll::Ready(answer) => return Poll::Ready(answer),
                    Poll::Pending => {
                        self.progress = Progress::WaitsForRoom;
                        return Poll::Pending;
                    }
                },
                Progress::WaitsToSend(message, low) => match self.poll_room(low) {
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

    /// Ready when at most `low` bytes wait for the peer.
    fn poll_room(&self, low: u64) -> Poll<Result<(), Refused>> {
        if self.channel.lock().ending.is_over() {
            return Poll::Ready(Err(Refused::Gone));
        }
        if self.session.buffered() <= low {
            return Poll::Ready(Ok(()));
        }
        let low = self.channel.wants_room(low);
        // Both marks are one, so that setting them again never takes back a `drain` that is due.
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
            Progress::Queued(buffered) if buffered <= CROWD_BYTES => Poll::Ready(Ok(())),
            _ => sent.poll_on(),
        }
    }
}

impl<P: Payload> Drop for Sent<'_, P> {
    #[inline]
    fn drop(&mut self) {
        if let Progress::Unsent(message) = &self.progress {
            // GONE, TOO_BIG: nothing asks.
            let _ = (self.send)(self.session, self.kind, message.bytes());
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

/// More than this on its way to the peer, and the sender waits: far below the usual outbound limit, and
/// enough to keep a connection busy.
pub(crate) const CROWD_BYTES: u64 = 64 * 1024;
/// So little on its way, and there is room again.
pub(crate) const ROOM_BYTES: u64 = 16 * 1024;
/// The largest header of a frame (RFC 6455 §5.2).
const HEADER_BYTES_MAX: u64 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_does_not_fit_waits_for_less_than_what_waits_now() {
        for (buffered, message_bytes, expected) in [
            (1_000_000, 1024, ROOM_BYTES),
            (1_000_000, 1_000_000, 0),
            (20_000, 10_000, 9_986),
            (10, 0, 0),
            (1, usize::MAX, 0),
        ] {
            let low = room_for(buffered, message_bytes);
            assert_eq!(low, expected, "{buffered} {message_bytes}");
            assert!(low < buffered);
        }
    }
}
