//! What the operator decided, after it was read, checked wholly and made absolute; it never changes.
//!
//! A `Config` exists only if it is right. A change of the file makes a new one.

pub(crate) mod authority;
mod compare;
mod environment;
mod fault;
mod file;
mod flags;
mod host;
mod keys;
mod level;
mod lists;
pub(crate) mod origin;
mod read;
mod routes;
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

/// Limits of the server as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; one more is answered 503.
    pub connections_max: usize,
    /// Connections that have not finished their opening handshake.
    pub pending_handshakes_max: usize,
    /// From accept to the whole request head.
    pub handshake_timeout_ms: u64,
    /// The request head, in bytes.
    pub header_bytes_max: usize,
    /// The request head, in lines.
    pub header_lines_max: usize,
    /// Compression contexts that outlive an event, in all sessions together.
    pub deflate_contexts_bytes_max: usize,
    /// From the signal to the end of the process.
    pub stop_timeout_ms: u64,
    /// Sessions that are told to close every two seconds while stopping.
    pub stop_batch_sessions: usize,
}

/// What holds for one handler.
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerConfig {
    /// What a new generation does with the sessions of the old one.
    pub reload: ReloadPolicy,
    /// How long a superseded generation may keep its sessions; `None` is as long as they last.
    pub drain_timeout_s: Option<u64>,
    /// Generations with sessions, the serving one included.
    pub generations_max: usize,
    /// Which pages may connect.
    pub origins: Origins,
    /// Where that is decided.
    pub origins_by: DecidedBy,
    /// Panics in `panics_window_ms` that quarantine the handler.
    pub panics_max: u32,
    /// See `panics_max`.
    pub panics_window_ms: u64,
    /// How long a quarantined handler is left alone before one session is let in.
    pub quarantine_ms: u64,
    /// Open sessions of a blocking handler; one more is answered 503.
    pub blocking_sessions_max: usize,
    /// Host threads that run for the handler.
    pub threads_max: usize,
    /// `init`, `self_test` and `shutdown`, each.
    pub init_timeout_ms: u64,
    /// Memory that a trial can write to; 0 is half of what the machine has.
    pub trial_memory_bytes_max: u64,
    /// One session's state.
    pub snapshot_bytes_max: usize,
    /// Whether it may write past the framing: `wsh.raw/1`.
    pub raw: bool,
    /// Limits of each of its sessions.
    pub session: SessionLimits,
    /// Reaches the handler: `[handler.NAME] config = {…}`, an object.
    pub config: Value,
}

/// Limits of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// One message after inflation.
    pub message_bytes_max: usize,
    /// Frames of one message.
    pub fragments_max: usize,
    /// Bytes accepted for sending and not yet taken by the kernel.
    pub outbound_bytes_max: usize,
    /// How long what is sent to a peer may make no progress.
    pub outbound_timeout_ms: u64,
    /// From a message's first byte to its last, and as long again for each 64 KiB of it; 0 is for
    /// ever.
    pub message_timeout_ms: u64,
    /// Silence after which a Ping is sent, jittered; 0 is never.
    pub ping_interval_ms: u64,
    /// From the Ping to anything at all from the peer.
    pub pong_timeout_ms: u64,
    /// From our Close frame to the peer's.
    pub close_timeout_ms: u64,
    /// Timers at a time.
    pub timers_max: usize,
    /// Topics at a time.
    pub topics_max: usize,
    /// Compression.
    pub deflate: Deflate,
}

/// permessage-deflate (RFC 7692), with a client that offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// Whether it is agreed to.
    pub enabled: bool,
    /// Whether the server's messages may refer to earlier ones; it takes memory for each session.
    pub context_takeover: bool,
    /// How far back they may refer: 2 to the power of 9 to 15 bytes.
    pub window_bits: u8,
    /// Messages shorter than this are sent as they are.
    pub bytes_min: usize,
    /// zlib's level, 1 to 9: higher ones make messages smaller and take longer.
    pub level: u8,
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

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 65_536,
            pending_handshakes_max: 1_024,
            handshake_timeout_ms: 10_000,
            header_bytes_max: 16 * 1024,
            header_lines_max: 100,
            deflate_contexts_bytes_max: 256 * 1024 * 1024,
            stop_timeout_ms: 30_000,
            stop_batch_sessions: 10_000,
        }
    }
}

impl Default for HandlerConfig {
    fn default() -> HandlerConfig {
        HandlerConfig {
            reload: ReloadPolicy::Migrate,
            drain_timeout_s: None,
            generations_max: 8,
            origins: Origins::SameHost,
            origins_by: DecidedBy::File,
            panics_max: 5,
            panics_window_ms: 10_000,
            quarantine_ms: 5_000,
            blocking_sessions_max: 256,
            threads_max: 1_024,
            init_timeout_ms: 10_000,
            trial_memory_bytes_max: 0,
            snapshot_bytes_max: 1024 * 1024,
            raw: false,
            session: SessionLimits::default(),
            config: Value::Object(serde_json::Map::new()),
        }
    }
}

impl Default for SessionLimits {
    fn default() -> SessionLimits {
        SessionLimits {
            message_bytes_max: 64 * 1024,
            fragments_max: 4_096,
            outbound_bytes_max: 1024 * 1024,
            outbound_timeout_ms: 90_000,
            message_timeout_ms: 60_000,
            ping_interval_ms: 25_000,
            pong_timeout_ms: 10_000,
            close_timeout_ms: 5_000,
            timers_max: 64,
            topics_max: 256,
            deflate: Deflate::default(),
        }
    }
}

impl Default for Deflate {
    fn default() -> Deflate {
        Deflate {
            enabled: true,
            context_takeover: false,
            window_bits: 15,
            bytes_min: 1024,
            level: 2,
        }
    }
}
