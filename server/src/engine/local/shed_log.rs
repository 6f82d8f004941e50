//! The line in the log for histories that drop messages because all together are too large: at most one in a while.

use std::sync::{Mutex, PoisonError};

use tracing::warn;

use crate::engine::TopicName;
use crate::process::clock::Moment;

/// What histories have dropped to stay within `history_bytes_max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shed {
    pub(super) publications: usize,
    pub(super) bytes: usize,
    /// The topic that dropped most at a time, and how many bytes that were.
    pub(super) most: (TopicName, usize),
}

/// Logs what histories drop.
#[derive(Debug, Default)]
pub(super) struct ShedLog(Mutex<Unlogged>);

/// What the next line tells, and when the last one was written.
#[derive(Debug, Default)]
struct Unlogged {
    shed: Option<Shed>,
    logged: Option<Moment>,
}

impl ShedLog {
    /// Adds what was dropped, and logs it if the last line is old enough.
    pub(super) fn add(&self, shed: Shed, history_bytes_max: usize, now: Moment) {
        self.step(Some(shed), history_bytes_max, now);
    }

    /// Logs what was dropped since the last line, if that line is old enough.
    pub(super) fn tell_rest(&self, history_bytes_max: usize, now: Moment) {
        self.step(None, history_bytes_max, now);
    }

    fn step(&self, shed: Option<Shed>, history_bytes_max: usize, now: Moment) {
        let due = {
            let mut unlogged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            unlogged.step(shed, now)
        };
        let Some(shed) = due else { return };
        let (topic, _) = &shed.most;
        warn!(
            history_bytes_max,
            dropped = shed.publications,
            bytes = shed.bytes,
            handler = %topic.owner,
            topic = &*topic.name,
            "histories drop their oldest messages: together they are larger than `history_bytes_max`"
        );
    }
}

impl Unlogged {
    /// Adds what was dropped. Answers all that is not logged yet, if it is time for a line.
    fn step(&mut self, shed: Option<Shed>, now: Moment) -> Option<Shed> {
        self.shed = match (self.shed.take(), shed) {
            (Some(before), Some(shed)) => Some(before.with(shed)),
            (before, shed) => before.or(shed),
        };
        let is_recent = |logged: Moment| now.ms_since(logged) < LOG_INTERVAL_MS;
        if self.shed.is_none() || self.logged.is_some_and(is_recent) {
            return None;
        }
        self.logged = Some(now);
        self.shed.take()
    }
}

impl Shed {
    /// Both together.
    pub(super) fn with(self, later: Shed) -> Shed {
        Shed {
            publications: self.publications + later.publications,
            bytes: self.bytes + later.bytes,
            most: match later.most.1 > self.most.1 {
                true => later.most,
                false => self.most,
            },
        }
    }
}

/// The least time between two lines.
const LOG_INTERVAL_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn shed(publications: usize, topic: &str) -> Shed {
        let name = TopicName {
            owner: "chat".into(),
            name: topic.into(),
        };
        Shed {
            publications,
            bytes: publications * 10,
            most: (name, publications * 10),
        }
    }

    #[test]
    fn a_line_comes_at_once_and_then_one_in_a_while_with_all_since() {
        let mut unlogged = Unlogged::default();
        let at = |ms| Moment::ORIGIN.after(ms);
        let mut step = |ms, shed| unlogged.step(shed, at(ms));

        assert_eq!(step(0, None), None, "nothing was dropped");
        assert_eq!(step(5, Some(shed(1, "a"))), Some(shed(1, "a")));
        assert_eq!(step(6, Some(shed(2, "b"))), None);
        assert_eq!(step(7, Some(shed(4, "c"))), None);
        assert_eq!(step(8, Some(shed(3, "d"))), None);
        assert_eq!(step(10_004, None), None);
        let all = Shed {
            publications: 9,
            bytes: 90,
            ..shed(4, "c")
        };
        assert_eq!(step(10_005, None), Some(all), "without another one");
        assert_eq!(step(30_000, None), None, "nothing since");
        assert_eq!(step(30_001, Some(shed(1, "e"))), Some(shed(1, "e")));
    }
}
