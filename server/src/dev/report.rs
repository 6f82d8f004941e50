//! What the developer reads, on stderr among the lines of cargo and of the log.

use std::fmt;
use std::time::Duration;

use crate::logging;

/// Where the server answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    /// The port on `localhost`.
    pub(crate) port: u16,
    /// Whether there is a document root.
    pub(crate) has_pages: bool,
}

impl Address {
    /// Where the handler of this route is.
    pub(crate) fn handler(self, route: &str) -> String {
        format!("ws://localhost:{}{route}", self.port)
    }

    /// Where the pages are.
    pub(crate) fn pages(self) -> String {
        format!("http://localhost:{}/", self.port)
    }
}

/// How long the way from an editor to the next connection was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveTimes {
    /// From the newest save until all that can run the new code do.
    pub(crate) live: Duration,
    pub(crate) build: Duration,
    pub(crate) load: Duration,
    /// Of the sessions that were open, if there were any.
    pub(crate) moved: Option<Duration>,
}

impl fmt::Display for LiveTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LiveTimes {
            live,
            build,
            load,
            moved,
        } = self;
        let whole_ms = |time: &Duration| time.as_micros().div_ceil(1_000);
        write!(
            f,
            "{:.2} s (build {:.2} s, load {} ms",
            live.as_secs_f64(),
            build.as_secs_f64(),
            whole_ms(load),
        )?;
        if let Some(moved) = moved {
            write!(f, ", move {} ms", whole_ms(moved))?;
        }
        f.write_str(")")
    }
}

/// Writes one line, and does not wait for a terminal that is stopped.
pub(crate) fn say(line: impl fmt::Display) {
    logging::say(&line.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_units_that_people_feel() {
        let mut times = LiveTimes {
            live: Duration::from_millis(836),
            build: Duration::from_millis(790),
            load: Duration::from_micros(2_200),
            moved: None,
        };
        assert_eq!(times.to_string(), "0.84 s (build 0.79 s, load 3 ms)");
        times.moved = Some(Duration::from_micros(300));
        assert_eq!(
            times.to_string(),
            "0.84 s (build 0.79 s, load 3 ms, move 1 ms)"
        );
    }
}
