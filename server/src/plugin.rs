//! Plugin files, before any of their code runs: who can have written one, what it is, and the copy of it
//! that is opened.

pub(crate) mod inspect;
pub(crate) mod libraries;
pub(crate) mod refusal;
pub(crate) mod stage;
pub(crate) mod trust;
