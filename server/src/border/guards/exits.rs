//! Ends the process in good order when code of a plugin calls `exit`.
//!
//! `exit` and `quick_exit` run what [`install`] registers, on the thread that called them. The handler and the callback are
//! logged, sessions are closed as far as time allows, and the status is not 0. After `abort` and a fault there is time for
//! one line only, which [`faults`] writes. `_exit` ends the process without a trace: the system has no hook for it.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::error;

use super::faults;
use crate::border::handler_context::HandlerContext;
use crate::border::watchdog::{self, RunningCallback};
use crate::logging;

/// The note of a call that a load or a generation makes: made when the call begins, dropped when it ends.
pub(crate) struct EnteredCall {
    /// The call that runs around this one.
    outer: Option<RunningCallback>,
}

/// Notes that this call of the handler `context` begins on this thread.
pub(crate) fn enter_call(context: &'static HandlerContext, callback: &'static str) -> EnteredCall {
    EnteredCall {
        outer: CALL.replace(Some((context, callback))),
    }
}

impl Drop for EnteredCall {
    fn drop(&mut self) {
        CALL.set(self.outer);
    }
}

/// Has the end of the process by a plugin logged from now on. `has_sessions`: there may be sessions to close then. To be
/// called once.
pub(crate) fn install(has_sessions: bool) {
    let thread = std::thread::Builder::new().name("exits".to_owned());
    if thread.spawn(move || end_process(has_sessions)).is_ok() {
        // SAFETY: `on_exit` lives as long as the program.
        unsafe {
            libc::atexit(on_exit);
            at_quick_exit(on_exit);
        }
    }
    faults::install();
}

unsafe extern "C" {
    /// C11's `atexit` for `quick_exit`.
    fn at_quick_exit(function: extern "C" fn()) -> c_int;
}

/// The exit code of a process that is to end with `code`; another one if a plugin has ended it.
pub(crate) fn code_or(code: u8) -> u8 {
    if EXIT.has_begun.load(Ordering::Acquire) {
        EXITED
    } else {
        code
    }
}

/// The handler whose code runs on this thread, and its callback. `None` on a thread of the plugin's own.
pub(crate) fn running_callback() -> Option<RunningCallback> {
    CALL.get().or_else(watchdog::running_callback)
}

/// Called by `exit`, which the server itself never calls once this is registered.
///
/// Another thread ends the process. This one may have dropped its thread-locals already, which a line of the log needs.
extern "C" fn on_exit() {
    if !EXIT.has_begun.swap(true, Ordering::AcqRel) {
        *EXIT.lock() = Some(running_callback());
        EXIT.called.notify_all();
    }
    std::thread::sleep(CLOSE_TIME + Duration::from_secs(1));
    crate::border::library::leave(EXITED)
}

/// Waits for an `exit`, logs it, and ends the process when sessions have had their time to close.
fn end_process(has_sessions: bool) {
    let mut caller = EXIT.lock();
    let by = loop {
        match caller.take() {
            Some(by) => break by,
            None => {
                let woken = EXIT.called.wait(caller);
                caller = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
    };
    drop(caller);
    match by {
        Some((context, callback)) => error!(
            handler = %context.handler,
            generation = context.generation,
            callback,
            status = EXITED,
            "handler called `exit`, which ends the whole server; sessions are closed"
        ),
        None => error!(
            status = EXITED,
            "code of a handler called `exit` on a thread of its own, which ends the whole server; sessions are closed"
        ),
    }
    if has_sessions {
        // As an operator stops the server: sessions are closed, handlers are shut down, and the main thread ends the
        // process. The session on the thread that called `exit` cannot go on.
        // SAFETY: the signal goes to this process, which has a handler for it.
        unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
        std::thread::sleep(CLOSE_TIME);
    }
    logging::end(LOG_WAIT);
    crate::border::library::leave(EXITED)
}

/// The first call of `exit`, and what waits for it.
struct Exit {
    /// Whether a plugin has ended the process.
    has_begun: AtomicBool,
    /// The callback that called `exit`, until [`end_process`] takes it. The inner `None` is a thread of the plugin's own.
    caller: Mutex<Option<Option<RunningCallback>>>,
    called: Condvar,
}

impl Exit {
    fn lock(&self) -> MutexGuard<'_, Option<Option<RunningCallback>>> {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    /// The call of a load or of a generation's life that runs on this thread. Per thread, because `exit` and handlers of
    /// signals ask for the call of the thread on which they run.
    static CALL: Cell<Option<RunningCallback>> = const { Cell::new(None) };
}

/// Global, because `exit` calls a function without arguments.
static EXIT: Exit = Exit {
    has_begun: AtomicBool::new(false),
    caller: Mutex::new(None),
    called: Condvar::new(),
};

/// `EX_SOFTWARE` of sysexits.h.
const EXITED: u8 = 70;
/// How long sessions have to close.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// How long the end waits for a log that is not read.
const LOG_WAIT: Duration = Duration::from_millis(200);
