//! The border with compiled handlers: reads their files, loads them, calls them, is called by them.
//!
//! Every line of `unsafe` in the server is in this folder, and only this folder names `libloading`.
#![allow(unsafe_code)] // this is the border

pub(crate) mod calls;
pub(crate) mod conn;
pub(crate) mod context;
pub(crate) mod dispositions;
pub(crate) mod exits;
pub(crate) mod hold;
#[cfg(feature = "bench")]
pub(crate) mod hop;
pub(crate) mod host;
mod images;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod libraries;
pub(crate) mod library;
mod log;
pub(crate) mod moving;
mod open_files;
mod opening;
pub(crate) mod quarantine;
pub(crate) mod raw;
pub(crate) mod refusal;
mod refused_calls;
pub(crate) mod request;
mod reserve;
pub(crate) mod response;
pub(crate) mod stage;
pub(crate) mod surroundings;
mod text;
mod thread_local_destructors;
pub(crate) mod trial;
pub(crate) mod trust;
pub(crate) mod watchdog;
