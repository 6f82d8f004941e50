//! JSON that can be shown on a terminal as it is.

use std::fmt::Write as _;

use serde_json::Value;

use crate::logging::value::is_invisible;

/// The value as JSON on one line, in ASCII where a character is invisible or steers a terminal.
///
/// Outside of strings JSON has only ASCII, so each such character stands in a string.
pub(crate) fn text(value: &Value) -> String {
    let plain = value.to_string();
    let mut text = String::with_capacity(plain.len());
    for character in plain.chars() {
        if character.is_ascii() && character != '\u{7f}' || !is_invisible(character) {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing into memory does not fail.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_name_steers_a_terminal_and_each_is_read_as_it_was() {
        let odd = "a\u{1b}[31m\u{9b}2J\u{202e}\u{7f}\n\"\\\u{0}é\u{2028}\u{e0001}";

        let text = text(&Value::from(odd));

        assert!(text.chars().all(|it| !is_invisible(it)), "{text}");
        assert!(text.contains('é') && !text.contains('\u{1b}'));
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), odd);
    }
}
