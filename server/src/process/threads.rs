//! Waits for threads that something outside the process may hold.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Waits for the end of a thread, but not longer than `limit`. Returns whether it has ended.
///
/// `JoinHandle::join` of the standard library has no limit.
pub(crate) fn has_ended<T>(thread: &JoinHandle<T>, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

const LOOK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_is_held_is_waited_for_no_longer_than_promised() {
        let (release, held) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || held.recv().is_err());

        assert!(!has_ended(&thread, Duration::from_millis(20)));
        drop(release);
        assert!(has_ended(&thread, Duration::from_secs(10)));
    }
}
