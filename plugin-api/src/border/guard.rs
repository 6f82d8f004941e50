//! Catches panics: every callback runs in [`guard`], so that nothing unwinds across the border.
//!
//! Each plugin carries a standard library of its own, and a panic that escapes into another one aborts the process. The
//! panic hook takes no backtrace: the first backtrace of a plugin reads the symbols of every mapped library and keeps
//! them, tens of megabytes for each generation.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
};

use crate::{
    abi::{self, Status},
    border::runtime,
};

/// Runs a callback and turns a panic into [`abi::PANIC`].
// Always inlined: as a function of its own it would take the callback's arguments through memory.
#[inline(always)]
pub(crate) fn guard(callback: impl FnOnce() -> Status) -> Status {
    match panic::catch_unwind(AssertUnwindSafe(callback)) {
        Ok(status) => status,
        Err(payload) => panicked(payload),
    }
}

// Not inlined: a callback that does not panic need not save registers for it.
#[cold]
#[inline(never)]
fn panicked(payload: Box<dyn Any + Send>) -> Status {
    bury(payload);
    abi::PANIC
}

/// Runs a callback that answers nothing, and drops a panic.
pub(crate) fn guard_void(callback: impl FnOnce()) {
    guard(|| {
        callback();
        abi::OK
    });
}

/// Tells the host why the callback on this thread is about to fail; answers the status of the failure.
pub(crate) fn fail(why: &str) -> Status {
    if let Some(runtime) = runtime::current() {
        runtime.host.fail(why);
    }
    abi::ERROR
}

/// Makes a panic one line in the server's log, with its message and place and without a backtrace.
pub(crate) fn set_panic_hook() {
    panic::set_hook(Box::new(|info| {
        if let Some(runtime) = runtime::current() {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let fields = [("place", &place as &dyn std::fmt::Display)];
            runtime.host.log(
                abi::LOG_ERROR,
                "panic",
                format_args!("{}", text(info)),
                &fields,
            );
        }
    }));
}

/// The message of a panic.
fn text<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic with a payload that is no text")
}

/// Drops the payload of a panic. If that panics, the second payload is leaked: its `Drop` could panic again, without end.
fn bury(payload: Box<dyn Any + Send>) {
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}
