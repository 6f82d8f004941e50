//! One plugin is opened at a time.
//!
//! The dynamic linker has one lock, and holds it while the constructors of a library run. So a
//! constructor that does not return keeps every later plugin from being opened, until the server is
//! started again. What waits here for its turn can say so; what waits for the linker cannot.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::plugin::refusal::Refusal;

/// The permission to open a plugin, until it is dropped.
#[derive(Debug)]
pub(crate) struct Opening(());

impl Opening {
    /// Waits until no other plugin is being opened.
    ///
    /// # Errors
    ///
    /// The constructors of another plugin still run after `limit`.
    pub(crate) fn begin(handler: &str, limit: Duration) -> Result<Opening, Refusal> {
        let (mut under_way, timed_out) = ENDED
            .wait_timeout_while(lock(), limit, |under_way| under_way.is_some())
            .unwrap_or_else(PoisonError::into_inner);
        if timed_out.timed_out()
            && let Some(other) = under_way.as_ref()
        {
            return Err(Refusal::LinkerHeld(other.clone()));
        }
        *under_way = Some(handler.to_owned());
        Ok(Opening(()))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        *lock() = None;
        ENDED.notify_one();
    }
}

fn lock() -> MutexGuard<'static, Option<String>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handler that is being opened.
static UNDER_WAY: Mutex<Option<String>> = Mutex::new(None);
static ENDED: Condvar = Condvar::new();
