//! The state of an async session, from one generation to the next.

#[cfg(feature = "serde")]
use std::collections::HashMap;

#[cfg(feature = "serde")]
use serde_core::{Serialize, de::DeserializeOwned};
#[cfg(feature = "serde")]
use serde_json::value::RawValue;

use crate::styles::functions::owned_request::OwnedRequest;

/// The state of an async session: it begins as its default and moves as JSON.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the state of an async session",
    label = "needs `Default + Serialize + DeserializeOwned + Send`",
    note = "serde is wsh's feature `serde`, which is on by default; without it the state is `()`"
)]
pub trait AsyncState: Default + Send + 'static {
    /// Whether the request can be carried beside it.
    const WITH_REQUEST: bool;

    /// The state as bytes; none if it cannot be written, which is logged.
    fn write(&self) -> Option<Vec<u8>>;

    /// The state again.
    ///
    /// # Errors
    /// The bytes are something else.
    fn read(bytes: &[u8]) -> crate::Result<Self>;

    /// Puts the request beside a state that was written.
    fn join(request: &OwnedRequest, state: Vec<u8>) -> Option<Vec<u8>>;

    /// Both again.
    ///
    /// # Errors
    /// The bytes are something else.
    fn split(bytes: &[u8]) -> crate::Result<(OwnedRequest, Self)>;
}

#[cfg(feature = "serde")]
impl<T: Default + Send + Serialize + DeserializeOwned + 'static> AsyncState for T {
    const WITH_REQUEST: bool = true;

    fn write(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self)
            .inspect_err(|error| {
                crate::warn!(error, "the session's state cannot be written as JSON");
            })
            .ok()
    }

    fn read(bytes: &[u8]) -> crate::Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| format!("state: {error}").into())
    }

    fn join(request: &OwnedRequest, state: Vec<u8>) -> Option<Vec<u8>> {
        let mut joined = br#"{"request":"#.to_vec();
        serde_json::to_writer(&mut joined, &request.to_json()).ok()?;
        joined.extend_from_slice(br#","state":"#);
        joined.extend_from_slice(&state);
        joined.push(b'}');
        Some(joined)
    }

    fn split(bytes: &[u8]) -> crate::Result<(OwnedRequest, Self)> {
        let both = || {
            let joined: HashMap<String, &RawValue> = serde_json::from_slice(bytes)?;
            let part = |name| joined.get(name).map_or("null", |part| part.get());
            let request = OwnedRequest::from_json(serde_json::from_str(part("request"))?)?;
            Ok((request, serde_json::from_str(part("state"))?))
        };
        both().map_err(|error: serde_json::Error| format!("state with its request: {error}").into())
    }
}

#[cfg(not(feature = "serde"))]
impl AsyncState for () {
    const WITH_REQUEST: bool = false;

    fn write(&self) -> Option<Vec<u8>> {
        Some(b"null".to_vec())
    }

    fn read(_bytes: &[u8]) -> crate::Result<Self> {
        Ok(())
    }

    fn join(_request: &OwnedRequest, _state: Vec<u8>) -> Option<Vec<u8>> {
        None
    }

    fn split(_bytes: &[u8]) -> crate::Result<(OwnedRequest, Self)> {
        Err("a session with its request moves with the feature `serde` only".into())
    }
}

/// The schema of a state alone.
pub(crate) const SCHEMA_STATE: u32 = 1;
/// The schema of a state with its request. Neither reads the other: a function that asks for the
/// request cannot do without, and to one that does not, it is another handler's session.
pub(crate) const SCHEMA_STATE_WITH_REQUEST: u32 = 2;
