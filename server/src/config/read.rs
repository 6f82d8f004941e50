//! Puts the layers together: flags over environment over file over defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Config;
use super::environment::Environment;
use super::fault::ConfigError;
use super::file;
use super::flags::{Chosen, Flags};
use super::host::Host;
use super::keys::Draft;
use super::routes::Routes;
use super::source::Source;
use super::values::absolute;
use crate::process::regular_file;

impl Flags {
    /// What these flags decide, over what the `WSHD_*` variables say, over the file, over the defaults.
    ///
    /// The file is that of `--config`, else of `WSHD_CONFIG`, else ./config.toml, else
    /// ./config/config.toml, else none. Paths in flags and variables are relative to
    /// `working_dir`, which is absolute; those in the file to the file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or something in one of the layers is wrong.
    pub fn read(&self, working_dir: &Path) -> Result<Config, ConfigError> {
        self.read_with(working_dir, &Environment::of_process())
    }

    /// Reads with another environment than the process's.
    pub(super) fn read_with(
        &self,
        working_dir: &Path,
        environment: &Environment,
    ) -> Result<Config, ConfigError> {
        let remarks = environment.remarks(self);
        let flags = environment.below(self.clone())?;
        let places = places(flags.config.as_deref(), working_dir);
        let found = find(&places, flags.config.is_some(), working_dir)?;
        let (mut draft, routes) = match found {
            None => {
                let mut draft = Draft::default();
                flags.set_policy(&mut draft.config.defaults);
                (draft, Routes::default())
            }
            Some((file, source)) => {
                let base = file.parent().unwrap_or(working_dir);
                let (mut draft, routes) = file::parse(&source, base, &flags)?;
                draft.config.file = Some(file);
                (draft, routes)
            }
        };
        if flags.config.is_none() {
            draft.config.file_places = places;
        }
        let mut config = finish(draft, routes, flags, working_dir)?;
        config.remarks = remarks;
        Ok(config)
    }

    /// These flags, and the file that was read with them, so that it is this one that is read again.
    ///
    /// Without that, while an editor has it removed, the next place would be looked at, and the
    /// defaults applied in the end.
    #[must_use]
    pub fn with_file_of(mut self, config: &Config) -> Flags {
        self.config = config.file.clone().or(self.config);
        self
    }
}

/// Where to look for a file, absolute: where it was named, or at the default places.
fn places(named: Option<&Path>, working_dir: &Path) -> Vec<PathBuf> {
    match named {
        Some(named) => vec![absolute(working_dir, named)],
        None => PLACES.iter().map(|place| working_dir.join(place)).collect(),
    }
}

/// The file to read, absolute, and its text. One that was named must be there.
fn find(
    places: &[PathBuf],
    is_named: bool,
    working_dir: &Path,
) -> Result<Option<(PathBuf, Source)>, ConfigError> {
    for path in places {
        match Source::read(path, working_dir) {
            Ok(source) => return Ok(Some((path.clone(), source))),
            // `./config` may be a file that has nothing to do with this server.
            Err(ConfigError::Unreadable { source, .. })
                if !is_named && regular_file::is_absence(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Lays the flags over what the file said.
fn finish(
    draft: Draft,
    mut routes: Routes,
    flags: Flags,
    working_dir: &Path,
) -> Result<Config, ConfigError> {
    let Draft {
        mut config,
        scan_dir,
    } = draft;
    let here = |path: PathBuf| absolute(working_dir, &path);
    let (scan_dir, place) = match (flags.scan_dir, scan_dir) {
        (Some(dir), _) => (Some(here(dir)), None),
        // A part of the file's directory is no part of another one.
        (None, Some((dir, place))) if flags.handlers_dir.is_none() => (Some(dir), Some(place)),
        (None, _) => (None, None),
    };
    config.handlers_dir = match (flags.handlers_dir, &config.file) {
        (Some(dir), _) => here(dir),
        (None, Some(file)) => absolute(file.parent().unwrap_or(working_dir), &config.handlers_dir),
        (None, None) => here(config.handlers_dir),
    };
    let scan_dir = scan_dir.unwrap_or_else(|| config.handlers_dir.clone());
    // By whole names: `/a/handlers2` begins with `/a/handlers` and does not lie below it.
    if !scan_dir.starts_with(&config.handlers_dir) {
        let handlers_dir = config.handlers_dir;
        return Err(ConfigError::ScanDirOutside {
            place,
            scan_dir,
            handlers_dir,
        });
    }
    config.scan_dir = scan_dir;
    if let Some(allow) = flags.allow_handlers_outside_root_dir {
        config.allow_handlers_outside_root_dir = allow;
    }
    if let Some(trust) = flags.trust {
        config.trust = trust;
    }
    if let Some(Chosen { value, by }) = flags.hosts {
        (config.hosts, config.hosts_by) = (value, by);
    }
    if let Some(root) = flags.document_root {
        config.document_root = Some(here(root));
    }
    if let Some(trial) = flags.trial {
        config.trial = trial;
    }
    if let Some(level) = flags.log_level {
        config.log_level = level;
    }
    config.listen = listen(&config.listen, &flags.server_host, flags.port);
    if let Some(map) = flags.handlers_map_file {
        config.handlers_map_file = Some(here(map));
    }
    if let Some(map) = &config.handlers_map_file {
        routes.read_map_file(map, working_dir)?;
    }
    config.routes = routes.into_vec();
    Ok(config)
}

/// The hosts of the flags instead of what is written, and their port for every address.
fn listen(written: &[SocketAddr], hosts: &[Host], port: Option<u16>) -> Vec<SocketAddr> {
    let wanted: Vec<SocketAddr> = if hosts.is_empty() {
        written
            .iter()
            .map(|address| SocketAddr::new(address.ip(), port.unwrap_or(address.port())))
            .collect()
    } else {
        let default = written.first().map_or(0, SocketAddr::port);
        let port = port.unwrap_or(default);
        hosts.iter().flat_map(|host| host.with_port(port)).collect()
    };
    let mut listen = Vec::new();
    for address in wanted {
        // Two addresses may be one now that they have one port.
        if !listen.contains(&address) {
            listen.push(address);
        }
    }
    listen
}

/// Where a file is looked for that nobody named.
const PLACES: [&str; 2] = ["config.toml", "config/config.toml"];
