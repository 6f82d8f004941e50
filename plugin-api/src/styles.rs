//! The three ways to write a handler: callbacks for events, an async function, a blocking function.

pub(crate) mod adapter;
pub(crate) mod asynchronous;
pub(crate) mod blocking;
pub(crate) mod events;
pub(crate) mod functions;
