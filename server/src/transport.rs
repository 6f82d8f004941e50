//! What carries a connection: a plain socket, or TLS over one.
//!
//! An accepted connection speaks plain TCP or TLS from its first byte on, as its listener says. HTTP and sessions see
//! plaintext of either.

pub(crate) mod certificate_faults;
pub(crate) mod certificates;
mod last_good;
pub(crate) mod settings;
pub(crate) mod tls;

use std::io::{self, ErrorKind};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use self::tls::{TlsInfo, TlsStream};

/// The socket of a connection, with TLS over it or without.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// The outcome of one receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes came, at least one.
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// The peer sends nothing more, or the connection broke.
    End,
}

impl Transport {
    /// The socket, for its options and for what the kernel says of it. Its bytes are ciphertext where there is TLS.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.socket(),
        }
    }

    /// Whether a TLS handshake is still to be completed, so that nothing of HTTP can be sent.
    pub(crate) fn is_handshaking(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(tls) => tls.is_handshaking(),
        }
    }

    /// Whether the peer has begun a TLS handshake that is not complete.
    pub(crate) fn is_amid_handshake(&self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(tls) => tls.is_amid_handshake(),
        }
    }

    /// What the TLS handshake has agreed on; `None` without TLS.
    pub(crate) fn tls_info(&self) -> Option<Box<TlsInfo>> {
        match self {
            Transport::Plain(_) => None,
            Transport::Tls(tls) => Some(Box::new(tls.info())),
        }
    }

    /// Ends a TLS handshake that the server does not go on with. True if the peer is told so by an alert.
    pub(crate) fn refuse_handshake(&mut self) -> bool {
        match self {
            Transport::Plain(_) => false,
            Transport::Tls(tls) => tls.refuse_handshake(),
        }
    }

    /// Before the connection is closed: answers a peer of TLS that has said that it sends nothing more.
    pub(crate) fn answer_end(&mut self) {
        if let Transport::Tls(tls) = self {
            tls.answer_end();
        }
    }

    /// The socket without TLS, for an answer to a peer that does not speak TLS.
    pub(crate) fn without_tls(self) -> Transport {
        match self {
            Transport::Plain(socket) => Transport::Plain(socket),
            Transport::Tls(tls) => Transport::Plain(tls.into_socket()),
        }
    }

    /// Ends when there may be something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.readable().await,
            Transport::Tls(tls) => tls.readable().await,
        }
    }

    /// Reads once, behind what is in `target`. A plain read fills only memory that `target` has; TLS makes room for
    /// all that one read decrypts, at most 64 KiB. 0 is the end of what the peer sends.
    pub(crate) fn try_read_buf(&mut self, target: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.try_read_buf(target),
            Transport::Tls(tls) => match tls.receive(usize::MAX, |plain| target.extend(plain)) {
                Received::Bytes(length) => Ok(length),
                Received::Nothing => Err(ErrorKind::WouldBlock.into()),
                Received::End => Ok(0),
            },
        }
    }

    /// Sends all of `bytes`, at the peer's pace.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.write_all(bytes).await,
            Transport::Tls(tls) => tls.write_all(bytes).await,
        }
    }

    /// Ends our side of the connection. The peer's bytes can still be read.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.shutdown().await,
            Transport::Tls(tls) => {
                tls.finish();
                Ok(())
            }
        }
    }
}

/// Receives once.
///
/// After a short read the kernel has no more. The readiness is cleared then, without another read.
// What plain sessions call is a function of its own: with one caller the compiler inlines all of it.
#[inline(always)]
pub(crate) fn receive<const IS_PLAIN: bool>(socket: &TcpStream, buffer: &mut [u8]) -> Received {
    let mut received = Received::Nothing;
    let _ = socket.try_io(Interest::READABLE, || {
        let bytes_max = buffer.len();
        received = match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => Received::End,
            Ok((length, _)) => Received::Bytes(length),
            Err(Errno::AGAIN) => Received::Nothing,
            Err(_) => Received::End,
        };
        match received {
            Received::Bytes(length) if length == bytes_max => Ok(()),
            Received::End => Ok(()),
            _ => Err(ErrorKind::WouldBlock.into()),
        }
    });
    received
}
