//! Makes an event into a line: the time in UTC, the level, the message, the fields. It is text for people, or JSON for
//! programs.

use std::cell::Cell;
use std::fmt::{self, Debug};
use std::io::Write;
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::value;

/// A line that is being written: first the message, then the fields.
pub(crate) struct LogLine<'a> {
    text: &'a mut Vec<u8>,
    format: LineFormat,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineFormat {
    Text,
    /// Text with colours, for a terminal.
    ColourfulText,
    /// One object of JSON.
    Json,
}

/// Appends the line of `event`.
pub(super) fn write(text: &mut Vec<u8>, event: &Event<'_>, format: LineFormat) {
    let mut line = LogLine::begin(text, *event.metadata().level(), format);
    // tracing gives the message first.
    event.record(&mut line);
    line.end();
}

/// The level of a line, as [`LogLine::begin`] writes it without colours. What is said for people of why the program fails,
/// `wshd: …`, is an error.
pub(super) fn level_of(line: &[u8]) -> Option<Level> {
    if line.starts_with(b"wshd: ") {
        return Some(Level::ERROR);
    }
    let (begins, word) = match line.strip_prefix(b"{\"time\":\"") {
        Some(rest) => ("\",\"level\":\"", rest.get(TIME_BYTES..)?),
        None => (" ", line.get(TIME_BYTES..)?),
    };
    let word = word.strip_prefix(begins.as_bytes())?.trim_ascii_start();
    let levels = [
        Level::ERROR,
        Level::WARN,
        Level::INFO,
        Level::DEBUG,
        Level::TRACE,
    ];
    let mut levels = levels.into_iter();
    levels.find(|level| word.starts_with(level.as_str().as_bytes()))
}

impl LogLine<'_> {
    /// Appends the time and the level.
    pub(super) fn begin(text: &mut Vec<u8>, level: Level, format: LineFormat) -> LogLine<'_> {
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        if format == LineFormat::Json {
            text.extend_from_slice(b"{\"time\":\"");
            push_time(text, since_1970);
            text.extend_from_slice(b"\",\"level\":\"");
            text.extend_from_slice(level.as_str().as_bytes());
            text.push(b'"');
            return LogLine { text, format };
        }
        let is_colourful = format == LineFormat::ColourfulText;
        let (colour, level) = match level {
            Level::ERROR => ("\x1b[31m", "ERROR"),
            Level::WARN => ("\x1b[33m", " WARN"),
            Level::INFO => ("\x1b[32m", " INFO"),
            Level::DEBUG => ("\x1b[34m", "DEBUG"),
            Level::TRACE => ("\x1b[35m", "TRACE"),
        };
        let style = |style| if is_colourful { style } else { "" };
        text.extend_from_slice(style(DIM).as_bytes());
        push_time(text, since_1970);
        for part in [style(PLAIN), " ", style(colour), level, style(PLAIN)] {
            text.extend_from_slice(part.as_bytes());
        }
        LogLine { text, format }
    }

    /// Appends the message.
    pub(super) fn message(&mut self, message: &str) {
        if self.format == LineFormat::Json {
            self.name(MESSAGE);
            return self.json(message);
        }
        self.text.push(b' ');
        if message.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            self.text.extend_from_slice(message.as_bytes());
            return;
        }
        let mut text = String::new();
        value::push_message(&mut text, message);
        self.text.extend_from_slice(text.as_bytes());
    }

    /// Appends a field that is a number.
    pub(crate) fn number(&mut self, name: &'static str, mut value: u64) {
        self.name(name);
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.text.extend_from_slice(&digits[at..]);
    }

    /// Appends a field that is a text. It is quoted where it could be taken for another field.
    pub(crate) fn text(&mut self, name: &'static str, text: impl fmt::Display) {
        self.name(name);
        if self.format == LineFormat::Json {
            return self.json(&text.to_string());
        }
        let start = self.text.len();
        let _ = write!(self.text, "{text}");
        value::settle(self.text, start);
    }

    /// Ends the line.
    pub(super) fn end(self) {
        if self.format == LineFormat::Json {
            return self.text.extend_from_slice(b"}\n");
        }
        if self.text.len() > BYTES_MAX {
            let is_boundary = |at: &usize| std::str::from_utf8(&self.text[..*at]).is_ok();
            let cut = (BYTES_MAX - 4..=BYTES_MAX).rev().find(is_boundary);
            let left_out = self.text.len() - cut.unwrap_or(BYTES_MAX);
            self.text.truncate(cut.unwrap_or(BYTES_MAX));
            let _ = write!(self.text, "… {left_out} bytes more");
        }
        self.text.push(b'\n');
    }

    /// Appends a field whose value `write` appends.
    fn record(&mut self, field: &Field, write: impl FnOnce(&mut Self)) {
        // Events of the `log` crate carry fields about themselves, which are left out.
        if !field.name().starts_with("log.") {
            self.name(field.name());
            write(self);
        }
    }

    /// Appends a string of JSON. It is cut where the line would be too long.
    fn json(&mut self, text: &str) {
        let bytes_max = BYTES_MAX.saturating_sub(self.text.len());
        value::push_json(self.text, text, bytes_max);
    }

    fn name(&mut self, name: &str) {
        match self.format {
            LineFormat::Text => {
                self.text.push(b' ');
                self.text.extend_from_slice(name.as_bytes());
                self.text.push(b'=');
            }
            LineFormat::ColourfulText => {
                let _ = write!(self.text, " {ITALIC}{name}{PLAIN}{DIM}={PLAIN}");
            }
            LineFormat::Json => {
                self.text.extend_from_slice(b",\"");
                self.text.extend_from_slice(name.as_bytes());
                self.text.extend_from_slice(b"\":");
            }
        }
    }
}

impl Visit for LogLine<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record(field, |line| {
            let _ = write!(line.text, "{value}");
        });
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.record(field, |line| {
            let _ = write!(line.text, "{value}");
        });
    }

    fn record_str(&mut self, field: &Field, text: &str) {
        if field.name() == MESSAGE {
            return self.message(text);
        }
        self.record(field, |line| {
            if line.format == LineFormat::Json {
                return line.json(text);
            }
            let mut quoted = String::new();
            value::push_quoted(&mut quoted, text);
            line.text.extend_from_slice(quoted.as_bytes());
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == MESSAGE {
            return self.message(&format!("{value:?}"));
        }
        self.record(field, |line| {
            if line.format == LineFormat::Json {
                return line.json(&format!("{value:?}"));
            }
            let start = line.text.len();
            let _ = write!(line.text, "{value:?}");
            value::settle(line.text, start);
        });
    }
}

/// Appends a time like `2026-11-25T19:02:33.478687Z`.
fn push_time(line: &mut Vec<u8>, since_1970: Duration) {
    let seconds = since_1970.as_secs();
    // Most lines have the second of the line before.
    let (mut second, mut text) = SECOND.get();
    if second != seconds {
        (second, text) = (seconds, date_and_time(seconds));
        SECOND.set((second, text));
    }
    line.extend_from_slice(&text);
    let mut rest = *b".000000Z";
    let mut micros = since_1970.subsec_micros();
    for digit in rest[1..7].iter_mut().rev() {
        *digit += (micros % 10) as u8;
        micros /= 10;
    }
    line.extend_from_slice(&rest);
}

/// A time like `2026-11-25T19:02:33`. The Gregorian calendar repeats after 400 years, 146,097 days.
fn date_and_time(since_1970: u64) -> [u8; 19] {
    // Years that begin in March have their leap day at the end. Day 0 is 1 March of the year 0.
    let day = since_1970 / 86_400 + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, in_next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year + in_next_year;
    let second = since_1970 % 86_400;
    let mut text = *b"0000-00-00T00:00:00";
    for (end, width, mut number) in [
        (4, 4, year),
        (7, 2, month),
        (10, 2, day),
        (13, 2, second / 3_600),
        (16, 2, second / 60 % 60),
        (19, 2, second % 60),
    ] {
        for digit in text[end - width..end].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    text
}

thread_local! {
    /// The second of the thread's last line, and its text. Per thread, so that a line takes no lock for it.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
}

/// How long a line may be. A longer one is cut, since a handler may log anything.
const BYTES_MAX: usize = 64 * 1024;
/// The length of a time.
const TIME_BYTES: usize = "2026-11-30T21:08:05.784557Z".len();
/// tracing's name for the field with the message.
const MESSAGE: &str = "message";
const DIM: &str = "\x1b[2m";
const ITALIC: &str = "\x1b[3m";
const PLAIN: &str = "\x1b[0m";

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

    /// The lines of the events in `log`, without their times.
    fn lines(format: LineFormat, log: impl FnOnce()) -> Vec<String> {
        struct Keep(Arc<Mutex<Vec<String>>>, LineFormat);
        impl<S: tracing::Subscriber> Layer<S> for Keep {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                let mut line = Vec::new();
                write(&mut line, event, self.1);
                let line = String::from_utf8(line).unwrap();
                let (_, rest) = line.split_once('Z').unwrap();
                self.0.lock().unwrap().push(rest.to_owned());
            }
        }
        let kept = Arc::default();
        let keep = Keep(Arc::clone(&kept), format);
        let subscriber = tracing_subscriber::registry().with(keep);
        tracing::subscriber::with_default(subscriber, log);
        std::mem::take(&mut *kept.lock().unwrap())
    }

    #[test]
    fn a_line_says_the_level_what_happened_and_every_field() {
        let log = || {
            let (absent, handler) = (None::<u64>, "echo");
            tracing::info!(session = 7_u64, absent, %handler, code = 1000_u16, "session closed");
            tracing::error!(
                handler,
                most = u64::MAX,
                left = -1,
                is = true,
                "it {}",
                "failed"
            );
        };
        assert_eq!(
            lines(LineFormat::Text, log),
            [
                "  INFO session closed session=7 handler=echo code=1000\n",
                " ERROR it failed handler=\"echo\" most=18446744073709551615 left=-1 is=true\n",
            ]
        );
        let log = || tracing::warn!(a = 1_u64, "hot");
        let expected =
            "\x1b[0m \x1b[33m WARN\x1b[0m hot \x1b[3ma\x1b[0m\x1b[2m=\x1b[0m1\n".to_owned();
        assert_eq!(lines(LineFormat::ColourfulText, log), [expected]);
    }

    #[test]
    fn a_terminal_is_not_steered_by_what_a_peer_sent() {
        let sent = "é\x1b[31m\x07\u{9b}1m\r\x7f";
        let log = || tracing::info!(%sent, "{sent}");
        let shown = "é\\u{1b}[31m\\u{7}\\u{9b}1m\\r\\u{7f}";
        assert_eq!(
            lines(LineFormat::Text, log),
            [format!("  INFO {shown} sent=\"{shown}\"\n")]
        );
    }

    #[test]
    fn a_line_without_an_end_is_cut_between_two_characters() {
        let endless = "é".repeat(BYTES_MAX);
        let log = || tracing::info!("{endless}");

        let line = lines(LineFormat::Text, log).remove(0);

        let (kept, rest) = line.split_once('…').unwrap();
        assert!((BYTES_MAX - 40..BYTES_MAX).contains(&kept.len()));
        let left_out = 2 * BYTES_MAX + "  INFO ".len() - kept.len();
        assert_eq!(rest, format!(" {left_out} bytes more\n"));
    }

    #[test]
    fn a_line_of_json_is_one_object_whatever_a_peer_has_sent() {
        let sent = "é\"\\\r\n\u{1b}[31m\u{9b}\u{202e}\u{2028}\u{e0001}\u{fffd}";
        let absent = None::<u64>;
        let log = || tracing::info!(session = 7_u64, left = -1, is = true, absent, text = sent, %sent, "{sent}");
        let line = lines(LineFormat::Json, log).remove(0);
        let (_, rest) = line.split_once(',').unwrap();
        let line = rest.strip_suffix('\n').unwrap();
        assert!(line.chars().all(|it| !it.is_control()), "{line}");
        for steering in ['\u{202e}', '\u{2028}', '\u{e0001}'] {
            assert!(!line.contains(steering), "{line}");
        }
        let read: serde_json::Value = serde_json::from_str(&format!("{{{line}")).unwrap();
        let expected = serde_json::json!({
            "level": "INFO", "message": sent, "session": 7, "left": -1, "is": true, "text": sent, "sent": sent,
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn a_line_of_json_without_an_end_is_cut_and_stays_an_object() {
        let endless = "é\u{1b}".repeat(BYTES_MAX);
        let log = || tracing::info!(%endless, session = 7_u64, "{endless}");

        let line = lines(LineFormat::Json, log).remove(0);

        assert!(line.len() < BYTES_MAX + 200, "{}", line.len());
        let (_, rest) = line.split_once(',').unwrap();
        let read: serde_json::Value = serde_json::from_str(&format!("{{{rest}")).unwrap();
        assert_eq!(read["session"], 7);
        assert!(read["message"].as_str().unwrap().ends_with(" bytes more"));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_709_164_800, "2024-02-29T00:00:00"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(date_and_time(seconds), expected.as_bytes());
        }
        let mut line = Vec::new();
        push_time(&mut line, Duration::new(1_709_164_800, 42_999));
        assert_eq!(line, b"2024-02-29T00:00:00.000042Z");
    }
}
