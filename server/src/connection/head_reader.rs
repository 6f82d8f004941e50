//! Reads the request head of a connection.

use std::io::{ErrorKind, Read};
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use crate::buffers::event_buffers::EventBuffers;
use crate::config::Limits;
use crate::connection::reply::Reply;
use crate::http::head::{Head, first_bytes};
use crate::runtime::pacer::Pacer;
use crate::transport::Transport;
use crate::transport::tls::HandshakeFault;

/// Why there is no request head.
pub(super) enum Unread {
    /// The peer has ended the connection.
    Gone,
    Refused(Reply),
    /// The TLS handshake failed.
    NoTls(HandshakeFault),
    /// It did not come in time.
    TooSlow,
    /// It did not come before the server stopped.
    Stopped,
}

/// By when a request head must be whole, which is later for one that keeps coming.
///
/// This is the rule of `RequestReadTimeout` of httpd. A deadline alone is too early for a large head on a slow line, and
/// a later one for all would give time to peers that send a byte in a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadDeadline {
    began: Instant,
    timeout: Duration,
    bytes_per_s_min: Option<u64>,
}

impl HeadDeadline {
    /// The deadline of a connection that was first looked at when it `began`.
    pub(super) fn of(began: Instant, limits: &Limits) -> HeadDeadline {
        HeadDeadline {
            began,
            timeout: Duration::from_millis(limits.handshake_timeout_ms),
            bytes_per_s_min: limits.header_bytes_per_s_min,
        }
    }

    /// The deadline after so many bytes of the head have come.
    pub(super) fn after(self, bytes: usize) -> Instant {
        self.began + self.timeout + self.extension(bytes)
    }

    /// The time that so many bytes of the head give besides `handshake_timeout_ms`: at most as much again.
    pub(super) fn extension(self, bytes: usize) -> Duration {
        let Some(per_s) = self.bytes_per_s_min else {
            return Duration::ZERO;
        };
        let ms = (bytes as u64).saturating_mul(1_000) / per_s.max(1);
        Duration::from_millis(ms).min(self.timeout)
    }
}

/// How long a server that stops waits for heads that are not whole, so that clients that have just connected get an answer.
pub(super) fn time_at_stop(limits: &Limits) -> Duration {
    TIME_AT_STOP_MAX.min(Duration::from_millis(limits.stop_timeout_ms / 2))
}

/// Reads what the peer has sent by now, which often is its whole request.
pub(super) fn read_now(mut socket: &std::net::TcpStream) -> Result<Vec<u8>, Unread> {
    let mut buffers = EventBuffers::take();
    let received = match socket.read(&mut buffers.input) {
        Ok(0) => Err(Unread::Gone),
        Ok(length) => Ok(buffers.input[..length].to_vec()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Vec::new()),
        Err(_) => Err(Unread::Gone),
    };
    buffers.give_back();
    received
}

/// Completes a TLS handshake, if there is one, and reads until the head is whole. Returns its length. More may have
/// come behind it.
pub(super) async fn read(
    transport: &mut Transport,
    received: &mut Vec<u8>,
    limits: &Limits,
    deadline: HeadDeadline,
    tls_handshakes: &Pacer,
) -> Result<usize, Unread> {
    // One timer for both, which takes memory of each connection that waits.
    let mut over = pin!(sleep_until(deadline.after(received.len()).into()));
    if let Transport::Tls(tls) = transport {
        // In a box, so that it takes no memory of connections that only read.
        let handshake = Box::pin(async {
            tls.hear().await?;
            // The key is used next, which takes up to a millisecond. A peer whose first message is not whole takes no turn.
            tls_handshakes.begin().await;
            tls.handshake(received).await
        });
        tokio::select! {
            biased;
            completed = handshake => completed.map_err(Unread::NoTls)?,
            () = &mut over => return Err(Unread::TooSlow),
        }
        if let Some(end) = end(received, 0, limits).map_err(Unread::Refused)? {
            return Ok(end);
        }
    }
    loop {
        let before = received.len();
        received.reserve(READ_BYTES);
        over.as_mut().reset(deadline.after(before).into());
        tokio::select! {
            biased;
            readable = transport.readable() => readable.map_err(|_| Unread::Gone)?,
            () = &mut over => return Err(Unread::TooSlow),
        }
        match transport.try_read_buf(received) {
            Ok(0) => return Err(Unread::Gone),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return Err(Unread::Gone),
        }
        match end(received, before, limits) {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => {}
            Err(reply) => return Err(Unread::Refused(reply)),
        }
    }
}

/// The length of the head, or `None` until it is whole. The first `before` bytes were searched by an
/// earlier call. Bytes that cannot become a head are refused at once.
pub(super) fn end(received: &[u8], before: usize, limits: &Limits) -> Result<Option<usize>, Reply> {
    let end = Head::end(received, before);
    if end.unwrap_or(received.len()) <= limits.header_bytes_max {
        if end.is_none() {
            first_bytes::judge(received, before).map_err(Reply::NotARequest)?;
        }
        return Ok(end);
    }
    Err(match received[..limits.header_bytes_max].contains(&b'\n') {
        true => Reply::HeadTooLarge,
        false => Reply::TargetTooLong,
    })
}

/// Bytes that one read of a head asks for.
const READ_BYTES: usize = 1024;
/// See [`time_at_stop`].
const TIME_AT_STOP_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::net::TcpListener;
    use std::task::Poll;

    use tokio::net::TcpStream;

    use super::*;
    use crate::testing::certificates::Authority;
    use crate::testing::tls_settings;
    use crate::transport::tls::TlsStream;

    #[tokio::test]
    async fn clients_that_begin_a_tls_handshake_and_stop_there_take_no_turns() {
        let limits = Limits::default();
        let settings = tls_settings::of_localhost(&Authority::new("a CA"), |_| {});
        let pacer = Pacer::new(1);
        let mut rounds = pin!(pacer.run(1));
        poll_fn(|cx| Poll::Ready(rounds.as_mut().poll(cx).is_pending())).await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut clients = Vec::new();
        let mut reads = Vec::new();
        for begun in [
            &b"\x16"[..],
            b"\x16\x03\x01\x02\x00",
            b"\x16\x03\x01\x00\x01\x01",
        ]
        .repeat(20)
        {
            clients.push(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            // As the first look at a connection leaves it.
            let offered = settings.current().unwrap();
            let socket = TcpStream::from_std(socket).unwrap();
            let tls = TlsStream::new(socket, begun.to_vec(), offered).unwrap();
            let mut transport = Transport::Tls(Box::new(tls));
            let (limits, pacer) = (&limits, &pacer);
            reads.push(Box::pin(async move {
                let deadline = HeadDeadline::of(Instant::now(), limits);
                let mut received = Vec::new();
                read(&mut transport, &mut received, limits, deadline, pacer)
                    .await
                    .is_ok()
            }));
        }

        for read in &mut reads {
            let is_waiting = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await;
            assert!(is_waiting);
        }

        assert!(pacer.may_begin(), "they have turns, or wait for them");
    }

    #[test]
    fn a_head_that_keeps_coming_has_more_time_and_at_most_twice_as_much() {
        for (bytes_per_s_min, bytes, ms) in [
            (Some(500), 0, 10_000),
            // A byte a second, which is what an attacker sends.
            (Some(500), 10, 10_020),
            (Some(500), 500, 11_000),
            (Some(500), 2_750, 15_500),
            (Some(500), 5_000, 20_000),
            (Some(500), 16_384, 20_000),
            (Some(1), usize::MAX, 20_000),
            (None, 16_384, 10_000),
        ] {
            let limits = Limits {
                handshake_timeout_ms: 10_000,
                header_bytes_per_s_min: bytes_per_s_min,
                ..Limits::default()
            };
            let began = Instant::now();
            let deadline = HeadDeadline::of(began, &limits).after(bytes);
            assert_eq!(deadline - began, Duration::from_millis(ms), "{bytes}");
        }
    }
}
