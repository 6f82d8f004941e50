//! The lifecycle calls of a generation: `serving` and `shutdown`.
//!
//! They are made one after another, in the order in which they were asked for, on a thread that no
//! other generation waits for.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::error;

use crate::process::thread_pool::ThreadPool;

/// The lifecycle calls of one generation.
#[derive(Clone, Debug, Default)]
pub(super) struct Lifecycle(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    waiting: VecDeque<(&'static str, Call)>,
    turn: CallState,
}

type Call = Box<dyn FnOnce() + Send>;

/// Whether calls are being made.
#[derive(Clone, Copy, Debug, Default)]
enum CallState {
    /// No call waits.
    #[default]
    Idle,
    /// A thread was asked to make the calls that wait.
    Asked,
    /// A call runs, and the others follow it.
    Running {
        callback: &'static str,
        since: Instant,
        /// Whether the log says that this call takes too long.
        is_told: bool,
    },
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls")
            .field("waiting", &self.waiting.len())
            .field("turn", &self.turn)
            .finish()
    }
}

impl Lifecycle {
    /// Makes `call` after those that were asked for before.
    pub(super) fn run(
        &self,
        threads: &Arc<ThreadPool>,
        callback: &'static str,
        call: impl FnOnce() + Send + 'static,
    ) {
        let mut calls = self.lock();
        calls.waiting.push_back((callback, Box::new(call)));
        if let CallState::Idle = calls.turn {
            calls.turn = CallState::Asked;
            drop(calls);
            let calls = self.clone();
            threads.run(move || calls.make_all());
        }
    }

    /// The callback that has been running for longer than `limit`. Each call is told once.
    pub(super) fn overdue(&self, limit: Duration) -> Option<&'static str> {
        match &mut self.lock().turn {
            CallState::Running {
                callback,
                since,
                is_told: is_told @ false,
            } if since.elapsed() > limit => {
                *is_told = true;
                Some(callback)
            }
            CallState::Idle | CallState::Asked | CallState::Running { .. } => None,
        }
    }

    /// Whether no call runs or waits.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.lock().turn, CallState::Idle)
    }

    fn make_all(&self) {
        loop {
            let mut calls = self.lock();
            let Some((callback, call)) = calls.waiting.pop_front() else {
                calls.turn = CallState::Idle;
                return;
            };
            calls.turn = CallState::Running {
                callback,
                since: Instant::now(),
                is_told: false,
            };
            drop(calls);
            if catch_unwind(AssertUnwindSafe(call)).is_err() {
                error!(callback, "the server panicked beside a handler's call");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
