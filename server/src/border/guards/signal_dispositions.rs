//! Keeps plugins from changing what the server's signals do.
//!
//! A plugin may ask the C library to ignore SIGTERM, or to give it its default back. It is answered as if that had happened,
//! and nothing changes. To put such a change back later would be too late for a signal that comes meanwhile. The signal
//! would be lost, or end the process without one Close frame. So the program exports the functions that change what a signal does,
//! and plugins call these instead of the C library's. What goes around them (a raw system call, `system` while its command
//! runs) is found by `process_state`, a little later.
//!
//! To block the signals in all threads and to read them would need no such functions. But every process that a plugin makes
//! with `system`, `popen` or `posix_spawn` would inherit the mask, and hear no SIGTERM.

use std::ffi::c_int;
use std::sync::{Mutex, PoisonError};

use super::exits;
use super::libc_function::LibcFunction;
use super::process_state::{self, SIGNALS};
use crate::border::watchdog::RunningCallback;

type SignalHandler = libc::sighandler_t;
type SetHandler = unsafe extern "C" fn(c_int, SignalHandler) -> SignalHandler;
type SetAction = unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int;
type Ignore = unsafe extern "C" fn(c_int) -> c_int;

/// Has these `signals`, and no other ones, wait until [`release`], and gives SIGCHLD its default back. Later threads and
/// processes inherit that a signal waits.
///
/// A program inherits both from what starts it. A blocked SIGTERM is never heard, and a blocked SIGSEGV ends the process
/// without a line in the log. Where SIGCHLD is ignored, the end of no child can be waited for.
pub(crate) fn hold_only(signals: &[c_int]) {
    set_mask(libc::SIG_SETMASK, signals);
    // SAFETY: the call sets a signal to its default, which has no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Lets every signal come to this thread, also those that have waited.
pub(crate) fn release() {
    set_mask(libc::SIG_SETMASK, &[]);
}

/// Has these `signals` wait while `work` runs. Processes that it starts begin so.
pub(crate) fn holding<T>(signals: &[c_int], work: impl FnOnce() -> T) -> T {
    let before = set_mask(libc::SIG_BLOCK, signals);
    let done = work();
    // SAFETY: `before` is a set that the system has filled.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    done
}

/// Changes the signal mask of this thread. Returns the one of before.
fn set_mask(how: c_int, signals: &[c_int]) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the first call makes the variable an empty set, and the last one fills the other variable.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

/// Whether a signal is ignored now.
pub(crate) fn is_ignored(signal: c_int) -> bool {
    process_state::action(signal).sa_sigaction == libc::SIG_IGN
}

/// A change that a plugin asked for and did not get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefusedChange {
    /// The signal, by its place in [`SIGNALS`], or [`OPEN_FILES`].
    pub(crate) of: usize,
    /// The callback that asked for it; `None` on a thread of the plugin's own.
    pub(crate) by: Option<RunningCallback>,
}

/// Stands for the limit of open files in [`RefusedChange::of`].
pub(crate) const OPEN_FILES: usize = SIGNALS.len();

/// Notes that code on this thread asked for a change. Takes no memory and waits for no lock, since a handler of a signal may
/// call what calls this.
pub(crate) fn note_refused_change(of: usize) {
    if let Ok(mut refused) = REFUSED.try_lock() {
        let by = exits::running_callback();
        refused[of].get_or_insert(RefusedChange { of, by });
    }
}

/// Takes the changes that were refused since the last call: the first one of each signal, and of the limit.
pub(crate) fn take_refused_changes() -> Vec<RefusedChange> {
    let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    refused.iter_mut().filter_map(Option::take).collect()
}

/// The C library's `sigaction`, for the server's own use.
///
/// # Safety
///
/// The caller keeps the C library's rules of `sigaction`.
pub(crate) unsafe fn set_action(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    let Some(sigaction) = SIGACTION.find() else {
        return -1;
    };
    // SAFETY: the caller keeps the C library's rules.
    unsafe { sigaction(signal, new, old) }
}

/// The C library's `sigaction`, except that it does not change the server's signals.
///
/// # Safety
///
/// The caller keeps the C library's rules of `sigaction`.
#[cfg_attr(not(any(fuzzing, miri, sanitized)), unsafe(export_name = "sigaction"))]
unsafe extern "C" fn sigaction(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    // SAFETY: by the C library's rules, which the caller keeps, it is NULL or can be read.
    if let Some(wanted) = unsafe { new.as_ref() }
        && let Some(now) = refuse_change(signal, wanted.sa_sigaction)
    {
        if !old.is_null() {
            // SAFETY: by the C library's rules, which the caller keeps, it can be written to.
            unsafe { old.write(now) };
        }
        return 0;
    }
    // SAFETY: the caller keeps the C library's rules.
    unsafe { set_action(signal, new, old) }
}

/// The C library's `sigignore`, except that it does not change the server's signals.
///
/// # Safety
///
/// The caller keeps the C library's rules of `sigignore`.
#[cfg_attr(not(any(fuzzing, miri, sanitized)), unsafe(export_name = "sigignore"))]
unsafe extern "C" fn sigignore(signal: c_int) -> c_int {
    if refuse_change(signal, libc::SIG_IGN).is_some() {
        return 0;
    }
    let Some(sigignore) = SIGIGNORE.find() else {
        return -1;
    };
    // SAFETY: the caller keeps the C library's rules.
    unsafe { sigignore(signal) }
}

/// Exports a function for each one of the C library that takes a signal and its new handler, and returns the old handler. It
/// does not change the server's signals.
macro_rules! handler_setters {
    ($($name:ident = $text:literal by $libc:ident;)*) => {$(
        /// The C library's function of this name, except that it does not change the server's signals.
        ///
        /// # Safety
        ///
        /// The caller keeps the C library's rules of this function.
        #[cfg_attr(not(any(fuzzing, miri, sanitized)), unsafe(export_name = $text))]
        unsafe extern "C" fn $name(signal: c_int, handler: SignalHandler) -> SignalHandler {
            // SAFETY: the caller keeps the C library's rules.
            unsafe { set_handler(signal, handler, &$libc) }
        }
    )*};
}

handler_setters! {
    signal = "signal" by SIGNAL;
    ssignal = "ssignal" by SSIGNAL;
    bsd_signal = "bsd_signal" by BSD_SIGNAL;
    sysv_signal = "sysv_signal" by SYSV_SIGNAL;
    // What `signal` is to a program that asks for System V or X/Open.
    sysv_signal_too = "__sysv_signal" by SYSV_SIGNAL_TOO;
    sigset = "sigset" by SIGSET;
}

/// Calls `function` of the C library, unless the signal is the server's.
///
/// # Safety
///
/// The caller keeps the C library's rules of `function`.
unsafe fn set_handler(
    signal: c_int,
    handler: SignalHandler,
    function: &LibcFunction<SetHandler>,
) -> SignalHandler {
    if let Some(now) = refuse_change(signal, handler) {
        return now.sa_sigaction;
    }
    let Some(function) = function.find() else {
        return libc::SIG_ERR;
    };
    // SAFETY: the caller keeps the C library's rules.
    unsafe { function(signal, handler) }
}

/// What the signal does, if it is the server's and is not to be changed. A handler other than the present one is noted as a
/// refused change.
fn refuse_change(signal: c_int, handler: SignalHandler) -> Option<libc::sigaction> {
    let index = SIGNALS.iter().position(|it| *it == signal)?;
    if !process_state::is_protected() {
        return None;
    }
    let now = process_state::action(signal);
    if now.sa_sigaction != handler {
        note_refused_change(index);
    }
    Some(now)
}

// Global, because exported functions of C have nothing but their arguments.

// SAFETY: the type is that of the C library's `sigaction`.
static SIGACTION: LibcFunction<SetAction> = unsafe { LibcFunction::new(c"sigaction") };
// SAFETY: the type is that of the C library's `sigignore`.
static SIGIGNORE: LibcFunction<Ignore> = unsafe { LibcFunction::new(c"sigignore") };
// SAFETY: the type is that of the C library's `signal`.
static SIGNAL: LibcFunction<SetHandler> = unsafe { LibcFunction::new(c"signal") };
// SAFETY: the type is that of the C library's `ssignal`.
static SSIGNAL: LibcFunction<SetHandler> = unsafe { LibcFunction::new(c"ssignal") };
// SAFETY: the type is that of the C library's `bsd_signal`.
static BSD_SIGNAL: LibcFunction<SetHandler> = unsafe { LibcFunction::new(c"bsd_signal") };
// SAFETY: the type is that of the C library's `sysv_signal`.
static SYSV_SIGNAL: LibcFunction<SetHandler> = unsafe { LibcFunction::new(c"sysv_signal") };
// SAFETY: the type is that of the C library's `__sysv_signal`.
static SYSV_SIGNAL_TOO: LibcFunction<SetHandler> = unsafe { LibcFunction::new(c"__sysv_signal") };
// SAFETY: the type is that of the C library's `sigset`.
static SIGSET: LibcFunction<SetHandler> = unsafe { LibcFunction::new(c"sigset") };

/// The first refused change of each signal, and of the limit of open files, that is not logged yet.
static REFUSED: Mutex<[Option<RefusedChange>; OPEN_FILES + 1]> = Mutex::new([None; OPEN_FILES + 1]);
