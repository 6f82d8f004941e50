//! The helper process: it forks a process for each trial, waits for its end, and tells the server how it
//! ended.
//!
//! It is forked from the server while that has a single thread and little memory. So its own forks are
//! cheap and inherit no lock that is held. It never runs a plugin itself.
//!
//! When the server ends, the helper ends every process of every trial, and then itself. It sees that end
//! by a pidfd: the socket alone would not do, because a child of a plugin may hold a copy of the server's
//! half. A helper that a plugin has stopped is continued by its parent-death signal, SIGCONT.

use std::fs;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process,
    kill_process_group, pidfd_open, pidfd_send_signal, set_child_subreaper,
    set_parent_process_death_signal, setsid, waitid,
};

use super::child;
use crate::border::guards::signal_dispositions;

/// What the helper answers when a trial has ended or could not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HelperAnswer {
    Exited(i32),
    Killed(i32),
    /// No process could be made. The number is that of the error.
    NotMade(i32),
}

/// A trial under way.
struct RunningTrial {
    pid: Pid,
    /// A pidfd, readable when the process has ended, whatever its own children hold open.
    end: OwnedFd,
    /// The socket for the answer. The server closes its half to have the trial ended.
    line: UnixStream,
    is_given_up: bool,
}

/// Runs the helper in the process that `server` has made for it.
pub(super) fn run(control: OwnedFd, server: Pid) -> ! {
    let control = isolate(control);
    let Some(server) = watch(server) else {
        leave(&[]);
    };
    let mut trials: Vec<RunningTrial> = Vec::new();
    let mut has_orphans = false;
    loop {
        let happened = wait(&control, server.as_ref(), &mut trials, has_orphans);
        let Happened {
            is_server_gone,
            is_asked,
            over,
        } = happened;
        if is_server_gone {
            leave(&trials);
        }
        // From the back, so that the indices of the others stay right.
        for index in over.into_iter().rev() {
            end(trials.swap_remove(index));
        }
        has_orphans = end_orphans(&trials);
        if is_asked {
            match receive(&control) {
                Ok(Some([page, line])) => begin(&page, line.into(), &mut trials),
                Err(Errno::INTR | Errno::AGAIN) => {}
                // The server is gone.
                Ok(None) | Err(_) => leave(&trials),
            }
        }
    }
}

/// Separates the process from the server: no descriptor stays open but the socket, and signals for the
/// server's group do not reach it.
fn isolate(control: OwnedFd) -> OwnedFd {
    // Failures are ignored: the helper can do its work without each of these.
    let _ = setsid();
    let _ = rustix::thread::set_name(c"wshd-trial");
    // The signal also comes when a thread of the server ends, and changes nothing then.
    let _ = set_parent_process_death_signal(Some(Signal::CONT));
    let _ = set_child_subreaper(Some(getpid()));
    for signal in child::IGNORED {
        // SAFETY: the call has a signal ignored, which needs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // What waits until the server listens is not for this process, nor for those in which plugins are tried.
    signal_dispositions::release();
    if let Ok(null) = fs::File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    // SAFETY: descriptor 3 becomes a copy of the socket. Those from 4 on are not used any more: the process
    // was forked from a thread that had made nothing else.
    unsafe {
        if control.as_raw_fd() != CONTROL {
            libc::dup2(control.as_raw_fd(), CONTROL);
        }
        std::mem::forget(control);
        child::close_from(CONTROL + 1);
        let control = OwnedFd::from_raw_fd(CONTROL);
        libc::fcntl(CONTROL, libc::F_SETFD, libc::FD_CLOEXEC);
        control
    }
}

/// A pidfd of the server; `None` when the server has ended already. The pidfd is missing where a system
/// call filter refuses it. The socket alone tells of the end then.
fn watch(server: Pid) -> Option<Option<OwnedFd>> {
    let end = pidfd_open(server, PidfdFlags::empty()).ok();
    // Looked at afterwards, which shows that the number was the server's when the pidfd was opened.
    (getppid() == Some(server)).then_some(end)
}

/// Why the helper was woken.
#[derive(Debug, Default)]
struct Happened {
    is_server_gone: bool,
    /// Whether the server asks for a trial.
    is_asked: bool,
    /// The indices of the trials whose process has ended.
    over: Vec<usize>,
}

/// Waits until something happens.
fn wait(
    control: &OwnedFd,
    server: Option<&OwnedFd>,
    trials: &mut [RunningTrial],
    has_orphans: bool,
) -> Happened {
    // Without a pidfd of the server the socket stands in for it, so that the indices below stay fixed.
    let mut fds = vec![PollFd::new(control, PollFlags::IN)];
    fds.push(match server {
        Some(end) => PollFd::new(end, PollFlags::IN),
        None => PollFd::new(control, PollFlags::empty()),
    });
    for trial in trials.iter() {
        fds.push(PollFd::new(&trial.end, PollFlags::IN));
        // A closed line stays ready, so a trial that was given up is only waited for by its pidfd.
        fds.push(if trial.is_given_up {
            PollFd::new(&trial.end, PollFlags::IN)
        } else {
            PollFd::new(&trial.line, PollFlags::IN | PollFlags::RDHUP)
        });
    }
    let soon = Timespec {
        tv_sec: 0,
        tv_nsec: ORPHANS_PAUSE.subsec_nanos().into(),
    };
    if poll(&mut fds, has_orphans.then_some(&soon)).is_err() {
        return Happened::default();
    }
    let happened: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    let mut over = Vec::new();
    for (index, trial) in trials.iter_mut().enumerate() {
        if happened[2 + 2 * index] {
            over.push(index);
        } else if happened[3 + 2 * index] && !trial.is_given_up {
            trial.is_given_up = true;
            let _ = pidfd_send_signal(&trial.end, Signal::KILL);
        }
    }
    Happened {
        is_asked: happened[0],
        is_server_gone: server.is_some() && happened[1],
        over,
    }
}

/// Receives the page and the line of a trial that the server asks for. `None` when the server is gone.
fn receive(control: &OwnedFd) -> Result<Option<[OwnedFd; 2]>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let mut data = [IoSliceMut::new(&mut byte)];
    let received = recvmsg(control, &mut data, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    // Some are missing if this process has no descriptors left. Those that came are closed, which the
    // server sees.
    fds.try_into().map(Some).map_err(|_| Errno::AGAIN)
}

/// Forks the process of a trial.
fn begin(page: &OwnedFd, mut line: UnixStream, trials: &mut Vec<RunningTrial>) {
    let own = getpid();
    // SAFETY: this process has a single thread, so its copy finds every lock free.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        child::run(page, own);
    }
    let began = match Pid::from_raw(forked.max(0)) {
        None => Err(io::Error::last_os_error()),
        Some(pid) => match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(end) => Ok((pid, end)),
            Err(error) => {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
                Err(error.into())
            }
        },
    };
    match began {
        Ok((pid, end)) => trials.push(RunningTrial {
            pid,
            end,
            line,
            is_given_up: false,
        }),
        Err(error) => {
            let number = error.raw_os_error().unwrap_or(0);
            let _ = line.write_all(&HelperAnswer::NotMade(number).to_bytes());
        }
    }
}

/// Ends what a trial has left behind in its group, and tells the server how the trial ended.
fn end(mut trial: RunningTrial) {
    // Before the process is reaped: from then on its number can be another process's.
    let _ = kill_process_group(trial.pid, Signal::KILL);
    let status = waitid(WaitId::Pid(trial.pid), WaitIdOptions::EXITED);
    let answer = match status {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(status), _) => HelperAnswer::Exited(status),
            (None, signal) => HelperAnswer::Killed(signal.unwrap_or(0)),
        },
        Ok(None) | Err(_) => HelperAnswer::NotMade(0),
    };
    let _ = trial.line.write_all(&answer.to_bytes());
}

/// Ends processes of trials that left their group and have lost their parent, which makes them children of
/// this process. True if one is still there.
fn end_orphans(trials: &[RunningTrial]) -> bool {
    let own = getpid().as_raw_nonzero();
    let Ok(children) = fs::read_to_string(format!("/proc/self/task/{own}/children")) else {
        return false;
    };
    let pids = children.split_ascii_whitespace().filter_map(|pid| {
        let pid = pid.parse().ok().and_then(Pid::from_raw)?;
        (!trials.iter().any(|trial| trial.pid == pid)).then_some(pid)
    });
    let mut are_left = false;
    for pid in pids {
        let _ = kill_process(pid, Signal::KILL);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let reaped = waitid(WaitId::Pid(pid), options);
        are_left |= !matches!(reaped, Ok(Some(_)));
    }
    are_left
}

/// Ends every process of every trial, and this one.
fn leave(trials: &[RunningTrial]) -> ! {
    for trial in trials {
        let _ = kill_process_group(trial.pid, Signal::KILL);
        let _ = kill_process(trial.pid, Signal::KILL);
    }
    // The children of each process that ends become this process's own.
    let began = Instant::now();
    while end_orphans(&[]) && began.elapsed() < LEAVE_TIMEOUT {
        std::thread::sleep(ORPHANS_PAUSE);
    }
    // SAFETY: `_exit` takes a number, and may be called at any time.
    unsafe { libc::_exit(0) }
}

impl HelperAnswer {
    fn to_bytes(self) -> [u8; ANSWER_BYTES] {
        let (kind, number): (u32, i32) = match self {
            HelperAnswer::Exited(status) => (1, status),
            HelperAnswer::Killed(signal) => (2, signal),
            HelperAnswer::NotMade(error) => (3, error),
        };
        let mut bytes = [0; ANSWER_BYTES];
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..].copy_from_slice(&number.to_ne_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; ANSWER_BYTES]) -> HelperAnswer {
        let [k0, k1, k2, k3, n0, n1, n2, n3] = bytes;
        let number = i32::from_ne_bytes([n0, n1, n2, n3]);
        match u32::from_ne_bytes([k0, k1, k2, k3]) {
            1 => HelperAnswer::Exited(number),
            2 => HelperAnswer::Killed(number),
            _ => HelperAnswer::NotMade(number),
        }
    }
}

/// The length of an answer on the line.
pub(super) const ANSWER_BYTES: usize = 8;
/// The descriptor that the socket to the server has in this process.
const CONTROL: i32 = 3;
/// The pause between two looks at orphans that are being ended.
const ORPHANS_PAUSE: Duration = Duration::from_millis(20);
/// How long the helper waits for the end of all trials when the server has ended.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_as_it_was_sent() {
        for answer in [
            HelperAnswer::Exited(0),
            HelperAnswer::Exited(255),
            HelperAnswer::Killed(11),
            HelperAnswer::NotMade(libc::EAGAIN),
        ] {
            assert_eq!(HelperAnswer::from_bytes(answer.to_bytes()), answer);
        }
    }
}
