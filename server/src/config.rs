//! The configuration: what the operator decided, checked as a whole, with absolute paths.
//!
//! A `Config` exists only if all of it is right, and never changes. A change of the file makes a new one.

mod addresses;
mod auth;
pub(crate) mod authority;
mod compare;
mod credentials_file;
pub(crate) mod document_root;
mod endpoint;
mod environment;
mod error;
mod fault;
mod file;
mod findings;
mod flags;
mod handler_config;
mod last_good;
mod level;
mod listen_address;
mod lists;
mod long_messages;
pub(crate) mod networks;
pub(crate) mod origin;
mod path_rules;
mod read;
mod routes;
mod settings;
mod source;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod topics;
mod values;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

pub use self::addresses::{AddressPolicy, AddressRules};
pub(crate) use self::addresses::{AddressRefusal, Caller};
pub use self::endpoint::Endpoint;
pub use self::error::ConfigError;
pub(crate) use self::fault::ThereAre;
pub use self::fault::{ConfigFault, ListenFault, ListenFaultCause};
pub use self::flags::connect::{CloseText, ConnectOptions};
pub use self::flags::operate::{OperatorAction, OperatorCommand, ServerChoice};
pub use self::flags::{CommandLine, Flags, Style, Subcommand, completions, manual};
pub(crate) use self::handler_config::OutboundLimit;
pub use self::handler_config::{
    HandlerConfig, Origins, OutboundPolicy, RatePolicy, ReloadPolicy, SAME_HOST,
};
pub use self::last_good::{LastGood, Reading, RefusedFile};
pub use self::networks::Networks;
pub use self::read::{CheckedReading, WrittenPaths};
pub use self::settings::limits::{Deflate, HandlerLimits, Limits, SessionLimits};
pub use self::source::Place;
pub use self::tls::{CertificatePair, ClientAuth, TlsConfig};
pub use self::topics::{HistoryBounds, NamedHandler, TopicPolicy, Topics};
pub use crate::auth::Auth;
pub use crate::auth::access::Access;

/// The known word that is closest to `word`, if it is close enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    fault::nearest(word, known)
}

/// Whether `name` can stand in the list `hosts`.
pub(crate) fn is_host(name: &str) -> bool {
    lists::is_host(name)
}

/// The header of a handler's table: `[handler.chat]`, or `[handler."rooms/chat"]`.
pub(crate) fn handler_table(name: &str) -> String {
    format!("[handler.{}]", file::quoted(name))
}

/// Everything that the operator can decide. The priority, highest first: flags, variables, the file, the
/// defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Where a file is looked for, in this order, if no flag and no variable names one; absolute.
    pub file_places: Vec<PathBuf>,
    /// Where to listen. Port 0 is one free port for all plain addresses, and another one for all with TLS.
    pub listen: Vec<Endpoint>,
    /// Certificates, and whether all addresses speak TLS.
    pub tls: TlsConfig,
    /// The mode of Unix sockets.
    pub unix_mode: u32,
    /// The connections that may wait to be accepted at each endpoint.
    pub listen_backlog: u16,
    /// The user that a server becomes that is started as root: a name or a number.
    pub user: Option<String>,
    /// The group that it becomes; `None` is that of `user`.
    pub group: Option<String>,
    /// The host that a WebSocket's absolute target must name.
    pub validation_host: Option<String>,
    /// The port that a WebSocket's absolute target must name.
    pub validation_port: Option<u16>,
    /// The directory of compiled handlers, watched; absolute.
    pub handlers_dir: PathBuf,
    /// The directory below which plugins are looked for; absolute. Names stay relative to `handlers_dir`.
    pub scan_dir: PathBuf,
    /// Whether a symlink may lead to a library outside `handlers_dir`.
    pub allow_handlers_outside_root_dir: bool,
    /// Whose plugins are run.
    pub trust: Trust,
    /// Which hosts' requests are answered.
    pub hosts: Hosts,
    /// Where `hosts` is decided.
    pub hosts_by: DecidedBy,
    /// Which addresses may connect.
    pub addresses: AddressPolicy,
    /// The proxies that are believed what they say of their clients.
    pub trusted_proxies: Networks,
    /// The header in which they say it.
    pub forwarded_header: ForwardedHeader,
    /// Whether `/.wshd/handlers.json` and `/.wshd/engine.json` are served.
    pub handlers_json: bool,
    /// Which clients get `/.wshd/metrics`.
    pub metrics: Metrics,
    /// The file with the number of the process; absolute.
    pub pid_file: Option<PathBuf>,
    /// Where operators' commands are taken.
    pub admin_socket: AdminSocket,
    /// Where the page for operators, metrics and health are served.
    pub admin_listen: Option<SocketAddr>,
    /// The directory whose files are served where no handler answers; absolute.
    pub document_root: Option<PathBuf>,
    /// Whether `document_root` stands in a file that was found, which no flag and no variable names.
    pub document_root_is_found: bool,
    /// Whether a directory below `document_root` that has no index.html shows the names in it.
    pub lists_directories: bool,
    /// How long caches may keep a file of the document root that is no page, in seconds. 0: they ask each time.
    pub files_max_age_s: u64,
    /// Whether the pages that are part of the program are served where there is no document root.
    pub pages: bool,
    /// Where private copies of plugins are staged; `None` is a directory of the server's own choice.
    pub stage_dir: Option<PathBuf>,
    /// Whether staged copies stay until the end, for debuggers.
    pub keeps_staged_copies: bool,
    /// Whether a build puts the handlers into their directory, so that which there are is known after it.
    pub handlers_are_built: bool,
    /// Whether plugins are tried in a process of their own before they are loaded.
    pub trial: Trial,
    /// How much is logged.
    pub log_level: LogLevel,
    /// The file that the log is written to; absolute. `None` is stderr.
    pub log_file: Option<PathBuf>,
    /// How the log is written.
    pub log_format: LogFormat,
    /// How the lines of sessions that are over are written.
    pub access_log_format: AccessLogFormat,
    /// The file that the lines of sessions that are over are written to; absolute. `None` is where the log goes.
    pub access_log_file: Option<PathBuf>,
    /// The size at which the log file is renamed and a new one begins. 0 is none.
    pub log_file_bytes_max: u64,
    /// How many older log files are kept. With 0 the file is never renamed.
    pub log_files_max: u32,
    /// What keeps history, presence and stores.
    pub engine: EngineKind,
    /// The policy of each topic.
    pub topics: Arc<Topics>,
    /// Where `[topics]` names a handler, for messages.
    pub topics_handlers: Vec<NamedHandler>,
    /// Where `[topics]` has topics of the server's own without saying whose they are, for messages.
    pub topics_of_the_server: Vec<NamedHandler>,
    /// Who may enter; `None` is every peer.
    pub auth: Option<Arc<Auth>>,
    /// The file of users and the hashes of their passwords; absolute.
    pub users_file: Option<PathBuf>,
    /// The file of tokens' digests; absolute.
    pub tokens_file: Option<PathBuf>,
    /// Limits of the server as a whole.
    pub limits: Limits,
    /// What holds for a handler without a table of its own.
    pub defaults: HandlerConfig,
    /// Each handler's table, by the name of its route without the leading slash.
    pub handlers: BTreeMap<String, HandlerConfig>,
    /// Where each table of `handlers` is written, for messages.
    pub places: BTreeMap<String, Place>,
    /// A file with an alias on each line; absolute.
    pub handlers_map_file: Option<PathBuf>,
    /// Aliases and patterns, in the order written.
    pub routes: Vec<Route>,
    /// A sentence for each environment variable that looks like one of the server's and is not read.
    pub remarks: Vec<String>,
}

impl Config {
    /// Whether the pages that are part of the program are served.
    pub(crate) fn has_built_in_pages(&self) -> bool {
        self.pages && self.document_root.is_none()
    }

    /// The file to name to an operator: the one that was read, else the first that is looked for; absolute.
    pub(crate) fn file_to_write(&self) -> Option<&Path> {
        self.file
            .as_ref()
            .or(self.file_places.first())
            .map(PathBuf::as_path)
    }

    /// Logs the remarks about the environment; to be called once, at the start.
    pub fn tell_remarks(&self) {
        for remark in &self.remarks {
            warn!(error = %remark, "environment variable ignored");
        }
    }

    /// The configuration with the log on stderr.
    pub fn without_log_files(&self) -> Config {
        Config {
            log_file: None,
            access_log_file: None,
            ..self.clone()
        }
    }

    /// The files besides its own that it was read from.
    pub(crate) fn files_besides(&self) -> impl Iterator<Item = &PathBuf> {
        let files = [&self.handlers_map_file, &self.users_file, &self.tokens_file];
        files.into_iter().flatten()
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
    /// Plugins are tried where the system lets the server make such a process.
    Auto,
    /// A plugin that cannot be tried is refused.
    Always,
    /// Plugins are loaded at once.
    Never,
}

/// Where operators' commands are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminSocket {
    /// At a Unix socket of the server's own choice.
    Automatic,
    /// At this Unix socket; absolute.
    At(PathBuf),
    /// Nowhere.
    Off,
}

/// Whose plugins are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Files of the server's user and of root that no other user can write.
    Owner,
    /// All files.
    Any,
}

/// Which clients get metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    /// Programs on this machine, through no proxy.
    Local,
    /// Every client that may enter.
    Any,
    /// None.
    Off,
}

/// What keeps history, presence and stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// The process itself keeps them, until it ends.
    Local,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object of JSON on each line.
    Json,
}

/// How the lines of sessions that are over are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// As the log is on a terminal, otherwise as JSON.
    Auto,
    /// For people.
    Text,
    /// One object of JSON on each line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What an operator must act on.
    Error,
    /// Handlers that were refused, and what the server goes on without.
    Warn,
    /// Listening, loaded, handshakes that were refused, and one line for each session.
    Info,
    /// The steps of each connection.
    Debug,
    /// What handlers log of each message, and each look at the handlers directory.
    Trace,
}

/// Which hosts' requests are answered, judged by `Host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Names of the machine itself, where the server listens on loopback addresses only; else all hosts.
    Local,
    /// All hosts.
    Any,
    /// Names of the machine itself, and these; `*.example.com` is all names below `example.com`.
    Listed(Vec<String>),
}

/// The header in which trusted proxies say which client a request is of. A header that they only pass on is the client's own
/// word, so it is one of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, and `X-Forwarded-Proto` for the scheme.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The layer that decides a value, and so the one in which to change it.
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

impl Default for Config {
    fn default() -> Config {
        Config {
            file: None,
            file_places: Vec::new(),
            hosts: Hosts::Local,
            hosts_by: DecidedBy::File,
            addresses: AddressPolicy::default(),
            trusted_proxies: Networks::default(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            handlers_json: true,
            metrics: Metrics::Local,
            pid_file: None,
            admin_socket: AdminSocket::Automatic,
            admin_listen: None,
            listen: vec![
                Endpoint::Plain((Ipv4Addr::LOCALHOST, 9998).into()),
                Endpoint::Plain((Ipv6Addr::LOCALHOST, 9998).into()),
            ],
            tls: TlsConfig::default(),
            unix_mode: 0o660,
            listen_backlog: 1024,
            user: None,
            group: None,
            validation_host: None,
            validation_port: None,
            handlers_dir: PathBuf::from("handlers"),
            scan_dir: PathBuf::from("handlers"),
            allow_handlers_outside_root_dir: false,
            trust: Trust::Owner,
            document_root: None,
            document_root_is_found: false,
            lists_directories: false,
            files_max_age_s: 0,
            pages: true,
            stage_dir: None,
            keeps_staged_copies: false,
            handlers_are_built: false,
            trial: Trial::Auto,
            log_level: LogLevel::Info,
            log_file: None,
            log_format: LogFormat::Text,
            access_log_format: AccessLogFormat::Auto,
            access_log_file: None,
            log_file_bytes_max: 10 * 1024 * 1024,
            log_files_max: 5,
            engine: EngineKind::Local,
            topics: Arc::default(),
            topics_handlers: Vec::new(),
            topics_of_the_server: Vec::new(),
            auth: None,
            users_file: None,
            tokens_file: None,
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
