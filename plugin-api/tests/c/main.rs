//! The ABI in C: `wsh.h` says what `abi.rs` says, and plugins in C work.
#![cfg(all(unix, target_pointer_width = "64"))]

mod compiler;
mod layout;
mod plugins;
mod testing;
