//! Keeps the process whole around the code of plugins: its signals, descriptors, limits and thread keys.

pub(crate) mod exits;
mod faults;
pub(crate) mod images;
mod libc_function;
pub(crate) mod open_files_limit;
pub(crate) mod process_state;
pub(crate) mod signal_dispositions;
pub(crate) mod thread_keys;
pub(crate) mod thread_local_destructors;
