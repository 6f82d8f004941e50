//! Puts the layers together: flags over variables over the file over the defaults.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::endpoint::{Endpoint, EndpointClash};
use super::environment::Environment;
use super::error::ConfigError;
use super::fault::{ListenFault, ListenFaultCause};
use super::file;
use super::findings::Findings;
use super::flags::{Flags, SpareCertificate};
use super::last_good::{BaseFile, LastGood, NamedContents, Reading, RefusedFile};
use super::routes::Routes;
use super::settings::{ConfigDraft, PlacedEndpoint};
use super::source::Source;
use super::tls::NO_STATE_DIRECTORY;
use super::values::{PathPlaces, absolute};
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

    /// Like [`Flags::read`], with what a file said before where it is broken now, or empty. `last` is what the configuration
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
        let read = read.and_then(Layers::into_right);
        let read = read.and_then(|(config, base)| last.unless_emptied(base).map(|it| (config, it)));
        let (config, base, NamedContents { used, refused, .. }) = match (read, &last.base) {
            (Ok((config, base)), _) => (config, base, named),
            (Err(error), None) => return Err(error),
            // Something in the configuration file is wrong, or what it names was never right.
            (Err(error), Some(before)) => {
                let mut named = NamedContents::new(&last.named);
                let before = Some(before.clone());
                let read = self.read_layers(working_dir, &environment, before, &mut named);
                let read = read.and_then(Layers::into_right);
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

    /// Like [`Flags::read`], for a check: what can be read of a configuration in which something is wrong as well.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no TOML.
    pub fn read_to_check(&self, working_dir: &Path) -> Result<CheckedReading, ConfigError> {
        let nothing = BTreeMap::new();
        let mut named = NamedContents::new(&nothing);
        let layers = self.read_layers(working_dir, &Environment::of_process(), None, &mut named)?;
        let is_handlers_dir_known = !layers.findings.is_spoiled(&["handlers_dir", "scan_dir"]);
        let is_admin_socket_known = !layers.findings.is_spoiled(&["admin_socket"]);
        let (error, places) = layers.findings.into_error();
        Ok(CheckedReading {
            config: layers.config,
            error,
            is_handlers_dir_known,
            is_admin_socket_known,
            places: WrittenPaths(places),
        })
    }

    /// The configuration file that [`Flags::read`] reads, absolute, whatever is in it. `None` if there is none.
    pub(crate) fn file_to_read(&self, working_dir: &Path) -> Option<PathBuf> {
        let (flags, _) = Environment::of_process().below(self.clone());
        let mut places = places(flags.file(), working_dir).into_iter();
        places.find(|path| path.symlink_metadata().is_ok())
    }

    /// Like [`Flags::read`], with these variables instead of the process's.
    pub(super) fn read_with(
        &self,
        working_dir: &Path,
        environment: &Environment,
    ) -> Result<Config, ConfigError> {
        let nothing = BTreeMap::new();
        let mut named = NamedContents::new(&nothing);
        let read = self.read_layers(working_dir, environment, None, &mut named)?;
        read.into_right().map(|(config, _)| config)
    }

    /// Reads the configuration with this configuration file, or else with the one that is there now.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no TOML. All else that is wrong is in the answer.
    fn read_layers(
        &self,
        working_dir: &Path,
        environment: &Environment,
        base: Option<BaseFile>,
        named: &mut NamedContents<'_>,
    ) -> Result<Layers, ConfigError> {
        let remarks = environment.remarks(self);
        let (flags, wrong) = environment.below(self.clone());
        let mut findings = Findings::of_variables(wrong);
        let is_named = flags.file().is_some();
        let places = places(flags.file(), working_dir);
        let base_file = match base {
            Some(base) => Ok(base),
            None => find(&places, is_named, working_dir),
        };
        let base_file = match base_file {
            Ok(base_file) => base_file,
            Err(error) => return Err(findings.and(error)),
        };
        let (mut draft, routes) = match &base_file {
            None => {
                let mut draft = ConfigDraft::default();
                flags.decide(&mut draft, working_dir);
                (draft, Routes::default())
            }
            Some((file, source)) => {
                let base = file.parent().unwrap_or(working_dir);
                let parsed = match file::parse(source, base, &flags, working_dir) {
                    Ok(parsed) => parsed,
                    Err(error) => return Err(findings.and(error)),
                };
                findings.add_faults(parsed.faults);
                findings.places = parsed.places;
                let mut draft = parsed.draft;
                draft.config.file = Some(file.clone());
                let is_password_in_file =
                    draft.auth.credential.is_some() && flags.text(CREDENTIAL).is_none();
                if is_password_in_file {
                    let exposure = source.exposure().map(str::to_owned);
                    draft.auth.remarks.extend(exposure);
                }
                (draft, parsed.routes)
            }
        };
        if !is_named {
            draft.config.file_places = places;
        }
        if draft.speaks_tls() && draft.config.tls.certificates.is_empty() {
            match flags.spare_certificate() {
                SpareCertificate::None => {}
                SpareCertificate::NoDirectory => {
                    findings.push(ConfigError::Tls(NO_STATE_DIRECTORY));
                    findings.spoil(TLS_KEYS[0]);
                }
                SpareCertificate::At(pair) => draft.config.tls.certificates.push(pair.clone()),
            }
        }
        let mut config = finish(draft, routes, working_dir, named, &mut findings);
        config.document_root_is_found &= !flags.is_file_named();
        config.remarks = remarks;
        Ok(Layers {
            config,
            base_file,
            findings,
        })
    }
}

/// A configuration as far as it could be read, for a check.
#[derive(Debug)]
pub struct CheckedReading {
    /// The configuration. Where something is wrong, the default stands for it.
    pub config: Config,
    /// All that is wrong.
    pub error: Option<ConfigError>,
    /// Whether it says where handlers are.
    pub is_handlers_dir_known: bool,
    /// Whether it says where the admin socket is.
    pub is_admin_socket_known: bool,
    /// Where the configuration file says each path.
    pub places: WrittenPaths,
}

/// Where the configuration file says each path, for messages.
#[derive(Clone, Debug, Default)]
pub struct WrittenPaths(PathPlaces);

impl WrittenPaths {
    /// The sentence with the place of `path` before it, if the file says that path.
    pub(crate) fn locate(&self, path: &Path, sentence: &dyn Display) -> String {
        match self.0.get(path) {
            Some(place) => format!("{place}: {sentence}"),
            None => sentence.to_string(),
        }
    }
}

/// What all layers say together.
struct Layers {
    config: Config,
    base_file: BaseFile,
    findings: Findings,
}

impl Layers {
    /// The configuration and its file, if nothing is wrong.
    fn into_right(self) -> Result<(Config, BaseFile), ConfigError> {
        match self.findings.into_error() {
            (None, _) => Ok((self.config, self.base_file)),
            (Some(error), _) => Err(error),
        }
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
/// tokens. What is wrong is added to `findings`.
fn finish(
    draft: ConfigDraft,
    mut routes: Routes,
    working_dir: &Path,
    named: &mut NamedContents<'_>,
    findings: &mut Findings,
) -> Config {
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
    if scan_dir.starts_with(&config.handlers_dir) {
        config.scan_dir = scan_dir;
    } else {
        config.scan_dir.clone_from(&config.handlers_dir);
        if !findings.is_spoiled(&["handlers_dir"]) {
            findings.push(ConfigError::ScanDirOutside {
                place,
                scan_dir,
                handlers_dir: config.handlers_dir.clone(),
            });
        }
    }
    let is_tls_judged = !findings.is_spoiled(&TLS_KEYS);
    if is_tls_judged && let Err(error) = config.tls.check() {
        findings.push(error);
        findings.spoil(TLS_KEYS[0]);
    }
    config.listen = endpoints(listen, &config.tls, &config.trusted_proxies, findings);
    let is_tls_judged = !findings.is_spoiled(&TLS_KEYS) && !findings.is_spoiled(&["listen"]);
    if is_tls_judged && let Err(error) = config.tls.check_endpoints(&config.listen) {
        findings.push(error);
    }
    if let Some(map) = &config.handlers_map_file {
        let place = findings.place(map);
        let read = named.parse(
            map,
            |error| ConfigError::Unreadable {
                place: place.clone(),
                path: map.clone(),
                source: error.into(),
            },
            |content| routes.with_map_file(map, content, working_dir),
        );
        routes = findings.take(read).unwrap_or(routes);
    }
    config.routes = routes.into_vec();
    let auth = auth.finish(&config, working_dir, named, findings);
    config.auth = auth.map(Arc::new);
    config
}

/// Where to listen, without what cannot be listened on.
fn endpoints(
    listen: Vec<PlacedEndpoint>,
    tls: &TlsConfig,
    proxies: &Networks,
    findings: &mut Findings,
) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for PlacedEndpoint { endpoint, place } in listen {
        let endpoint = match tls.every_address {
            true => endpoint.with_tls(),
            false => endpoint,
        };
        let Some(cause) = listen_fault(&endpoint, &endpoints, tls, proxies) else {
            endpoints.push(endpoint);
            continue;
        };
        let is_told = match cause {
            ListenFaultCause::NoCertificates => findings.is_spoiled(&TLS_KEYS),
            ListenFaultCause::NoProxies { .. } => findings.is_spoiled(&["trusted_proxies"]),
            _ => false,
        };
        if is_told {
            continue;
        }
        findings.push(ConfigError::Listen(Box::new(ListenFault {
            place,
            endpoint,
            cause,
        })));
        findings.spoil("listen");
    }
    endpoints
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

/// The keys that say what TLS has.
const TLS_KEYS: [&str; 11] = [
    "tls",
    "every_address",
    "certificates",
    "certificate",
    "key",
    "private_key",
    "client_auth",
    "client_ca",
    "tls_client_auth",
    "tls_client_cert_optional",
    "tls_client_ca",
];
/// The longest path of a Unix socket on Linux (`unix(7)`), without the NUL behind it.
pub(super) const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The setting that says a password in plain text.
const CREDENTIAL: &str = "basic_auth_credential";
/// Where the file is looked for when it is not named.
const PLACES: [&str; 2] = ["config.toml", "config/config.toml"];
