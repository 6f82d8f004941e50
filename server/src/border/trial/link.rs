//! The server's side of the helper process: makes it, asks it, and makes it again.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, waitid};
use tracing::warn;

use super::NoTrial;
use super::helper;
use super::page::Page;
use crate::process::optional;
use crate::process::optional::{Optional, is_allowed};

/// The helper process.
#[derive(Debug)]
pub(super) struct Helper {
    socket: OwnedFd,
    /// `None` once it is reaped: from then on the number can be another process's.
    pid: Mutex<Option<Pid>>,
}

/// Forks the helper. To be called once, first thing in `main`, while the process has a single thread
/// and nothing waits in a buffer.
pub(crate) fn start_helper() {
    let helper = match is_allowed(Optional::Trial) {
        true => Helper::fork().map_err(|error| error.to_string()),
        false => Err("a system call filter forbids what they take".to_owned()),
    };
    *HELPER.lock().unwrap_or_else(PoisonError::into_inner) = Some(helper.map(Arc::new));
}

/// Ends the helper, before any trial. To be followed by [`start_helper_again`].
///
/// It has the rights with which the process was started. When the process gives rights up, the helper must not keep them.
pub(crate) fn end_helper() {
    let mut current = HELPER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Ok(helper)) = &*current {
        helper.end();
        *current = Some(Err("it was ended".to_owned()));
    }
}

/// Makes a helper that has the rights of the process as they are now, if there was one before.
pub(crate) fn start_helper_again() {
    let mut current = HELPER.lock().unwrap_or_else(PoisonError::into_inner);
    if current.is_some() && is_allowed(Optional::Trial) {
        let helper = Helper::spawn().map_err(|error| error.to_string());
        *current = Some(helper.map(Arc::new));
    }
}

/// Runs the helper until the process ends, if the process was started as one.
pub(crate) fn be_helper_if_asked() {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| name == NAME)
        && let Some(server) = arguments.next().and_then(|id| id.to_str()?.parse().ok())
        && let Some(server) = Pid::from_raw(server)
        && let Ok(socket) = io::stdin().as_fd().try_clone_to_owned()
    {
        optional::probe();
        helper::run(socket, server);
    }
}

/// Fails if it is known that there cannot be a trial.
pub(super) fn check() -> Result<(), NoTrial> {
    now().map(drop)
}

/// Asks for the trial that `page` describes. Its end is told on the other end of `line`. A helper that has
/// ended is made again first. Returns the helper that was asked.
pub(super) fn ask(page: &Page, line: &UnixStream) -> Result<Arc<Helper>, NoTrial> {
    let helper = now()?;
    match helper.ask(page, line) {
        Err(NoTrial::HelperGone) => {
            let other = renewed(&helper)?;
            other.ask(page, line).map(|()| other)
        }
        asked => asked.map(|()| helper),
    }
}

fn now() -> Result<Arc<Helper>, NoTrial> {
    match &*HELPER.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(Ok(helper)) => Ok(helper.clone()),
        Some(Err(error)) => Err(NoTrial::NoHelper(error.clone())),
        None => Err(NoTrial::NoHelper("none was made at the start".to_owned())),
    }
}

/// Makes the helper that takes the place of `old`, unless that was done already.
fn renewed(old: &Arc<Helper>) -> Result<Arc<Helper>, NoTrial> {
    let mut current = HELPER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Ok(other)) = &*current
        && !Arc::ptr_eq(other, old)
    {
        return Ok(other.clone()); // another load was faster
    }
    old.reap();
    let helper = Helper::spawn().map_err(|_| NoTrial::HelperGone)?;
    let helper = Arc::new(helper);
    *current = Some(Ok(helper.clone()));
    warn!("the process that tries plugins had ended, another one is there");
    Ok(helper)
}

impl Helper {
    fn fork() -> io::Result<Helper> {
        let (socket, theirs) = sockets()?;
        let server = getpid();
        // SAFETY: the process has a single thread, which `start_helper` asks of its caller. So the copy finds no lock taken.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(socket);
                helper::run(theirs, server)
            }
            pid => Ok(Helper {
                socket,
                pid: Mutex::new(Pid::from_raw(pid)),
            }),
        }
    }

    /// Runs this program anew as a helper. A fork would not do: this process has threads by now, and its
    /// copy would find locks taken.
    fn spawn() -> io::Result<Helper> {
        let (socket, theirs) = sockets()?;
        let child = Command::new("/proc/self/exe")
            .arg0(NAME)
            .arg(getpid().as_raw_nonzero().to_string())
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(Helper {
            socket,
            pid: Mutex::new(pid),
        })
    }

    fn ask(&self, page: &Page, line: &UnixStream) -> Result<(), NoTrial> {
        let fds = [page.as_fd(), line.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        let data = [IoSlice::new(b"t")];
        let sent = sendmsg(&self.socket, &data, &mut ancillary, SendFlags::NOSIGNAL);
        sent.map(drop).map_err(|error| match error {
            Errno::PIPE | Errno::CONNRESET => NoTrial::HelperGone,
            error => NoTrial::NotMade(error.into()),
        })
    }

    /// Reaps the process if it has ended.
    fn reap(&self) {
        reap(&mut self.pid.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Ends a helper that does not answer. Its trials end with it, and so do the waits for them, because
    /// their lines close. The next trial makes another helper.
    pub(super) fn end(&self) {
        let mut pid = self.pid.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(number) = *pid else {
            return; // another trial was faster
        };
        let _ = kill_process(number, Signal::KILL);
        let since = Instant::now();
        // If the kernel takes longer to end it, it is reaped when the next one is made.
        while !reap(&mut pid) && since.elapsed() < REAP_TIMEOUT {
            std::thread::sleep(REAP_PAUSE);
        }
    }
}

/// Reaps the process if it has ended. True if nothing of it is left.
fn reap(pid: &mut Option<Pid>) -> bool {
    if let Some(number) = *pid {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if !matches!(waitid(WaitId::Pid(number), options), Ok(None)) {
            *pid = None;
        }
    }
    pid.is_none()
}

/// A pair of sockets for the server and its helper.
fn sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// The helper, or why there is none. Global, because it is forked first thing in `main`, when nothing else exists yet.
static HELPER: Mutex<Option<Result<Arc<Helper>, String>>> = Mutex::new(None);

/// How long the end of a helper that was killed is waited for.
const REAP_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between two looks at a helper that was killed.
const REAP_PAUSE: Duration = Duration::from_millis(5);
/// The program's first argument when it is run as a helper.
const NAME: &str = "wshd-trial-helper";
