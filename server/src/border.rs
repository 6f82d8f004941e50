//! The border with compiled handlers: opens their libraries, calls them, and is called by them.
//!
//! Nearly all `unsafe` of the server is in this folder, and no other folder names `libloading`.
#![allow(unsafe_code)] // this is the border

mod answer_table;
pub(crate) mod asks;
pub(crate) mod calls;
pub(crate) mod engine_calls;
pub(crate) mod failure_reason;
pub(crate) mod guards;
pub(crate) mod handler_context;
pub(crate) mod handler_jobs;
pub(crate) mod handler_log;
pub(crate) mod host_conn;
pub(crate) mod host_table;
pub(crate) mod image;
pub(crate) mod lent_memory;
pub(crate) mod library;
pub(crate) mod opening;
pub(crate) mod quarantine;
pub(crate) mod raw_table;
pub(crate) mod refused_calls;
pub(crate) mod request_table;
pub(crate) mod response_draft;
mod sink_buffer;
pub(crate) mod state_transfer;
pub(crate) mod throttle;
pub(crate) mod trial;
pub(crate) mod watchdog;
