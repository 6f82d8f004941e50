//! System calls that the server can do without, and must not be killed for.
//!
//! A seccomp filter, such as `SystemCallFilter=` of a systemd unit, may end the process for a call
//! (SIGSYS), and no error tells of it before. Where a filter is in force, a forked child makes each
//! of these calls first; one that ends the child is never made here.

#![allow(unsafe_code)] // fork and waitpid, in a process with a single thread

use std::ffi::c_int;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, ResolveFlags, inotify, memfd_create, openat2};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::thread::membarrier_query;
use tracing::info;

use crate::process::priority;

/// A part of the server that makes optional system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optional {
    /// Threads that carry messages run before others.
    Priority,
    /// The limit of open files is raised.
    OpenFiles,
    /// The watchdog asks the kernel for fences.
    Fences,
    /// Directories are watched, and not only looked at.
    Watching,
    /// Copies of plugins are kept in memory where no directory can hold them.
    Memory,
    /// Plugins are tried in a process of their own.
    Trial,
    /// A file is opened in one step that follows no link.
    OpeningWithoutLinks,
    /// All descriptors from a number on are closed in one step.
    ClosingMany,
}

/// Finds out what a filter forbids. To be called once, while the process has a single thread.
pub fn probe() {
    if !is_filtered() {
        return;
    }
    for optional in ALL {
        if !survives(optional) {
            FORBIDDEN.fetch_or(optional.bit(), Ordering::Relaxed);
        }
    }
}

/// Whether the calls of this part do not kill the process. The kernel may still refuse them.
pub fn is_allowed(optional: Optional) -> bool {
    FORBIDDEN.load(Ordering::Relaxed) & optional.bit() == 0
}

/// Logs what the server does without.
pub fn tell() {
    for optional in ALL {
        if !is_allowed(optional) {
            info!(
                calls = optional.calls(),
                "a system call filter forbids it, going on without: {}",
                optional.what()
            );
        }
    }
}

impl Optional {
    fn bit(self) -> u32 {
        1 << self as u32
    }

    fn what(self) -> &'static str {
        match self {
            Optional::Priority => "shorter waits for threads that carry messages",
            Optional::OpenFiles => "more open files than the soft limit",
            Optional::Fences => "fences on other processors, which a moment's wait replaces",
            Optional::Watching => "events of directories, which are looked at twice a second",
            Optional::Memory => "copies of plugins in memory",
            Optional::Trial => "trials of plugins in a process of their own",
            Optional::OpeningWithoutLinks => "opening files in one step, which several do",
            Optional::ClosingMany => "closing descriptors in one step, which several do",
        }
    }

    fn calls(self) -> &'static str {
        match self {
            Optional::Priority => "getpriority sched_setattr",
            Optional::OpenFiles => "prlimit64",
            Optional::Fences => "membarrier",
            Optional::Watching => "inotify_init1",
            Optional::Memory => "memfd_create",
            Optional::Trial => "memfd_create pidfd_open setsid prctl prlimit64 kill",
            Optional::OpeningWithoutLinks => "openat2",
            Optional::ClosingMany => "close_range",
        }
    }

    /// Makes the calls, in a process that may be killed for them.
    fn make(self) {
        // Whether the kernel refuses a call is found out where the call is needed.
        match self {
            Optional::Priority => priority::go_first(),
            Optional::OpenFiles => drop(rlimit::increase_nofile_limit(u64::MAX)),
            Optional::Fences => drop(membarrier_query()),
            Optional::Watching => drop(inotify::init(inotify::CreateFlags::CLOEXEC)),
            Optional::Memory => drop(memfd_create("wshd", MemfdFlags::CLOEXEC)),
            Optional::Trial => {
                drop(memfd_create("wshd", MemfdFlags::CLOEXEC));
                drop(pidfd_open(getpid(), PidfdFlags::empty()));
                let _ = rustix::process::setsid();
                let _ = rustix::process::set_child_subreaper(None);
                drop(rlimit::increase_nofile_limit(u64::MAX));
                let _ = rustix::process::test_kill_process(getpid());
            }
            Optional::OpeningWithoutLinks => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                drop(openat2(
                    CWD,
                    "/",
                    flags,
                    Mode::empty(),
                    ResolveFlags::NO_SYMLINKS,
                ));
            }
            Optional::ClosingMany => {
                // SAFETY: no descriptor has the highest number.
                unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, 0) };
            }
        }
    }
}

/// Whether a seccomp filter is in force, or there is no /proc to say so.
fn is_filtered() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let seccomp = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"));
    seccomp.is_none_or(|mode| mode.trim() != "0")
}

/// Whether a process that makes these calls survives them.
fn survives(optional: Optional) -> bool {
    // SAFETY: the process has a single thread (see `probe`), so the child finds no lock taken.
    match unsafe { libc::fork() } {
        // Without a child process the calls are left out, to be safe.
        -1 => false,
        0 => {
            // A death that is expected leaves no core file.
            let _ = rustix::process::set_dumpable_behavior(
                rustix::process::DumpableBehavior::NotDumpable,
            );
            optional.make();
            // SAFETY: `_exit` may be called at any time.
            unsafe { libc::_exit(0) }
        }
        child => {
            let mut status: c_int = 0;
            loop {
                // SAFETY: `status` is a place for the number, and `child` is ours and not waited for.
                let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
                if waited == child {
                    return libc::WIFEXITED(status);
                }
                if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
                    return false;
                }
            }
        }
    }
}

const ALL: [Optional; 8] = [
    Optional::Priority,
    Optional::OpenFiles,
    Optional::Fences,
    Optional::Watching,
    Optional::Memory,
    Optional::Trial,
    Optional::OpeningWithoutLinks,
    Optional::ClosingMany,
];
/// One bit for each [`Optional`] that is forbidden. Global, because the kernel's filter is the whole process's.
static FORBIDDEN: AtomicU32 = AtomicU32::new(0);
