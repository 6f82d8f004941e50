//! The plugin's side of the border: the only code of this library that touches a raw pointer.
//!
//! What comes in is checked against its table's `size` and turned into references that live as
//! long as the call; what goes out goes through a table copied once. Everything outside this folder
//! is safe code.
#![allow(unsafe_code)] // raw pointers are what a C ABI is made of

pub(crate) mod export;
pub(crate) mod guard;
pub(crate) mod host;
pub(crate) mod item;
pub(crate) mod link;
pub(crate) mod read;
pub(crate) mod runtime;
pub(crate) mod shims;
#[cfg(test)]
mod tests;
