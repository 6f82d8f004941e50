//! The plugin's side of the ABI: the only part of a plugin that touches raw pointers.
//!
//! Tables that come in are read no further than their `size`, and become references that live as long as the call. Calls
//! to the host go through a table that is copied once. All other code of this crate is safe, but for the host of
//! [`test`](crate::test).
#![allow(unsafe_code)] // raw pointers are what a C ABI is made of

pub(crate) mod answer;
pub(crate) mod export;
pub(crate) mod function_item;
pub(crate) mod guard;
pub(crate) mod host;
pub(crate) mod host_session;
pub(crate) mod raw;
pub(crate) mod read;
pub(crate) mod runtime;
pub(crate) mod shims;
#[cfg(test)]
mod tests;
pub(crate) mod writer;
