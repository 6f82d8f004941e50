//! Runs a build in a process group of its own, so that all of its processes can be ended together.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Starts builds, one at a time, and ends the one that runs.
#[derive(Debug, Default)]
pub(crate) struct Builds {
    state: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    /// The group of the build that runs. Its leader is not reaped, so no other group has this number.
    group: Option<Pid>,
    is_stopped: bool,
}

impl Builds {
    /// Starts a build; `None` after [`Builds::stop`]. The caller must pass the child to [`Builds::wait`].
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<Option<Child>> {
        let mut state = self.lock();
        if state.is_stopped {
            return Ok(None);
        }
        let child = command.process_group(0).spawn()?;
        state.group = Some(Pid::from_child(&child));
        Ok(Some(child))
    }

    /// Waits for the end of a build that [`Builds::start`] has started.
    pub(crate) fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        // The group is forgotten before the child is reaped: `stop` must kill no other group.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let id = Pid::from_child(child);
        while matches!(waitid(WaitId::Pid(id), options), Err(Errno::INTR)) {}
        self.lock().group = None;
        child.wait()
    }

    /// Kills the build that runs after `timeout`, unless the answer is dropped before. `None` where the
    /// system has no thread for it.
    pub(crate) fn end_after(self: &Arc<Self>, timeout: Duration) -> Option<TimeLimit> {
        let (builds, group) = (self.clone(), self.lock().group);
        let (over, is_over) = mpsc::channel::<()>();
        let wait = move || {
            if is_over.recv_timeout(timeout) != Err(RecvTimeoutError::Timeout) {
                return false;
            }
            let state = builds.lock();
            let runs = state.group.is_some() && state.group == group;
            if let Some(group) = state.group.filter(|_| runs) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            runs
        };
        let thread = std::thread::Builder::new().name("dev-limit".to_owned());
        let thread = thread.spawn(wait).ok()?;
        Some(TimeLimit { over, thread })
    }

    /// Kills the build that runs. No other one can begin from then on.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        if let Some(group) = state.group.take() {
            // It fails where the build has ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running build's time limit.
#[derive(Debug)]
pub(crate) struct TimeLimit {
    over: mpsc::Sender<()>,
    thread: JoinHandle<bool>,
}

impl TimeLimit {
    /// Ends the limit, since the build is over. Answers whether the build was killed.
    pub(crate) fn was_reached(self) -> bool {
        drop(self.over);
        self.thread.join().unwrap_or(false)
    }
}

/// Sets what [`clear_up`] ends and removes.
pub(super) fn note(builds: &Arc<Builds>, directory: PathBuf) {
    let _ = LEFT.set((builds.clone(), directory));
}

/// Kills the build that runs, and removes the library directory. For an end of the process that drops no
/// values.
pub(crate) fn clear_up() {
    if let Some((builds, directory)) = LEFT.get() {
        builds.stop();
        let _ = fs::remove_dir_all(directory);
    }
}

/// The builds and the directory that [`clear_up`] clears. Global, because the process ends on any thread.
static LEFT: OnceLock<(Arc<Builds>, PathBuf)> = OnceLock::new();
