//! The state that a session of the events style leaves to its next generation.

use std::marker::PhantomData;

#[cfg(feature = "serde")]
use serde_core::{Serialize, de::DeserializeOwned};

use crate::styles::events::session::Session;

/// The state of a session as an older generation wrote it, for `restore`.
///
/// ```standalone_crate
/// use serde::{Deserialize, Serialize};
/// use wsh::prelude::*;
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Counter {
///     seen: u64,
/// }
///
/// impl Session for Counter {
///     const SCHEMA: std::ops::RangeInclusive<u32> = 1..=1;
///
///     fn on_message(&mut self, conn: &mut Conn, _message: Message) -> Result {
///         self.seen += 1;
///         conn.send(self.seen.to_string())?;
///         Ok(())
///     }
///     fn snapshot(&self, _conn: &Conn) -> Result<Snapshot<Self>> {
///         Snapshot::json(self)
///     }
///     fn restore(_conn: &mut Conn, state: &State) -> Result<Self> {
///         state.parse()
///     }
/// }
/// # fn main() {}
/// wsh::handler!(Counter);
/// ```
///
/// A state in a format of the handler's own, in two schemas:
///
/// ```
/// use wsh::prelude::*;
///
/// #[derive(Default)]
/// struct Seen {
///     count: u64,
///     is_busy: bool,
/// }
///
/// impl Session for Seen {
///     const SCHEMA: std::ops::RangeInclusive<u32> = 1..=2;
///
///     fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
///         self.count += 1;
///         conn.send(self.count.to_string())?;
///         Ok(())
///     }
///     fn snapshot(&self, _: &Conn) -> Result<Snapshot<Self>> {
///         Ok(match self.is_busy {
///             true => Snapshot::later(), // asked again after the next callback
///             false => Snapshot::bytes(self.count.to_le_bytes().into()),
///         })
///     }
///     fn restore(_: &mut Conn, state: &State) -> Result<Self> {
///         let count = match state.schema() {
///             1 => u64::from(u32::from_le_bytes(state.as_bytes().try_into()?)),
///             _ => u64::from_le_bytes(state.as_bytes().try_into()?),
///         };
///         Ok(Seen { count, is_busy: false })
///     }
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(Seen));
/// # client.send("one");
/// # assert!(client.migrate());
/// # client.send("two");
/// # assert_eq!(client.receive().unwrap(), "1");
/// # assert_eq!(client.receive().unwrap(), "2");
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

    /// The schema in which the state was written.
    #[must_use]
    pub fn schema(&self) -> u32 {
        self.schema
    }

    /// The bytes of the state.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads the state as JSON.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// # Errors
    /// The state is not JSON of the type `T`.
    #[cfg(feature = "serde")]
    pub fn parse<T: DeserializeOwned>(&self) -> crate::Result<T> {
        serde_json::from_slice(&self.bytes).map_err(|error| {
            // No excerpt of the state: it may hold names or tokens of the peer.
            let (schema, found) = (self.schema, self.bytes.len());
            format!("state of schema {schema}: {error}; found {found} bytes").into()
        })
    }
}

/// What [`Session::snapshot`] returns: the state of a session, as JSON or in a format of the handler's own, or that the
/// server asks again later.
///
/// A state has a schema, the last of [`Session::SCHEMA`]. A `snapshot` with a state and without a schema does not compile:
///
/// ```compile_fail
/// use wsh::prelude::*;
///
/// #[derive(Default, serde::Serialize)]
/// struct Counter {
///     seen: u64,
/// }
///
/// impl Session for Counter {
///     fn on_message(&mut self, _: &mut Conn, _: Message) -> Result {
///         self.seen += 1;
///         Ok(())
///     }
///     fn snapshot(&self, _: &Conn) -> Result<Snapshot<Self>> {
///         Snapshot::json(self) // no `const SCHEMA`
///     }
/// }
/// # fn main() {}
/// wsh::handler!(Counter);
/// ```
///
/// The three answers are JSON, bytes, and `later`; [`State`] has whole examples:
///
/// ```
/// # use wsh::prelude::*;
/// # #[derive(Default, serde::Serialize)]
/// # struct Guest { name: String, is_asked: bool }
/// # impl Session for Guest {
/// #     const SCHEMA: std::ops::RangeInclusive<u32> = 1..=1;
/// #     fn on_message(&mut self, _: &mut Conn, _: Message) -> Result { Ok(()) }
/// fn snapshot(&self, _: &Conn) -> Result<Snapshot<Self>> {
///     if self.is_asked {
///         return Ok(Snapshot::later());
///     }
///     if self.name.is_empty() {
///         return Ok(Snapshot::bytes(b"{\"name\":\"\"}".into()));
///     }
///     Snapshot::json(self)
/// }
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot<S> {
    state: Option<Vec<u8>>,
    session: PhantomData<fn() -> S>,
}

impl<S: Session> Snapshot<S> {
    /// State in a format of the handler's own.
    #[must_use]
    pub fn bytes(bytes: Vec<u8>) -> Self {
        const {
            assert!(
                *S::SCHEMA.end() != 0,
                "`snapshot` needs a `SCHEMA`: `const SCHEMA: RangeInclusive<u32> = 1..=1;` in `impl Session`"
            );
        };
        Snapshot {
            state: Some(bytes),
            session: PhantomData,
        }
    }

    /// State as JSON.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// # Errors
    /// `value` cannot be written as JSON.
    #[cfg(feature = "serde")]
    pub fn json<T: Serialize>(value: &T) -> crate::Result<Self> {
        let json = serde_json::to_vec(value)
            .map_err(|error| format!("the session's state cannot be written as JSON: {error}"))?;
        Ok(Snapshot::bytes(json))
    }

    /// No state now: the session stays in this generation, and the server asks again after its next callback.
    #[must_use]
    pub fn later() -> Self {
        Snapshot {
            state: None,
            session: PhantomData,
        }
    }

    pub(crate) fn into_bytes(self) -> Option<Vec<u8>> {
        self.state
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_error_of_a_state_that_is_not_read_has_no_excerpt_of_it() {
        let state = State::new(3, br#"["fresh","AWyX"]"#);
        assert_eq!(
            state
                .parse::<HashMap<String, u8>>()
                .unwrap_err()
                .to_string(),
            "state of schema 3: invalid type: sequence, expected a map at line 1 column 0; found 16 bytes"
        );
    }
}
