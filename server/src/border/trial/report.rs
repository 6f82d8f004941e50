//! What a trial is asked, and what it reports.

use serde::{Deserialize, Serialize};

use crate::border::handler_context::Rights;
use crate::border::handler_log::HandlerLine;
use crate::plugin::libraries::Library;

/// The plugin that is to be tried, and how.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct TrialRequest {
    /// The staged copy, as the bytes of a path.
    pub(super) copy: Vec<u8>,
    pub(super) handler: String,
    pub(super) generation: u64,
    pub(super) config_json: String,
    /// The log level, as a number of the ABI.
    pub(super) log_level: u32,
    pub(super) rights: Rights,
    /// The most memory that the plugin can write to; 0 is half of what the machine has.
    pub(super) memory_bytes_max: u64,
    /// The processor time after which the kernel ends the trial.
    pub(super) processor_s_max: u64,
}

/// What a trial says of a plugin, if the plugin let it come to its end.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct TrialReport {
    /// Why it is not fit to serve; `None` if it is.
    pub(super) unfit: Option<String>,
    /// The libraries that were mapped with the plugin.
    pub(super) libraries: Vec<Library>,
    /// What the plugin logged.
    pub(super) lines: Vec<HandlerLine>,
}
