//! The lines that the developer reads on stderr, between those of cargo and of the log.

use std::fmt;
use std::time::Duration;

use crate::http::target::encode_path;
use crate::logging;

/// The address at which the server answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    /// The port on `localhost`.
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
    /// Whether there is a document root.
    pub(crate) has_pages: bool,
}

impl Address {
    /// The URL of the handler at this route.
    pub(crate) fn handler(self, route: &str) -> String {
        let path = encode_path(route);
        format!("ws{}://localhost:{}{path}", self.s(), self.port)
    }

    /// What the schemes of TLS have more.
    fn s(self) -> &'static str {
        if self.is_tls { "s" } else { "" }
    }

    /// The URL of the pages.
    pub(crate) fn pages(self) -> String {
        format!("http{}://localhost:{}/", self.s(), self.port)
    }
}

/// How long it took from a save until the new code runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveTimes {
    /// From the newest save until the new code serves, and open sessions have moved to it if they can.
    pub(crate) live: Duration,
    pub(crate) build: Duration,
    pub(crate) load: Duration,
    /// How long the open sessions took to move, if there were any.
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

/// Writes one line of our own words, in which no name of a file steers the terminal.
pub(crate) fn say_line(line: impl fmt::Display) {
    logging::say(&logging::on_one_line(&line.to_string()));
}

/// Writes a text, also one with the colours of a compiler, and does not wait for a terminal that is stopped.
pub(crate) fn say(line: impl fmt::Display) {
    logging::say(&line.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_as_a_url_has_it() {
        let address = Address {
            port: 1,
            is_tls: true,
            has_pages: false,
        };
        assert_eq!(
            address.handler("/sub/a b?"),
            "wss://localhost:1/sub/a%20b%3F"
        );
    }

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
