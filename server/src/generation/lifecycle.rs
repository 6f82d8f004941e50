//! The calls that a generation makes a few times in its life: one after another, in the order they
//! were asked for, on a thread that exists only while there is one to make.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::error;

/// The calls of one generation.
#[derive(Clone, Debug, Default)]
pub(super) struct Lifecycle(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    waiting: VecDeque<(&'static str, Call)>,
    running: Option<Running>,
}

type Call = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
struct Running {
    callback: &'static str,
    since: Instant,
    /// Whether it was said that this call takes too long.
    is_told: bool,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls")
            .field("waiting", &self.waiting.len())
            .field("running", &self.running)
            .finish()
    }
}

impl Lifecycle {
    /// Makes `call` after those asked for before.
    pub(super) fn run(&self, callback: &'static str, call: impl FnOnce() + Send + 'static) {
        let mut calls = self.lock();
        calls.waiting.push_back((callback, Box::new(call)));
        if calls.running.is_some() {
            return;
        }
        calls.running = Some(Running {
            callback,
            since: Instant::now(),
            is_told: false,
        });
        drop(calls);
        let calls = self.clone();
        let spawned = std::thread::Builder::new()
            .name("lifecycle".to_owned())
            .spawn(move || calls.make_all());
        if let Err(error) = spawned {
            self.lock().running = None;
            error!(%error, callback, "no thread for a handler's call; it waits for the next one");
        }
    }

    /// The callback that has been running for longer than `limit`; each is told once.
    pub(super) fn overdue(&self, limit: Duration) -> Option<&'static str> {
        let mut calls = self.lock();
        let running = calls.running.as_mut()?;
        let is_late = !running.is_told && running.since.elapsed() > limit;
        running.is_told |= is_late;
        is_late.then_some(running.callback)
    }

    /// Whether no call runs or waits.
    pub(super) fn is_idle(&self) -> bool {
        let calls = self.lock();
        calls.running.is_none() && calls.waiting.is_empty()
    }

    fn make_all(&self) {
        loop {
            let mut calls = self.lock();
            let Some((callback, call)) = calls.waiting.pop_front() else {
                calls.running = None;
                return;
            };
            calls.running = Some(Running {
                callback,
                since: Instant::now(),
                is_told: false,
            });
            drop(calls);
            call();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
