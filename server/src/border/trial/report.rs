//! What a trial is asked, and what came of it.

use serde::{Deserialize, Serialize};

use crate::border::context::Rights;
use crate::border::handler_log::HandlerLine;
use crate::plugin::libraries::Library;

/// What is to be tried, and how.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Request {
    /// The staged copy, as the bytes of a path.
    pub(super) copy: Vec<u8>,
    pub(super) handler: String,
    pub(super) generation: u64,
    pub(super) config_json: String,
    /// In the ABI's numbers.
    pub(super) log_level: u32,
    pub(super) rights: Rights,
    /// Memory that the plugin can write to; 0 is half of what the machine has.
    pub(super) memory_bytes_max: u64,
    /// Processor time after which the kernel ends the trial, if nothing else did.
    pub(super) processor_s_max: u64,
}

/// What a trial says of a plugin that let it come to its end.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Report {
    /// Why it is not fit to serve; `None` if it is.
    pub(super) unfit: Option<String>,
    /// The libraries that came into the process with it.
    pub(super) libraries: Vec<Library>,
    /// What it logged.
    pub(super) lines: Vec<HandlerLine>,
}
