//! The timers behind the host's `wake_after`: each wakes a session once, after a while.
//!
//! A session or a pending handshake has at most one alarm, which ends with it. So there are never more
//! alarms than sessions.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The alarms of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    times: Mutex<Times>,
    /// Notified when an alarm is set that comes before all others.
    changed: Notify,
}

/// The moment of each alarm, by session and in the order of time.
#[derive(Debug, Default)]
struct Times {
    by_id: HashMap<u64, Instant>,
    in_order: BTreeSet<(Instant, u64)>,
}

impl Alarms {
    /// Sets or replaces the alarm of the session `id`. `u64::MAX` removes it.
    pub(crate) fn set(&self, id: u64, after_ms: u64) {
        let mut times = self.lock();
        times.forget(id);
        if after_ms == u64::MAX {
            return;
        }
        let at = Instant::now() + Duration::from_millis(after_ms.min(FOR_EVER_MS));
        times.by_id.insert(id, at);
        times.in_order.insert((at, id));
        let is_first = times.in_order.first() == Some(&(at, id));
        drop(times);
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Removes the alarm of the session `id`, which is over.
    pub(crate) fn forget(&self, id: u64) {
        self.lock().forget(id);
    }

    /// Runs as long as the server, and calls `wake` with the id of each session whose alarm is due.
    pub(crate) async fn run(&self, wake: impl Fn(u64)) {
        loop {
            let next = self.lock().in_order.first().map(|(at, _)| *at);
            match next {
                None => self.changed.notified().await,
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {}
                    () = self.changed.notified() => {}
                },
            }
            let due = self.lock().take_due(Instant::now());
            due.into_iter().for_each(&wake);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Times {
    fn forget(&mut self, id: u64) {
        if let Some(at) = self.by_id.remove(&id) {
            self.in_order.remove(&(at, id));
        }
    }

    fn take_due(&mut self, now: Instant) -> Vec<u64> {
        let mut due = Vec::new();
        while let Some(&(at, id)) = self.in_order.first()
            && at <= now
        {
            self.forget(id);
            due.push(id);
        }
        due
    }
}

/// A century. An alarm further away is set to this.
const FOR_EVER_MS: u64 = 100 * 365 * 24 * 3600 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_replaced_cancelled_and_forgotten_and_rings_once() {
        let alarms = Alarms::default();
        let now = Instant::now();
        let due = |alarms: &Alarms, after| alarms.lock().take_due(now + Duration::from_secs(after));

        alarms.set(1, 1_000);
        alarms.set(2, 2_000);
        alarms.set(1, 60_000);
        assert_eq!(due(&alarms, 10), [2]);
        assert!(due(&alarms, 10).is_empty());

        alarms.set(3, 0);
        alarms.set(3, u64::MAX);
        alarms.forget(1);
        assert!(due(&alarms, 1_000).is_empty());
        assert!(alarms.lock().by_id.is_empty());

        alarms.set(4, u64::MAX - 1);
        assert!(due(&alarms, 1_000_000).is_empty());
    }
}
