//! Plugin files, before any of their code runs: which users can have written one, what it is, and the
//! copy of it that is opened.

pub(crate) mod inspect;
pub(crate) mod libraries;
pub(crate) mod refusal;
pub(crate) mod stage;
pub(crate) mod step;
pub(crate) mod trust;

/// The largest file that is read as a plugin: four times a large plugin with its debugging information.
pub(crate) const PLUGIN_BYTES_MAX: u64 = 256 * 1024 * 1024;
