//! What the two styles that take a function have in common, async and blocking.

pub(crate) mod inbox;
pub(crate) mod owned_request;
pub(crate) mod session_end;
pub(crate) mod shared;
pub(crate) mod signatures;
