//! The command line, with the letters and both spellings of pywebsocket's.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use super::fault::ConfigError;
use super::host::{HOST_WANTED, Host};
use super::values::absolute;
use super::{Config, LogLevel, file, routes};

/// A server of pluggable WebSocket handlers.
///
/// Each compiled handler in a directory answers at a path of its own name, and is replaced while
/// the server runs.
#[derive(Clone, Debug, Parser)]
#[command(name = "wshd", version, args_conflicts_with_subcommands = false)]
pub struct CommandLine {
    /// What to do; without one, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How.
    #[command(flatten)]
    pub flags: Flags,
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Say what the server would say of its configuration and its handlers, and serve nothing.
    Check,
}

/// What every command takes. Each has an environment variable, which comes after the flag and
/// before the configuration file.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// The configuration file [default: ./config.toml or ./config/config.toml, if there is one]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "WSHD_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,
    /// The port of every address; 0 is a free one [default: 9998]
    #[arg(short, long, global = true, env = "WSHD_PORT", help_heading = "Listen")]
    pub port: Option<u16>,
    /// The address instead of both of `localhost`, with or without a port
    #[arg(
        short = 'H',
        long,
        global = true,
        alias = "server_host",
        value_name = "HOST",
        env = "WSHD_SERVER_HOST",
        help_heading = "Listen"
    )]
    pub server_host: Option<String>,
    /// The directory of compiled handlers, watched [default: handlers]
    #[arg(
        short = 'w',
        long,
        global = true,
        visible_alias = "websock-handlers",
        alias = "websock_handlers",
        value_name = "DIR",
        env = "WSHD_HANDLERS_DIR",
        help_heading = "Handlers"
    )]
    pub handlers_dir: Option<PathBuf>,
    /// Look for handlers below this directory only; their names stay relative to -w
    #[arg(
        short,
        long,
        global = true,
        alias = "scan_dir",
        value_name = "DIR",
        env = "WSHD_SCAN_DIR",
        help_heading = "Handlers"
    )]
    pub scan_dir: Option<PathBuf>,
    /// Follow links that lead out of the handlers directory
    #[arg(
        long,
        global = true,
        alias = "allow_handlers_outside_root_dir",
        env = "WSHD_ALLOW_HANDLERS_OUTSIDE_ROOT_DIR",
        help_heading = "Handlers"
    )]
    pub allow_handlers_outside_root_dir: bool,
    /// A file of aliases, a line each: `alias existing`
    #[arg(
        short = 'm',
        long,
        global = true,
        visible_alias = "websock-handlers-map-file",
        alias = "websock_handlers_map_file",
        value_name = "FILE",
        env = "WSHD_HANDLERS_MAP_FILE",
        help_heading = "Handlers"
    )]
    pub handlers_map_file: Option<PathBuf>,
    /// Serve files below this directory where no handler answers
    #[arg(
        short,
        long,
        global = true,
        alias = "document_root",
        value_name = "DIR",
        env = "WSHD_DOCUMENT_ROOT",
        help_heading = "Files"
    )]
    pub document_root: Option<PathBuf>,
    /// off, error, warn, info, debug or trace [default: info]
    #[arg(
        long,
        global = true,
        alias = "log_level",
        value_name = "LEVEL",
        env = "WSHD_LOG_LEVEL",
        help_heading = "Logging"
    )]
    pub log_level: Option<String>,
}

impl Flags {
    /// Reads the configuration: flags, then environment, then the file, then the defaults.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or something in it or in a flag cannot be.
    pub fn read(&self, working_dir: &Path) -> Result<Config, ConfigError> {
        let path = |path: &PathBuf| absolute(working_dir, path);
        let mut draft = match self.config_file(working_dir) {
            Some(found) => file::read(&found, working_dir)?,
            None => Default::default(),
        };
        let config = &mut draft.config;
        if config.file.is_none() {
            config.handlers_dir = path(&config.handlers_dir);
        }
        self.listen(config)?;
        if let Some(handlers_dir) = &self.handlers_dir {
            config.handlers_dir = path(handlers_dir);
            // A part of another directory is not a part of this one.
            draft.scan_dir = None;
        } else if !config.handlers_dir.is_absolute() {
            let base = config
                .file
                .as_deref()
                .and_then(Path::parent)
                .unwrap_or(working_dir);
            config.handlers_dir = absolute(base, &config.handlers_dir);
        }
        let (scan_dir, place) = match (&self.scan_dir, draft.scan_dir) {
            (Some(flag), _) => (path(flag), None),
            (None, Some((scan_dir, place))) => (scan_dir, Some(place)),
            (None, None) => (config.handlers_dir.clone(), None),
        };
        if !scan_dir.starts_with(&config.handlers_dir) {
            let handlers_dir = config.handlers_dir.clone();
            return Err(ConfigError::ScanDirOutside {
                place,
                scan_dir,
                handlers_dir,
            });
        }
        config.scan_dir = scan_dir;
        config.allow_handlers_outside_root_dir |= self.allow_handlers_outside_root_dir;
        if let Some(document_root) = &self.document_root {
            config.document_root = Some(path(document_root));
        }
        if let Some(map) = &self.handlers_map_file {
            config.handlers_map_file = Some(path(map));
        }
        if let Some(map) = config.handlers_map_file.clone() {
            routes::read_map(&map, working_dir, &mut config.routes)?;
        }
        if let Some(level) = &self.log_level {
            config.log_level = level
                .parse::<LogLevel>()
                .map_err(|error| ConfigError::Flag {
                    flag: "--log-level",
                    found: level.clone(),
                    wanted: error.to_string(),
                })?;
        }
        Ok(draft.config)
    }

    /// The file that was named, or the first of those that are looked for.
    fn config_file(&self, working_dir: &Path) -> Option<PathBuf> {
        if let Some(named) = &self.config {
            return Some(absolute(working_dir, named));
        }
        let found = ["config.toml", "config/config.toml"].map(|name| working_dir.join(name));
        found.into_iter().find(|path| path.is_file())
    }

    fn listen(&self, config: &mut Config) -> Result<(), ConfigError> {
        if let Some(text) = &self.server_host {
            let host: Host = text.parse().map_err(|_| ConfigError::Flag {
                flag: "--server-host",
                found: text.clone(),
                wanted: format!("wants an address like {HOST_WANTED}"),
            })?;
            let port = config
                .listen
                .first()
                .map_or(9998, std::net::SocketAddr::port);
            config.listen = host.with_port(self.port.unwrap_or(port)).collect();
        }
        if let Some(port) = self.port {
            config
                .listen
                .iter_mut()
                .for_each(|address| address.set_port(port));
        }
        Ok(())
    }
}
