//! The three styles of handlers: callbacks for events, an async function, a blocking function.
//!
//! Each is a folder with an adapter, which turns the callbacks of the ABI into what an author writes, and with a type of
//! connection of its own. All three are one ABI: the server cannot tell them apart but for a flag.

pub(crate) mod adapter;
pub(crate) mod asynchronous;
pub(crate) mod blocking;
pub(crate) mod events;
pub(crate) mod functions;
