//! Keeps the process whole around the code of plugins: its signals, descriptors, limits and thread keys.

pub(crate) mod dispositions;
pub(crate) mod exits;
pub(crate) mod images;
pub(crate) mod open_files;
pub(crate) mod surroundings;
pub(crate) mod thread_keys;
pub(crate) mod thread_local_destructors;
