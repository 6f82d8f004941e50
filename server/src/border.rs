//! The border with compiled handlers: opens their libraries, calls them, and is called by them.
//!
//! Nearly all `unsafe` of the server is in this folder, and no other folder names `libloading`.
#![allow(unsafe_code)] // this is the border

pub(crate) mod calls;
pub(crate) mod conn;
pub(crate) mod context;
pub(crate) mod failure;
pub(crate) mod guards;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod library;
pub(crate) mod log;
pub(crate) mod moving;
pub(crate) mod opening;
pub(crate) mod quarantine;
pub(crate) mod raw;
pub(crate) mod refused_calls;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod text;
pub(crate) mod throttle;
pub(crate) mod trial;
pub(crate) mod watchdog;
