//! Sends an answer with a file behind it, at the peer's pace and without memory of its own: the
//! kernel takes the bytes from the file when it has room for them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::sendfile;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::reply::linger;

/// What follows the head of an answer.
#[derive(Debug)]
pub(super) enum Body {
    Nothing,
    Bytes(Vec<u8>),
    File(File, Range<u64>),
}

/// Sends all of it and ends the connection. A peer that takes nothing for a minute is given up.
pub(super) async fn send(socket: TcpStream, head: Vec<u8>, body: Body) -> io::Result<()> {
    // What the kernel has and the peer has no room for is the kernel's memory.
    let _ = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    let socket = Arc::new(socket);
    send_bytes(&socket, &head).await?;
    match body {
        Body::Nothing => {}
        Body::Bytes(bytes) => send_bytes(&socket, &bytes).await?,
        Body::File(file, range) => send_file(&socket, file, range).await?,
    }
    SockRef::from(&*socket).shutdown(std::net::Shutdown::Write)?;
    timeout(LINGER, linger(&socket)).await.unwrap_or(Ok(()))
}

async fn send_bytes(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        progress(socket.writable()).await?;
        match socket.try_write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn send_file(socket: &Arc<TcpStream>, file: File, mut range: Range<u64>) -> io::Result<()> {
    let file = Arc::new(file);
    while !range.is_empty() {
        // Asked of the kernel: that there was no room is not known to the runtime, since it shows
        // on another thread.
        let room = socket.async_io(Interest::WRITABLE, || has_room(socket));
        progress(room).await?;
        let (to, from) = (socket.clone(), file.clone());
        let (mut at, bytes) = (range.start, range.end - range.start);
        // A disk may take its time, which is no worker's.
        let sent = on_thread(move || {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            sendfile(&*to, &*from, Some(&mut at), bytes.min(CHUNK_BYTES_MAX))
        });
        match sent.await?.map_err(io::Error::from) {
            Ok(0) => {
                let text = "the file has become shorter while it was sent";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            Ok(length) => range.start += length as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Runs what waits for a disk on a thread that may; a few at a time, so that a disk that does not
/// answer takes no more than those.
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
    // An error is told by the next attempt.
    match asked[0].revents().is_empty() {
        true => Err(io::ErrorKind::WouldBlock.into()),
        false => Ok(()),
    }
}

async fn progress(step: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let stalled = || io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing");
    timeout(STALL, step)
        .await
        .unwrap_or_else(|_| Err(stalled()))
}

static DISK: Semaphore = Semaphore::const_new(16);

/// How long a peer may take nothing.
const STALL: Duration = Duration::from_secs(60);
/// How long the peer's end is waited for when it has been sent everything.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes of one call: a disk gives so many at once, and others wait no longer.
const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Bytes that lie in the kernel for a peer and are not on their way. A slow peer takes half of them
/// well within the time that it may take nothing.
const UNSENT_BYTES_MAX: u32 = 64 * 1024;
