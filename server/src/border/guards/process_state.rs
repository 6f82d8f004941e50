//! Restores what belongs to the whole process when a plugin changes it.
//!
//! That is what signals do, the first three descriptors, the umask, the working directory, the locale and the limit of open
//! files.
//!
//! A plugin that ignores SIGTERM makes the server unstoppable. One that closes stderr has the next client's socket take its
//! number. So the state is compared with the one before any plugin's code ran, after each call that a load makes and every
//! few seconds. What differs is put back with a warning. Most changes of signals do not even happen
//! ([`signal_dispositions`]), and are only logged here.

mod baseline;
mod snapshot;

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getpid, getrlimit};
use signal_hook::low_level::signal_name;
use tracing::{error, warn};

use self::baseline::Baseline;
use self::snapshot::ProcessState;
use super::signal_dispositions::{self, RefusedChange};
use crate::border::handler_context::HandlerContext;

/// A part of the process's state that can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessItem {
    /// A signal, by its place in [`SIGNALS`].
    Signal(usize),
    Descriptor(c_int),
    Umask,
    Directory,
    Locale,
    OpenFilesMax,
}

/// The state that the process is to keep, and what is known of changes.
struct Protection {
    baseline: Baseline,
    /// The limit of open files that is to hold. It follows the operator's `prlimit`.
    open_files_max: AtomicU64,
    /// The handlers with a load, or another call of a generation's life, under way.
    lifecycle_calls: Mutex<Vec<&'static HandlerContext>>,
    /// What could not be put back. Locked while changes are put back.
    unrestored: Mutex<Vec<ProcessItem>>,
    /// The refused changes that were logged a short time ago: of what, the address of the handler's context, and when.
    logged: Mutex<Vec<((usize, usize), Instant)>>,
}

/// The note of a load, or of another call of a generation's life: made when it begins, dropped when it ends.
pub(crate) struct LifecycleCall(&'static HandlerContext);

/// Notes that such a call of this handler begins.
pub(crate) fn lifecycle_call(context: &'static HandlerContext) -> LifecycleCall {
    let protection = PROTECTION.get_or_init(Protection::begin);
    let mut calls = lock(&protection.lifecycle_calls);
    protection.accept_open_files_max(&calls);
    calls.push(context);
    LifecycleCall(context)
}

impl Drop for LifecycleCall {
    fn drop(&mut self) {
        if let Some(protection) = PROTECTION.get() {
            lock(&protection.lifecycle_calls).retain(|other| !std::ptr::eq(*other, self.0));
        }
    }
}

/// The limit of open files that the operator wants; `None` before any plugin's code ran.
pub(crate) fn open_files_max() -> Option<u64> {
    let protection = PROTECTION.get()?;
    Some(protection.open_files_max.load(Ordering::Relaxed))
}

/// The soft limit of open files now.
pub(crate) fn open_files_now() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether plugins may not change this process's state. They may in a process that one of them has forked.
pub(crate) fn is_protected() -> bool {
    PROTECTION
        .get()
        .is_some_and(|protection| protection.baseline.pid == getpid())
}

/// Puts back what has changed, after `callback` of this handler.
pub(crate) fn restore_after(context: &HandlerContext, callback: &str) {
    let Some(protection) = PROTECTION.get() else {
        return;
    };
    protection.log_refused_changes();
    for (item, is_back) in protection.restore(|_| true) {
        let (handler, generation) = (&context.handler, context.generation);
        // Another handler with a call under way may have changed it.
        let others: Vec<&str> = lock(&protection.lifecycle_calls)
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

/// Puts back what has changed since the last time, by any code of a plugin.
pub(crate) fn restore_now() {
    let Some(protection) = PROTECTION.get() else {
        return;
    };
    protection.log_refused_changes();
    protection.accept_open_files_max(&lock(&protection.lifecycle_calls));
    // A limit of open files that a load lowers at this moment is put back when its call is over.
    for (item, is_back) in protection.restore(|item| item != ProcessItem::OpenFilesMax) {
        if is_back {
            warn!(changed = %item, "code of a plugin changed what belongs to the whole process; it is put back");
        } else {
            error!(changed = %item, "code of a plugin changed what belongs to the whole process, and it cannot be put back; restart the server");
        }
    }
}

impl Protection {
    /// Begins with the state that holds now. To be called before any plugin's code runs.
    fn begin() -> Protection {
        Protection {
            open_files_max: AtomicU64::new(open_files_now()),
            baseline: Baseline::now(),
            lifecycle_calls: Mutex::default(),
            unrestored: Mutex::default(),
            logged: Mutex::default(),
        }
    }

    /// Accepts a limit of open files that is another one by now, unless a plugin's call is under way. In a message's callback
    /// no plugin can lower it ([`open_files_limit`](super::open_files_limit)), so the change came from outside.
    fn accept_open_files_max(&self, lifecycle_calls: &[&'static HandlerContext]) {
        if lifecycle_calls.is_empty() {
            self.open_files_max
                .store(open_files_now(), Ordering::Relaxed);
        }
    }

    /// Logs what plugins asked for and did not get; for one handler and one item once a minute.
    fn log_refused_changes(&self) {
        let refused = signal_dispositions::take_refused_changes();
        if refused.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut logged = lock(&self.logged);
        logged.retain(|(_, at)| now.duration_since(*at) < LOG_INTERVAL);
        for RefusedChange { of, by } in refused {
            let address = by.map_or(0, |(context, _)| std::ptr::from_ref(context).addr());
            let key = (of, address);
            if logged.iter().any(|(other, _)| *other == key) {
                continue;
            }
            logged.push((key, now));
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

    /// Puts back each of the `compared` items that differs. Returns the items to log, and whether each is restored. An item
    /// that cannot be put back is returned once.
    fn restore(&self, compared: fn(ProcessItem) -> bool) -> Vec<(String, bool)> {
        let mut unrestored = lock(&self.unrestored);
        let open_files_max = self.open_files_max.load(Ordering::Relaxed);
        let was = ProcessState {
            open_files_max,
            ..self.baseline.state.clone()
        };
        let mut differing = was.differing(&ProcessState::now());
        differing.retain(|item| compared(*item));
        let mut to_log = Vec::new();
        for item in differing {
            let is_back = self.baseline.put_back(item, open_files_max);
            if is_back || !unrestored.contains(&item) {
                to_log.push((item.to_string(), is_back));
            }
            if !is_back && !unrestored.contains(&item) {
                unrestored.push(item);
            }
        }
        to_log
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The action of a signal now.
pub(crate) fn action(signal: c_int) -> libc::sigaction {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: NULL sets nothing, and the last pointer is to a variable.
    unsafe { signal_dispositions::set_action(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the fields are integers and an optional function, of which zero is a value. So it is initialised in any case.
    unsafe { action.assume_init() }
}

/// Set before any plugin's code runs. Global, because it is about the whole process, and because exported functions of C,
/// which have nothing but their arguments, ask for it.
static PROTECTION: OnceLock<Protection> = OnceLock::new();
/// How often a refused change of one handler is logged at most.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The signals that mean something to the server, or would end it. Faults are not among them, because runtimes of other
/// languages handle them.
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
