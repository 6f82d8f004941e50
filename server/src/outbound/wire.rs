//! What carries a session, and the queue of bytes that the kernel has not taken yet.
//!
//! A readiness event costs one receive and one send. While it lasts, replies gather in the thread's
//! output buffer. What the kernel does not take then moves into memory of the session's own, which is
//! given back when it is empty. With TLS the queue is plaintext, which is encrypted as it is sent.

pub(crate) mod unacked;

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll};

use bytes::BufMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendFlags, send};
use socket2::SockRef;
use tungstenite::protocol::frame::coding::OpCode;

use self::unacked::unacked;
use crate::buffers::pool::Buffer;
use crate::process::clock::Moment;
use crate::transport::tls::TlsStream;
use crate::transport::{Received, Transport, receive};
use crate::ws::frame;

/// What carries a session, and its outgoing queue.
#[derive(Debug)]
pub(crate) struct Wire {
    /// `None` once the connection is over.
    transport: Option<Transport>,
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
    pub(crate) fn new(transport: Transport, output: Vec<u8>) -> Wire {
        Wire {
            transport: Some(transport),
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

    /// The bytes that have left and those that wait: where the queue ends. Bytes that were taken out no longer count.
    pub(crate) fn end(&self) -> u64 {
        self.bytes_out + self.buffered() as u64
    }

    /// How many bytes at the front of the queue cannot be taken back, since TLS has encrypted them.
    pub(crate) fn committed(&self) -> usize {
        match &self.transport {
            Some(Transport::Tls(tls)) => tls.encrypted_ahead(),
            _ => 0,
        }
    }

    /// Takes the last bytes of the queue back, unless some of them have left or are about to.
    pub(crate) fn take_back(&mut self, bytes: usize) {
        if self.committed() + bytes <= self.buffered() {
            let length = self.output.len() - bytes;
            self.output.truncate(length);
        }
    }

    /// Takes `bytes` out of the queue that stand `at` bytes behind its front. False if they have left, in part or as a
    /// whole, or are about to.
    pub(crate) fn take_out(&mut self, at: usize, bytes: usize) -> bool {
        if at < self.committed() || at + bytes > self.buffered() {
            return false;
        }
        // What stands before them moves, which is less: the rest of one message, and control frames.
        let front = self.sent;
        self.output.copy_within(front..front + at, front + bytes);
        self.sent += bytes;
        self.shorten();
        true
    }

    /// Whether TLS carries it.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.transport, Some(Transport::Tls(_)))
    }

    /// The descriptor of the socket, if nothing is queued and plain bytes can be sent on it. It is good until
    /// [`close`](Self::close) or the drop.
    pub(crate) fn idle_socket(&self) -> Option<RawFd> {
        let is_idle = self.output.is_empty() && !self.is_broken;
        match &self.transport {
            Some(Transport::Plain(socket)) if is_idle => Some(socket.as_raw_fd()),
            _ => None,
        }
    }

    /// When the kernel last took something, or first took nothing, if bytes are queued.
    pub(crate) fn stalled_since(&self) -> Option<Moment> {
        self.stalled_since
    }

    /// The bytes that the kernel has taken, to be compared with `unacked`. With TLS they are ciphertext.
    pub(crate) fn taken(&self) -> u64 {
        match &self.transport {
            Some(Transport::Tls(tls)) => tls.taken(),
            _ => self.bytes_out,
        }
    }

    /// The bytes that the kernel has taken and the peer's TCP has not acknowledged. It is a system call.
    pub(crate) fn unacked(&self) -> u64 {
        let transport = self.transport.as_ref();
        transport.map_or(0, |it| unacked(it.socket()))
    }

    /// The bytes that the peer sent and that wait in the kernel. It is a system call. With TLS, bytes that can be no
    /// more than the alert at the end do not count.
    pub(crate) fn unread(&self) -> u64 {
        let Some(transport) = &self.transport else {
            return 0;
        };
        let unread = rustix::io::ioctl_fionread(transport.socket()).unwrap_or(0);
        match transport {
            Transport::Tls(tls) if unread <= tls.close_notify_bytes() => 0,
            _ => unread,
        }
    }

    /// Whether the peer has ended the connection, as far as can be seen without reading. It is one
    /// system call, or two after the end.
    pub(crate) fn peer_end(&self) -> PeerEnd {
        let Some(transport) = &self.transport else {
            return PeerEnd::Lost;
        };
        let mut watched = [PollFd::new(transport.socket(), PollFlags::RDHUP)];
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
        let Some(transport) =
            (self.transport.as_ref()).filter(|_| may_send && bytes.len() >= LARGE_BYTES)
        else {
            return self.output.extend_from_slice(bytes);
        };
        let Transport::Plain(socket) = transport else {
            return self.put_large_encrypted(bytes);
        };
        let queued = self.buffered();
        let both = [IoSlice::new(&self.output[self.sent..]), IoSlice::new(bytes)];
        let sent = SockRef::from(socket).send_vectored_with_flags(&both, NO_SIGNAL.bits() as i32);
        let sent = sent.unwrap_or(0); // An error that is for good shows when the rest is flushed.
        self.bytes_out += sent as u64;
        if sent < queued {
            self.sent += sent;
            self.keep(bytes);
        } else {
            self.output.clear();
            self.sent = 0;
            self.keep(&bytes[sent - queued..]);
        }
        self.stalled_since = (self.buffered() > 0).then(Moment::now);
    }

    /// Queues what the kernel did not take of many bytes. Where the system has no memory for them, the connection is
    /// over: its peer decides how long an echo is, and must not end the process by it.
    fn keep(&mut self, bytes: &[u8]) {
        match self.output.try_reserve(bytes.len()) {
            Ok(()) => self.output.extend_from_slice(bytes),
            Err(_) => self.is_broken = true,
        }
    }

    /// Like `put_raw` of many bytes, with TLS: they are encrypted from where they lie.
    #[cold]
    fn put_large_encrypted(&mut self, bytes: &[u8]) {
        self.try_flush();
        let mut sent = 0;
        if self.output.is_empty()
            && !self.is_broken
            && let Some(Transport::Tls(tls)) = &mut self.transport
        {
            // An error that is for good shows when the rest is flushed.
            sent = tls.send(bytes).unwrap_or(0);
            self.bytes_out += sent as u64;
        }
        self.keep(&bytes[sent..]);
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
            && let Some(Transport::Plain(socket)) = &self.transport
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
        let queued = &self.output[self.sent..];
        let sent = match &mut self.transport {
            Some(Transport::Plain(socket)) => socket.try_write(queued),
            Some(Transport::Tls(tls)) => tls.send(queued),
            None => return,
        };
        match sent {
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
            self.stalled_since = Some(Moment::now());
            self.shorten();
        }
    }

    /// Gives the memory back that a long queue has in front of it.
    #[cold]
    fn shorten(&mut self) {
        if self.sent >= COMPACT_BYTES && self.sent >= self.buffered() {
            self.output.drain(..self.sent);
            self.sent = 0;
            // A slow peer of a long message holds no more memory than what it still has to take, or twice that.
            self.output.shrink_to_fit();
        }
    }

    /// Whether a [`flush`](Self::flush) that has just been has left nothing behind.
    // It asks no length: what the kernel refuses is noted.
    #[inline]
    pub(crate) fn has_sent_all(&self) -> bool {
        self.stalled_since.is_none() && !self.is_broken
    }

    /// Whether sending failed for good.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Ready when the kernel may have bytes to receive.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.transport {
            Some(Transport::Plain(socket)) => socket.poll_read_ready(cx),
            Some(Transport::Tls(tls)) => tls.poll_readable(cx),
            None => Poll::Pending,
        }
    }

    /// Ready when the kernel may take bytes.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.transport {
            Some(transport) => transport.socket().poll_write_ready(cx),
            None => Poll::Pending,
        }
    }

    /// Receives once. `buffer` has room for 32 KiB at least.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        let received = match &mut self.transport {
            Some(Transport::Plain(socket)) => receive::<true>(socket, buffer),
            Some(Transport::Tls(tls)) => receive_encrypted(tls, buffer),
            None => return Received::End,
        };
        if let Received::Bytes(length) = received {
            self.bytes_in += length as u64;
        }
        received
    }

    /// Whether [`receive_into`](Self::receive_into) can be called. With TLS, what comes is no payload yet.
    pub(crate) fn can_receive_into(&self) -> bool {
        !matches!(self.transport, Some(Transport::Tls(_)))
    }

    /// Receives at most `bytes_max` once, behind what is in `target`, and only into memory that it has.
    pub(crate) fn receive_into(&mut self, target: &mut Vec<u8>, bytes_max: usize) -> Received {
        let Some(Transport::Plain(socket)) = &self.transport else {
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
        match &mut self.transport {
            Some(Transport::Plain(socket)) => {
                // It fails if the peer is gone, and then there is nothing to shut.
                let _ = SockRef::from(&*socket).shutdown(std::net::Shutdown::Write);
            }
            Some(Transport::Tls(tls)) => tls.finish(),
            None => {}
        }
    }

    /// Closes the socket, and drops what was not sent.
    pub(crate) fn close(&mut self) {
        if let Some(mut transport) = self.transport.take() {
            transport.answer_end();
        }
        self.output = Buffer::default();
        self.sent = 0;
        self.stalled_since = None;
    }
}

/// Receives and decrypts once. The plaintext is put together at the front of `buffer`.
#[inline(never)]
fn receive_encrypted(tls: &mut TlsStream, buffer: &mut [u8]) -> Received {
    let mut at = 0;
    tls.receive(buffer.len(), |plain| {
        buffer[at..at + plain.len()].copy_from_slice(plain);
        at += plain.len();
    })
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
mod tests;
