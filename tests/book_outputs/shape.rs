//! What is compared of two outputs: all but numbers, times, dates, sizes and the widths of columns.

use serde_json::Value;

/// Whether two outputs differ in nothing but numbers, times, sizes and blanks. Of JSON, the keys and the kinds of values are
/// compared, and of a list its first element.
pub(super) fn is_alike(shown: &str, found: &str) -> bool {
    match (json(shown), json(found)) {
        (Some(shown), Some(found)) => is_alike_json(&shown, &found),
        _ => {
            let lines = |text: &str| text.lines().map(shape).collect::<Vec<_>>();
            lines(shown) == lines(found)
        }
    }
}

/// The names of the fields of a line of the log, in their order.
pub(super) fn fields_of(line: &str) -> Vec<String> {
    if line.starts_with('{') {
        // A map would not keep their order.
        let parts: Vec<&str> = line.split("\":").collect();
        let names = parts[..parts.len() - 1].iter();
        let names = names.filter_map(|part| part.rsplit('"').next());
        return names.map(str::to_owned).collect();
    }
    let names = line.split_whitespace().filter_map(|it| it.split_once('='));
    names.map(|(name, _)| name.to_owned()).collect()
}

fn json(text: &str) -> Option<Value> {
    let is_json = text.starts_with(['{', '[']);
    is_json.then(|| serde_json::from_str(text).ok()).flatten()
}

fn is_alike_json(shown: &Value, found: &Value) -> bool {
    match (shown, found) {
        // It may be a text or a number another time.
        (Value::Null, _) | (_, Value::Null) => true,
        (Value::Object(shown), Value::Object(found)) => {
            shown.keys().eq(found.keys())
                && shown
                    .iter()
                    .all(|(key, value)| is_alike_json(value, &found[key]))
        }
        (Value::Array(shown), Value::Array(found)) => match (shown.first(), found.first()) {
            (Some(shown), Some(found)) => is_alike_json(shown, found),
            (shown, found) => shown.is_none() == found.is_none(),
        },
        _ => std::mem::discriminant(shown) == std::mem::discriminant(found),
    }
}

/// A line with `0` for each number, `SIZE` for each size and `TIME` for each time.
fn shape(line: &str) -> String {
    if line.starts_with("Date: ") {
        return "Date: TIME".to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace().map(without_numbers) {
        let unit = word.trim_end_matches([',', ';']);
        let kind = match unit {
            "B" | "KiB" | "MiB" | "GiB" => "SIZE",
            "us" | "ms" | "s" | "min" | "h" | "d" => "TIME",
            _ => "",
        };
        if kind.is_empty() || words.last().is_none_or(|last| last != "0") {
            words.push(word);
            continue;
        }
        words.pop();
        let end = &word[unit.len()..];
        if kind == "TIME" && words.last().is_some_and(|last| last == "TIME") {
            words.pop();
        }
        words.push(format!("{kind}{end}"));
    }
    words.join(" ")
}

/// A word with `0` for each number.
fn without_numbers(word: &str) -> String {
    let mut shape = String::new();
    let mut is_in_number = false;
    for it in word.chars() {
        let is_of_number = it.is_ascii_digit() || is_in_number && it == '.';
        match (is_in_number, is_of_number) {
            (false, true) => shape.push('0'),
            (_, false) => shape.push(it),
            (true, true) => {}
        }
        is_in_number = is_of_number;
    }
    shape
}

#[test]
fn numbers_times_and_sizes_may_differ_and_words_may_not() {
    for (shown, found, expected) in [
        ("ID  IN\n 1  5 B\n", "ID   IN\n10  5 KiB\n", true),
        (
            "ready for 2 min 5 s, process 7",
            "ready for 340 ms, process 12",
            true,
        ),
        ("ready for 2 s", "starting for 2 s", false),
        (
            "Date: Mon, 30 Nov 2026 21:08:46 GMT",
            "Date: Tue, 01 Dec 2026 00:00:00 GMT",
            true,
        ),
        ("ID  IN", "ID  OUT", false),
        ("a line", "a line\nand another", false),
        ("{\"a\":1,\n \"b\":null}", "{\"b\":\"x\",\"a\":2}", true),
        ("{\"a\":1}", "{\"a\":1,\"b\":2}", false),
        ("[{\"a\":1}]", "[{\"a\":\"1\"}]", false),
        ("{\"a\":1}", "refused", false),
    ] {
        assert_eq!(is_alike(shown, found), expected, "{shown} and {found}");
    }
    assert_eq!(fields_of("X INFO closed a=1 b=\"2\""), ["a", "b"]);
    assert_eq!(
        fields_of("{\"a\":\"x\",\"b\":1,\"c\":\"y\"}"),
        ["a", "b", "c"]
    );
}
