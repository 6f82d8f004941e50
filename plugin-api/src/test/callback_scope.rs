//! Which callbacks run on this thread, one inside another.

use std::cell::Cell;

use crate::border::runtime::{self};

/// As long as this lives, a callback runs on this thread.
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

/// Gives a callback that runs a test of its own its thread back as it was. A test itself goes on with the
/// handler that was called last.
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
    /// How many callbacks run on this thread, one inside of another.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}
