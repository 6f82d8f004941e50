//! The throttle of one handler: while its callbacks hold too many workers, its other sessions wait.
//!
//! A session that is not in a callback yet waits, so that it does not take the workers that are left for other handlers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

use crate::process::clock::Moment;
use crate::runtime::wakes;

/// Whether the sessions of a handler wait, and which ones do.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    is_on: AtomicBool,
    /// By the session's id.
    waiting: Mutex<HashMap<u64, WaitingSession>>,
}

/// A session that waits.
#[derive(Debug)]
struct WaitingSession {
    waker: Waker,
    /// How many bytes of the peer are unread.
    unread: u64,
    /// When the peer was first seen to send nothing more; `None` while it still may.
    finished_since: Option<Moment>,
}

/// A peer whose bytes wait unread, as two looks at it show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnreadPeer {
    /// Whether the number of unread bytes changed since the last look.
    pub(crate) has_more: bool,
    /// When the peer was first seen to send nothing more; `None` while it still may.
    pub(crate) finished_since: Option<Moment>,
}

impl Throttle {
    /// Whether sessions that are not in a callback wait. Each session asks before it goes on.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Has a session woken when the throttle ends. False if the throttle is not on, so that there is nothing to wait for.
    pub(crate) fn wait(&self, id: u64, waker: &Waker) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = self.is_on();
        if waits {
            let entry = waiting.entry(id).or_insert_with(|| WaitingSession {
                waker: waker.clone(),
                unread: 0,
                finished_since: None,
            });
            entry.waker.clone_from(waker);
        }
        waits
    }

    /// Notes how many bytes of a waiting session's peer are unread, and whether it sends nothing more.
    pub(crate) fn note_peer(
        &self,
        id: u64,
        unread: u64,
        is_finished: bool,
        now: Moment,
    ) -> UnreadPeer {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = waiting.get_mut(&id) else {
            // The throttle ended meanwhile, and the session no longer waits.
            return UnreadPeer {
                has_more: true,
                finished_since: None,
            };
        };
        let before = std::mem::replace(&mut entry.unread, unread);
        let since = entry.finished_since.take().unwrap_or(now);
        entry.finished_since = is_finished.then_some(since);
        UnreadPeer {
            has_more: unread != before,
            finished_since: entry.finished_since,
        }
    }

    /// Turns the throttle on or off. True if that changed it.
    pub(crate) fn set(&self, on: bool) -> bool {
        if self.is_on() == on {
            return false;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_on.store(on, Ordering::Relaxed);
        let released = std::mem::take(&mut *waiting);
        drop(waiting);
        released.into_values().for_each(|it| wakes::wake(it.waker));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waiting_session_is_woken_once_and_none_waits_without_a_throttle() {
        let (throttle, count) = (Throttle::default(), Arc::new(Count::default()));
        let waker = Waker::from(count.clone());
        assert!(!throttle.wait(1, &waker));

        assert!(throttle.set(true));
        assert!(!throttle.set(true));
        for id in [1, 1, 2] {
            assert!(throttle.wait(id, &waker));
        }
        assert!(throttle.set(false));

        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        assert!(!throttle.wait(1, &waker));
    }
}
