//! Writes a value into a line: plain, in quotes where it could be taken for something else, or as a string of JSON.
//!
//! Values come from peers, from names of files and from handlers. No value can look like another field or
//! another line, and none can steer a terminal.

use std::fmt::Write;

/// Quotes the value that is `text` from `start` on, where it needs quotes.
pub(super) fn settle(text: &mut Vec<u8>, start: usize) {
    let is_plain = |byte: &u8| matches!(byte, b'!' | b'#'..=b'<' | b'>'..=b'~');
    let value = &text[start..];
    if !value.is_empty() && value.iter().all(is_plain) {
        return;
    }
    let value = String::from_utf8_lossy(value).into_owned();
    text.truncate(start);
    let mut settled = String::new();
    push(&mut settled, &value);
    text.extend_from_slice(settled.as_bytes());
}

/// Appends a value, quoted if it is empty or has blanks, quotes, `=` or anything invisible in it.
pub(crate) fn push(text: &mut String, value: &str) {
    let is_special = |it: char| it.is_whitespace() || matches!(it, '"' | '=') || is_invisible(it);
    if !value.is_empty() && !value.contains(is_special) {
        text.push_str(value);
        return;
    }
    push_quoted(text, value);
}

/// Appends a value in quotes.
pub(super) fn push_quoted(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            other => push_visible(text, other),
        }
    }
    text.push('"');
}

/// Appends a string of JSON with its quotes. What is invisible in it is written as an escape. It is cut behind `bytes_max`.
pub(super) fn push_json(text: &mut Vec<u8>, value: &str, bytes_max: usize) {
    let end = text.len().saturating_add(bytes_max);
    text.push(b'"');
    // Nearly every value is so.
    if value.len() <= bytes_max
        && value
            .bytes()
            .all(|it| matches!(it, b' '..=b'~' if it != b'"' && it != b'\\'))
    {
        text.extend_from_slice(value.as_bytes());
        return text.push(b'"');
    }
    for (at, character) in value.char_indices() {
        if text.len() >= end {
            let left_out = value.len() - at;
            text.extend_from_slice(format!("… {left_out} bytes more").as_bytes());
            break;
        }
        match character {
            '"' | '\\' => text.extend_from_slice(&[b'\\', character as u8]),
            '\n' => text.extend_from_slice(b"\\n"),
            '\r' => text.extend_from_slice(b"\\r"),
            '\t' => text.extend_from_slice(b"\\t"),
            other if is_invisible(other) => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    text.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
            other => text.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    text.push(b'"');
}

/// Appends a message, which is free text on one line.
pub(crate) fn push_message(text: &mut String, message: &str) {
    message.chars().for_each(|it| push_visible(text, it));
}

fn push_visible(text: &mut String, character: char) {
    if is_invisible(character) {
        // Writing into memory does not fail.
        let _ = write!(text, "{}", character.escape_debug());
    } else {
        text.push(character);
    }
}

/// Whether a character is invisible, or shows as another one.
pub(crate) fn is_invisible(character: char) -> bool {
    // Rust escapes these in a string; quotes and backslashes, which it escapes too, are visible.
    !matches!(character, '"' | '\'' | '\\') && character.escape_debug().len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_where_it_could_be_taken_for_something_else() {
        for (value, shown) in [
            ("echo", "echo"),
            ("/rooms/a", "/rooms/a"),
            ("[::1]:80", "[::1]:80"),
            ("é—\u{4f60}", "é—\u{4f60}"),
            (r"C:\x", r"C:\x"),
            ("it's", "it's"),
            ("", r#""""#),
            ("/a code=1000", r#""/a code=1000""#),
            ("a=b", r#""a=b""#),
            ("say \"no\"\\", r#""say \"no\"\\""#),
            ("a\nINFO b", r#""a\nINFO b""#),
            ("\u{1b}[31m", r#""\u{1b}[31m""#),
            ("\u{202e}txt", r#""\u{202e}txt""#),
            ("a\u{a0}b", "\"a\\u{a0}b\""),
        ] {
            let (mut text, mut bytes) = (String::from("x="), b"x=".to_vec());
            push(&mut text, value);
            bytes.extend_from_slice(value.as_bytes());
            settle(&mut bytes, 2);
            assert_eq!(text, format!("x={shown}"));
            assert_eq!(String::from_utf8(bytes).unwrap(), text);
        }
    }

    #[test]
    fn a_message_stays_on_its_line() {
        let mut text = String::new();
        push_message(&mut text, "it \"failed\" a=1\nWARN\t\u{1b}[31m");
        assert_eq!(text, r#"it "failed" a=1\nWARN\t\u{1b}[31m"#);
    }
}
