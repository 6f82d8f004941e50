//! How a job on another thread learns that its generation of the handler serves no more.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Says when a job of [`spawn`](crate::spawn) is to stop. That is when its generation of the handler takes no more
/// clients, because a newer one does or because the handler is removed.
///
/// ```
/// # use std::time::Duration;
/// # use wsh::prelude::*;
/// # fn serving() -> Result {
/// wsh::spawn(|stop| {
///     while !stop.wait(Duration::from_secs(1)) {
///         let _ = wsh::publish("ticks", "tick");
///     }
/// })?;
/// # Ok(()) }
/// ```
///
/// Work that does not wait asks between two steps:
///
/// ```
/// # fn serving() -> wsh::Result {
/// wsh::spawn(|stop| {
///     for number in 0.. {
///         if stop.is_time() {
///             break;
///         }
///         let _ = wsh::publish("squares", format!("{}", number * number));
///     }
/// })?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<StopState>);

#[derive(Debug, Default)]
struct StopState {
    is_time: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Whether the job is to stop now.
    #[must_use]
    pub fn is_time(&self) -> bool {
        *self.lock()
    }

    /// Waits for `duration`, or until the job is to stop. Answers whether it is to stop.
    #[must_use]
    pub fn wait(&self, duration: Duration) -> bool {
        // A deadline past the range of the clock never comes.
        let deadline = Instant::now().checked_add(duration);
        let mut is_time = self.lock();
        while !*is_time {
            let left = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => Duration::MAX,
            };
            if left.is_zero() {
                break;
            }
            is_time = self
                .0
                .changed
                .wait_timeout(is_time, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *is_time
    }

    /// Tells every job of this generation to stop.
    pub(crate) fn set(&self) {
        *self.lock() = true;
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0
            .is_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
