//! The permission to open a plugin, which one load has at a time.
//!
//! The dynamic linker has one lock, and holds it while the constructors of a library run. So a constructor that does not
//! return keeps every later plugin from being opened, until the server is started again. A load that waits here can give
//! up with a reason; a load that waits for the linker's lock cannot.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::plugin::refusal::Refusal;

/// The permission to open a plugin. A drop gives it to the next load.
#[derive(Debug)]
pub(crate) struct Opening(());

impl Opening {
    /// Waits for the permission, `limit` at most.
    ///
    /// # Errors
    ///
    /// [`Refusal::LinkerHeld`] with the other handler's name, if its constructors still run after `limit`.
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

/// The handler that is being opened. Global, because the linker's lock is one for the whole process.
static UNDER_WAY: Mutex<Option<String>> = Mutex::new(None);
/// Notified when a plugin has been opened.
static ENDED: Condvar = Condvar::new();
