//! What the developer reads, on stderr among the lines of cargo and of the log.

use std::fmt;
use std::io::Write;
use std::time::Duration;

/// Where the server answers.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    /// The port on `localhost`.
    pub port: u16,
    /// Whether there is a document root.
    pub has_pages: bool,
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
pub(crate) struct Times {
    /// From the newest save to the swap.
    pub(crate) live: Duration,
    pub(crate) build: Duration,
    pub(crate) load: Duration,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Times { live, build, load } = self;
        write!(
            f,
            "{:.2} s (build {:.2} s, load {} ms)",
            live.as_secs_f64(),
            build.as_secs_f64(),
            load.as_micros().div_ceil(1_000),
        )
    }
}

/// Writes one line.
pub(crate) fn say(line: impl fmt::Display) {
    // Nobody may be listening any more, and that changes nothing.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_units_that_people_feel() {
        let times = Times {
            live: Duration::from_millis(836),
            build: Duration::from_millis(790),
            load: Duration::from_micros(2_200),
        };
        assert_eq!(times.to_string(), "0.84 s (build 0.79 s, load 3 ms)");
    }
}
