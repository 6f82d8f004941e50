//! The runtime's worker threads: what wakes their tasks, which of them rest, and what memory they give back.

pub(crate) mod memory;
pub(crate) mod reserve;
pub(crate) mod wakes;
