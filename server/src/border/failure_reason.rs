//! Why a callback is about to fail, in its own words.

use std::cell::RefCell;
use std::ffi::c_void;

use wsh::abi::{self, Status, Str};

use crate::border::context::Context;
use crate::border::lent_memory::borrow;
use crate::border::watchdog;

/// What a plugin gave to `fail` on this thread since the last time. For threads that make the calls
/// of one plugin only.
pub(crate) fn take_reason() -> Option<String> {
    FAILURE.take().map(|failure| failure.words)
}

/// What the handler `context` gave to `fail` in the callback that ran last on this thread.
pub(crate) fn take_reason_of(context: &Context) -> Option<String> {
    let failure = FAILURE.take()?;
    let is_its_own = std::ptr::eq(failure.of, context) && watchdog::has_given_reason();
    is_its_own.then_some(failure.words)
}

/// Why a callback is about to fail.
struct Failure {
    /// The handler that says so.
    of: *const Context,
    words: String,
}

thread_local! {
    static FAILURE: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// `fail` of the host table.
///
/// # Safety
///
/// As the other functions of the table.
pub(crate) unsafe extern "C" fn fail(ctx: *mut c_void, why: Str) -> Status {
    // SAFETY: *lent memory*.
    let why = unsafe { borrow(why.ptr, why.len) };
    // A sentence of a log line; what cannot be read says nothing.
    let why = why.unwrap_or_default();
    let why = &why[..why.len().min(FAILURE_BYTES_MAX)];
    FAILURE.set(Some(Failure {
        of: ctx.cast_const().cast(),
        words: String::from_utf8_lossy(why).into_owned(),
    }));
    watchdog::note_reason_given();
    abi::ERROR
}

/// What is kept of the words of a failure.
const FAILURE_BYTES_MAX: usize = 4 * 1024;
