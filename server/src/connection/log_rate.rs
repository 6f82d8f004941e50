//! A limit of log lines a second: some are written, and one line of the next second counts the rest.
//!
//! Peers can cause these lines, which must neither fill a disk nor hide what matters.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The limit for one kind of line.
#[derive(Debug)]
pub(crate) struct LogRateLimit {
    /// Lines that are logged in one second.
    lines_max: u32,
    window: Mutex<Window>,
}

impl LogRateLimit {
    pub(crate) fn new(lines_max: u32) -> Arc<LogRateLimit> {
        Arc::new(LogRateLimit {
            lines_max,
            window: Mutex::default(),
        })
    }

    /// Logs `line`, unless too many were logged in this second. Then the line is counted, and `rest` logs
    /// the count when the second is over.
    pub(crate) fn log(self: &Arc<Self>, line: impl FnOnce(), rest: fn(u64)) {
        match self.step(Instant::now()) {
            LineDecision::Log => line(),
            LineDecision::Count => {}
            LineDecision::CountFirst { until } => {
                let limit = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep_until(until.into()).await;
                    rest(limit.take_count());
                });
            }
        }
    }

    fn step(&self, now: Instant) -> LineDecision {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.step(now, self.lines_max)
    }

    fn take_count(&self) -> u64 {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.take_count(Instant::now())
    }
}

/// The current second.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    logged: u32,
    /// Lines that were counted and whose count is not logged yet.
    counted: u64,
}

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
enum LineDecision {
    Log,
    Count,
    /// Count the line, and log the count then.
    CountFirst {
        until: Instant,
    },
}

impl Window {
    fn step(&mut self, now: Instant, lines_max: u32) -> LineDecision {
        // The line with the count comes before any other one.
        if self.counted > 0 {
            self.counted += 1;
            return LineDecision::Count;
        }
        let began = match self.began {
            Some(began) if now < began + SECOND => began,
            _ => {
                self.began = Some(now);
                self.logged = 0;
                now
            }
        };
        if self.logged < lines_max {
            self.logged += 1;
            return LineDecision::Log;
        }
        self.counted = 1;
        LineDecision::CountFirst {
            until: began + SECOND,
        }
    }

    /// The count, which is logged `now` as the first line of a second.
    fn take_count(&mut self, now: Instant) -> u64 {
        self.began = Some(now);
        self.logged = 1;
        std::mem::take(&mut self.counted)
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_for_a_second_is_counted_and_the_next_second_logs_again() {
        let began = Instant::now();
        let mut window = Window::default();
        for _ in 0..3 {
            assert_eq!(window.step(began, 3), LineDecision::Log);
        }
        let until = began + SECOND;
        assert_eq!(window.step(began, 3), LineDecision::CountFirst { until });
        for _ in 0..9 {
            assert_eq!(window.step(until - SECOND / 2, 3), LineDecision::Count);
        }
        assert_eq!(window.counted, 10);

        // The next second begins before the count is logged, and the count is one of its lines.
        assert_eq!(window.step(until, 3), LineDecision::Count);
        assert_eq!(window.take_count(until), 11);
        for _ in 1..3 {
            assert_eq!(window.step(until, 3), LineDecision::Log);
        }
        let until = until + SECOND;
        assert_eq!(
            window.step(until - SECOND / 2, 3),
            LineDecision::CountFirst { until }
        );
    }
}
