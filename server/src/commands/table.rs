//! Tables for a terminal, sizes and times for people.

use std::time::Duration;

use crate::logging::value;

/// Rows with columns of one width each. `>` at the beginning of a heading has its column stand at the right.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let is_right: Vec<bool> = headings.iter().map(|it| it.starts_with('>')).collect();
    let headings = headings
        .iter()
        .map(|it| it.trim_start_matches('>').to_owned());
    let all: Vec<Vec<String>> = std::iter::once(headings.collect())
        .chain(rows.iter().cloned())
        .collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..is_right.len()).map(width).collect();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for ((cell, width), is_right) in row.iter().zip(&widths).zip(&is_right) {
            let blanks = " ".repeat(width - cell.chars().count());
            line += &match is_right {
                true => format!("{blanks}{cell}  "),
                false => format!("{cell}{blanks}  "),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A word that a peer, a file or a handler has chosen: in quotes where it could be taken for something else.
pub(super) fn word(text: &str) -> String {
    let mut word = String::new();
    value::push(&mut word, text);
    word
}

/// `1 session`, `2 sessions`.
pub(super) fn counted(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// `1.0 KiB`, `12 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut units = ["KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = "B";
    while size >= 1024.0
        && let Some(next) = units.next()
    {
        size /= 1024.0;
        unit = next;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if size < 10.0 => format!("{size:.1} {unit}"),
        _ => format!("{size:.0} {unit}"),
    }
}

/// The two largest units of a time: `3 d 4 h`, `12 min 5 s`, `340 ms`.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, 0) => format!("{} ms", time.as_millis()),
        (0, 0, 0, _) => format!("{seconds} s"),
        (0, 0, _, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_no_name_steers_the_terminal() {
        let rows = [
            vec![word("chat"), "5".to_owned()],
            vec![word("a\u{1b}[2J b"), "1234".to_owned()],
            vec![word(""), "7".to_owned()],
        ];
        let text = table(&["HANDLER", ">SESSIONS"], &rows);
        let expected = [
            "HANDLER         SESSIONS",
            "chat                   5",
            r#""a\u{1b}[2J b"      1234"#,
            "\"\"                     7",
            "",
        ]
        .join("\n");
        assert_eq!(text, expected);
    }

    #[test]
    fn sizes_and_times_have_few_digits() {
        for (found, expected) in [
            (bytes(0), "0 B"),
            (bytes(1023), "1023 B"),
            (bytes(1024), "1.0 KiB"),
            (bytes(12_900_000), "12 MiB"),
            (bytes(u64::MAX), "16777216 TiB"),
            (time(Duration::from_millis(340)), "340 ms"),
            (time(Duration::from_secs(59)), "59 s"),
            (time(Duration::from_secs(725)), "12 min 5 s"),
            (time(Duration::from_secs(3_600)), "1 h 0 min"),
            (time(Duration::from_secs(273_600)), "3 d 4 h"),
        ] {
            assert_eq!(found, expected);
        }
    }
}
