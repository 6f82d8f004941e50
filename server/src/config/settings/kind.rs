//! The kinds of values: how each is read from the file, and from the text of a flag or a variable.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::ValueParser;
use clap::value_parser;
use serde_json::Value;
use toml::de::DeValue;

use crate::auth::access::Access;
use crate::config::auth;
use crate::config::listen_address::{LISTEN_ENTRY_WANTED, ListenEntry};
use crate::config::lists::{self, HOSTS_WANTED, ONE_HOST_WANTED, ORIGINS_WANTED};
use crate::config::networks;
use crate::config::settings::PlacedEndpoint;
use crate::config::source::Place;
use crate::config::tls;
use crate::config::values::{FileEntry, Reader, absolute, one_of};
use crate::config::{CertificatePair, DecidedBy, Hosts, LogLevel, Networks, Origins};

/// A kind of value, with the function that sets it in a `T`.
pub(in crate::config) enum ValueKind<T: 'static> {
    /// A directory or a file. `set` gets an absolute path, and its place if it stands in the file.
    Path {
        /// What the file wants, in words.
        wanted: &'static str,
        set: fn(&mut T, PathBuf, Option<Place>),
    },
    /// A socket's path, or `off`. `set` gets an absolute path, or `None` for `off`.
    SocketOrOff(fn(&mut T, Option<PathBuf>)),
    /// One address with its port; in the file only.
    Address(fn(&mut T, SocketAddr)),
    Truth(fn(&mut T, bool)),
    /// One of these words; each comes with what it sets.
    Word(&'static [Word<T>]),
    Level(fn(&mut T, LogLevel)),
    Hosts(fn(&mut T, Hosts, DecidedBy)),
    Origins(fn(&mut T, Origins, DecidedBy)),
    /// The name of one host, or an address.
    Host(fn(&mut T, String)),
    /// The name or the number of a user or a group.
    Account(fn(&mut T, String)),
    /// A list of addresses with their ports, and of paths; in the file only.
    Addresses(fn(&mut T, Vec<PlacedEndpoint>)),
    /// A set of addresses; in the file only.
    Networks(fn(&mut T, Networks)),
    /// The mode of a file in octal digits; in the file only.
    Mode(fn(&mut T, u32)),
    /// Certificates with their keys; in the file only.
    Certificates(fn(&mut T, Vec<CertificatePair>)),
    /// A text that is never shown, in no message either. The configuration checks it as a whole.
    Secret(fn(&mut T, String)),
    /// Who may have something; in the file only.
    Access(fn(&mut T, Access)),
    /// A table that reaches a handler as it stands; in the file only.
    Object(fn(&mut T, Value)),
    /// A whole number in a range.
    Number {
        range: RangeInclusive<u64>,
        set: fn(&mut T, u64),
    },
    /// Addresses with or without a port, and paths relative to the directory that `set` gets; a flag only.
    Interfaces(fn(&mut T, Vec<ListenEntry>, &Path)),
}

/// A word, and what it sets.
pub(in crate::config) type Word<T> = (&'static str, fn(&mut T));

/// A text that a setting cannot read.
#[derive(Debug)]
pub(in crate::config) struct WrongText {
    pub(in crate::config) found: String,
    /// What the setting wants, in words.
    pub(in crate::config) wanted: String,
}

impl<T: 'static> ValueKind<T> {
    /// Reads the value of a key, and sets it unless it is wrong.
    pub(in crate::config) fn read(
        &self,
        reader: &mut Reader<'_>,
        entry: FileEntry<'_>,
        by: DecidedBy,
        target: &mut T,
    ) {
        match self {
            ValueKind::Path { wanted, set } => {
                let place = reader.value_place(entry.value);
                if let Some(path) = reader.path(entry, wanted) {
                    set(target, path, Some(place));
                }
            }
            ValueKind::Address(set) => {
                let text = entry.value.get_ref().as_str();
                match text.and_then(|text| text.parse().ok()) {
                    Some(address) => set(target, address),
                    None => reader.unwanted(entry, ADDRESS_WANTED, None),
                }
            }
            ValueKind::SocketOrOff(set) => {
                if entry.value.get_ref().as_str() == Some(OFF) {
                    set(target, None);
                } else if let Some(path) = reader.path(entry, SOCKET_WANTED) {
                    set(target, Some(path));
                }
            }
            ValueKind::Truth(set) => {
                if let Some(truth) = reader.truth(entry) {
                    set(target, truth);
                }
            }
            ValueKind::Word(words) => {
                if let Some(set) = reader.word(entry, words) {
                    set(target);
                }
            }
            ValueKind::Level(set) => {
                if let Some(level) = level(reader, entry) {
                    set(target, level);
                }
            }
            ValueKind::Hosts(set) => {
                if let Some(hosts) = lists::hosts(reader, entry) {
                    set(target, hosts, by);
                }
            }
            ValueKind::Origins(set) => {
                if let Some(origins) = lists::origins(reader, entry) {
                    set(target, origins, by);
                }
            }
            ValueKind::Host(set) => {
                let text = entry.value.get_ref().as_str();
                match text.and_then(lists::one_host) {
                    Some(host) => set(target, host),
                    None => reader.unwanted(entry, ONE_HOST_WANTED, None),
                }
            }
            ValueKind::Account(set) => match entry.value.get_ref().as_str() {
                Some(name) if is_account(name) => set(target, name.to_owned()),
                Some(_) => reader.unwanted(entry, ACCOUNT_WANTED, None),
                None => reader.wrong_type(entry, ACCOUNT_WANTED),
            },
            ValueKind::Addresses(set) => {
                if let Some(addresses) = lists::listen(reader, entry) {
                    set(target, addresses);
                }
            }
            ValueKind::Networks(set) => {
                if let Some(networks) = networks::networks(reader, entry) {
                    set(target, networks);
                }
            }
            ValueKind::Certificates(set) => {
                if let Some(pairs) = tls::certificates(reader, entry) {
                    set(target, pairs);
                }
            }
            ValueKind::Mode(set) => {
                if let Some(mode) = lists::mode(reader, entry) {
                    set(target, mode);
                }
            }
            ValueKind::Number { range, set } => {
                if let Some(number) = reader.number(entry, range) {
                    set(target, number);
                }
            }
            ValueKind::Secret(set) => match entry.value.get_ref().as_str() {
                Some(text) => set(target, text.to_owned()),
                None => reader.unwanted_secret(entry, "a text in quotes"),
            },
            ValueKind::Access(set) => {
                if let Some(access) = auth::access(reader, entry) {
                    set(target, access);
                }
            }
            ValueKind::Object(set) => {
                let DeValue::Table(_) = entry.value.get_ref() else {
                    return reader.wrong_type(entry, "a table like `{ history = 100 }`");
                };
                if let Some(object) = reader.json(entry) {
                    set(target, object);
                }
            }
            // No key is of this kind.
            ValueKind::Interfaces(_) => {}
        }
    }

    /// Reads the text of a flag or a variable, and sets what it says.
    pub(in crate::config) fn take(
        &self,
        text: &OsStr,
        by: DecidedBy,
        working_dir: &Path,
        target: &mut T,
    ) -> Result<(), WrongText> {
        let lossy = text.to_string_lossy();
        match self {
            ValueKind::Path { set, .. } => {
                set(target, absolute(working_dir, Path::new(text)), None);
            }
            ValueKind::SocketOrOff(set) => match &*lossy {
                OFF => set(target, None),
                "" => return Err(wrong_text(&lossy, SOCKET_WANTED)),
                _ => set(target, Some(absolute(working_dir, Path::new(text)))),
            },
            ValueKind::Truth(set) => set(target, parsed(&lossy, "`true` or `false`")?),
            ValueKind::Word(words) => match word(words, &lossy) {
                Some(set) => set(target),
                None => return Err(wrong_text(&lossy, one_of(words))),
            },
            ValueKind::Level(set) => set(target, parsed(&lossy, LEVEL_WANTED)?),
            ValueKind::Hosts(set) => match lists::hosts_in(&lossy) {
                Some(hosts) => set(target, hosts, by),
                None => return Err(wrong_text(&lossy, HOSTS_WANTED)),
            },
            ValueKind::Origins(set) => match lists::origins_in(&lossy) {
                Some(origins) => set(target, origins, by),
                None => return Err(wrong_text(&lossy, ORIGINS_WANTED)),
            },
            ValueKind::Host(set) => match lists::one_host(&lossy) {
                Some(host) => set(target, host),
                None => return Err(wrong_text(&lossy, ONE_HOST_WANTED)),
            },
            ValueKind::Account(set) => match is_account(&lossy) {
                true => set(target, lossy.into_owned()),
                false => return Err(wrong_text(&lossy, ACCOUNT_WANTED)),
            },
            ValueKind::Number { range, set } => {
                let wanted = format!("a number from {} to {}", range.start(), range.end());
                match parsed(&lossy, &wanted)? {
                    number if range.contains(&number) => set(target, number),
                    _ => return Err(wrong_text(&lossy, wanted)),
                }
            }
            ValueKind::Interfaces(set) => {
                let hosts = lossy.split(',').map(str::trim);
                let hosts = hosts.map(|host| parsed(host, LISTEN_ENTRY_WANTED));
                set(target, hosts.collect::<Result<_, _>>()?, working_dir);
            }
            ValueKind::Secret(set) => set(target, lossy.into_owned()),
            // No flag is of one of these kinds.
            ValueKind::Addresses(_)
            | ValueKind::Address(_)
            | ValueKind::Networks(_)
            | ValueKind::Mode(_)
            | ValueKind::Certificates(_)
            | ValueKind::Object(_)
            | ValueKind::Access(_) => {}
        }
        Ok(())
    }

    /// Checks the value of a flag, and makes the message for a wrong one.
    pub(super) fn parser(&self) -> ValueParser {
        match self {
            ValueKind::Path { .. } | ValueKind::SocketOrOff(_) => value_parser!(PathBuf),
            ValueKind::Truth(_) => value_parser!(bool),
            ValueKind::Word(words) => {
                let words: &'static [Word<T>] = words;
                ValueParser::new(move |text: &str| match word(words, text) {
                    Some(_) => Ok(text.to_owned()),
                    None => Err(format!("wants {}", one_of(words))),
                })
            }
            ValueKind::Level(_) => ValueParser::new(LogLevel::from_str),
            ValueKind::Hosts(_) => ValueParser::new(|text: &str| {
                lists::hosts_in(text).ok_or_else(|| format!("wants {HOSTS_WANTED}"))
            }),
            ValueKind::Origins(_) => ValueParser::new(|text: &str| {
                lists::origins_in(text).ok_or_else(|| format!("wants {ORIGINS_WANTED}"))
            }),
            ValueKind::Host(_) => ValueParser::new(|text: &str| {
                lists::one_host(text).ok_or_else(|| format!("wants {ONE_HOST_WANTED}"))
            }),
            ValueKind::Account(_) => ValueParser::new(|text: &str| match is_account(text) {
                true => Ok(text.to_owned()),
                false => Err(format!("wants {ACCOUNT_WANTED}")),
            }),
            ValueKind::Number { range, .. } => number::<u64>(range.clone()),
            ValueKind::Interfaces(_) => ValueParser::new(ListenEntry::from_str),
            ValueKind::Secret(_) => ValueParser::string(),
            ValueKind::Addresses(_)
            | ValueKind::Address(_)
            | ValueKind::Networks(_)
            | ValueKind::Mode(_)
            | ValueKind::Certificates(_)
            | ValueKind::Object(_)
            | ValueKind::Access(_) => ValueParser::string(),
        }
    }
}

/// The parser of a number in this range, which says what is wanted.
pub(in crate::config) fn number<T>(range: RangeInclusive<u64>) -> ValueParser
where
    T: TryFrom<u64> + Clone + Send + Sync + 'static,
{
    ValueParser::new(move |text: &str| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| match range.end() {
            &u64::MAX => format!("wants a number from {} on", range.start()),
            end => format!("wants a number from {} to {end}", range.start()),
        })
    })
}

fn word<T>(words: &[Word<T>], text: &str) -> Option<fn(&mut T)> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, set)| *set)
}

fn level(reader: &mut Reader<'_>, entry: FileEntry<'_>) -> Option<LogLevel> {
    let level = entry.value.get_ref().as_str().map(LogLevel::from_str);
    match level {
        Some(Ok(level)) => return Some(level),
        Some(Err(error)) => reader.unwanted(entry, LEVEL_WANTED, error.suggestion),
        None => reader.wrong_type(entry, LEVEL_WANTED),
    }
    None
}

/// Whether it can be the name or the number of a user or a group.
fn is_account(text: &str) -> bool {
    let fits = |it: char| !it.is_whitespace() && !it.is_control() && !":/,".contains(it);
    !text.is_empty() && text.chars().all(fits)
}

fn parsed<V: FromStr>(text: &str, wanted: &str) -> Result<V, WrongText> {
    text.parse().map_err(|_| wrong_text(text, wanted))
}

fn wrong_text(found: &str, wanted: impl Into<String>) -> WrongText {
    WrongText {
        found: found.to_owned(),
        wanted: wanted.into(),
    }
}

/// What `listen` under `[admin]` wants, in words.
const ADDRESS_WANTED: &str = "one address with a port, like `\"127.0.0.1:9997\"`";
/// What `user` and `group` want, in words.
const ACCOUNT_WANTED: &str = "a name like `\"wshd\"`, or a number like `\"998\"`";
/// The word for no socket.
const OFF: &str = "off";
/// What `admin_socket` wants, in words.
const SOCKET_WANTED: &str = "the path of a socket like `\"/run/wshd/admin.sock\"`, or `\"off\"`";

/// What `log_level` wants, in words.
pub(in crate::config) const LEVEL_WANTED: &str =
    "`off`, `error`, `warn`, `info`, `debug` or `trace`";
