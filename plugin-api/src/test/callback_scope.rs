//! Which callbacks run on this thread, one inside another.

use std::cell::Cell;

use crate::border::runtime::{self};

/// A guard: while it lives, a callback runs on this thread.
pub(super) struct CallbackScope;

impl CallbackScope {
    pub(super) fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        CallbackScope
    }
}

impl Drop for CallbackScope {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// A guard: when it is dropped inside a callback, the thread is again that of the callback's handler. A callback may run a
/// test of its own, which changes that. Outside a callback it does nothing.
pub(super) struct ThreadRestore(Option<runtime::TestThread>);

impl ThreadRestore {
    pub(super) fn enter() -> Self {
        ThreadRestore((DEPTH.get() > 0).then(runtime::test_thread))
    }
}

impl Drop for ThreadRestore {
    fn drop(&mut self) {
        if let Some((runtime, now)) = self.0 {
            runtime::enter_test(runtime, now);
        }
    }
}

thread_local! {
    /// How many callbacks run on this thread, one inside another.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}
