//! Wakes sessions when something is due that may be a moment late: a Ping, a peer's answer to it.
//!
//! A timer of the runtime's for each session would take 130 bytes and a lock that all share, twice.
//! Here it is an id in a slot of a wheel that turns ten times a second. Nothing is taken out before
//! its time: a session whose deadline has moved meanwhile looks and asks again, one that is over is
//! not found.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::registry::Registry;

/// The wheel.
#[derive(Debug)]
pub(crate) struct Pulse {
    began: Instant,
    /// The last tick whose slot was emptied.
    last: AtomicU32,
    /// Ids of sessions, by the tick at which they are woken.
    slots: [Mutex<Vec<u64>>; SLOTS],
    /// In all slots together; while there is none, nothing turns.
    entries: AtomicUsize,
    begins: Notify,
}

impl Pulse {
    pub(crate) fn new() -> Arc<Pulse> {
        Arc::new(Pulse {
            began: Instant::now(),
            last: AtomicU32::new(0),
            slots: std::array::from_fn(|_| Mutex::default()),
            entries: AtomicUsize::new(0),
            begins: Notify::new(),
        })
    }

    /// The first tick that is not before `at`.
    pub(crate) fn tick_of(&self, at: Instant) -> u32 {
        let since = at.saturating_duration_since(self.began).as_nanos();
        let ticks = since.div_ceil(TICK.as_nanos());
        ticks.try_into().unwrap_or(u32::MAX)
    }

    /// Has the session `id` woken at `tick`, or before if that is far away.
    pub(crate) fn wake_at(&self, id: u64, tick: u32) {
        if self.entries.fetch_add(1, Ordering::AcqRel) == 0 {
            // Nothing has turned for a while, and all slots are empty.
            let now = self.tick_of(Instant::now()).saturating_sub(1);
            self.last.fetch_max(now, Ordering::AcqRel);
            self.begins.notify_one();
        }
        self.put(id, tick);
    }

    fn put(&self, id: u64, tick: u32) {
        loop {
            let last = self.last.load(Ordering::Acquire);
            let tick = tick.clamp(last + 1, last + SLOTS as u32);
            let mut slot = self.slot(tick);
            // Under the lock it is certain that the slot has not been emptied for this tick.
            if self.last.load(Ordering::Acquire) < tick {
                slot.push(id);
                return;
            }
        }
    }

    /// Turns for as long as the server runs.
    pub(crate) async fn run(&self, sessions: &Registry) {
        loop {
            if self.entries.load(Ordering::Acquire) == 0 {
                self.begins.notified().await;
            }
            let next = self.last.load(Ordering::Acquire) + 1;
            tokio::time::sleep_until((self.began + TICK * next).into()).await;
            self.turn(next, |id| sessions.rouse(id));
        }
    }

    fn turn(&self, tick: u32, wake: impl FnMut(u64)) {
        let mut slot = self.slot(tick);
        self.last.fetch_max(tick, Ordering::AcqRel);
        let due = std::mem::take(&mut *slot);
        drop(slot);
        self.entries.fetch_sub(due.len(), Ordering::AcqRel);
        due.into_iter().for_each(wake);
    }

    fn slot(&self, tick: u32) -> MutexGuard<'_, Vec<u64>> {
        let slot = &self.slots[tick as usize % SLOTS];
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const TICK: Duration = Duration::from_millis(100);
/// What is further away than 51 s is looked at before its time.
const SLOTS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(pulse: &Pulse) -> Vec<u64> {
        let mut woken = Vec::new();
        let next = pulse.last.load(Ordering::Relaxed) + 1;
        pulse.turn(next, |id| woken.push(id));
        woken
    }

    #[test]
    fn each_is_woken_once_at_its_tick_and_at_the_next_if_that_is_past() {
        let pulse = Pulse::new();
        pulse.put(1, 2);
        pulse.put(2, 0);
        pulse.put(3, 2);
        assert_eq!(turn(&pulse), vec![2]);
        pulse.put(4, 1);
        assert_eq!(turn(&pulse), vec![1, 3, 4]);
        assert!(turn(&pulse).is_empty());
    }

    #[test]
    fn what_is_further_away_than_the_wheel_is_long_comes_at_its_end() {
        let pulse = Pulse::new();
        pulse.put(1, u32::MAX);
        let turns = (1..).find(|_| !turn(&pulse).is_empty());
        assert_eq!(turns, Some(SLOTS));
    }

    #[test]
    fn a_wheel_that_stood_still_goes_on_from_now() {
        let mut pulse = Pulse::new();
        Arc::get_mut(&mut pulse).unwrap().began -= TICK * 1000;
        let tick = pulse.tick_of(Instant::now()) + 5;
        pulse.wake_at(1, tick);
        let turns = (1..).find(|_| !turn(&pulse).is_empty());
        assert!(turns.is_some_and(|turns| turns <= 7), "{turns:?}");
        assert_eq!(pulse.entries.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_tick_is_never_before_its_time() {
        let pulse = Pulse::new();
        for (after, tick) in [(0, 0), (1, 1), (100, 1), (101, 2), (25_000, 250)] {
            let at = pulse.began + Duration::from_millis(after);
            assert_eq!(pulse.tick_of(at), tick, "{after} ms");
        }
    }
}
