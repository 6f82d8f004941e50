//! Messages as JSON: reading and writing values of serde.
//!
//! JSON is sent as text, so that a browser's `onmessage` gets a string for `JSON.parse`.

pub(crate) mod send;

use std::{error::Error as StdError, fmt};

use serde_core::{Deserialize, Serialize};

use crate::{
    buffers::pool,
    error::{Refused, rule::Rule},
    message::{Message, MessageBuf},
};

/// The error of [`Message::json`] and its like: the message or value is not JSON, or not JSON of the wanted type.
///
/// Needs the feature `serde`, which is on by default.
///
/// Its text says what was wanted, what was found and where, and how the message or value begins.
///
/// ```
/// use wsh::Message;
///
/// let error = Message::Text(r#"{"x": "one"}"#).json::<std::collections::HashMap<String, u8>>();
/// assert_eq!(
///     error.unwrap_err().to_string(),
///     "message is not the JSON that was wanted: invalid type: string \"one\", expected u8 at line 1 \
///      column 11; found `{\"x\": \"one\"}`"
/// );
/// ```
// A box keeps the `Result` of a function that reads JSON small.
pub struct JsonError(Box<JsonErrorParts>);

struct JsonErrorParts {
    /// What was read: a message or a value.
    what: &'static str,
    cause: serde_json::Error,
    found: String,
}

impl JsonError {
    #[cold]
    fn new(what: &'static str, cause: serde_json::Error, bytes: &[u8]) -> Self {
        let found = excerpt(bytes);
        JsonError(Box::new(JsonErrorParts { what, cause, found }))
    }

    /// The beginning of the message or value: at most 64 bytes of it, with control characters escaped.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// ```
    /// let error = wsh::Message::Text("no\tJSON").json::<u8>().unwrap_err();
    /// assert_eq!(error.found(), r"no\tJSON");
    /// ```
    #[must_use]
    pub fn found(&self) -> &str {
        &self.0.found
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JsonErrorParts { what, cause, found } = &*self.0;
        write!(f, "{what} is not the JSON that was wanted: {cause}; ")?;
        match found.is_empty() {
            true => f.write_str("found nothing"),
            false => write!(f, "found `{found}`"),
        }
    }
}

impl fmt::Debug for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for JsonError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0.cause)
    }
}

impl<'a> Message<'a> {
    /// Reads a text or binary message as JSON. The value may borrow from the message.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// ```standalone_crate
    /// use serde::{Deserialize, Serialize};
    /// use wsh::prelude::*;
    ///
    /// #[derive(Default)]
    /// struct Adder;
    ///
    /// #[derive(Deserialize)]
    /// struct Task<'a> {
    ///     name: &'a str,
    ///     terms: Vec<i64>,
    /// }
    ///
    /// #[derive(Serialize)]
    /// struct Sum<'a> {
    ///     name: &'a str,
    ///     sum: i64,
    /// }
    ///
    /// impl Session for Adder {
    ///     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
    ///         let Task { name, terms } = message.json()?;
    ///         conn.send_json(&Sum { name, sum: terms.iter().sum() })?;
    ///         Ok(())
    ///     }
    /// }
    /// # fn main() {}
    /// wsh::handler!(Adder);
    /// ```
    ///
    /// With `?` an error ends the session with 1011 and is logged, like every error of a callback. A handler whose peers
    /// may send something else answers them instead:
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # fn on_message(conn: &mut Conn, message: Message) -> Result {
    /// let terms: Vec<i64> = match message.json() {
    ///     Ok(terms) => terms,
    ///     Err(error) => {
    ///         wsh::debug!("{error}");
    ///         conn.close(1007, "a list of numbers was wanted")?;
    ///         return Ok(());
    ///     }
    /// };
    /// # drop(terms);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The message is not JSON, or not JSON of a `T`.
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, JsonError> {
        read(self.as_bytes())
    }
}

impl MessageBuf {
    /// Reads a text or binary message as JSON. The value may borrow from the message.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// ```standalone_crate
    /// # use wsh::prelude::*;
    /// async fn add(conn: &mut AsyncConn) -> Result {
    ///     while let Some(message) = conn.recv().await {
    ///         let terms: Vec<i64> = message.json()?;
    ///         conn.send_json(&terms.iter().sum::<i64>()).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// wsh::handler!(async add);
    /// ```
    ///
    /// # Errors
    /// The message is not JSON, or not JSON of a `T`. With `?` an error ends the session with 1011, and is logged.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, JsonError> {
        read(self.as_bytes())
    }
}

/// The beginning of some bytes for an error message, with control characters escaped.
fn excerpt(bytes: &[u8]) -> String {
    let mut shown = &bytes[..bytes.len().min(FOUND_BYTES_MAX)];
    if let Err(error) = str::from_utf8(shown)
        && error.error_len().is_none()
    {
        // The cut is inside a character.
        shown = &shown[..error.valid_up_to()];
    }
    let mut found = String::from_utf8_lossy(shown).escape_debug().to_string();
    // Quotes need no escape here.
    found = found.replace("\\\"", "\"").replace("\\'", "'");
    if shown.len() < bytes.len() {
        found.push('…');
    }
    found
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, JsonError> {
    serde_json::from_slice(bytes).map_err(|error| JsonError::new("message", error, bytes))
}

/// Reads a value that is no message.
pub(crate) fn read_value<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, JsonError> {
    serde_json::from_slice(bytes).map_err(|error| JsonError::new("value", error, bytes))
}

/// Writes a value as JSON and lends the text to `send`. The buffer then goes to the pool.
fn with_text<T: Serialize + ?Sized>(
    value: &T,
    send: impl FnOnce(&str) -> Result<u64, Refused>,
) -> Result<u64, Refused> {
    let text = write(value)?;
    let answer = send(&text);
    pool::put(text.into_bytes());
    answer
}

/// Writes a value as JSON, into a buffer from the pool.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T) -> Result<String, Refused> {
    let mut bytes = pool::take(TEXT_BYTES_FIRST);
    let outcome = serde_json::to_writer(&mut bytes, value);
    match outcome.map(|()| String::from_utf8(bytes)) {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(_)) => Err(Refused::Invalid(Rule::json())),
        Err(error) => {
            crate::warn!(error, "value cannot be sent as JSON");
            Err(Refused::Invalid(Rule::json()))
        }
    }
}

/// How many bytes of a message an error shows.
const FOUND_BYTES_MAX: usize = 64;
/// The capacity of the buffer that a value is written into.
const TEXT_BYTES_FIRST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_wanted_and_what_was_found() {
        let long = format!("[{}]", "1,".repeat(100));
        let umlauts = format!("x{}", "ü".repeat(100));
        for (bytes, wanted) in [
            (
                &b""[..],
                "EOF while parsing a value at line 1 column 0; found nothing",
            ),
            (b"hello", "expected value at line 1 column 1; found `hello`"),
            (
                b"\"x\"",
                "invalid type: string \"x\", expected a sequence at line 1 column 3; found `\"x\"`",
            ),
            (
                b"[1]\n[2]",
                "trailing characters at line 2 column 1; found `[1]\\n[2]`",
            ),
            (
                b"[\xff",
                "expected value at line 1 column 2; found `[\u{fffd}`",
            ),
            (
                umlauts.as_bytes(),
                &format!(
                    "expected value at line 1 column 1; found `x{}…`",
                    "ü".repeat(31)
                ),
            ),
            (
                long.as_bytes(),
                &format!(
                    "trailing comma at line 1 column 202; found `[{}1…`",
                    "1,".repeat(31)
                ),
            ),
        ] {
            let error = Message::Binary(bytes).json::<Vec<u32>>().unwrap_err();
            let prefix = "message is not the JSON that was wanted: ";
            assert_eq!(error.to_string(), format!("{prefix}{wanted}"));
        }
    }

    #[test]
    fn a_value_that_json_cannot_say_is_invalid() {
        let map = std::collections::HashMap::from([((1, 2), 3)]);
        let refused = write(&map).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`value` cannot be said in JSON, wanted maps whose keys are strings or numbers, and no error \
             of its own `Serialize`"
        );
        assert_eq!(write(&("é", 1)), Ok("[\"é\",1]".into()));
    }

    #[test]
    fn a_value_may_borrow_from_its_message() {
        let message = MessageBuf::Text(r#"["ann","ben"]"#.into());
        let names: Vec<&str> = message.json().unwrap();
        assert_eq!(names, ["ann", "ben"]);
    }
}
