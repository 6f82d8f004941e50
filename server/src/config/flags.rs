//! The command line.
//!
//! pywebsocket's flags keep their letters and both spellings, so its old command lines still work.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::host::Host;
use super::keys::{TRIAL, TRIAL_WANTED, TRUST, TRUST_WANTED};
use super::lists;
use super::{DecidedBy, HandlerConfig, Hosts, LogLevel, Origins, Trial, Trust};

/// A server of pluggable WebSocket handlers.
///
/// Each compiled handler in a directory answers at a path of its own name, and is replaced while
/// the server runs.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "wshd",
    version,
    max_term_width = 100,
    after_help = AFTER_HELP,
    after_long_help = AFTER_LONG_HELP
)]
pub struct CommandLine {
    /// What to do; without one, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Stop when stdin ends, as with SIGTERM
    ///
    /// For a program that starts a server and keeps the other end of its stdin: however that program ends, the
    /// server does not outlive it. It has no variable: processes that the server starts would inherit one.
    #[arg(long, global = true, help_heading = "Process")]
    pub stop_with_stdin: bool,
    /// How.
    #[command(flatten)]
    pub flags: Flags,
}

impl CommandLine {
    /// That of this process; a wrong one ends it, with what is wrong.
    pub fn of_process() -> CommandLine {
        CommandLine::of(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// That of these arguments, the name of the program first.
    pub(super) fn of(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(arguments).map_err(with_tip)
    }
}

/// A directory behind the program's name is what many other servers take.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let is_command = error.kind() == ErrorKind::InvalidSubcommand;
    let found = error.get(ContextKind::InvalidSubcommand).cloned();
    let has_tip = error.get(ContextKind::SuggestedSubcommand).is_some();
    if let (true, false, Some(ContextValue::String(found))) = (is_command, has_tip, found) {
        let tip = format!(
            "`wshd -w {found}` serves the compiled handlers of a directory, `wshd dev {found}` builds and serves their sources"
        );
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// What to do instead of serving.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Say what the server would say of its configuration and its handlers, and serve nothing
    ///
    /// Exits with 0 if all is well, with 78 if the configuration is wrong, with 1 if a handler is refused.
    Check,
    /// Build every handler at or below PATH, serve it, and rebuild what is saved
    Dev {
        /// Where to look for crates with a `cdylib` named `…_wsh`, and for C with `WSH_DEFINE`
        #[arg(default_value = "handlers")]
        path: PathBuf,
        /// Build with cargo's release profile
        #[arg(long)]
        release: bool,
    },
    /// Make a handler to begin with, in a directory of its own
    New {
        /// The directory to make; its last part is the handler's name
        name: PathBuf,
        /// How the handler is written
        #[arg(long, value_enum, default_value_t)]
        style: Style,
    },
    /// Write what handlers are built with, or put that of this wshd in the place of another's
    ///
    /// `wshd new` writes it beside the first handler, for all handlers there.
    Sdk {
        /// The directory to write
        #[arg(default_value = "wsh")]
        directory: PathBuf,
    },
}

/// How a new handler is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// In Rust, one call for each message.
    #[default]
    #[value(name = "events", alias = "event")]
    Event,
    /// In Rust, an async function for each session.
    Async,
    /// In Rust, a function on a thread of its own for each session.
    Blocking,
    /// In C, one call for each message.
    C,
    /// In C++, one call for each message.
    Cpp,
}

/// What the command line says over the environment, or the environment over the file.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Read this configuration file
    ///
    /// Without it, ./config.toml or ./config/config.toml is read if it is there.
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        help_heading = "Configuration"
    )]
    pub config: Option<PathBuf>,

    /// Listen on this port; 0 is any free one [default: 9998]
    ///
    /// It takes the place of the port of every address listened on, those of the file included.
    #[arg(short, long, global = true, help_heading = "Network")]
    pub port: Option<u16>,

    /// Listen on this address instead [default: 127.0.0.1 and ::1]
    ///
    /// An IPv4 or IPv6 address or `localhost`, with or without a port. 0.0.0.0 is every IPv4 address of this
    /// machine, :: every IPv6 one. Can be given several times, or as a list with commas.
    #[arg(
        short = 'H',
        long,
        alias = "server_host",
        value_name = "HOST",
        value_delimiter = ',',
        global = true,
        help_heading = "Network"
    )]
    pub(super) server_host: Vec<Host>,

    /// Answer requests for these hosts too: names with commas, or `any`
    ///
    /// Needed where only loopback addresses are listened on and clients know the server by a name, as behind
    /// a proxy that passes `Host` on. `*.example.com` is all below a name.
    #[arg(
        long,
        value_name = "HOSTS",
        value_parser = chosen_by_flag(lists::hosts_in, lists::HOSTS_WANTED),
        global = true,
        help_heading = "Network"
    )]
    pub(super) hosts: Option<Chosen<Hosts>>,

    /// Let pages of these origins connect: same-host, any, or a list with commas [default: same-host]
    ///
    /// Like `same-host,https://example.com,https://*.example.org`. A handler's table in the file may say
    /// otherwise.
    #[arg(
        long,
        value_name = "ORIGINS",
        value_parser = chosen_by_flag(lists::origins_in, lists::ORIGINS_WANTED),
        global = true,
        help_heading = "Network"
    )]
    pub(super) origins: Option<Chosen<Origins>>,

    /// Serve the handlers of this directory [default: handlers]
    #[arg(
        short = 'w',
        long,
        visible_alias = "websock-handlers",
        alias = "websock_handlers",
        value_name = "DIR",
        global = true,
        help_heading = "Handlers"
    )]
    pub handlers_dir: Option<PathBuf>,

    /// Look for handlers only below this directory inside it
    ///
    /// Their paths stay relative to the handlers directory.
    #[arg(
        short,
        long,
        alias = "scan_dir",
        value_name = "DIR",
        global = true,
        help_heading = "Handlers"
    )]
    pub scan_dir: Option<PathBuf>,

    /// Read aliases from this file, lines `alias existing`
    #[arg(
        short = 'm',
        long,
        visible_alias = "websock-handlers-map-file",
        alias = "websock_handlers_map_file",
        value_name = "FILE",
        global = true,
        help_heading = "Handlers"
    )]
    pub handlers_map_file: Option<PathBuf>,

    /// Follow symlinks that lead out of the handlers directory
    #[arg(
        long,
        alias = "allow_handlers_outside_root_dir",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        hide_possible_values = true,
        global = true, help_heading = "Handlers"
    )]
    pub allow_handlers_outside_root_dir: Option<bool>,

    /// Try handlers in a process of their own before they are loaded: auto, always, never [default: auto]
    ///
    /// `auto` goes on without where the system allows no such process, `always` refuses them then.
    #[arg(long, value_name = "WHEN", global = true, help_heading = "Handlers")]
    pub trial: Option<Trial>,

    /// Whose handlers run: those that only the server's user and root can write, or any [default: owner]
    ///
    /// `any` is for where modes and owners say nothing, as in some containers: then whoever can write a
    /// handler's file or its directory runs code in the server.
    #[arg(long, value_name = "WHOSE", global = true, help_heading = "Handlers")]
    pub trust: Option<Trust>,

    /// Serve the files of this directory wherever no handler answers
    #[arg(
        short,
        long,
        alias = "document_root",
        value_name = "DIR",
        global = true,
        help_heading = "Files"
    )]
    pub document_root: Option<PathBuf>,

    /// Log this much: off, error, warn, info, debug, trace [default: info]
    ///
    /// In any case; pywebsocket's `critical`, `warning` and `fine` are known too.
    #[arg(
        long,
        alias = "log_level",
        value_name = "LEVEL",
        global = true,
        help_heading = "Logging"
    )]
    pub log_level: Option<LogLevel>,
}

/// A value, and whether a flag or a variable has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen<T> {
    pub(super) value: T,
    pub(super) by: DecidedBy,
}

/// Parses the value of a flag.
fn chosen_by_flag<T>(
    parse: fn(&str) -> Option<T>,
    wanted: &'static str,
) -> impl Fn(&str) -> Result<Chosen<T>, String> + Clone {
    move |text| {
        let by = DecidedBy::Flag;
        let value = parse(text).ok_or_else(|| format!("wants {wanted}"))?;
        Ok(Chosen { value, by })
    }
}

impl Flags {
    /// Lays what the flags say of every handler over `defaults`.
    pub(super) fn set_policy(&self, defaults: &mut HandlerConfig) {
        if let Some(Chosen { value, by }) = &self.origins {
            (defaults.origins, defaults.origins_by) = (value.clone(), *by);
        }
    }
}

impl FromStr for Trial {
    type Err = String;

    fn from_str(text: &str) -> Result<Trial, String> {
        let found = TRIAL.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, trial)| *trial)
            .ok_or_else(|| format!("wants {TRIAL_WANTED}"))
    }
}

impl FromStr for Trust {
    type Err = String;

    fn from_str(text: &str) -> Result<Trust, String> {
        let found = TRUST.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, trust)| *trust)
            .ok_or_else(|| format!("wants {TRUST_WANTED}"))
    }
}

const AFTER_HELP: &str =
    "A flag beats its WSHD_* variable, that beats config.toml, that the defaults. See --help.";
const AFTER_LONG_HELP: &str = "\
Environment:
  Each flag has a variable: WSHD_CONFIG, WSHD_PORT, WSHD_SERVER_HOST, WSHD_HOSTS, WSHD_ORIGINS,
  WSHD_HANDLERS_DIR, WSHD_SCAN_DIR, WSHD_HANDLERS_MAP_FILE, WSHD_ALLOW_HANDLERS_OUTSIDE_ROOT_DIR,
  WSHD_TRIAL, WSHD_TRUST, WSHD_DOCUMENT_ROOT, WSHD_LOG_LEVEL. An empty one says nothing, and so
  does a WSHD_PORT that Kubernetes sets for a Service named `wshd`.
  A flag beats its variable, that beats config.toml, that the defaults.

Signals:
  SIGTERM, SIGINT, SIGQUIT  close every session with 1001, then exit with 0; a second one exits
                            at once with 130
  SIGHUP                    read the configuration again and look for changed handlers; `dev`,
                            whose terminal is closed, stops
  SIGUSR1, SIGUSR2, SIGALRM and others that end most programs are ignored, with a line in the log.

Exit status:
  0   all is well                    2   the command line is wrong
  1   it cannot serve, or a handler  78  the configuration is wrong
      was refused by `check`         70  code of a handler called `exit`";
