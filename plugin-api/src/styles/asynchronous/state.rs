//! The state that an async session leaves to its next generation.

#[cfg(feature = "serde")]
use std::collections::HashMap;

#[cfg(feature = "serde")]
use serde_core::{Serialize, de::DeserializeOwned};
#[cfg(feature = "serde")]
use serde_json::value::RawValue;

use crate::styles::functions::owned_request::OwnedRequest;

/// The state of an async session. It begins as its `Default`, and moves as JSON.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the state of an async session",
    label = "needs `Default + Serialize + DeserializeOwned + Send`",
    note = "serde is wsh's feature `serde`, which is on by default; without it the state is `()`"
)]
pub trait AsyncState: Default + Send + 'static {
    /// Whether a state can be written together with the request.
    const WITH_REQUEST: bool;

    /// Writes the state. `None` if that fails, which is logged.
    fn write(&self) -> Option<Vec<u8>>;

    /// Reads a state that [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// The bytes are no state of this type.
    fn read(bytes: &[u8]) -> crate::Result<Self>;

    /// Writes the request together with a state that was written.
    fn join(request: &OwnedRequest, state: Vec<u8>) -> Option<Vec<u8>>;

    /// Reads what [`join`](Self::join) wrote.
    ///
    /// # Errors
    /// The bytes are no request with a state of this type.
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
        serde_json::from_slice(bytes)
            // No excerpt of the state: it may hold names or tokens of the peer.
            .map_err(|error| format!("state: {error}; found {} bytes", bytes.len()).into())
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
        both().map_err(|error: serde_json::Error| {
            let found = bytes.len();
            format!("state with its request: {error}; found {found} bytes").into()
        })
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
        Err(
            "a state with its request was found, which is read with the feature `serde` only"
                .into(),
        )
    }
}

/// The schema of a state without the request.
pub(crate) const SCHEMA_STATE: u32 = 1;
/// The schema of a state with the request. Code of one schema does not read the other: a function that takes the request
/// cannot do without it, and one that does not take it is another kind of handler.
pub(crate) const SCHEMA_STATE_WITH_REQUEST: u32 = 2;
