//! The process that is to take the place of this one: started with this one's sockets, and heard until it is ready.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use signal_hook::low_level::signal_name;

use super::channel::{DESCRIPTORS_MAX, Received, ToPredecessor, ToSuccessor, UpgradeChannel};
use super::program::Program;
use crate::border::guards::signal_dispositions;
use crate::process::ending_signals;
use crate::process::passed_sockets::SocketNote;

/// The process.
#[derive(Debug)]
pub(super) struct Successor {
    child: Child,
}

/// Why a process does not take the place of this one.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSuccessor {
    #[error("it cannot be started: {0}")]
    NotStarted(io::Error),
    /// With its exit status, if it is known.
    #[error("it has ended{}", .0.map_or_else(|| WHY.to_owned(), how_it_ended))]
    Ended(Option<ExitStatus>),
    #[error("{0}")]
    Failed(String),
    #[error("it is not ready within {} ms (`upgrade_timeout_ms`)", .0.as_millis())]
    Late(Duration),
    #[error("it does not serve {}, which this one serves; its own lines say why", .0.join(", "))]
    ServesLess(Vec<String>),
    #[error("it says what this one does not understand: {0}")]
    Unclear(io::Error),
}

impl Successor {
    /// Starts `program` with these sockets. Returns the process, and the way to it.
    pub(super) fn start(
        program: &Program,
        sockets: &[(OwnedFd, SocketNote)],
    ) -> io::Result<(Successor, UpgradeChannel)> {
        let (channel, theirs) = UpgradeChannel::pair()?;
        // All of it waits in the channel until the process reads it.
        send_sockets(&channel, sockets)?;
        // The channel is its stdin, and so what is stdin here goes through the channel.
        let stdin = io::stdin();
        channel.send(&ToSuccessor::Begin, &[stdin.as_fd()])?;
        // A signal for the new process may come before it listens to signals.
        let child = signal_dispositions::holding(&ending_signals::all(), || {
            program
                .command()
                .env(VARIABLE, std::process::id().to_string())
                // The watchdog's time is meant for the process that takes over, too.
                .env_remove("WATCHDOG_PID")
                .env_remove("LISTEN_PID")
                .env_remove("LISTEN_FDS")
                .env_remove("LISTEN_FDNAMES")
                .stdin(theirs)
                .spawn()
        });
        let child = child.map_err(|error| program.why_not_started(error))?;
        Ok((Successor { child }, channel))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status of the process, if it has ended.
    pub(super) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until the process, which is ending, has written its last lines and ended. Ends it if that takes long.
    pub(super) fn end_behind_its_last_lines(mut self) {
        let deadline = Instant::now() + LAST_LINES;
        while Instant::now() < deadline {
            if self.exit_status().is_some() {
                return;
            }
            std::thread::sleep(LOOK);
        }
        self.end();
    }

    /// Ends the process.
    pub(super) fn end(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes sockets to the process at the other end.
pub(super) fn send_sockets(
    channel: &UpgradeChannel,
    sockets: &[(OwnedFd, SocketNote)],
) -> io::Result<()> {
    for part in sockets.chunks(DESCRIPTORS_MAX) {
        let descriptors: Vec<_> = part.iter().map(|(socket, _)| socket.as_fd()).collect();
        let notes = part.iter().map(|(_, note)| note.clone()).collect();
        channel.send(&ToSuccessor::Sockets(notes), &descriptors)?;
    }
    Ok(())
}

/// How a process has ended, and where to read why.
fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!(" with exit status {code}{WHY}"),
        (None, Some(signal)) => {
            let name = signal_name(signal).map_or(String::new(), |it| format!(" ({it})"));
            // A file that is cut off, for example, says nothing.
            format!(" with signal {signal}{name}; its own lines may say why")
        }
        (None, None) => WHY.to_owned(),
    }
}

const WHY: &str = "; its own lines say why";
/// How long a process may take to end that has closed its side of the channel.
pub(super) const LAST_LINES: Duration = Duration::from_secs(2);
/// The time between two looks at it.
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// Waits until the process at the other end is ready, and serves all of `handlers`. Returns its version.
pub(super) fn wait_until_ready(
    channel: &UpgradeChannel,
    limit: Duration,
    handlers: &[String],
) -> Result<String, NoSuccessor> {
    let deadline = Instant::now() + limit;
    let mut missing: BTreeSet<&str> = handlers.iter().map(String::as_str).collect();
    loop {
        match channel.receive(deadline).map_err(NoSuccessor::Unclear)? {
            Received::Message(ToPredecessor::Serves(name), _) => {
                missing.remove(&*name);
            }
            Received::Message(ToPredecessor::Ready { version }, _) if missing.is_empty() => {
                return Ok(version);
            }
            Received::Message(ToPredecessor::Ready { .. }, _) => {
                let missing = missing.into_iter().map(|name| format!("`{name}`"));
                return Err(NoSuccessor::ServesLess(missing.collect()));
            }
            Received::Message(ToPredecessor::Failed { why }, _) => {
                return Err(NoSuccessor::Failed(why));
            }
            Received::End => return Err(NoSuccessor::Ended(None)),
            Received::Late => return Err(NoSuccessor::Late(limit)),
        }
    }
}

/// The variable that tells the process of the one that has started it, by its number.
pub(super) const VARIABLE: &str = "WSHD_UPGRADE_OF";
