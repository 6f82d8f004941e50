//! TLS over one socket, as a server.
//!
//! A readiness event is one receive of ciphertext into a buffer of the thread, which is decrypted there; a send
//! encrypts plaintext into another buffer of the thread. Memory of the connection's own holds only what is less than
//! a record, and what the kernel did not take. Both are given back when they are empty.

mod client_hello;
mod handshake;
#[cfg(any(test, fuzzing))]
pub(crate) mod promises;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::net::{SendFlags, send};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError};
use rustls::{ProtocolVersion, ServerConfig};
use socket2::SockRef;
use tokio::net::TcpStream;
use tracing::debug;

pub(crate) use self::handshake::HandshakeFault;
use super::{Received, receive};
use crate::buffers::pool::Buffer;
use crate::buffers::record_buffers::RecordBuffers;

/// The server's side of a TLS connection.
pub(crate) struct TlsStream {
    socket: TcpStream,
    connection: UnbufferedServerConnection,
    /// The server name that the client asked for.
    requested_name: Option<Box<str>>,
    /// Ciphertext that came and is no whole record, or no whole message of the handshake.
    incoming: Buffer,
    /// Records that the kernel has not taken.
    unsent: Buffer,
    /// How many bytes of `unsent` the kernel has taken.
    sent: usize,
    /// The bytes of plaintext that `unsent` had encrypted when it was made. They count as taken in the first
    /// [`send`](Self::send) after the kernel has taken all of it.
    unsent_plain: usize,
    /// The bytes of ciphertext that the kernel has taken.
    taken: u64,
    /// Whether the peer sends nothing more.
    has_ended: bool,
    /// Whether the peer broke a rule of TLS, after which nothing of it is read and nothing more is encrypted.
    is_broken: bool,
}

/// What a TLS handshake has agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub(crate) version: &'static str,
    /// The server name that the client asked for; empty without one.
    pub(crate) sni: String,
    /// The client's certificate in DER, which a CA of the configuration has signed; empty without one.
    pub(crate) client_certificate: Vec<u8>,
}

impl TlsStream {
    /// TLS over `socket`, of which `received` was read. Nothing is done yet.
    ///
    /// # Errors
    ///
    /// `config` does not fit a server of this kind.
    pub(crate) fn new(
        socket: TcpStream,
        received: Vec<u8>,
        config: Arc<ServerConfig>,
    ) -> Result<TlsStream, rustls::Error> {
        Ok(TlsStream {
            socket,
            connection: UnbufferedServerConnection::new(config)?,
            requested_name: None,
            incoming: received.into(),
            unsent: Buffer::default(),
            sent: 0,
            unsent_plain: 0,
            taken: 0,
            has_ended: false,
            is_broken: false,
        })
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Whether the handshake is still to be completed.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// What the handshake has agreed on.
    pub(crate) fn info(&self) -> TlsInfo {
        let certificates = self.connection.peer_certificates();
        let client = certificates.and_then(|chain| chain.first());
        TlsInfo {
            version: match self.connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            sni: self
                .requested_name
                .as_deref()
                .unwrap_or_default()
                .to_owned(),
            client_certificate: client.map(|it| it.to_vec()).unwrap_or_default(),
        }
    }

    /// The bytes of ciphertext that the kernel has taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// The bytes of the alert that ends what a peer sends. So many bytes in the kernel may be nothing else.
    pub(crate) fn close_notify_bytes(&self) -> u64 {
        match self.connection.protocol_version() {
            // RFC 5288: a nonce of 8 bytes and a tag of 16.
            Some(ProtocolVersion::TLSv1_2) => 31,
            // RFC 8446 §5.2: the type of the content, and a tag of 16.
            _ => 24,
        }
    }

    /// Ends when there may be something to receive.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self.has_ended {
            true => Ok(()),
            false => self.socket.readable().await,
        }
    }

    /// Ready when there may be something to receive, which an end is too.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.has_ended {
            true => Poll::Ready(Ok(())),
            false => self.socket.poll_read_ready(cx),
        }
    }

    /// Receives once, and hands the plaintext of each whole record to `take`: less than `bytes_max` in all, which is
    /// 32 KiB at least.
    ///
    /// The outcome counts plaintext. It is `Nothing` too where a part of a record came.
    pub(crate) fn receive(&mut self, bytes_max: usize, mut take: impl FnMut(&[u8])) -> Received {
        if self.has_ended {
            return Received::End;
        }
        let mut buffers = RecordBuffers::take();
        let before = self.incoming.len();
        let room = buffers.input.len().min(bytes_max);
        buffers.input[..before].copy_from_slice(&self.incoming);
        let end = match receive::<false>(&self.socket, &mut buffers.input[before..room]) {
            Received::Bytes(length) => before + length,
            Received::Nothing => return Received::Nothing,
            Received::End => {
                self.has_ended = true;
                return Received::End;
            }
        };
        self.incoming = Buffer::default();
        let mut plain = 0;
        let decrypted = self.decrypt(&mut buffers.input[..end], &mut |payload| {
            plain += payload.len();
            take(payload);
        });
        match decrypted {
            Ok(done) if done < end && !self.has_ended => self.keep(&buffers.input[done..end]),
            Ok(_) => {}
            Err(error) => {
                debug!(%error, "TLS record refused");
                self.queue_alert();
            }
        }
        drop(buffers);
        if !self.unsent.is_empty() {
            // An alert, or the refusal of a renegotiation.
            let _ = self.push();
        }
        match (plain, self.has_ended) {
            (0, true) => Received::End,
            (0, false) => Received::Nothing,
            (plain, _) => Received::Bytes(plain),
        }
    }

    /// Keeps what is no whole record until the rest has come. A peer that makes it longer than records are has its
    /// connection ended.
    fn keep(&mut self, rest: &[u8]) {
        if rest.len() > INCOMING_BYTES_MAX {
            self.end_broken();
            return;
        }
        self.incoming = Buffer::small();
        self.incoming.extend_from_slice(rest);
    }

    /// Decrypts the whole records of `input` in place, and hands each to `take`. Returns the bytes that are done with.
    fn decrypt(
        &mut self,
        input: &mut [u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, rustls::Error> {
        let mut done = 0;
        loop {
            let status = self.connection.process_tls_records(&mut input[done..]);
            let mut discard = status.discard;
            let mut is_last = false;
            match status.state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        take(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(data) => encode(data, &mut self.unsent)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.has_ended = true,
                ConnectionState::Closed => {
                    self.has_ended = true;
                    is_last = true;
                }
                // Nothing is left to be done with these bytes. Early data is switched off.
                _ => is_last = true,
            }
            done += discard;
            if is_last {
                return Ok(done);
            }
        }
    }

    /// How many bytes of the plaintext that is sent next are encrypted already.
    pub(crate) fn encrypted_ahead(&self) -> usize {
        self.unsent_plain
    }

    /// Offers the kernel `plain`, encrypted. Returns how many bytes of it the kernel has taken with all of their
    /// records. Those that it has not taken are to stand at the beginning of the next call's `plain`.
    ///
    /// # Errors
    ///
    /// The kernel takes nothing now, or the connection is lost.
    pub(crate) fn send(&mut self, plain: &[u8]) -> io::Result<usize> {
        if self.is_broken {
            return Err(ErrorKind::NotConnected.into());
        }
        if !self.unsent.is_empty() && !self.push()? {
            return Ok(0);
        }
        // They may have left in a receive.
        let mut done = std::mem::take(&mut self.unsent_plain);
        if done == plain.len() {
            return Ok(done);
        }
        let mut buffers = RecordBuffers::take();
        while done < plain.len() {
            let part = &plain[done..plain.len().min(done + PLAIN_BYTES_MAX)];
            let length = match self.encrypt(part, &mut buffers.output) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock && done > 0 => break,
                Err(error) => return Err(error),
            };
            let records = &buffers.output[..length];
            let sent = match self.send_once(records) {
                Ok(sent) => sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            if sent < length {
                self.unsent = Buffer::small();
                self.unsent.extend_from_slice(&records[sent..]);
                self.unsent_plain = part.len();
                break;
            }
            done += part.len();
        }
        Ok(done)
    }

    /// Encrypts `plain` into `output`, behind what TLS itself has to say before. Returns the length of the records.
    fn encrypt(&mut self, plain: &[u8], output: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            // What is incoming is less than a record, so that nothing of it is processed.
            let status = self.connection.process_tls_records(&mut self.incoming);
            match status.state.map_err(io::Error::other)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    match traffic.encrypt(plain, output) {
                        Ok(length) => return Ok(length),
                        Err(EncryptError::InsufficientSize(size)) => {
                            output.resize(size.required_size, 0);
                        }
                        Err(error) => return Err(io::Error::other(error)),
                    }
                }
                ConnectionState::EncodeTlsData(data) => {
                    // It is to leave before `plain`, whose records are not made yet.
                    encode(data, &mut self.unsent).map_err(io::Error::other)?;
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    if !self.push()? {
                        return Err(ErrorKind::WouldBlock.into());
                    }
                }
                ConnectionState::PeerClosed => self.has_ended = true,
                _ => return Err(ErrorKind::NotConnected.into()),
            }
        }
    }

    /// Offers the kernel the records that it has not taken. True if none are left.
    fn push(&mut self) -> io::Result<bool> {
        let unsent = std::mem::take(&mut self.unsent);
        let sent = self.send_once(&unsent[self.sent..]);
        self.unsent = unsent;
        self.sent += sent?;
        let is_done = self.sent == self.unsent.len();
        if is_done {
            self.unsent = Buffer::default();
            self.sent = 0;
        }
        Ok(is_done)
    }

    /// Offers the kernel bytes, once.
    fn send_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The kernel nearly always has room. The runtime has to see it refuse bytes, to tell when it takes some again.
        let sent = match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            Err(_) => self.socket.try_write(bytes)?,
        };
        self.taken += sent as u64;
        Ok(sent)
    }

    /// Sends all of `plain`, at the peer's pace.
    pub(crate) async fn write_all(&mut self, plain: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < plain.len() {
            match self.send(&plain[done..]) {
                Ok(length) => done += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if done < plain.len() {
                self.socket.writable().await?;
            }
        }
        Ok(())
    }

    /// Says that nothing more is sent (`close_notify`), and ends our side of the connection. It is said once, and not
    /// at all to a peer that has left no room for it.
    pub(crate) fn finish(&mut self) {
        if self.unsent.is_empty() && !self.is_broken && !self.is_handshaking() {
            let mut alert = [0; 128];
            let status = self.connection.process_tls_records(&mut self.incoming);
            if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state
                && let Ok(length) = traffic.queue_close_notify(&mut alert)
            {
                // It fails if the peer is gone, and then there is nothing to say.
                let _ = self.send_once(&alert[..length]);
            }
        }
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Write);
    }

    /// Answers the end of what a peer sends with the server's own (RFC 5246 §7.2.1, RFC 8446 §6.1). A peer that has said so
    /// would take the end of the connection alone for an attack.
    pub(crate) fn answer_end(&mut self) {
        if self.has_ended {
            self.finish();
        }
    }

    /// Ends a handshake that the server does not go on with, by an alert. True if the peer is told so: behind the first
    /// message of a server an alert would have to be encrypted, and the connection ends without one.
    pub(crate) fn refuse_handshake(&mut self) -> bool {
        let is_silent = self.taken == 0 && self.unsent.is_empty() && !self.is_broken;
        let is_told = is_silent && self.is_handshaking() && self.send_once(&INTERNAL_ERROR).is_ok();
        self.end_broken();
        is_told
    }

    /// Queues the alert that says why the connection ends, if there is one.
    fn queue_alert(&mut self) {
        self.end_broken();
        // As long as something is to be sent, no input is looked at.
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    if encode(data, &mut self.unsent).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    fn end_broken(&mut self) {
        self.has_ended = true;
        self.is_broken = true;
    }
}

/// Puts a record that TLS itself sends behind those in `target`.
fn encode(
    mut data: EncodeTlsData<'_, ServerConnectionData>,
    target: &mut Vec<u8>,
) -> Result<(), rustls::Error> {
    let before = target.len();
    let length = match data.encode(&mut []) {
        Ok(length) => length,
        Err(EncodeError::InsufficientSize(size)) => {
            target.resize(before + size.required_size, 0);
            let encoded = data.encode(&mut target[before..]);
            encoded.map_err(|error| rustls::Error::General(error.to_string()))?
        }
        Err(error) => return Err(rustls::Error::General(error.to_string())),
    };
    target.truncate(before + length);
    Ok(())
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields = (&self.socket, self.has_ended);
        f.debug_tuple("TlsStream").field(&fields).finish()
    }
}

/// The alert of a server that gives up, in a record of its own that is not encrypted (RFC 8446 §6): fatal,
/// `internal_error`.
pub(crate) const INTERNAL_ERROR: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 80];
/// Plaintext that is encrypted at a time. Nothing more is encrypted before the kernel has taken its records.
const PLAIN_BYTES_MAX: usize = 64 * 1024;
/// Ciphertext that waits for the rest of its record, which has at most 16 KiB and some bytes (RFC 8446 §5.2), or for the
/// rest of a message about keys.
const INCOMING_BYTES_MAX: usize = 32 * 1024;
