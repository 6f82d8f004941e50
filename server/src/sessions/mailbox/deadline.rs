//! How the [timer wheel](crate::sessions::timer_wheel) wakes a session for its deadlines, and whether it has alarms.

use std::sync::atomic::Ordering;

use super::{Mailbox, Marks};

impl Mailbox {
    /// Notes that an alarm is set for the session.
    pub(crate) fn note_alarm(&self) {
        self.lock().marks.set(Marks::HAS_ALARM);
    }

    /// Whether an alarm was ever set for the session.
    pub(crate) fn has_alarm(&self) -> bool {
        self.lock().marks.has(Marks::HAS_ALARM)
    }

    /// Sets the tick at which the session is to be woken for its deadlines.
    ///
    /// The timer wheel reads it when it comes to an earlier tick that it was told. So it must be told of a
    /// tick only if that is earlier than the one before.
    pub(crate) fn set_due(&self, tick: u32) {
        self.due.store(tick, Ordering::Release);
    }

    /// Wakes the session for its deadlines at `tick`. Returns the tick at which to try again, if the
    /// deadlines are later by now.
    pub(crate) fn wake_for_deadline(&self, tick: u32) -> Option<u32> {
        let due = self.due.load(Ordering::Acquire);
        if due > tick {
            return (due != NEVER).then_some(due);
        }
        // A session that sets a tick at this moment is woken all the same, and sets it again.
        self.due.store(NEVER, Ordering::Release);
        let inner = self.lock();
        self.is_deadline_due.store(true, Ordering::Release);
        // So that a turn asks for one flag whether anything has come from outside.
        self.has_post.store(true, Ordering::Release);
        let waker = inner.waker.clone();
        drop(inner);
        // The timer wheel is a task, and no callback runs in it.
        if let Some(waker) = waker {
            waker.wake();
        }
        None
    }

    /// Whether the session was woken for its deadlines since [`take_deadline_due`](Self::take_deadline_due).
    #[inline]
    pub(crate) fn is_deadline_due(&self) -> bool {
        self.is_deadline_due.load(Ordering::Acquire)
    }

    /// Like [`is_deadline_due`](Self::is_deadline_due), and clears it.
    pub(crate) fn take_deadline_due(&self) -> bool {
        self.is_deadline_due() && self.is_deadline_due.swap(false, Ordering::AcqRel)
    }
}

/// No tick: the session does not wait to be woken.
pub(super) const NEVER: u32 = u32::MAX;
