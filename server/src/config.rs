//! What the operator decided, after it was read, checked wholly and made absolute; it never changes.
//!
//! A `Config` exists only if it is right. A change of the file makes a new one.

pub(crate) mod authority;
mod compare;
pub(crate) mod document_root;
mod environment;
mod fault;
mod file;
mod flags;
mod level;
mod listen_address;
mod lists;
pub(crate) mod origin;
mod read;
mod routes;
mod settings;
mod source;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tracing::warn;

pub use self::fault::{ConfigError, Fault};
pub use self::flags::{Command, CommandLine, Flags, Style};
pub use self::settings::limits::{Deflate, HandlerLimits, Limits, SessionLimits};
pub use self::source::Place;

/// The known word that was probably meant, if one comes near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    fault::nearest(word, known)
}

/// Whether `hosts` can list this name.
pub(crate) fn is_host(name: &str) -> bool {
    lists::is_host(name)
}

/// The header of a handler's table.
pub(crate) fn handler_table(name: &str) -> String {
    format!("[handler.{}]", file::quoted(name))
}

/// Everything that was decided, from flags, environment, file and defaults, in this precedence.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Where a file is looked for, in this order, if none is named; absolute.
    pub file_places: Vec<PathBuf>,
    /// Where to listen. Port 0 is one free port for all addresses.
    pub listen: Vec<SocketAddr>,
    /// The directory of compiled handlers, watched; absolute.
    pub handlers_dir: PathBuf,
    /// Only files below it are looked for, while names stay relative to `handlers_dir`; absolute.
    pub scan_dir: PathBuf,
    /// Whether a symlink may lead to a library outside `handlers_dir`.
    pub allow_handlers_outside_root_dir: bool,
    /// Whose files are run.
    pub trust: Trust,
    /// Which hosts' requests are answered.
    pub hosts: Hosts,
    /// Where that is decided.
    pub hosts_by: DecidedBy,
    /// Whether `/.wshd/handlers.json` is served.
    pub handlers_json: bool,
    /// What is not a handler is a file below it; absolute.
    pub document_root: Option<PathBuf>,
    /// Where private copies of plugins are staged; `None` is a directory of the server's own choice.
    pub stage_dir: Option<PathBuf>,
    /// Whether staged copies stay until the end, for debuggers.
    pub keeps_staged_copies: bool,
    /// Whether plugins are tried in a process of their own before they are loaded.
    pub trial: Trial,
    /// What is logged.
    pub log_level: LogLevel,
    /// Limits of the server as a whole.
    pub limits: Limits,
    /// What holds for a handler without a table of its own.
    pub defaults: HandlerConfig,
    /// Each handler's table, by the name of its route without the leading slash.
    pub handlers: BTreeMap<String, HandlerConfig>,
    /// Where each of those tables is written, for messages.
    pub places: BTreeMap<String, Place>,
    /// A file of aliases, a line each; absolute.
    pub handlers_map_file: Option<PathBuf>,
    /// Aliases and patterns, in the order written.
    pub routes: Vec<Route>,
    /// A sentence for each environment variable that is not read and looks as if it were to be.
    pub remarks: Vec<String>,
}

impl Config {
    /// The file that decides, or that will if it is written; absolute.
    pub(crate) fn file_to_write(&self) -> Option<&Path> {
        self.file
            .as_ref()
            .or(self.file_places.first())
            .map(PathBuf::as_path)
    }

    /// Says what is odd about the environment, once at start.
    pub fn tell_remarks(&self) {
        for remark in &self.remarks {
            warn!(error = %remark, "environment variable ignored");
        }
    }

    /// What holds for the handler `name`.
    pub fn handler(&self, name: &str) -> &HandlerConfig {
        self.handlers.get(name).unwrap_or(&self.defaults)
    }
}

/// An alias or a pattern: `"/rooms/{room}" = "/chat"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The path or the pattern, in `matchit`'s syntax.
    pub pattern: String,
    /// The route of the handler that answers there, with its leading slash.
    pub target: String,
    /// Where it is written, for messages.
    pub place: Place,
}

/// Whether plugins are tried in a process of their own before they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// They are where the system lets the server make such a process.
    Auto,
    /// One that cannot be tried is refused.
    Always,
    /// They are loaded at once.
    Never,
}

/// Whose files are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of the server's user and of root that nobody else can write.
    Owner,
    /// All.
    Any,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Someone must act.
    Error,
    /// Refused, or went on without.
    Warn,
    /// Listening, loaded, refused, one line a session.
    Info,
    /// One connection's steps.
    Debug,
    /// One message's steps.
    Trace,
}

/// What holds for one handler.
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerConfig {
    /// What a new generation does with the sessions of the old one.
    pub reload: ReloadPolicy,
    /// Which pages may connect.
    pub origins: Origins,
    /// Where that is decided.
    pub origins_by: DecidedBy,
    /// Whether it may write past the framing: `wsh.raw/1`.
    pub raw: bool,
    /// Limits of the handler.
    pub limits: HandlerLimits,
    /// Limits of each of its sessions.
    pub session: SessionLimits,
    /// Reaches the handler: `[handler.NAME] config = {…}`, an object.
    pub config: Value,
}

/// What a new generation does with the sessions of the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadPolicy {
    /// They move to the new code with their state; what cannot, drains.
    Migrate,
    /// They finish on the old code.
    Drain,
    /// They are closed with 1012.
    Close,
}

/// Which pages may connect (RFC 6455 §10.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Those of the request's own `Host`; between loopback names any port.
    SameHost,
    /// All.
    Any,
    /// These, as browsers write them, `https://example.com` or `null`, or all below a host,
    /// `https://*.example.com`; [`SAME_HOST`] stands for those of the request's own `Host`.
    Listed(Vec<String>),
}

/// Which hosts' requests are answered, judged by `Host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Those that mean the machine itself, where only its loopback addresses are listened on; else
    /// all.
    Local,
    /// All.
    Any,
    /// Those that mean the machine itself, and these names; `*.example.com` is all below it.
    Listed(Vec<String>),
}

/// Where a value is decided, and so where it is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DecidedBy {
    /// At the top of the file, or nowhere.
    #[default]
    File,
    /// In a handler's table.
    Table,
    /// A flag of the command line.
    Flag,
    /// A `WSHD_*` variable.
    Variable,
}

/// What the configuration calls [`Origins::SameHost`], alone or in a list.
pub const SAME_HOST: &str = "same-host";

impl Default for Config {
    fn default() -> Config {
        Config {
            file: None,
            file_places: Vec::new(),
            hosts: Hosts::Local,
            hosts_by: DecidedBy::File,
            handlers_json: true,
            listen: vec![
                SocketAddr::from(([127, 0, 0, 1], 9998)),
                SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9998)),
            ],
            handlers_dir: PathBuf::from("handlers"),
            scan_dir: PathBuf::from("handlers"),
            allow_handlers_outside_root_dir: false,
            trust: Trust::Owner,
            document_root: None,
            stage_dir: None,
            keeps_staged_copies: false,
            trial: Trial::Auto,
            log_level: LogLevel::Info,
            limits: Limits::default(),
            defaults: HandlerConfig::default(),
            handlers: BTreeMap::new(),
            places: BTreeMap::new(),
            handlers_map_file: None,
            routes: Vec::new(),
            remarks: Vec::new(),
        }
    }
}

impl Default for HandlerConfig {
    fn default() -> HandlerConfig {
        HandlerConfig {
            reload: ReloadPolicy::Migrate,
            origins: Origins::SameHost,
            origins_by: DecidedBy::File,
            raw: false,
            limits: HandlerLimits::default(),
            session: SessionLimits::default(),
            config: Value::Object(serde_json::Map::new()),
        }
    }
}
