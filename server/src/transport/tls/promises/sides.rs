//! Both sides of a connection, each with what it has said and heard.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use rustls::ClientConnection;

use super::script::Step;
use crate::transport::Received;
use crate::transport::tls::{INCOMING_BYTES_MAX, TlsStream};

/// The side of rustls, and what is on its way from there.
pub(super) struct Client {
    pub(super) connection: ClientConnection,
    pub(super) socket: UnixStream,
    /// Ciphertext that is not in the socket yet.
    pub(super) outgoing: Vec<u8>,
    pub(super) said: Stream,
    pub(super) heard: Stream,
    /// The bytes that have gone through the socket.
    pub(super) moved: u64,
    /// The changes of keys since plaintext was said. rustls refuses more than 32.
    pub(super) key_changes: u8,
    /// Whether bytes were sent that rustls has not made.
    pub(super) has_forged: bool,
    /// Whether the server has said the end, or the connection is broken.
    pub(super) is_over: bool,
}

impl Client {
    pub(super) fn take(&mut self, step: &Step) {
        if self.is_over {
            return;
        }
        match *step {
            Step::ClientSays(bytes) => {
                let plain = self.said.next(bytes);
                if bytes > 0 {
                    self.key_changes = 0;
                }
                self.connection
                    .writer()
                    .write_all(&plain)
                    .expect("no limit");
            }
            Step::ClientSends(bytes) => self.send(bytes),
            Step::ClientReceives(bytes) => self.receive(bytes),
            Step::ClientChangesKeys => {
                self.key_changes = self.key_changes.saturating_add(1);
                if self.key_changes < KEY_CHANGES_MAX {
                    // TLS 1.2 has no such message, and a handshake that is not over none either.
                    let _ = self.connection.refresh_traffic_keys();
                }
            }
            Step::Forged(at, byte) => {
                self.gather();
                let at = at.min(self.outgoing.len());
                match self.outgoing.get_mut(at) {
                    Some(place) => *place = byte,
                    None => self.outgoing.push(byte),
                }
                self.has_forged = true;
            }
            Step::ServerReceives | Step::ServerSays(_) | Step::ServerSends => {}
        }
    }

    /// Takes from rustls what is to be sent.
    fn gather(&mut self) {
        while self.connection.wants_write() {
            let written = self.connection.write_tls(&mut self.outgoing);
            written.expect("memory takes all");
        }
    }

    pub(super) fn send(&mut self, bytes: usize) {
        self.gather();
        let bytes = bytes.min(self.outgoing.len());
        match self.socket.write(&self.outgoing[..bytes]) {
            Ok(sent) => {
                self.outgoing.drain(..sent);
                self.moved += sent as u64;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // The server has left.
            Err(_) => self.outgoing.clear(),
        }
    }

    fn receive(&mut self, bytes: usize) {
        let mut buffer = vec![0; bytes.min(READ_BYTES_MAX)];
        while !self.is_over && !buffer.is_empty() {
            let mut read = match self.socket.read(&mut buffer) {
                Ok(read) => &buffer[..read],
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => &[],
            };
            self.moved += read.len() as u64;
            let was_end = read.is_empty();
            while !self.is_over && (was_end || !read.is_empty()) {
                self.connection.read_tls(&mut read).expect("memory");
                self.process();
                if was_end {
                    assert!(
                        self.is_over || self.has_forged,
                        "the end comes without an alert"
                    );
                    self.is_over = true;
                }
            }
            if bytes < READ_BYTES_MAX {
                return;
            }
        }
    }

    fn process(&mut self) {
        match self.connection.process_new_packets() {
            Ok(state) => self.is_over |= state.peer_has_closed(),
            Err(error) => {
                assert!(self.has_forged, "the client refuses a record: {error}");
                self.is_over = true;
            }
        }
        let mut plain = Vec::new();
        // It would block when there is no more.
        let _ = self.connection.reader().read_to_end(&mut plain);
        self.heard.take(&plain);
    }
}

/// The side under test.
pub(super) struct Server {
    pub(super) tls: TlsStream,
    /// Plaintext that the kernel has not taken.
    pub(super) unsent: Vec<u8>,
    pub(super) said: Stream,
    pub(super) heard: Stream,
    /// Whether the connection is broken.
    pub(super) is_over: bool,
}

impl Server {
    pub(super) fn take(&mut self, step: &Step, may_break: bool) {
        if self.is_over {
            return;
        }
        match *step {
            Step::ServerSays(bytes) => self.unsent.extend(self.said.next(bytes)),
            Step::ServerReceives => self.receive(may_break),
            Step::ServerSends => self.send(may_break),
            Step::ClientSays(_)
            | Step::ClientSends(_)
            | Step::ClientReceives(_)
            | Step::ClientChangesKeys
            | Step::Forged(..) => {}
        }
        assert!(self.tls.incoming.len() <= INCOMING_BYTES_MAX);
        assert!(self.tls.unsent.len() <= UNSENT_BYTES_MAX);
    }

    fn receive(&mut self, may_break: bool) {
        let mut bytes = 0;
        let heard = &mut self.heard;
        let received = self.tls.receive(usize::MAX, |plain| {
            bytes += plain.len();
            heard.take(plain);
        });
        match received {
            Received::Bytes(length) => assert_eq!(length, bytes),
            Received::Nothing => assert_eq!(bytes, 0),
            Received::End => {
                assert!(may_break, "it breaks off");
                self.is_over = true;
            }
        }
    }

    pub(super) fn send(&mut self, may_break: bool) {
        if self.unsent.is_empty() {
            return;
        }
        match self.tls.send(&self.unsent) {
            Ok(sent) => drop(self.unsent.drain(..sent)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                assert!(may_break, "it cannot send: {error}");
                self.is_over = true;
            }
        }
    }
}

/// The plaintext in one direction. A byte says where it stands, nearly.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) bytes: u64,
}

impl Stream {
    /// What is said next.
    pub(super) fn next(&mut self, bytes: usize) -> Vec<u8> {
        let from = self.bytes;
        self.bytes += bytes as u64;
        (from..self.bytes).map(byte_at).collect()
    }

    /// Compares what is heard next.
    pub(super) fn take(&mut self, plain: &[u8]) {
        for (byte, at) in plain.iter().zip(self.bytes..) {
            assert_eq!(*byte, byte_at(at), "byte {at}");
        }
        self.bytes += plain.len() as u64;
    }
}

/// A byte that does not come again at the distance of a record.
fn byte_at(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

const KEY_CHANGES_MAX: u8 = 30;
/// The most that is read at once. More is read in several turns.
const READ_BYTES_MAX: usize = 16 * 1024;
/// The records of 64 KiB of plaintext, with what TLS itself says before and behind them.
const UNSENT_BYTES_MAX: usize = 66 * 1024;
