//! The plugin's side of the border: where a plugin touches raw pointers, and nowhere else.
//!
//! What comes in is checked against its table's `size` and turned into references that live as
//! long as the call; what goes out goes through a table copied once. Everything outside this folder,
//! and outside the host of [`test`](crate::test), is safe code.
#![allow(unsafe_code)] // raw pointers are what a C ABI is made of

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
