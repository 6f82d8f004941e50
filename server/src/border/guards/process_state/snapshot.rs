//! The parts of the process's state that plugins can change, read at one moment and compared.

use std::ffi::{CStr, CString, c_int};
use std::fs;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use super::{ProcessItem, SIGNALS, action, open_files_now};

/// What plugins can change of the process, at one moment. `None` where it could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProcessState {
    /// What each of [`SIGNALS`] does: the handler and its flags.
    pub(super) signals: Vec<(usize, c_int)>,
    /// What descriptors 0, 1 and 2 lead to; `None` is closed.
    pub(super) files: [Option<FileIdentity>; 3],
    pub(super) umask: Option<u32>,
    pub(super) directory: Option<FileIdentity>,
    pub(super) locale: Option<CString>,
    pub(super) open_files_max: u64,
}

/// A file, by its device, its inode and its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
    pub(super) kind: FileType,
}

impl ProcessState {
    /// The state now.
    pub(super) fn now() -> ProcessState {
        ProcessState {
            signals: SIGNALS
                .iter()
                .map(|signal| signal_effect(action(*signal)))
                .collect(),
            files: [0, 1, 2].map(identity_of),
            umask: umask(),
            directory: rustix::fs::stat(".").ok().map(FileIdentity::of),
            locale: locale(),
            open_files_max: open_files_now(),
        }
    }

    /// The items that differ in `now`. A descriptor that was closed before may lead to anything now.
    pub(super) fn differing(&self, now: &ProcessState) -> Vec<ProcessItem> {
        let mut differing = Vec::new();
        let signals = self.signals.iter().zip(&now.signals).enumerate();
        let signals = signals.filter(|(_, (was, is))| was != is);
        differing.extend(signals.map(|(index, _)| ProcessItem::Signal(index)));
        for number in [0, 1, 2] {
            let (was, is) = (self.files[number], now.files[number]);
            if was.is_some() && was != is {
                differing.push(ProcessItem::Descriptor(number as c_int));
            }
        }
        for (is_other, item) in [
            (
                // The umask cannot be read while the process has no descriptor left.
                now.umask
                    .is_some_and(|now| self.umask.is_some_and(|umask| umask != now)),
                ProcessItem::Umask,
            ),
            (
                self.directory.is_some() && self.directory != now.directory,
                ProcessItem::Directory,
            ),
            (
                self.locale.is_some() && self.locale != now.locale,
                ProcessItem::Locale,
            ),
            // A higher limit does no harm.
            (
                now.open_files_max < self.open_files_max,
                ProcessItem::OpenFilesMax,
            ),
        ] {
            if is_other {
                differing.push(item);
            }
        }
        differing
    }
}

impl FileIdentity {
    fn of(stat: rustix::fs::Stat) -> FileIdentity {
        FileIdentity {
            device: stat.st_dev,
            inode: stat.st_ino,
            kind: FileType::from_raw_mode(stat.st_mode),
        }
    }
}

/// The file that a descriptor leads to; `None` if it is closed.
pub(super) fn identity_of(number: c_int) -> Option<FileIdentity> {
    // SAFETY: the descriptor is used in one call only, which fails for a closed one.
    let file = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::fs::fstat(file).ok().map(FileIdentity::of)
}

/// What a signal does: its handler and its flags.
fn signal_effect(action: libc::sigaction) -> (usize, c_int) {
    (action.sa_sigaction, action.sa_flags)
}

/// The umask. It is read from a file, because the system call of this name sets another umask for a moment.
fn umask() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

/// The name of the locale.
fn locale() -> Option<CString> {
    // SAFETY: NULL asks for the name and sets nothing.
    let name = unsafe { libc::setlocale(libc::LC_ALL, std::ptr::null()) };
    if name.is_null() {
        return None;
    }
    // SAFETY: the C library returned a text that ends with NUL. It is copied before another call can change it.
    Some(unsafe { CStr::from_ptr(name) }.to_owned())
}

#[cfg(test)]
mod tests;
