//! The signals that are the server's stay the server's: a plugin that asks the C library to ignore
//! SIGTERM, or to give it back its default, is answered as if it had its way, and nothing changes.
//!
//! To put such a change back later would be too late for a signal that comes meanwhile: it would be
//! lost, or end the process without one Close frame. So the program exports the functions that change
//! what a signal does, and plugins call these instead of the C library's. What goes around them (a raw
//! system call, `system` for the time that its command runs) is found by `process_state`, a little later.
//!
//! To block the signals in all threads and to read them would need no such functions. But every process
//! that a plugin makes with `system`, `popen` or `posix_spawn` would inherit that, and hear no SIGTERM.

use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use super::exits;
use super::process_state::{self, SIGNALS};
use crate::border::context::Context;

type Handler = libc::sighandler_t;
type SetHandler = unsafe extern "C" fn(c_int, Handler) -> Handler;
type SetAction = unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int;
type Ignore = unsafe extern "C" fn(c_int) -> c_int;

/// Empties the signal mask of this thread, which later threads and processes inherit, and gives SIGCHLD
/// back its default.
///
/// A program inherits both from what starts it. A blocked SIGTERM is never heard, a blocked SIGSEGV ends
/// the process without a word, and where SIGCHLD is ignored the end of no child can be waited for.
pub(crate) fn reset_inherited() {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: memory of ours that the first call makes an empty set, and the default of a signal.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// Whether a signal is ignored now.
pub(crate) fn is_ignored(signal: c_int) -> bool {
    process_state::action(signal).sa_sigaction == libc::SIG_IGN
}

/// A change that did not happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefusedChange {
    /// Of what a signal does, by its place in [`SIGNALS`], or [`OPEN_FILES`].
    pub(crate) of: usize,
    /// The handler and the callback whose code it was; `None` on a thread of the plugin's own.
    pub(crate) by: By,
}

type By = Option<(&'static Context, &'static str)>;

/// Stands for the limit of open files among the attempts.
pub(crate) const OPEN_FILES: usize = SIGNALS.len();

/// Notes that code on this thread wanted to change that. Takes no memory and waits for no lock, since a
/// signal's handler may call what calls this.
pub(crate) fn note_refused_change(of: usize) {
    if let Ok(mut refused) = REFUSED.try_lock() {
        let by = exits::running_callback();
        refused[of].get_or_insert(RefusedChange { of, by });
    }
}

/// The attempts since the last time, one for each thing.
pub(crate) fn take_refused_changes() -> Vec<RefusedChange> {
    let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    refused.iter_mut().filter_map(Option::take).collect()
}

/// The C library's `sigaction`, for the server's own use.
///
/// # Safety
///
/// As for the C library's.
pub(crate) unsafe fn set_action(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    let Some(next) = SIGACTION.next() else {
        return -1;
    };
    // SAFETY: the C library's own function of this name and type.
    let next = unsafe { std::mem::transmute::<*mut c_void, SetAction>(next) };
    // SAFETY: the caller keeps the C library's rules.
    unsafe { next(signal, new, old) }
}

/// As the C library's function of this name, but for the server's signals.
///
/// # Safety
///
/// As for the C library's.
#[cfg_attr(not(any(fuzzing, miri, sanitized)), unsafe(export_name = "sigaction"))]
unsafe extern "C" fn sigaction(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    // SAFETY: by the C library's rules it is NULL or can be read.
    if let Some(wanted) = unsafe { new.as_ref() }
        && let Some(now) = refuse_change(signal, wanted.sa_sigaction)
    {
        if !old.is_null() {
            // SAFETY: by the same rules it can be written to.
            unsafe { old.write(now) };
        }
        return 0;
    }
    // SAFETY: the caller keeps the C library's rules.
    unsafe { set_action(signal, new, old) }
}

/// As the C library's function of this name, but for the server's signals.
///
/// # Safety
///
/// As for the C library's.
#[cfg_attr(not(any(fuzzing, miri, sanitized)), unsafe(export_name = "sigignore"))]
unsafe extern "C" fn sigignore(signal: c_int) -> c_int {
    if refuse_change(signal, libc::SIG_IGN).is_some() {
        return 0;
    }
    let Some(next) = SIGIGNORE.next() else {
        return -1;
    };
    // SAFETY: the C library's own function of this name and type.
    let next = unsafe { std::mem::transmute::<*mut c_void, Ignore>(next) };
    // SAFETY: the caller keeps the C library's rules.
    unsafe { next(signal) }
}

/// Functions of the C library that take a signal and its handler, and answer the handler before: each
/// as it is there, but for the server's signals.
macro_rules! handler_setters {
    ($($name:ident = $text:literal by $next:ident;)*) => {$(
        /// As the C library's function of this name, but for the server's signals.
        ///
        /// # Safety
        ///
        /// As for the C library's.
        #[cfg_attr(not(any(fuzzing, miri, sanitized)), unsafe(export_name = $text))]
        unsafe extern "C" fn $name(signal: c_int, handler: Handler) -> Handler {
            // SAFETY: the caller keeps the C library's rules.
            unsafe { set_handler(signal, handler, &$next) }
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

/// # Safety
///
/// As for the C library's function that `next` names.
unsafe fn set_handler(signal: c_int, handler: Handler, next: &LibcFunction) -> Handler {
    if let Some(now) = refuse_change(signal, handler) {
        return now.sa_sigaction;
    }
    let Some(next) = next.next() else {
        return libc::SIG_ERR;
    };
    // SAFETY: the C library's own function of this name and type.
    let next = unsafe { std::mem::transmute::<*mut c_void, SetHandler>(next) };
    // SAFETY: the caller keeps the C library's rules.
    unsafe { next(signal, handler) }
}

/// What a signal does and goes on to do, where it is the server's; noted, if `handler` is something
/// else.
fn refuse_change(signal: c_int, handler: Handler) -> Option<libc::sigaction> {
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

/// A function of the C library that one of this program's stands before.
pub(crate) struct LibcFunction {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl LibcFunction {
    pub(crate) const fn new(name: &'static CStr) -> LibcFunction {
        LibcFunction {
            name,
            found: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// What the dynamic linker finds behind this program. It is asked once: a handler of a fault that
    /// happens inside of the linker needs `sigaction` too, which has long been called by then.
    pub(crate) fn next(&self) -> Option<*mut c_void> {
        let mut found = self.found.load(Ordering::Acquire);
        if found.is_null() {
            // SAFETY: a lookup by a name that ends with NUL.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
            self.found.store(found, Ordering::Release);
        }
        (!found.is_null()).then_some(found)
    }
}

static SIGACTION: LibcFunction = LibcFunction::new(c"sigaction");
static SIGIGNORE: LibcFunction = LibcFunction::new(c"sigignore");
static SIGNAL: LibcFunction = LibcFunction::new(c"signal");
static SSIGNAL: LibcFunction = LibcFunction::new(c"ssignal");
static BSD_SIGNAL: LibcFunction = LibcFunction::new(c"bsd_signal");
static SYSV_SIGNAL: LibcFunction = LibcFunction::new(c"sysv_signal");
static SYSV_SIGNAL_TOO: LibcFunction = LibcFunction::new(c"__sysv_signal");
static SIGSET: LibcFunction = LibcFunction::new(c"sigset");

static REFUSED: Mutex<[Option<RefusedChange>; OPEN_FILES + 1]> = Mutex::new([None; OPEN_FILES + 1]);
