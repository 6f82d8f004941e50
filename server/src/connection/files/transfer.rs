//! Sends a response with a file behind it, at the peer's pace and without a buffer: the kernel takes
//! the bytes from the file when it has room for them. Where the kernel cannot do that, and with TLS, the file is
//! read and sent in small parts.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::sendfile;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::TransferTimeouts;
use crate::connection::reply::linger;
use crate::outbound::flow::{Flow, pause_ms};
use crate::outbound::wire::unacked::unacked;
use crate::process::clock::Moment;
use crate::transport::Transport;
use crate::transport::tls::TlsStream;

/// What follows the head of a response.
#[derive(Debug)]
pub(super) enum Body {
    Nothing,
    Bytes(Vec<u8>),
    File(File, Range<u64>),
}

/// Why a response is not sent to its end.
#[derive(Debug)]
pub(super) enum TransferError {
    /// The file cannot be read.
    File(io::Error),
    /// The peer is gone or takes nothing, or the server stops.
    Connection(io::Error),
}

impl From<io::Error> for TransferError {
    fn from(error: io::Error) -> TransferError {
        TransferError::Connection(error)
    }
}

/// A response that is being sent.
struct Transfer {
    target: Target,
    /// Bytes that the kernel has taken; with TLS they are counted elsewhere.
    taken: u64,
    /// `None` until the kernel had no room for a while.
    flow: Option<Flow>,
    timeouts: TransferTimeouts,
    /// When the server stopped, if it did.
    stopped: Option<Moment>,
}

/// What a response is sent on. The kernel sends from files on another thread, which needs a plain socket of its own.
enum Target {
    Plain(Arc<TcpStream>),
    Tls(Box<TlsStream>),
}

impl Target {
    fn socket(&self) -> &TcpStream {
        match self {
            Target::Plain(socket) => socket,
            Target::Tls(tls) => tls.socket(),
        }
    }

    /// Offers the kernel bytes, once.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Target::Plain(socket) => socket.try_write(bytes),
            Target::Tls(tls) => tls.send(bytes),
        }
    }

    /// Ends our side of the connection.
    fn finish(&mut self) -> io::Result<()> {
        match self {
            Target::Plain(socket) => SockRef::from(&**socket).shutdown(std::net::Shutdown::Write),
            Target::Tls(tls) => {
                tls.finish();
                Ok(())
            }
        }
    }
}

/// Sends a whole response and ends the connection. The transfer fails when the peer's TCP acknowledges
/// nothing more for as long as `timeouts` says, which is the rule of sessions too.
pub(super) async fn send(
    transport: Transport,
    head: Vec<u8>,
    body: Body,
    timeouts: TransferTimeouts,
) -> Result<(), TransferError> {
    // The kernel keeps in memory what it has taken and the peer has no room for.
    let _ = SockRef::from(transport.socket()).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    let mut transfer = Transfer {
        target: match transport {
            Transport::Plain(socket) => Target::Plain(Arc::new(socket)),
            Transport::Tls(tls) => Target::Tls(tls),
        },
        taken: 0,
        flow: None,
        timeouts,
        stopped: None,
    };
    transfer.send_bytes(&head).await?;
    match body {
        Body::Nothing => {}
        Body::Bytes(bytes) => transfer.send_bytes(&bytes).await?,
        Body::File(file, range) => transfer.send_file(file, range).await?,
    }
    transfer.target.finish()?;
    let socket = transfer.target.socket();
    let lingered = timeout(LINGER, linger(socket, &transfer.timeouts.stopping)).await;
    Ok(lingered.unwrap_or(Ok(()))?)
}

impl Transfer {
    async fn send_bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.wait_for_room().await?;
            match self.target.try_write(bytes) {
                Ok(length) => {
                    self.taken += length as u64;
                    bytes = &bytes[length..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn send_file(&mut self, file: File, mut range: Range<u64>) -> Result<(), TransferError> {
        let file = Arc::new(file);
        while !range.is_empty() {
            let Target::Plain(socket) = &self.target else {
                range.start += self.send_part(&file, range.clone()).await?;
                continue;
            };
            let (to, from) = (socket.clone(), file.clone());
            self.wait_for_room().await?;
            let (mut at, bytes) = (range.start, range.end - range.start);
            // A disk may take its time, and would hold a worker.
            let sent = on_thread(move || {
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                sendfile(&*to, &*from, Some(&mut at), bytes.min(CHUNK_BYTES_MAX))
            });
            match self.timeouts.bound(sent).await??.map_err(io::Error::from) {
                Ok(0) => return Err(shortened()),
                Ok(length) => {
                    self.taken += length as u64;
                    range.start += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_not_for(&error) => {
                    range.start += self.send_part(&file, range.clone()).await?;
                }
                Err(error) => return Err(cause_of(error)),
            }
        }
        Ok(())
    }

    /// Reads a part of the file, sends it and returns its length.
    async fn send_part(
        &mut self,
        file: &Arc<File>,
        range: Range<u64>,
    ) -> Result<u64, TransferError> {
        let file = file.clone();
        let bytes = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let read = on_thread(move || {
            let mut part = vec![0; bytes.min(PART_BYTES_MAX)];
            let length = file.read_at(&mut part, range.start)?;
            part.truncate(length);
            Ok::<_, io::Error>(part)
        });
        let part = self.timeouts.bound(read).await??;
        let part = part.map_err(TransferError::File)?;
        if part.is_empty() {
            return Err(shortened());
        }
        self.send_bytes(&part).await?;
        Ok(part.len() as u64)
    }

    /// Waits until the kernel has room. Fails when what the kernel has does not move for too long.
    async fn wait_for_room(&mut self) -> io::Result<()> {
        let began = Moment::now();
        let socket = self.target.socket();
        // The kernel is asked, since the runtime does not learn that a send on another thread found no room.
        let mut room = pin!(socket.async_io(Interest::WRITABLE, || has_room(socket)));
        loop {
            let timeout_ms = match self.stopped {
                Some(_) => self.timeouts.outbound_ms.min(self.timeouts.close_ms),
                None => self.timeouts.outbound_ms,
            };
            let pause = Duration::from_millis(pause_ms(timeout_ms).max(1));
            tokio::select! {
                biased;
                ready = &mut room => return ready,
                () = self.timeouts.stopping.begun(), if self.stopped.is_none() => {
                    self.stopped = Some(Moment::now());
                }
                () = sleep(pause) => {}
            }
            let now = Moment::now();
            let taken = match &self.target {
                Target::Plain(_) => self.taken,
                Target::Tls(tls) => tls.taken(),
            };
            let acked = taken.saturating_sub(unacked(socket));
            let flow = self
                .flow
                .get_or_insert_with(|| Flow::new(began, now, acked));
            flow.note(now, acked);
            let close_timeout_ms = self.timeouts.close_ms;
            let is_late = |stopped| flow.has_not_moved_since(stopped, now, close_timeout_ms);
            if flow.has_stalled(now, self.timeouts.outbound_ms) || self.stopped.is_some_and(is_late)
            {
                let text = "the peer takes nothing";
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
        }
    }
}

/// Whether the error says that the kernel cannot send from this file, or from any: some file systems
/// and some filters of system calls refuse `sendfile`.
fn is_not_for(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [libc::EINVAL, libc::ENOSYS, libc::EPERM]
        .iter()
        .any(|c| code == Some(*c))
}

fn shortened() -> TransferError {
    let text = "the file has become shorter while it was sent";
    TransferError::File(io::Error::new(io::ErrorKind::UnexpectedEof, text))
}

/// Tells what an error of `sendfile` is about, which is either the file or the socket.
fn cause_of(error: io::Error) -> TransferError {
    match error.raw_os_error() {
        Some(libc::EIO) => TransferError::File(error),
        _ => TransferError::Connection(error),
    }
}

/// Runs `run`, which waits for a disk, on a thread that may wait. A few run at a time, so that a disk
/// that does not answer holds no more threads than those.
pub(super) async fn on_thread<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let permit = DISK.acquire().await.map_err(io::Error::other)?;
    let ran = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        run()
    });
    ran.await.map_err(io::Error::other)
}

fn has_room(socket: &TcpStream) -> io::Result<()> {
    let mut asked = [PollFd::new(socket, PollFlags::OUT)];
    poll(&mut asked, Some(&Timespec::default()))?;
    // The next attempt to send returns the error.
    match asked[0].revents().is_empty() {
        true => Err(io::ErrorKind::WouldBlock.into()),
        false => Ok(()),
    }
}

/// Permits for threads that wait for a disk. Global, as the runtime's threads for such work are.
static DISK: Semaphore = Semaphore::const_new(16);

/// How long a peer that was sent everything may take to close.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes of one call. A disk reads as many at once, and other transfers wait no longer for a thread.
const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Bytes that are read at a time of a file that the kernel cannot send.
const PART_BYTES_MAX: usize = 16 * 1024;
/// Bytes that the kernel has for a peer and has not sent. A slow peer takes half of them well within
/// the time in which it may take nothing.
const UNSENT_BYTES_MAX: u32 = 64 * 1024;
