//! Holds the sessions of one handler back while its callbacks hold too many workers: what is not in
//! a callback yet waits, instead of taking the workers that are left for everybody else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

use crate::process::clock::Moment;
use crate::runtime::wakes;

/// Whether the sessions of a handler wait, and which do.
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
    /// Bytes of its peer that are unread.
    unread: u64,
    /// Since when the peer sends nothing more.
    finished_since: Option<Moment>,
}

/// What has become of a peer that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnreadPeer {
    /// Whether other bytes are unread than before.
    pub(crate) has_more: bool,
    pub(crate) finished_since: Option<Moment>,
}

impl Throttle {
    /// Whether whoever is not in a callback waits; asked before each turn of a session.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Has a session woken when the hold is over; answers whether there is anything to wait for.
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

    /// Notes what was seen of the peer of a session that waits.
    pub(crate) fn note_peer(
        &self,
        id: u64,
        unread: u64,
        is_finished: bool,
        now: Moment,
    ) -> UnreadPeer {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = waiting.get_mut(&id) else {
            // It was let go meanwhile.
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

    /// Begins or ends; answers whether that is a change.
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
    fn who_waits_is_woken_once_and_nobody_waits_without_a_hold() {
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
