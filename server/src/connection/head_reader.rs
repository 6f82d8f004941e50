//! Reads the request head of a connection.

use std::io::{ErrorKind, Read};

use crate::buffers::event_buffers::EventBuffers;
use crate::config::Limits;
use crate::connection::reply::Reply;
use crate::http::head::{Head, first_bytes};
use crate::transport::Transport;
use crate::transport::tls::HandshakeFault;

/// Why there is no request head.
pub(super) enum Unread {
    /// The peer has ended the connection.
    Gone,
    Refused(Reply),
    /// The TLS handshake failed.
    NoTls(HandshakeFault),
}

/// Reads what the peer has sent by now, which often is its whole request.
pub(super) fn read_now(mut socket: &std::net::TcpStream) -> Result<Vec<u8>, Unread> {
    let mut buffers = EventBuffers::take();
    match socket.read(&mut buffers.input) {
        Ok(0) => Err(Unread::Gone),
        Ok(length) => Ok(buffers.input[..length].to_vec()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Vec::new()),
        Err(_) => Err(Unread::Gone),
    }
}

/// Completes a TLS handshake, if there is one, and reads until the head is whole. Returns its length. More may have
/// come behind it.
pub(super) async fn read(
    transport: &mut Transport,
    received: &mut Vec<u8>,
    limits: &Limits,
) -> Result<usize, Unread> {
    if let Transport::Tls(tls) = transport {
        // In a box, so that it takes no memory of connections that only read.
        let handshake = Box::pin(tls.handshake(received));
        handshake.await.map_err(Unread::NoTls)?;
        if let Some(end) = end(received, 0, limits).map_err(Unread::Refused)? {
            return Ok(end);
        }
    }
    read_head(transport, received, limits).await
}

async fn read_head(
    transport: &mut Transport,
    received: &mut Vec<u8>,
    limits: &Limits,
) -> Result<usize, Unread> {
    loop {
        let before = received.len();
        received.reserve(READ_BYTES);
        transport.readable().await.map_err(|_| Unread::Gone)?;
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
