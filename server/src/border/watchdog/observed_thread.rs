//! What the watchdog's samples of a thread show of the callback that it runs.

use std::time::{Duration, Instant};

use super::sample_rate::ThreadObservation;

/// One thread, as the samples until now have shown it.
#[derive(Debug, Default)]
pub(super) struct ObservedThread {
    running: Option<ObservedCallback>,
}

/// A callback that a sample saw.
#[derive(Debug)]
struct ObservedCallback {
    /// The number of the last sample before it began, which tells it from the next callback.
    began_after: u64,
    first_seen: Instant,
    is_late: bool,
    /// Whether the log says that it is past its budget.
    is_logged: bool,
}

impl ObservedThread {
    /// Takes in a sample: a callback runs that began after the sample `began_after`, or none, if that is 0.
    pub(super) fn observe(&mut self, began_after: u64, now: Instant) -> ThreadObservation {
        if began_after == 0 {
            self.running = None;
            return ThreadObservation::Nothing;
        }
        match &mut self.running {
            Some(running) if running.began_after == began_after => {
                let was_late = std::mem::replace(&mut running.is_late, true);
                if was_late {
                    ThreadObservation::Late
                } else {
                    ThreadObservation::TurnedLate
                }
            }
            running => {
                *running = Some(ObservedCallback {
                    began_after,
                    first_seen: now,
                    is_late: false,
                    is_logged: false,
                });
                ThreadObservation::Fresh
            }
        }
    }

    /// How long the callback has run at least; `None` while no callback runs.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let running = self.running.as_ref()?;
        Some(now.saturating_duration_since(running.first_seen))
    }

    /// Whether the callback is still to be logged. True once for each callback.
    pub(super) fn take_unlogged(&mut self) -> bool {
        let running = self.running.as_mut();
        running.is_some_and(|running| !std::mem::replace(&mut running.is_logged, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_late_when_two_samples_saw_it_and_each_is_logged_once() {
        let mut seen = ObservedThread::default();
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);

        assert_eq!(seen.observe(7, at(0)), ThreadObservation::Fresh);
        assert_eq!(
            seen.observe(8, at(1)),
            ThreadObservation::Fresh,
            "another one"
        );
        assert_eq!(seen.observe(8, at(2)), ThreadObservation::TurnedLate);
        assert_eq!(seen.observe(8, at(3)), ThreadObservation::Late);
        assert_eq!(seen.age(at(4)), Some(Duration::from_millis(3)));
        assert!(seen.take_unlogged());
        assert!(!seen.take_unlogged());

        assert_eq!(seen.observe(0, at(5)), ThreadObservation::Nothing);
        assert_eq!(seen.age(at(6)), None);
        assert!(!seen.take_unlogged());
        assert_eq!(seen.observe(9, at(7)), ThreadObservation::Fresh);
        assert!(seen.take_unlogged());
    }
}
