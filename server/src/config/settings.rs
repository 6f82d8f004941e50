//! The table of everything that an operator can decide: its name, its default, its flag, and when a
//! change applies.
//!
//! The reader of config.toml, the command line, the `WSHD_*` variables, `--help` and
//! config/REFERENCE.md are made from it; tests hold config/config.toml to it. `top` has the keys above
//! the first table of the file and the flags, `tables` those of the other tables, `limits` those of `[limits]`.

mod kind;
pub(super) mod limits;
mod listening;
pub(super) mod tables;
pub(super) mod top;

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::builder::ValueParser;

pub(super) use self::kind::{LEVEL_WANTED, ValueKind, WrongText, number};
use super::auth::AuthDraft;
use super::endpoint::Endpoint;
use super::source::Place;
use super::{Config, DecidedBy};

/// A key of config.toml above the first table or in a handler's table, a flag, or both.
///
/// `T` is what it changes: a [`ConfigDraft`], or the `HandlerConfig` of one handler.
pub(super) struct Setting<T: 'static> {
    /// The key, and the flag and the variable: `log_level` is `--log-level` and `WSHD_LOG_LEVEL`.
    pub(super) name: &'static str,
    /// One sentence, without a full stop: the flag's line in `-h`.
    pub(super) about: &'static str,
    /// As config.toml writes it.
    pub(super) default: Option<&'static str>,
    /// When a change of the key applies; `None` where there is a flag only.
    pub(super) key: Option<Applies>,
    /// `None` where there is a key only.
    pub(super) flag: Option<Flag>,
    /// The kind of its value, and what a value changes.
    pub(super) kind: ValueKind<T>,
}

/// What the command line needs to know of a flag besides its setting.
pub(super) struct Flag {
    pub(super) heading: Heading,
    pub(super) short: Option<char>,
    /// What `--help` calls the value.
    pub(super) value: &'static str,
    /// Another name, which `--help` shows.
    pub(super) alias: Option<&'static str>,
    /// Spellings of pywebsocket, which `--help` does not show.
    pub(super) spellings: &'static [&'static str],
    /// What `--help` says and `-h` does not; may be empty.
    pub(super) more: &'static str,
}

/// The headings of `--help`, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Heading {
    Configuration,
    Network,
    Tls,
    Handlers,
    Files,
    Access,
    Logging,
    Process,
}

/// A key under `[limits]`: a whole number in a range.
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "tests hold config.toml and REFERENCE.md to all of it"
    )
)]
pub(super) struct Limit<T> {
    pub(super) name: &'static str,
    /// One sentence or two.
    pub(super) about: &'static str,
    pub(super) default: u64,
    /// What it counts, such as `bytes` or `ms`; empty for a number that counts nothing.
    pub(super) unit: &'static str,
    pub(super) range: RangeInclusive<u64>,
    pub(super) applies: Applies,
    pub(super) set: fn(&mut T, u64),
}

/// When a change in the file applies on a server that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applies {
    /// Changes everything that happens from then on.
    AtOnce,
    /// Changes connections that are accepted from then on.
    NextConnection,
    /// Changes sessions that open from then on, or move to a new version of their handler.
    NextSession,
    /// Is read when the next version of a handler takes over.
    NextVersion,
    /// Changes handlers that are loaded from then on.
    NextLoad,
    /// Changes nothing before the server is started again.
    Restart,
}

impl Applies {
    /// The words of config.toml behind `Applies:`.
    #[cfg(test)]
    pub(super) fn words(self) -> &'static str {
        match self {
            Applies::AtOnce => "at once",
            Applies::NextConnection => "next connection",
            Applies::NextSession => "next session",
            Applies::NextVersion => "at once, to the next version",
            Applies::NextLoad => "next load",
            Applies::Restart => "restart",
        }
    }
}

impl Heading {
    /// The heading as `--help` writes it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Heading::Configuration => "Configuration",
            Heading::Network => "Network",
            Heading::Tls => "TLS",
            Heading::Handlers => "Handlers",
            Heading::Files => "Files",
            Heading::Access => "Who may enter",
            Heading::Logging => "Logging",
            Heading::Process => "Process",
        }
    }
}

/// A configuration while its layers are put together.
pub(super) struct ConfigDraft {
    pub(super) config: Config,
    /// Where to listen, in place of what `config` says of that.
    pub(super) listen: Vec<PlacedEndpoint>,
    /// The scan directory, and where the file says it. Without one it is the handlers directory, which
    /// may still change.
    pub(super) scan_dir: Option<(PathBuf, Option<Place>)>,
    pub(super) auth: AuthDraft,
}

/// Where to listen.
#[derive(Clone, Debug)]
pub(super) struct PlacedEndpoint {
    pub(super) endpoint: Endpoint,
    /// Where it is written, if it is in the file.
    pub(super) place: Option<Place>,
}

impl From<Endpoint> for PlacedEndpoint {
    /// An endpoint that no file says.
    fn from(endpoint: Endpoint) -> PlacedEndpoint {
        let place = None;
        PlacedEndpoint { endpoint, place }
    }
}

impl Default for ConfigDraft {
    fn default() -> ConfigDraft {
        let config = Config::default();
        ConfigDraft {
            listen: config.listen.iter().cloned().map(Into::into).collect(),
            config,
            scan_dir: None,
            auth: AuthDraft::default(),
        }
    }
}

impl ConfigDraft {
    /// Whether something that is listened on speaks TLS.
    pub(super) fn speaks_tls(&self) -> bool {
        self.config.tls.every_address || self.listen.iter().any(|it| it.endpoint.is_tls())
    }
}

/// A flag, whatever the type that its setting changes.
pub(super) struct FlagOf {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// The default that `--help` shows.
    pub(super) default: Option<&'static str>,
    pub(super) flag: &'static Flag,
    /// Whether the flag alone means `true`.
    pub(super) is_switch: bool,
    /// Whether it can be given several times, or as a list with commas.
    pub(super) is_list: bool,
    pub(super) parser: ValueParser,
}

/// Every flag that has a variable, in the order of `--help`.
pub(super) fn flags() -> Vec<FlagOf> {
    let of_top = top::TOP.iter().filter_map(flag_of);
    let of_policy = tables::POLICY.iter().filter_map(flag_of);
    let mut flags: Vec<FlagOf> = of_top.chain(of_policy).collect();
    flags.sort_by_key(|it| it.flag.heading);
    flags
}

fn flag_of<T>(setting: &'static Setting<T>) -> Option<FlagOf> {
    let is_switch = matches!(setting.kind, ValueKind::Truth(_));
    Some(FlagOf {
        name: setting.name,
        about: setting.about,
        // The default of a switch is `false`, which needs no word.
        default: setting.default.filter(|_| !is_switch),
        flag: setting.flag.as_ref()?,
        is_switch,
        is_list: matches!(setting.kind, ValueKind::Interfaces(_)),
        parser: setting.kind.parser(),
    })
}

/// Lays what a flag or a variable says over `draft`. Paths are relative to `working_dir`.
///
/// # Errors
///
/// What it says is not what the setting wants.
pub(super) fn decide(
    draft: &mut ConfigDraft,
    name: &str,
    text: &OsStr,
    by: DecidedBy,
    working_dir: &Path,
) -> Result<(), WrongText> {
    if let Some(setting) = find(top::TOP, name) {
        setting.kind.take(text, by, working_dir, draft)
    } else if let Some(setting) = find(tables::POLICY, name) {
        let defaults = &mut draft.config.defaults;
        setting.kind.take(text, by, working_dir, defaults)
    } else {
        Ok(())
    }
}

/// The setting `name` among these.
pub(super) fn find<T>(settings: &'static [Setting<T>], name: &str) -> Option<&'static Setting<T>> {
    settings.iter().find(|setting| setting.name == name)
}

/// The names of the settings that are keys of the file.
pub(super) fn keys<T>(settings: &[Setting<T>]) -> Vec<&'static str> {
    let keys = settings.iter().filter(|setting| setting.key.is_some());
    keys.map(|setting| setting.name).collect()
}

/// A flag that has its long name only.
const LONG_ONLY: Flag = Flag {
    heading: Heading::Configuration,
    short: None,
    value: "",
    alias: None,
    spellings: &[],
    more: "",
};
