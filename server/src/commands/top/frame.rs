//! What `wshd top` draws: lines for a screen of a size, from the answers until now.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::history::{History, Rates, list};
use crate::commands::table::{bytes, time, word};

/// How it is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    /// The first handler that is shown.
    pub(super) first: usize,
    /// Whether the server has not answered the last question.
    pub(super) is_silent: bool,
    pub(super) is_coloured: bool,
}

impl View {
    /// Keeps the first handler within what there is to show.
    pub(super) fn fit(&mut self, history: &History, rows: usize) {
        let room = rows.saturating_sub(ROWS_ABOVE);
        let last = list(&history.snapshot).len().saturating_sub(room);
        self.first = self.first.min(last);
    }
}

/// The lines of a screen.
pub(super) fn lines(history: &History, view: &View, columns: usize, rows: usize) -> Vec<String> {
    let snapshot = &history.snapshot;
    let handlers = list(snapshot);
    let mut lines = vec![
        plain(&summary(history), columns),
        plain(&rates(history, view), columns),
        String::new(),
        tinted(BOLD, &plain(&heading(columns), columns), view),
    ];
    let room = rows.saturating_sub(lines.len());
    for handler in handlers.iter().skip(view.first).take(room) {
        let line = plain(&row(handler, history, columns), columns);
        lines.push(match state(handler) {
            "serving" => line,
            "quarantined" => tinted(YELLOW, &line, view),
            _ => tinted(RED, &line, view),
        });
    }
    if handlers.is_empty() && room > 0 {
        lines.push(plain("no handler is there", columns));
    }
    lines.truncate(rows);
    lines
}

fn summary(history: &History) -> String {
    let snapshot = &history.snapshot;
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let sessions: u64 = list(snapshot)
        .iter()
        .map(|it| number(&it["sessions"]))
        .sum();
    let uptime = Duration::from_millis(number(&snapshot["uptime_ms"]));
    let memory = snapshot["process"]["resident_bytes"].as_u64();
    let processor = history.processor.map(|it| format!("{:.0} %", 100.0 * it));
    format!(
        "wshd {}, up {}   sessions {sessions}   connections {} of {}   memory {}   processor {}",
        snapshot["version"].as_str().unwrap_or_default(),
        time(uptime),
        number(&snapshot["connections"]),
        number(&snapshot["connections_max"]),
        memory.map_or_else(|| "-".to_owned(), bytes),
        processor.unwrap_or_else(|| "-".to_owned()),
    )
}

fn rates(history: &History, view: &View) -> String {
    if view.is_silent {
        return "the server does not answer; these numbers are old".to_owned();
    }
    let total = &history.total;
    format!(
        "messages/s in {} out {}   bytes/s in {} out {}   q quits, arrows scroll",
        short(total.messages_in),
        short(total.messages_out),
        bytes(total.bytes_in as u64),
        bytes(total.bytes_out as u64),
    )
}

/// Which columns a screen has room for. The bars of a narrow one are worth more than a generation and a mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// The width of the column of names.
    name: usize,
    /// The columns of each of the two sparklines.
    spark: usize,
    is_narrow: bool,
}

impl Layout {
    fn of(columns: usize) -> Layout {
        let is_narrow = columns < NAME + NUMBERS + 2 * SPARK_MIN;
        let (name, numbers) = match is_narrow {
            true => (NARROW_NAME, NARROW_NUMBERS),
            false => (NAME, NUMBERS),
        };
        let spark = columns.saturating_sub(name + numbers) / 2;
        Layout {
            name,
            spark: spark.clamp(SPARK_MIN, super::history::KEPT),
            is_narrow,
        }
    }

    /// The cells of a row as a line: the name, numbers and the two sparklines.
    fn line(self, row: Row) -> String {
        let Layout { spark, .. } = self;
        let Row {
            name,
            generation,
            sessions,
            rates: [messages_in, messages_out],
            queued,
            mean,
            p99,
            sparks: [messages, times],
        } = row;
        let mut line = padded(&name, self.name);
        // Writing into memory does not fail.
        let _ = match self.is_narrow {
            true => write!(
                line,
                " {sessions:>8} {messages_in:>6} {messages_out:>6} {queued:>9} {p99:>7}"
            ),
            false => write!(
                line,
                " {generation:>5} {sessions:>8} {messages_in:>7} {messages_out:>7} {queued:>9} {mean:>7} {p99:>7}"
            ),
        };
        line + &format!("  {messages:<spark$}  {times}")
    }
}

/// The cells of a line.
struct Row {
    name: String,
    generation: String,
    sessions: String,
    rates: [String; 2],
    queued: String,
    mean: String,
    p99: String,
    sparks: [String; 2],
}

fn heading(columns: usize) -> String {
    let layout = Layout::of(columns);
    let [messages, callbacks] = match layout.is_narrow {
        true => ["MESSAGES", "CALLBACK"],
        false => ["MESSAGES", "CALLBACKS"],
    };
    layout.line(Row {
        name: "HANDLER".to_owned(),
        generation: "GEN".to_owned(),
        sessions: "SESSIONS".to_owned(),
        rates: ["IN/s", "OUT/s"].map(str::to_owned),
        queued: "QUEUED".to_owned(),
        mean: "MEAN".to_owned(),
        p99: "99 %".to_owned(),
        sparks: [messages, callbacks].map(str::to_owned),
    })
}

fn row(handler: &Value, history: &History, columns: usize) -> String {
    let name = handler["name"].as_str().unwrap_or_default();
    let own = history.handlers.get(name).cloned().unwrap_or_default();
    let Rates {
        messages_in,
        messages_out,
        mean,
        p99,
        ..
    } = own.rates;
    let layout = Layout::of(columns);
    let number = |value: &Value| {
        value
            .as_u64()
            .map_or_else(|| "-".to_owned(), |it| it.to_string())
    };
    let mut shown = word(name);
    let state = state(handler);
    if state != "serving" {
        shown = format!("{shown} {state}");
    }
    layout.line(Row {
        name: shown,
        generation: number(&handler["generation"]),
        sessions: number(&handler["sessions"]),
        rates: [messages_in, messages_out].map(short),
        queued: bytes(handler["queue_bytes"].as_u64().unwrap_or(0)),
        mean: mean.map_or_else(|| "-".to_owned(), duration),
        p99: p99.map_or_else(|| "-".to_owned(), duration),
        sparks: [&own.messages, &own.times].map(|it| sparkline(it, layout.spark)),
    })
}

fn state(handler: &Value) -> &'static str {
    if handler["generation"].is_null() {
        return match handler["refusal"].is_null() {
            true => "removed",
            false => "refused",
        };
    }
    match handler["is_quarantined"] == true {
        true => "quarantined",
        false => "serving",
    }
}

/// The newest values as bars, the highest of them as high as a line.
fn sparkline(values: &VecDeque<f64>, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let newest = values.iter().skip(values.len().saturating_sub(width));
    let most = newest.clone().copied().fold(0.0, f64::max);
    let bar = |value: &f64| match most > 0.0 && *value > 0.0 {
        true => BARS[((value / most * 8.0).ceil() as usize).clamp(1, 8) - 1],
        false => ' ',
    };
    let bars: String = newest.map(bar).collect();
    let missing = width.saturating_sub(bars.chars().count());
    " ".repeat(missing) + &bars
}

/// `3.4`, `120`, `34k`, `1.2M`.
fn short(number: f64) -> String {
    match number {
        _ if number < 9.95 => format!("{number:.1}"),
        _ if number < 9_999.5 => format!("{number:.0}"),
        _ if number < 999_500.0 => format!("{:.0}k", number / 1e3),
        _ => format!("{:.1}M", number / 1e6),
    }
}

/// Seconds as `1 us`, `2.5 ms`, `3.0 s`; `long` beyond the last range.
fn duration(seconds: f64) -> String {
    match seconds {
        _ if seconds.is_infinite() => "long".to_owned(),
        _ if seconds < 9.995e-4 => format!("{:.0} us", seconds * 1e6),
        _ if seconds < 0.009_95 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 0.9995 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}

/// The columns that a character takes on a terminal, or one more.
fn width_of(character: char) -> usize {
    // From there on most are wide; a bar and a dash are below.
    if character < '\u{1100}' || ('\u{2010}'..='\u{259f}').contains(&character) {
        1
    } else {
        2
    }
}

/// The text up to a width.
fn plain(text: &str, columns: usize) -> String {
    let mut left = columns;
    let fits = text.chars().take_while(|it| {
        let width = width_of(*it);
        let is_fit = width <= left;
        left = left.saturating_sub(width);
        is_fit
    });
    fits.collect()
}

/// The text in a column of this width.
fn padded(text: &str, width: usize) -> String {
    let text = plain(text, width);
    let taken: usize = text.chars().map(width_of).sum();
    text + &" ".repeat(width.saturating_sub(taken))
}

fn tinted(tint: &str, text: &str, view: &View) -> String {
    match view.is_coloured {
        true => format!("\x1b[{tint}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

/// The width of the column of names.
const NAME: usize = 20;
/// The width of the numbers, and of the spaces before the sparklines.
const NUMBERS: usize = 61;
/// Those of a narrow screen.
const NARROW_NAME: usize = 18;
const NARROW_NUMBERS: usize = 45;
/// The least width of a sparkline.
const SPARK_MIN: usize = 8;
const ROWS_ABOVE: usize = 4;
const BOLD: &str = "1";
const RED: &str = "31";
const YELLOW: &str = "33";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn history(names: &[&str]) -> History {
        let handlers = names.iter().map(|name| {
            json!({ "name": name, "generation": 3, "sessions": 2, "queue_bytes": 5, "refusal": null, "is_quarantined": false })
        });
        History {
            snapshot: json!({
                "version": "1.2.3", "uptime_ms": 5_000, "connections": 4, "connections_max": 9,
                "handlers": handlers.collect::<Vec<_>>(), "process": { "resident_bytes": 2048 },
            }),
            ..History::default()
        }
    }

    #[test]
    fn no_line_is_longer_than_the_screen_and_no_name_steers_it() {
        let odd = ["a\u{1b}[2J\u{9b}b", "漢字漢字漢字漢字漢字漢字漢字", ""];
        let history = history(&odd);
        for (columns, rows) in [(80, 24), (200, 50), (20, 3), (1, 1), (0, 0)] {
            let lines = lines(&history, &View::default(), columns, rows);
            assert!(lines.len() <= rows, "{lines:?}");
            for line in &lines {
                assert!(
                    line.chars().map(width_of).sum::<usize>() <= columns,
                    "{line}"
                );
                assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
        let lines = lines(&history, &View::default(), 80, 24);
        assert_eq!(
            lines[0],
            "wshd 1.2.3, up 5 s   sessions 6   connections 4 of 9   memory 2.0 KiB   processo"
        );
        assert!(
            lines[4].starts_with("\"a\\u{1b}[2J\\u{9b}b        2    0.0    0.0       5 B       -"),
            "{}",
            lines[4]
        );
    }

    #[test]
    fn the_newest_bars_fit_on_the_screen() {
        let mut history = history(&["echo"]);
        let own = history.handlers.entry("echo".to_owned()).or_default();
        own.messages.push_back(1.0);
        own.times.push_back(1.0);
        for columns in 80..200 {
            let lines = lines(&history, &View::default(), columns, 24);
            assert!(lines[4].ends_with('█'), "{columns}: {}", lines[4]);
            assert_eq!(lines[4].matches('█').count(), 2, "{columns}: {}", lines[4]);
            assert!(lines[3].contains(" MESSAGES "), "{}", lines[3]);
            assert!(lines[3].contains(" CALLBACK"), "{}", lines[3]);
        }
    }

    #[test]
    fn handlers_that_do_not_serve_stand_out_and_without_colours_too() {
        let mut history = history(&["chat", "echo"]);
        history.snapshot["handlers"][0]["is_quarantined"] = true.into();
        history.snapshot["handlers"][1]["generation"] = Value::Null;
        history.snapshot["handlers"][1]["refusal"] = "broken".into();
        let plain = lines(&history, &View::default(), 80, 24);
        assert!(plain[4].starts_with("chat quarantined ") && plain[5].starts_with("echo refused "));
        let view = View {
            is_coloured: true,
            ..View::default()
        };
        let coloured = lines(&history, &view, 80, 24);
        assert!(coloured[4].starts_with("\x1b[33mchat") && coloured[5].starts_with("\x1b[31mecho"));
    }

    #[test]
    fn a_list_that_is_longer_than_the_screen_scrolls_to_its_end_and_no_further() {
        let names: Vec<String> = (0..30).map(|it| format!("h{it:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let history = history(&names);
        let mut view = View {
            first: 99,
            ..View::default()
        };
        view.fit(&history, 24);
        let lines = lines(&history, &view, 80, 24);
        assert!(
            lines[4].starts_with("h10") && lines[23].starts_with("h29"),
            "{lines:?}"
        );
    }

    #[test]
    fn bars_are_relative_to_the_highest_that_is_shown() {
        let values = VecDeque::from([100.0, 0.0, 1.0, 4.0, 8.0]);
        assert_eq!(sparkline(&values, 4), " ▁▄█");
        assert_eq!(sparkline(&values, 6), " █ ▁▁▁");
        assert_eq!(sparkline(&VecDeque::new(), 3), "   ");
    }
}
