//! Why a callback is about to fail, in the handler's words.

use std::cell::RefCell;
use std::ffi::c_void;

use wsh::abi::{self, Status, Str};

use crate::border::handler_context::HandlerContext;
use crate::border::lent_memory::borrow;
use crate::border::watchdog;

/// Takes what a plugin gave to `fail` on this thread. For threads that make the calls of one plugin only.
pub(crate) fn take_reason() -> Option<String> {
    FAILURE.take().map(|failure| failure.words)
}

/// Takes what the handler `context` gave to `fail` in the callback that ran last on this thread.
pub(crate) fn take_reason_of(context: &HandlerContext) -> Option<String> {
    let failure = FAILURE.take()?;
    let is_its_own = std::ptr::eq(failure.of, context) && watchdog::has_given_reason();
    is_its_own.then_some(failure.words)
}

/// What a handler gave to `fail`.
struct Failure {
    /// The handler that called `fail`. It is compared only, never read.
    of: *const HandlerContext,
    words: String,
}

thread_local! {
    /// Per thread, because a plugin's `fail` and the callback that fails run on one thread, and pass no value between them.
    static FAILURE: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// `fail` of the host table.
///
/// # Safety
///
/// The plugin keeps the rules of abi.rs: `why` is readable during the call.
pub(crate) unsafe extern "C" fn fail(ctx: *mut c_void, why: Str) -> Status {
    // SAFETY: *lent memory*, which the plugin upholds.
    let why = unsafe { borrow(why.ptr, why.len) };
    // A reason that cannot be read is logged as an empty one.
    let why = why.unwrap_or_default();
    let why = &why[..why.len().min(FAILURE_BYTES_MAX)];
    FAILURE.set(Some(Failure {
        of: ctx.cast_const().cast(),
        words: String::from_utf8_lossy(why).into_owned(),
    }));
    watchdog::note_reason_given();
    abi::ERROR
}

/// The bytes that are kept of a reason.
const FAILURE_BYTES_MAX: usize = 4 * 1024;
