//! The socket of a session, and the queue of bytes that the kernel has not taken yet.
//!
//! A readiness event costs one receive and one send. While it lasts, replies gather in the thread's
//! output buffer. What the kernel does not take then moves into memory of the session's own, which is
//! given back when it is empty.

pub(crate) mod unacked;

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll};

use bytes::BufMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tungstenite::protocol::frame::coding::OpCode;

use self::unacked::unacked;
use crate::buffers::pool::Buffer;
use crate::process::clock::Moment;
use crate::ws::frame;

/// A socket and its outgoing queue.
#[derive(Debug)]
pub(crate) struct Wire {
    /// `None` once the connection is over.
    socket: Option<TcpStream>,
    output: Buffer,
    /// How many bytes of `output` the kernel has taken.
    sent: usize,
    /// When the kernel last took something, or first took nothing, if bytes are queued.
    stalled_since: Option<Moment>,
    /// The bytes that the kernel has taken in the session's life, for its log line.
    pub(crate) bytes_out: u64,
    /// The bytes that were received in the session's life, for its log line.
    pub(crate) bytes_in: u64,
    /// Whether sending has failed for good.
    is_broken: bool,
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

/// Whether a peer has ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerEnd {
    No,
    /// The peer sends nothing more.
    Finished,
    /// The connection is gone.
    Lost,
}

impl Wire {
    /// The wire of an accepted session. `output` is sent first: the 101.
    pub(crate) fn new(socket: TcpStream, output: Vec<u8>) -> Wire {
        Wire {
            socket: Some(socket),
            output: output.into(),
            sent: 0,
            stalled_since: None,
            bytes_out: 0,
            bytes_in: 0,
            is_broken: false,
        }
    }

    /// The bytes that the kernel has not taken.
    pub(crate) fn buffered(&self) -> usize {
        self.output.len() - self.sent
    }

    /// The descriptor of the socket, if nothing is queued and it can be sent on. It is good until
    /// [`close`](Self::close) or the drop.
    pub(crate) fn idle_socket(&self) -> Option<RawFd> {
        let is_idle = self.output.is_empty() && !self.is_broken;
        let socket = self.socket.as_ref().filter(|_| is_idle);
        socket.map(AsRawFd::as_raw_fd)
    }

    /// When the kernel last took something, or first took nothing, if bytes are queued.
    pub(crate) fn stalled_since(&self) -> Option<Moment> {
        self.stalled_since
    }

    /// The bytes that the kernel has taken and the peer's TCP has not acknowledged. It is a system call.
    pub(crate) fn unacked(&self) -> u64 {
        self.socket.as_ref().map_or(0, unacked)
    }

    /// The bytes that the peer sent and that wait in the kernel. It is a system call.
    pub(crate) fn unread(&self) -> u64 {
        let unread = self.socket.as_ref().map(rustix::io::ioctl_fionread);
        unread.and_then(Result::ok).unwrap_or(0)
    }

    /// Whether the peer has ended the connection, as far as can be seen without reading. It is one
    /// system call, or two after the end.
    pub(crate) fn peer_end(&self) -> PeerEnd {
        let Some(socket) = &self.socket else {
            return PeerEnd::Lost;
        };
        let mut watched = [PollFd::new(socket, PollFlags::RDHUP)];
        let _ = poll(&mut watched, Some(&Timespec::default()));
        let seen = watched[0].revents();
        // A Unix socket hangs up as soon as its peer closes, also while something is left to read.
        if seen.contains(PollFlags::ERR) || seen.contains(PollFlags::HUP) && self.unread() == 0 {
            PeerEnd::Lost
        } else if seen.contains(PollFlags::RDHUP) {
            PeerEnd::Finished
        } else {
            PeerEnd::No
        }
    }

    /// Queues bytes as they are. Many bytes are offered to the kernel at once, from where they lie.
    pub(crate) fn put_raw(&mut self, bytes: &[u8]) {
        let may_send = self.stalled_since.is_none() && !self.is_broken;
        let Some(socket) =
            (self.socket.as_ref()).filter(|_| may_send && bytes.len() >= LARGE_BYTES)
        else {
            return self.output.extend_from_slice(bytes);
        };
        let queued = self.buffered();
        let both = [IoSlice::new(&self.output[self.sent..]), IoSlice::new(bytes)];
        let sent = SockRef::from(socket).send_vectored_with_flags(&both, NO_SIGNAL.bits() as i32);
        let sent = sent.unwrap_or(0); // An error that is for good shows when the rest is flushed.
        self.bytes_out += sent as u64;
        if sent < queued {
            self.sent += sent;
            self.output.extend_from_slice(bytes);
        } else {
            self.output.clear();
            self.sent = 0;
            self.output.extend_from_slice(&bytes[sent - queued..]);
        }
        self.stalled_since = (self.buffered() > 0).then(Moment::now);
    }

    /// Queues a whole plain message as one frame; `opcode` is text or binary.
    #[inline(always)]
    pub(crate) fn put_whole(&mut self, opcode: u8, payload: &[u8]) {
        frame::put_whole(&mut self.output, opcode, payload);
    }

    /// Queues one frame.
    pub(crate) fn put(&mut self, fin: bool, opcode: OpCode, payload: &[u8]) {
        frame::put_header(&mut self.output, fin, opcode, payload.len());
        self.put_raw(payload);
    }

    /// Queues one frame with a part of a compressed message.
    pub(crate) fn put_compressed(&mut self, fin: bool, opcode: OpCode, payload: &[u8]) {
        frame::put_compressed_header(&mut self.output, fin, opcode, payload.len());
        self.put_raw(payload);
    }

    /// Lends the thread's output buffer for one event, unless older output is still unsent.
    pub(crate) fn borrow_output(&mut self, of_thread: &mut Buffer) {
        if self.output.is_empty() {
            std::mem::swap(&mut self.output, of_thread);
        }
    }

    /// Ends the loan: what is unsent moves into the session's own memory.
    pub(crate) fn return_output(&mut self, of_thread: &mut Buffer) {
        if of_thread.capacity() != 0 {
            // Nothing was lent.
            return self.give_back();
        }
        if self.buffered() == 0 {
            return std::mem::swap(&mut self.output, of_thread);
        }
        if self.buffered() >= LARGE_BYTES {
            // A copy would cost more than another buffer for the thread.
            *of_thread = Buffer::large();
            return;
        }
        std::mem::swap(&mut self.output, of_thread);
        self.output = of_thread[self.sent..].to_vec().into();
        self.sent = 0;
        of_thread.clear();
    }

    /// Gives the memory of an empty queue back.
    pub(crate) fn give_back(&mut self) {
        if self.output.is_empty() {
            self.output = Buffer::default();
        }
    }

    /// Offers the kernel what is queued, once. A lost connection shows in the next receive.
    #[inline]
    pub(crate) fn flush(&mut self) {
        if self.buffered() == 0 || self.is_broken {
            return;
        }
        // The kernel nearly always has room, and takes all of it.
        let queued = &self.output[self.sent..];
        if self.stalled_since.is_none()
            && let Some(socket) = &self.socket
            && let Ok(length) = send(socket, queued, NO_SIGNAL)
        {
            return self.note_sent(length);
        }
        self.try_flush();
    }

    /// Like `flush`, through the runtime. It has to see the kernel refuse bytes, to tell when the kernel
    /// takes some again.
    #[cold]
    fn try_flush(&mut self) {
        let Some(socket) = &self.socket else { return };
        match socket.try_write(&self.output[self.sent..]) {
            Ok(length) => self.note_sent(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.stalled_since.get_or_insert_with(Moment::now);
            }
            Err(_) => self.is_broken = true,
        }
    }

    #[inline]
    fn note_sent(&mut self, length: usize) {
        self.bytes_out += length as u64;
        self.sent += length;
        if self.buffered() == 0 {
            self.output.clear();
            self.sent = 0;
            self.stalled_since = None;
        } else {
            self.note_rest();
        }
    }

    #[cold]
    fn note_rest(&mut self) {
        self.stalled_since = Some(Moment::now());
        if self.sent >= COMPACT_BYTES && self.sent >= self.buffered() {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Whether sending failed for good.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Ready when the kernel may have bytes to receive.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.socket {
            Some(socket) => socket.poll_read_ready(cx),
            None => Poll::Pending,
        }
    }

    /// Ready when the kernel may take bytes.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.socket {
            Some(socket) => socket.poll_write_ready(cx),
            None => Poll::Pending,
        }
    }

    /// Receives once.
    ///
    /// After a short read the kernel has no more. The readiness is cleared then, without another read.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        let Some(socket) = &self.socket else {
            return Received::End;
        };
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
        if let Received::Bytes(length) = received {
            self.bytes_in += length as u64;
        }
        received
    }

    /// Receives at most `bytes_max` once, behind what is in `target`, and only into memory that it has.
    pub(crate) fn receive_into(&mut self, target: &mut Vec<u8>, bytes_max: usize) -> Received {
        let Some(socket) = &self.socket else {
            return Received::End;
        };
        let received = match socket.try_read_buf(&mut target.limit(bytes_max)) {
            Ok(0) => Received::End,
            Ok(length) => Received::Bytes(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Received::Nothing,
            Err(_) => Received::End,
        };
        if let Received::Bytes(length) = received {
            self.bytes_in += length as u64;
        }
        received
    }

    /// Shuts our side of the connection. The peer's bytes are still received.
    pub(crate) fn finish(&mut self) {
        if let Some(socket) = &self.socket {
            // It fails if the peer is gone, and then there is nothing to shut.
            let _ = SockRef::from(socket).shutdown(std::net::Shutdown::Write);
        }
    }

    /// Closes the socket, and drops what was not sent.
    pub(crate) fn close(&mut self) {
        self.socket = None;
        self.output = Buffer::default();
        self.sent = 0;
        self.stalled_since = None;
    }
}

/// Has a lost connection be an error of the call, and no signal.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
const NO_SIGNAL: SendFlags = SendFlags::empty();
/// So many bytes are sent from where they lie, at once: a system call costs less than their copy.
pub(crate) const LARGE_BYTES: usize = 16 * 1024;
/// So many sent bytes at the front of a queue are worth moving the rest, if the rest is no longer.
const COMPACT_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Shutdown;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn what_the_peer_of_a_unix_socket_sent_before_its_close_is_still_to_be_read() {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let near = std::net::TcpStream::from(OwnedFd::from(near));
        let mut wire = Wire::new(TcpStream::from_std(near).unwrap(), Vec::new());
        far.write_all(b"last").unwrap();
        assert_eq!(wire.peer_end(), PeerEnd::No);
        far.shutdown(Shutdown::Write).unwrap();
        assert_eq!(wire.peer_end(), PeerEnd::Finished);

        drop(far);

        assert_eq!(wire.peer_end(), PeerEnd::Finished);
        let mut last = [0; 8];
        while wire.receive(&mut last) == Received::Nothing {
            let readable = std::future::poll_fn(|cx| wire.poll_readable(cx)).await;
            readable.unwrap();
        }
        assert_eq!(&last[..4], b"last");
        assert_eq!(wire.peer_end(), PeerEnd::Lost);
    }
}
