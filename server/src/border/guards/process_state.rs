//! What belongs to the whole process and a plugin can change in passing: what signals do, the first
//! three descriptors, umask, working directory, locale, the limit of open files.
//!
//! A plugin that ignores SIGTERM makes the server unstoppable, and one that closes stderr has the next
//! client's socket take its number. So it is compared with what it was before any plugin ran, after
//! each call that a load makes and every few seconds, and put back with a warning. What the C library
//! is asked to make of signals does not even happen (`signal_dispositions`), and is told here.

use std::ffi::{CStr, CString, c_int};
use std::fs::{self, File};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::FileType;
use rustix::process::{Pid, Resource, Rlimit, getpid, getrlimit, setrlimit};
use tracing::{error, warn};

use super::signal_dispositions::{self, RefusedChange};
use crate::border::context::Context;
use signal_hook::low_level::signal_name;

/// How all of it is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ProcessState {
    /// What each of [`SIGNALS`] does: the handler and its flags.
    signals: Vec<(usize, c_int)>,
    /// What descriptors 0, 1 and 2 lead to; `None` is closed.
    files: [Option<FileIdentity>; 3],
    umask: Option<u32>,
    directory: Option<FileIdentity>,
    locale: Option<CString>,
    open_files_max: u64,
}

/// A file by its device, its number and its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
    kind: FileType,
}

/// One item that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessItem {
    /// By its place in [`SIGNALS`].
    Signal(usize),
    Descriptor(c_int),
    Umask,
    Directory,
    Locale,
    OpenFilesMax,
}

/// How it is to be, with what puts it back.
struct Baseline {
    state: ProcessState,
    actions: Vec<libc::sigaction>,
    files: [Option<OwnedFd>; 3],
    directory: Option<File>,
    open_files_hard: Option<u64>,
    /// Of this process: what a plugin forks may do as it likes.
    pid: Pid,
}

/// A load, or another call of a generation's life, under way: made when it begins, dropped when it ends.
pub(crate) struct LifecycleCall(&'static Context);

/// Notes that code of this plugin runs now, and that no call of it is over yet.
pub(crate) fn lifecycle_call(context: &'static Context) -> LifecycleCall {
    note();
    let mut loading = lock(&LIFECYCLE_CALLS);
    accept_open_files(&loading);
    loading.push(context);
    LifecycleCall(context)
}

impl Drop for LifecycleCall {
    fn drop(&mut self) {
        lock(&LIFECYCLE_CALLS).retain(|other| !std::ptr::eq(*other, self.0));
    }
}

/// Notes how it is. To be called before any plugin's code runs; only the first time counts.
fn note() {
    BASELINE.get_or_init(|| {
        OPEN_FILES_MAX.store(open_files_now(), Ordering::Relaxed);
        Baseline::now()
    });
}

/// The limit of open files that holds, by the operator's will; `None` before any plugin's code ran.
pub(crate) fn open_files_max() -> Option<u64> {
    BASELINE.get()?;
    Some(OPEN_FILES_MAX.load(Ordering::Relaxed))
}

/// Takes a limit of open files that is another one by now for what is wanted. No plugin's call is under
/// way, and in a message's callback none can lower it (`open_files_limit`): it came from outside.
fn accept_open_files(loading: &[&'static Context]) {
    if loading.is_empty() {
        OPEN_FILES_MAX.store(open_files_now(), Ordering::Relaxed);
    }
}

/// The soft limit of open files now.
pub(crate) fn open_files_now() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether this is a process in which plugins may not change what signals do.
pub(crate) fn is_protected() -> bool {
    BASELINE.get().is_some_and(|wanted| wanted.pid == getpid())
}

/// Puts back what has changed, after `callback` of this handler.
pub(crate) fn restore_after(context: &Context, callback: &str) {
    log_refused_changes();
    for (item, is_back) in restore(|_| true) {
        let (handler, generation) = (&context.handler, context.generation);
        // It may as well have been one that is loaded at this very moment.
        let others: Vec<&str> = lock(&LIFECYCLE_CALLS)
            .iter()
            .filter(|other| !std::ptr::eq(**other, context))
            .map(|other| &*other.handler)
            .collect();
        let or = (!others.is_empty()).then(|| others.join(", "));
        if is_back {
            warn!(%handler, generation, callback, changed = %item, or, "plugin changed what belongs to the whole process; it is put back");
        } else {
            error!(%handler, generation, callback, changed = %item, or, "plugin changed what belongs to the whole process, and it cannot be put back; restart the server");
        }
    }
}

/// Puts back what has changed since the last time, whoever did it.
pub(crate) fn restore_now() {
    log_refused_changes();
    if BASELINE.get().is_some() {
        accept_open_files(&lock(&LIFECYCLE_CALLS));
    }
    // A limit of open files that a load lowers at this moment is put back when its call is over.
    for (item, is_back) in restore(|item| item != ProcessItem::OpenFilesMax) {
        if is_back {
            warn!(changed = %item, "code of a plugin changed what belongs to the whole process; it is put back");
        } else {
            error!(changed = %item, "code of a plugin changed what belongs to the whole process, and it cannot be put back; restart the server");
        }
    }
}

/// Says what plugins wanted to change since the last time; of one handler and one item once a minute.
fn log_refused_changes() {
    let refused = signal_dispositions::take_refused_changes();
    if refused.is_empty() {
        return;
    }
    let now = Instant::now();
    let mut told = lock(&TOLD);
    told.retain(|(_, at)| now.duration_since(*at) < TOLD_AGAIN);
    for RefusedChange { of, by } in refused {
        let key = (
            of,
            by.map_or(0, |(context, _)| std::ptr::from_ref(context).addr()),
        );
        if told.iter().any(|(other, _)| *other == key) {
            continue;
        }
        told.push((key, now));
        let wanted = match of {
            signal_dispositions::OPEN_FILES => ProcessItem::OpenFilesMax,
            signal => ProcessItem::Signal(signal),
        };
        match by {
            Some((context, callback)) => {
                let (handler, generation) = (&context.handler, context.generation);
                warn!(%handler, generation, callback, %wanted, "plugin wanted to change what belongs to the whole process; it stays as it is");
            }
            None => {
                warn!(%wanted, "code of a plugin wanted to change what belongs to the whole process; it stays as it is");
            }
        }
    }
}

/// What differed among the things that are `looked_at`, and whether it is as it was again. What cannot be
/// put back is told once.
fn restore(looked_at: fn(ProcessItem) -> bool) -> Vec<(String, bool)> {
    let Some(wanted) = BASELINE.get() else {
        return Vec::new();
    };
    let mut unrestored = lock(&UNRESTORED);
    let was = ProcessState {
        open_files_max: OPEN_FILES_MAX.load(Ordering::Relaxed),
        ..wanted.state.clone()
    };
    let mut differing = was.differing(&ProcessState::now());
    differing.retain(|item| looked_at(*item));
    let mut told = Vec::new();
    for item in differing {
        let is_back = wanted.put_back(item);
        if is_back || !unrestored.contains(&item) {
            told.push((item.to_string(), is_back));
        }
        if !is_back && !unrestored.contains(&item) {
            unrestored.push(item);
        }
    }
    told
}

impl ProcessState {
    fn now() -> ProcessState {
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

    /// What is not in `now` as it is here. What was not there before is no plugin's fault.
    fn differing(&self, now: &ProcessState) -> Vec<ProcessItem> {
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
                // It cannot be read while no descriptor is left.
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
            // More of them is no harm.
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

impl Baseline {
    fn now() -> Baseline {
        // Above the first three, so that it is none of those that plugins close by habit.
        let copy = |number| {
            // SAFETY: the descriptor is looked at for the length of the call.
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

    /// Whether it is as it was again.
    fn put_back(&self, item: ProcessItem) -> bool {
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
                // SAFETY: it may be called at any time.
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
                // SAFETY: the name ends with NUL. A plugin that reads the locale at this very moment is
                // no worse off than when another one set it.
                unsafe { !libc::setlocale(libc::LC_ALL, locale.as_ptr()).is_null() }
            }
            ProcessItem::OpenFilesMax => {
                let wanted = OPEN_FILES_MAX.load(Ordering::Relaxed);
                let current = (wanted != u64::MAX).then_some(wanted);
                let hard = [self.open_files_hard, getrlimit(Resource::Nofile).maximum];
                // What was taken from the hard limit only root gets back.
                hard.into_iter()
                    .any(|maximum| setrlimit(Resource::Nofile, Rlimit { current, maximum }).is_ok())
            }
        }
    }

    fn put_descriptor_back(&self, number: c_int) -> bool {
        let Some(copy) = &self.files[number as usize] else {
            return false;
        };
        match identity_of(number) {
            // Taken only if it is free: somebody else may be given it at this very moment.
            None => {
                // SAFETY: the number of an open descriptor, and an integer.
                let taken = unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_DUPFD, number) };
                if taken > number {
                    // SAFETY: this call has just made it, and nothing else knows it.
                    unsafe { libc::close(taken) };
                }
                taken == number
            }
            // It may be a client's by now, and no plugin puts a socket there.
            Some(other) if other.kind == FileType::Socket => false,
            Some(_) => {
                // SAFETY: numbers of open descriptors. What the plugin has put there loses this number.
                unsafe { libc::dup2(copy.as_raw_fd(), number) == number }
            }
        }
    }
}

impl std::fmt::Display for ProcessItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProcessItem::Signal(index) => {
                let name = signal_name(SIGNALS[*index]).unwrap_or("a signal");
                write!(f, "what {name} does")
            }
            ProcessItem::Descriptor(number) => write!(f, "descriptor {number}"),
            ProcessItem::Umask => f.write_str("the umask"),
            ProcessItem::Directory => f.write_str("the working directory"),
            ProcessItem::Locale => f.write_str("the locale"),
            ProcessItem::OpenFilesMax => f.write_str("the limit of open files"),
        }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn identity_of(number: c_int) -> Option<FileIdentity> {
    // SAFETY: the descriptor is looked at for the length of the call; a closed one is an error.
    let file = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::fs::fstat(file).ok().map(FileIdentity::of)
}

/// What a signal does now.
pub(crate) fn action(signal: c_int) -> libc::sigaction {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: memory of ours for the answer; nothing is set.
    unsafe { signal_dispositions::set_action(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: integers and an optional function: zero is a value of each.
    unsafe { action.assume_init() }
}

fn signal_effect(action: libc::sigaction) -> (usize, c_int) {
    (action.sa_sigaction, action.sa_flags)
}

/// Read where nothing has to be set for it: the system's own call would, for a moment.
fn umask() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

fn locale() -> Option<CString> {
    // SAFETY: without a name it only answers.
    let name = unsafe { libc::setlocale(libc::LC_ALL, std::ptr::null()) };
    if name.is_null() {
        return None;
    }
    // SAFETY: a text of the C library that ends with NUL, copied at once.
    Some(unsafe { CStr::from_ptr(name) }.to_owned())
}

static BASELINE: OnceLock<Baseline> = OnceLock::new();
static OPEN_FILES_MAX: AtomicU64 = AtomicU64::new(u64::MAX);
static LIFECYCLE_CALLS: Mutex<Vec<&'static Context>> = Mutex::new(Vec::new());
/// What could not be put back. Locked while anything is.
static UNRESTORED: Mutex<Vec<ProcessItem>> = Mutex::new(Vec::new());
/// What was said of attempts: of what, the address of the handler's context, and when.
static TOLD: Mutex<Vec<((usize, usize), Instant)>> = Mutex::new(Vec::new());
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// The signals that mean something to the server, or would end it. Faults are not among them: runtimes
/// of other languages need them for themselves.
pub(crate) const SIGNALS: [c_int; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGPIPE,
    libc::SIGCHLD,
];
const COPIES_FROM: c_int = 10;

#[cfg(test)]
mod tests;
