//! Wakes sessions for deadlines that may be a moment late: a Ping, a peer's answer to it.
//!
//! A timer of the runtime for each session would take 130 bytes, and twice a lock that all sessions share.
//! Here a timer is an id in a slot of a wheel that turns ten times a second. No id is removed before its
//! time. If the deadline of a session is later by then, its id is put in again; if the session is over,
//! the id is not found.
//!
//! One lock guards the whole wheel: its position, its slots and whether it is empty only mean something
//! together. A session takes the lock once in many seconds.

use std::sync::{Arc, PoisonError};

#[cfg(test)]
use loom::sync::{Mutex, MutexGuard};
#[cfg(not(test))]
use std::sync::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::process::clock::Moment;
use crate::sessions::registry::Registry;

/// The wheel, its clock, and what starts it.
#[derive(Debug)]
pub(crate) struct TimerWheel {
    began: Moment,
    wheel: Mutex<Wheel>,
    /// Notified when the wheel gets its first entry.
    begins: Notify,
}

/// The ids of sessions, by the tick at which they are woken.
#[derive(Debug)]
struct Wheel {
    /// The last tick whose slot was emptied.
    last: u32,
    slots: Box<[Vec<u64>; SLOTS]>,
    /// How many ids are in all slots together. While there is none, the wheel stands still.
    entries: usize,
}

impl TimerWheel {
    pub(crate) fn new() -> Arc<TimerWheel> {
        Arc::new(TimerWheel {
            began: Moment::now(),
            wheel: Mutex::new(Wheel::new()),
            begins: Notify::new(),
        })
    }

    /// The first tick that is not before `at`.
    pub(crate) fn tick_of(&self, at: Moment) -> u32 {
        let ticks = at.ms_since(self.began).div_ceil(TICK_MS);
        ticks.try_into().unwrap_or(u32::MAX)
    }

    /// Has the session `id` woken at `tick`, or earlier if that is far away.
    pub(crate) fn wake_at(&self, id: u64, tick: u32) {
        self.put(id, tick, self.tick_of(Moment::now()));
    }

    fn put(&self, id: u64, tick: u32, now: u32) {
        if self.wheel().put(id, tick, now) {
            self.begins.notify_one();
        }
    }

    /// Turns the wheel for as long as the server runs.
    pub(crate) async fn run(&self, sessions: &Registry) {
        loop {
            let next = self.wheel().next();
            let Some(next) = next else {
                self.begins.notified().await;
                continue;
            };
            let at = self.began.after(TICK_MS * u64::from(next));
            tokio::time::sleep_until(at.instant().into()).await;
            let due = self.wheel().turn(next);
            let later = |id| sessions.wake_for_deadline(id, next).map(|tick| (id, tick));
            let later: Vec<_> = due.into_iter().filter_map(later).collect();
            if !later.is_empty() {
                let mut wheel = self.wheel();
                for (id, tick) in later {
                    wheel.put(id, tick, next);
                }
            }
        }
    }

    fn wheel(&self) -> MutexGuard<'_, Wheel> {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wheel {
    fn new() -> Wheel {
        Wheel {
            last: 0,
            slots: Box::new([const { Vec::new() }; SLOTS]),
            entries: 0,
        }
    }

    /// Puts `id` into the slot of `tick`, or into the last slot if `tick` is further away. True if the wheel
    /// stood still: it goes on from the tick `now`.
    fn put(&mut self, id: u64, tick: u32, now: u32) -> bool {
        let is_first = self.entries == 0;
        if is_first {
            self.last = self.last.max(now.saturating_sub(1));
        }
        let tick = tick.clamp(self.last + 1, self.last + SLOTS as u32);
        self.slots[tick as usize % SLOTS].push(id);
        self.entries += 1;
        is_first
    }

    /// The tick that comes next. `None` while the wheel is empty.
    fn next(&self) -> Option<u32> {
        (self.entries > 0).then_some(self.last + 1)
    }

    /// Turns to `tick`, which is the next one. Returns the ids that are due.
    fn turn(&mut self, tick: u32) -> Vec<u64> {
        self.last = tick;
        let due = std::mem::take(&mut self.slots[tick as usize % SLOTS]);
        self.entries -= due.len();
        due
    }
}

const TICK_MS: u64 = 100;
/// 51 s. An entry that is further away is looked at earlier.
const SLOTS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns once, also when the wheel is empty.
    fn turn(wheel: &mut Wheel) -> Vec<u64> {
        wheel.turn(wheel.last + 1)
    }

    #[test]
    fn each_is_woken_once_at_its_tick_and_at_the_next_if_that_is_past() {
        let mut wheel = Wheel::new();
        wheel.put(1, 2, 0);
        wheel.put(2, 0, 0);
        wheel.put(3, 2, 0);
        assert_eq!(turn(&mut wheel), [2]);
        wheel.put(4, 1, 1);
        assert_eq!(turn(&mut wheel), [1, 3, 4]);
        assert!(turn(&mut wheel).is_empty());
    }

    #[test]
    fn what_is_further_away_than_the_wheel_is_long_comes_at_its_end() {
        let mut wheel = Wheel::new();
        wheel.put(1, u32::MAX, 0);
        let turns = (1..).find(|_| !turn(&mut wheel).is_empty());
        assert_eq!(turns, Some(SLOTS));
    }

    #[test]
    fn a_wheel_that_stood_still_goes_on_from_now() {
        let mut wheel = Wheel::new();
        assert!(wheel.put(1, 1_005, 1_000));
        assert!(!wheel.put(2, 1_002, 1_000));
        assert_eq!(wheel.next(), Some(1_000));

        let mut woken = Vec::new();
        while let Some(tick) = wheel.next() {
            woken.extend(wheel.turn(tick).into_iter().map(|id| (id, tick)));
        }

        assert_eq!(woken, [(2, 1_002), (1, 1_005)]);
    }

    #[test]
    fn a_wheel_that_turns_late_wakes_no_session_later_for_it() {
        let mut wheel = Wheel::new();
        wheel.put(1, 10, 0);
        // The clock is far ahead of the wheel, as after the process was stopped for a while.
        wheel.put(2, 5_000, 4_990);
        assert_eq!(wheel.next(), Some(1));
        let turned: Vec<u64> = (1..=SLOTS as u32)
            .flat_map(|tick| wheel.turn(tick))
            .collect();
        assert_eq!(turned, [1, 2]);
    }

    #[test]
    fn two_sessions_that_begin_after_a_standstill_are_both_woken_in_time() {
        loom::model(|| {
            let timer_wheel = TimerWheel::new();
            let (now, tick) = (1_000, 1_050);
            let its_timer_wheel = timer_wheel.clone();
            let other = loom::thread::spawn(move || its_timer_wheel.put(1, tick, now));
            timer_wheel.put(2, tick, now);
            other.join().expect("it does not panic");

            let (mut wheel, mut woken) = (timer_wheel.wheel(), Vec::new());
            while let Some(next) = wheel.next().filter(|next| *next <= tick) {
                woken.extend(wheel.turn(next));
            }
            woken.sort();
            assert_eq!(woken, [1, 2]);
        });
    }

    #[test]
    fn a_tick_is_never_before_its_time() {
        loom::model(|| {
            let timer_wheel = TimerWheel::new();
            for (after, tick) in [(0, 0), (1, 1), (100, 1), (101, 2), (25_000, 250)] {
                let at = timer_wheel.began.after(after);
                assert_eq!(timer_wheel.tick_of(at), tick, "{after} ms");
            }
        });
    }
}
