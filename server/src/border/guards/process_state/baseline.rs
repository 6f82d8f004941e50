//! The state that the process is to keep, with what restores it.

use std::ffi::c_int;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::FileType;
use rustix::process::{Pid, Resource, Rlimit, getpid, getrlimit, setrlimit};

use super::snapshot::{ProcessState, identity_of};
use super::{ProcessItem, SIGNALS, action};
use crate::border::guards::signal_dispositions;

/// The state before any plugin's code ran, with copies of what it needs.
pub(super) struct Baseline {
    pub(super) state: ProcessState,
    actions: Vec<libc::sigaction>,
    files: [Option<OwnedFd>; 3],
    directory: Option<File>,
    open_files_hard: Option<u64>,
    /// The server's process. A process that a plugin forks may change its own state.
    pub(super) pid: Pid,
}

impl Baseline {
    /// The baseline is what holds now.
    pub(super) fn now() -> Baseline {
        // Copies get high numbers, so that a plugin that closes low ones by habit leaves them.
        let copy = |number| {
            // SAFETY: the descriptor is used in one call only, which fails for a closed one.
            let file = unsafe { BorrowedFd::borrow_raw(number) };
            rustix::io::fcntl_dupfd_cloexec(file, COPIES_FROM).ok()
        };
        Baseline {
            state: ProcessState::now(),
            actions: SIGNALS.iter().map(|signal| action(*signal)).collect(),
            files: [0, 1, 2].map(copy),
            directory: File::open(".").ok(),
            open_files_hard: getrlimit(Resource::Nofile).maximum,
            pid: getpid(),
        }
    }

    /// Puts an item back as it was. False if that fails. `open_files_max` is the limit that is to hold.
    pub(super) fn put_back(&self, item: ProcessItem, open_files_max: u64) -> bool {
        match item {
            ProcessItem::Signal(index) => {
                let action = &raw const self.actions[index];
                // SAFETY: the action is one that the process had for this signal.
                unsafe {
                    signal_dispositions::set_action(SIGNALS[index], action, std::ptr::null_mut())
                        == 0
                }
            }
            ProcessItem::Descriptor(number) => self.put_descriptor_back(number),
            ProcessItem::Umask => {
                let umask = self.state.umask.unwrap_or_default();
                // SAFETY: the call takes a number and cannot fail.
                unsafe { libc::umask(umask as libc::mode_t) };
                true
            }
            ProcessItem::Directory => {
                let directory = self.directory.as_ref();
                directory.is_some_and(|directory| rustix::process::fchdir(directory).is_ok())
            }
            ProcessItem::Locale => {
                let Some(locale) = &self.state.locale else {
                    return false;
                };
                // SAFETY: the name ends with NUL. A plugin that reads the locale at this moment is in the danger in which
                // the plugin that changed it put all of them.
                unsafe { !libc::setlocale(libc::LC_ALL, locale.as_ptr()).is_null() }
            }
            ProcessItem::OpenFilesMax => {
                let current = (open_files_max != u64::MAX).then_some(open_files_max);
                let hard = [self.open_files_hard, getrlimit(Resource::Nofile).maximum];
                // Only root can raise a hard limit again, so the present one is tried too.
                hard.into_iter()
                    .any(|maximum| setrlimit(Resource::Nofile, Rlimit { current, maximum }).is_ok())
            }
        }
    }

    /// Has a descriptor lead again to the file that it led to.
    fn put_descriptor_back(&self, number: c_int) -> bool {
        let Some(copy) = &self.files[number as usize] else {
            return false;
        };
        match identity_of(number) {
            // The number is taken only if it is free: another thread may open a file at this moment, and get it.
            None => {
                // SAFETY: the copy is an open descriptor, and the call opens another one.
                let taken = unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_DUPFD, number) };
                if taken > number {
                    // SAFETY: the call above opened it, and no other code knows it.
                    unsafe { libc::close(taken) };
                }
                taken == number
            }
            // A socket may be a client's, which got the free number. No plugin puts a socket there.
            Some(other) if other.kind == FileType::Socket => false,
            Some(_) => {
                // SAFETY: both numbers are open descriptors. The file that the plugin put there loses this number.
                unsafe { libc::dup2(copy.as_raw_fd(), number) == number }
            }
        }
    }
}

/// The lowest number of the copies of descriptors: above those that plugins close by habit.
const COPIES_FROM: c_int = 10;
