//! Nothing unwinds across the border: every callback runs in here.
//!
//! Each plugin carries a standard library of its own, and a panic that escapes into another one
//! aborts the process. The hook keeps backtraces off: the first one that a plugin takes reads the
//! symbols of every mapped library and keeps them, tens of megabytes a generation.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
};

use crate::{
    abi::{self, Status},
    border::runtime,
};

/// Runs a callback and turns a panic into [`abi::PANIC`].
// Always: as a function of its own it takes the callback's arguments through memory.
#[inline(always)]
pub(crate) fn guard(callback: impl FnOnce() -> Status) -> Status {
    match panic::catch_unwind(AssertUnwindSafe(callback)) {
        Ok(status) => status,
        Err(payload) => panicked(payload),
    }
}

// Apart: a callback that does not panic need not save the registers for it.
#[cold]
#[inline(never)]
fn panicked(payload: Box<dyn Any + Send>) -> Status {
    bury(payload);
    abi::PANIC
}

/// As [`guard`], for callbacks that answer nothing.
pub(crate) fn guard_void(callback: impl FnOnce()) {
    guard(|| {
        callback();
        abi::OK
    });
}

/// Says why the callback that runs on this thread is about to fail, and answers what it returns then.
pub(crate) fn fail(why: &str) -> Status {
    if let Some(runtime) = runtime::current() {
        runtime.host.fail(why);
    }
    abi::ERROR
}

/// From now on a panic is one line in the server's log: message and place, no backtrace.
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

fn text<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic with a payload that is no text")
}

/// Drops what a panic carried. Its `Drop` may panic too; what that carries is leaked, or this
/// could go on for ever.
fn bury(payload: Box<dyn Any + Send>) {
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}
