//! The server whose place this process takes: gives its sockets, and is told when this process is ready.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use rustix::process::getppid;
use socket2::Socket;
use tracing::warn;

use super::channel::{Received, ToPredecessor, ToSuccessor, UpgradeChannel};
use super::successor::VARIABLE;
use crate::process::passed_sockets::{PassedSocket, SocketNote};

/// The server that has started this process.
#[derive(Debug)]
pub struct Predecessor {
    channel: Arc<UpgradeChannel>,
}

impl Predecessor {
    /// The server whose place this process is to take, with its sockets; `None` if it was started otherwise.
    ///
    /// To be called once, first thing in `main`: stdin is the way to that server until then.
    ///
    /// # Errors
    ///
    /// The server has ended, or says something else.
    pub fn of_process() -> io::Result<Option<(Predecessor, Vec<PassedSocket>)>> {
        let named = std::env::var(VARIABLE).ok();
        let named: Option<i32> = named.and_then(|it| it.parse().ok());
        // The variable is also there in processes that such a server has started itself.
        if named.is_none() || named != getppid().map(|it| it.as_raw_nonzero().get()) {
            return Ok(None);
        }
        let channel = UpgradeChannel::of(io::stdin().as_fd().try_clone_to_owned()?);
        let deadline = Instant::now() + BEGIN_TIMEOUT;
        let mut sockets = Vec::new();
        loop {
            match channel.receive(deadline)? {
                Received::Message(ToSuccessor::Sockets(notes), descriptors) => {
                    sockets.extend(passed(notes, descriptors)?);
                }
                Received::Message(ToSuccessor::Begin, descriptors) => {
                    let stdin = descriptors.into_iter().next();
                    let stdin = stdin.ok_or_else(|| io::Error::other("it has passed no stdin"))?;
                    rustix::stdio::dup2_stdin(&stdin)?;
                    let channel = Arc::new(channel);
                    let _ = CHANNEL.set(Arc::downgrade(&channel));
                    return Ok(Some((Predecessor { channel }, sockets)));
                }
                Received::Message(ToSuccessor::Yours, _) => {
                    return Err(io::Error::other("it has ended the exchange early"));
                }
                Received::End => return Err(io::Error::other("it has ended")),
                Received::Late => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    /// Tells the server which `handlers` this process serves, and waits until it has let go of its sockets. Returns those
    /// that it has made since it started this process.
    ///
    /// A server that has ended meanwhile has let go of them too. The drop of this tells it that all is in its place here.
    pub(crate) fn take_over(&self, handlers: impl Iterator<Item = String>) -> Vec<PassedSocket> {
        let mut made_meanwhile = Vec::new();
        if let Err(error) = self.tell_and_wait(handlers, &mut made_meanwhile) {
            warn!(%error, "the server before this one does not answer; going on without it");
        }
        made_meanwhile
    }

    fn tell_and_wait(
        &self,
        handlers: impl Iterator<Item = String>,
        made_meanwhile: &mut Vec<PassedSocket>,
    ) -> io::Result<()> {
        for name in handlers {
            self.channel.send(&ToPredecessor::Serves(name), &[])?;
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.channel.send(&ToPredecessor::Ready { version }, &[])?;
        let deadline = Instant::now() + HAND_OVER_TIMEOUT;
        loop {
            match self.channel.receive::<ToSuccessor>(deadline)? {
                Received::Message(ToSuccessor::Sockets(notes), descriptors) => {
                    made_meanwhile.extend(passed(notes, descriptors)?);
                }
                Received::Message(..) | Received::End => return Ok(()),
                Received::Late => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }
}

/// The sockets that came in one message.
fn passed(
    notes: Vec<SocketNote>,
    descriptors: Vec<OwnedFd>,
) -> io::Result<impl Iterator<Item = PassedSocket>> {
    if notes.len() != descriptors.len() {
        return Err(io::Error::other("not all of its sockets have come"));
    }
    let passed = notes.into_iter().zip(descriptors);
    Ok(passed.map(|(note, socket)| PassedSocket {
        socket: Socket::from(socket),
        note,
    }))
}

/// Tells the server whose place this process was to take why it does not. Where there is no such server, nothing happens.
pub fn tell_failure(why: &str) {
    if let Some(channel) = CHANNEL.get().and_then(Weak::upgrade) {
        // What follows shows the place in a file, and is in the log.
        let sentence = why.lines().next().unwrap_or_default();
        let why = sentence.chars().take(WHY_CHARS_MAX).collect();
        // It may be gone. Its log has what this process says.
        let _ = channel.send(&ToPredecessor::Failed { why }, &[]);
    }
}

/// The way to the server whose place this process takes. Global, because a start fails in many places.
static CHANNEL: OnceLock<Weak<UpgradeChannel>> = OnceLock::new();

/// How much of a sentence is told.
const WHY_CHARS_MAX: usize = 4_096;
/// How long the sockets may take to come: they are sent before this process is started.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the other server may take to answer. It ends this process if it wants to serve on.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);
