//! What a session leaves to its next generation.

#[cfg(feature = "serde")]
use serde::{Serialize, de::DeserializeOwned};

/// The state of a session, as bytes. JSON, unless the handler makes its own.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wsh::prelude::*;
/// use wsh::State;
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Counter {
///     seen: u64,
/// }
///
/// impl Session for Counter {
///     const SCHEMA: std::ops::RangeInclusive<u32> = 1..=1;
///
///     fn on_message(&mut self, conn: &mut Conn, _message: Message) {
///         self.seen += 1;
///         conn.send(self.seen.to_string());
///     }
///     fn snapshot(&self) -> Option<State> {
///         State::json(self)
///     }
///     fn restore(state: &State) -> Result<Self> {
///         state.parse()
///     }
/// }
/// # fn main() {}
/// wsh::handler!(Counter);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    schema: u32,
    bytes: Vec<u8>,
}

impl State {
    pub(crate) fn new(schema: u32, bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        State { schema, bytes }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// State in a form of the handler's own.
    #[must_use]
    pub fn bytes(bytes: Vec<u8>) -> Self {
        State { schema: 0, bytes }
    }

    /// State as JSON; none if `value` cannot be JSON, which is logged.
    #[cfg(feature = "serde")]
    #[must_use]
    pub fn json<T: Serialize>(value: &T) -> Option<Self> {
        match serde_json::to_vec(value) {
            Ok(bytes) => Some(State::bytes(bytes)),
            Err(error) => {
                crate::warn!(
                    error = error,
                    "the session's state cannot be written as JSON"
                );
                None
            }
        }
    }

    /// The schema that it was written with, inside `restore`.
    #[must_use]
    pub fn schema(&self) -> u32 {
        self.schema
    }

    /// The bytes as they were written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The state from JSON.
    ///
    /// # Errors
    /// It is not JSON of this type.
    #[cfg(feature = "serde")]
    pub fn parse<T: DeserializeOwned>(&self) -> crate::Result<T> {
        serde_json::from_slice(&self.bytes)
            .map_err(|error| format!("state of schema {}: {error}", self.schema).into())
    }
}
