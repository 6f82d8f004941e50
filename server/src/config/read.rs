//! Puts the layers together: flags over variables over the file over the defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::endpoint::{Endpoint, EndpointClash};
use super::environment::Environment;
use super::fault::{ConfigError, ListenFault, ListenFaultCause};
use super::file;
use super::flags::{Flags, SpareCertificate};
use super::last_good::{BaseFile, LastGood, NamedContents, Reading, RefusedFile};
use super::routes::Routes;
use super::settings::{ConfigDraft, PlacedEndpoint};
use super::source::Source;
use super::tls::NO_STATE_DIRECTORY;
use super::values::absolute;
use super::{Config, Networks, TlsConfig};
use crate::process::regular_file;

impl Flags {
    /// Makes the configuration of these flags, the `WSHD_*` variables, the file and the defaults.
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

    /// Like [`Flags::read`], with what a file said before where it is broken now. `last` is what the configuration
    /// before was made of, and becomes what this one is made of.
    ///
    /// # Errors
    ///
    /// Like those of [`Flags::read`], where nothing right was read before. Where there was, only if the files as they
    /// were do not fit together with those that are right now.
    pub fn read_again(
        &self,
        working_dir: &Path,
        last: &mut LastGood,
    ) -> Result<Reading, ConfigError> {
        let environment = Environment::of_process();
        let mut named = NamedContents::new(&last.named);
        let read = self.read_layers(working_dir, &environment, None, &mut named);
        let (config, base, NamedContents { used, refused, .. }) = match (read, &last.base) {
            (Ok((config, base)), _) => (config, base, named),
            (Err(error), None) => return Err(error),
            // Something in the configuration file is wrong, or what it names was never right.
            (Err(error), Some(before)) => {
                let mut named = NamedContents::new(&last.named);
                let before = Some(before.clone());
                let read = self.read_layers(working_dir, &environment, before, &mut named);
                let Ok((config, base)) = read else {
                    return Err(error);
                };
                let path = config.file_to_write().map(Path::to_owned);
                let path = path.unwrap_or_default();
                named.refused.insert(0, RefusedFile { path, error });
                (config, base, named)
            }
        };
        *last = LastGood {
            base: Some(base),
            named: used,
        };
        Ok(Reading { config, refused })
    }

    /// Like [`Flags::read`], with these variables instead of the process's.
    pub(super) fn read_with(
        &self,
        working_dir: &Path,
        environment: &Environment,
    ) -> Result<Config, ConfigError> {
        let nothing = BTreeMap::new();
        let mut named = NamedContents::new(&nothing);
        let read = self.read_layers(working_dir, environment, None, &mut named);
        read.map(|(config, _)| config)
    }

    /// Reads the configuration with this configuration file, or else with the one that is there now, and returns it
    /// with the file.
    fn read_layers(
        &self,
        working_dir: &Path,
        environment: &Environment,
        base: Option<BaseFile>,
        named: &mut NamedContents<'_>,
    ) -> Result<(Config, BaseFile), ConfigError> {
        let remarks = environment.remarks(self);
        let flags = environment.below(self.clone())?;
        let is_named = flags.file().is_some();
        let places = places(flags.file(), working_dir);
        let base_file = match base {
            Some(base) => base,
            None => find(&places, is_named, working_dir)?,
        };
        let (mut draft, routes) = match &base_file {
            None => {
                let mut draft = ConfigDraft::default();
                flags.decide(&mut draft, working_dir);
                (draft, Routes::default())
            }
            Some((file, source)) => {
                let base = file.parent().unwrap_or(working_dir);
                let (mut draft, routes) = file::parse(source, base, &flags, working_dir)?;
                draft.config.file = Some(file.clone());
                let is_password_in_file =
                    draft.auth.credential.is_some() && flags.text(CREDENTIAL).is_none();
                if is_password_in_file {
                    let exposure = source.exposure().map(str::to_owned);
                    draft.auth.remarks.extend(exposure);
                }
                (draft, routes)
            }
        };
        if !is_named {
            draft.config.file_places = places;
        }
        if draft.speaks_tls() && draft.config.tls.certificates.is_empty() {
            match flags.spare_certificate() {
                SpareCertificate::None => {}
                SpareCertificate::NoDirectory => return Err(ConfigError::Tls(NO_STATE_DIRECTORY)),
                SpareCertificate::At(pair) => draft.config.tls.certificates.push(pair.clone()),
            }
        }
        let mut config = finish(draft, routes, working_dir, named)?;
        config.document_root_is_found &= !flags.is_file_named();
        config.remarks = remarks;
        Ok((config, base_file))
    }
}

/// Where to look for the file: where it is named, or at the default places; absolute.
fn places(named: Option<&Path>, working_dir: &Path) -> Vec<PathBuf> {
    match named {
        Some(named) => vec![absolute(working_dir, named)],
        None => PLACES.iter().map(|place| working_dir.join(place)).collect(),
    }
}

/// The file to read, absolute, and its text. A file that is named must exist.
fn find(places: &[PathBuf], is_named: bool, working_dir: &Path) -> Result<BaseFile, ConfigError> {
    for path in places {
        match Source::read(path, working_dir) {
            Ok(source) => return Ok(Some((path.clone(), Arc::new(source)))),
            // `./config` may be a file that has nothing to do with this server.
            Err(ConfigError::Unreadable { source, .. })
                if !is_named && regular_file::is_absence(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Makes the directories absolute, adds the routes of the map file, checks where to listen, and reads users and
/// tokens.
fn finish(
    draft: ConfigDraft,
    mut routes: Routes,
    working_dir: &Path,
    named: &mut NamedContents<'_>,
) -> Result<Config, ConfigError> {
    let ConfigDraft {
        mut config,
        listen,
        scan_dir,
        auth,
    } = draft;
    // The default is relative to the file, if there is one.
    let base = config.file.as_deref().and_then(Path::parent);
    config.handlers_dir = absolute(base.unwrap_or(working_dir), &config.handlers_dir);
    let (scan_dir, place) = scan_dir.unwrap_or_else(|| (config.handlers_dir.clone(), None));
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
    config.tls.check()?;
    config.listen = endpoints(listen, &config.tls, &config.trusted_proxies)?;
    config.tls.check_endpoints(&config.listen)?;
    if let Some(map) = &config.handlers_map_file {
        routes = named.parse(
            map,
            |error| ConfigError::Unreadable {
                path: map.clone(),
                source: error.into(),
            },
            |content| routes.with_map_file(map, content, working_dir),
        )?;
    }
    config.routes = routes.into_vec();
    config.auth = auth.finish(&config, working_dir, named)?.map(Arc::new);
    Ok(config)
}

/// Where to listen, if all of it can be listened on.
fn endpoints(
    listen: Vec<PlacedEndpoint>,
    tls: &TlsConfig,
    proxies: &Networks,
) -> Result<Vec<Endpoint>, ConfigError> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for PlacedEndpoint { endpoint, place } in listen {
        let endpoint = match tls.every_address {
            true => endpoint.with_tls(),
            false => endpoint,
        };
        if let Some(cause) = listen_fault(&endpoint, &endpoints, tls, proxies) {
            return Err(ConfigError::Listen(Box::new(ListenFault {
                place,
                endpoint,
                cause,
            })));
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

/// Why `endpoint` cannot be listened on, besides those before it.
fn listen_fault(
    endpoint: &Endpoint,
    before: &[Endpoint],
    tls: &TlsConfig,
    proxies: &Networks,
) -> Option<ListenFaultCause> {
    let mut before = before.iter();
    if let Some((other, clash)) = before.find_map(|it| Some((it, it.clash(endpoint)?))) {
        let other = other.clone();
        return Some(match clash {
            EndpointClash::Equal => ListenFaultCause::Excluded { other },
            EndpointClash::EveryAddress => ListenFaultCause::EveryAddress { other },
        });
    }
    if endpoint.is_tls() && tls.certificates.is_empty() {
        return Some(ListenFaultCause::NoCertificates);
    }
    if let Some(path) = endpoint.path() {
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            return Some(ListenFaultCause::LongPath { bytes });
        }
    }
    if !endpoint.is_proxied() {
        return None;
    }
    let (is_served, wanted) = match endpoint.path() {
        Some(_) => (proxies.has_unix(), "unix"),
        None => (proxies.has_addresses(), "127.0.0.1"),
    };
    (!is_served).then_some(ListenFaultCause::NoProxies { wanted })
}

/// The longest path of a Unix socket on Linux (`unix(7)`), without the NUL behind it.
pub(super) const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The setting that says a password in plain text.
const CREDENTIAL: &str = "basic_auth_credential";
/// Where the file is looked for when it is not named.
const PLACES: [&str; 2] = ["config.toml", "config/config.toml"];
