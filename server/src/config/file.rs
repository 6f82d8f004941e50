//! Reads config.toml: from its text to a draft of the configuration and its routes.

use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::fault::{ConfigFault, Hint, What, nearest};
use super::flags::Flags;
use super::path_rules::WrittenRules;
use super::routes::Routes;
use super::settings::limits::{Deflate, HandlerLimits, Limits, SessionLimits};
use super::settings::tables::{ADMIN, ENGINE, OWN, PATH, POLICY, SYNONYMS, TABLES, TLS};
use super::settings::top::TOP;
use super::settings::{self, ConfigDraft, Limit, Setting};
use super::source::Source;
use super::topics::table as topics_table;
use super::values::{FileEntry, PathPlaces, Reader, entries};
use super::{AddressRules, DecidedBy, HandlerConfig};

/// What the file says, as far as it is right.
pub(super) struct Parsed {
    pub(super) draft: ConfigDraft,
    pub(super) routes: Routes,
    /// Where each path is written.
    pub(super) places: PathPlaces,
    /// All that is wrong, in the order of the file.
    pub(super) faults: Vec<ConfigFault>,
}

/// Lays the file over the defaults and `flags` over the file.
///
/// Paths in the file are relative to `base`, those in flags to `working_dir`. A handler's table may say
/// otherwise than a flag.
///
/// # Errors
///
/// The file is no TOML; of that it is the first fault only.
pub(super) fn parse(
    source: &Source,
    base: &Path,
    flags: &Flags,
    working_dir: &Path,
) -> Result<Parsed, ConfigError> {
    if let Some(at) = pywebsocket_section(source.text()) {
        let (place, what) = (source.place(at), What::OfPywebsocket);
        return Err(ConfigError::Faults(vec![ConfigFault { place, what }]));
    }
    let document = DeTable::parse(source.text()).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let written = source.text().get(span.clone()).unwrap_or_default();
        let what = What::Syntax(sentence(error.message(), written));
        let place = source.place(span);
        ConfigError::Faults(vec![ConfigFault { place, what }])
    })?;
    let mut reader = Reader::new(source, base);
    let mut draft = ConfigDraft::default();
    let mut routes = Routes::default();
    let (mut handlers, mut topics) = (Vec::new(), Vec::new());
    let mut paths = WrittenRules::default();
    for entry in entries(document.get_ref()) {
        let defaults = &mut draft.config.defaults;
        let is_known = read(POLICY, &mut reader, entry, DecidedBy::File, defaults)
            || read(TOP, &mut reader, entry, DecidedBy::File, &mut draft);
        match entry.key {
            _ if is_known => {}
            "limits" => {
                for entry in table(&mut reader, entry) {
                    limit(&mut reader, entry, &mut draft);
                }
            }
            "routes" => {
                for entry in table(&mut reader, entry) {
                    routes.read(&mut reader, entry);
                }
            }
            "auth" => {
                for entry in table(&mut reader, entry) {
                    draft.auth.read_rule(&mut reader, entry);
                }
            }
            "paths" => {
                for entry in table(&mut reader, entry) {
                    path(&mut reader, entry, &mut paths);
                }
            }
            "engine" => {
                for entry in table(&mut reader, entry) {
                    if !read(ENGINE, &mut reader, entry, DecidedBy::File, &mut draft) {
                        unknown(&mut reader, entry, KeyTable::Engine);
                    }
                }
            }
            "admin" => {
                for entry in table(&mut reader, entry) {
                    if !read(ADMIN, &mut reader, entry, DecidedBy::File, &mut draft) {
                        unknown(&mut reader, entry, KeyTable::Admin);
                    }
                }
            }
            "tls" => {
                for entry in table(&mut reader, entry) {
                    if !read(TLS, &mut reader, entry, DecidedBy::File, &mut draft) {
                        unknown(&mut reader, entry, KeyTable::Tls);
                    }
                }
            }
            // A limit that bounds topics may stand further down.
            "topics" => topics = table(&mut reader, entry),
            // Handlers start from the defaults, which may stand further down.
            "handler" => handlers = table(&mut reader, entry),
            _ => unknown(&mut reader, entry, KeyTable::Top),
        }
    }
    flags.decide(&mut draft, working_dir);
    for entry in handlers {
        let handler = handler(&mut reader, entry, &draft.config.defaults);
        let name = entry.key.to_owned();
        let place = reader.key_place(entry);
        draft.config.places.insert(name.clone(), place);
        draft.config.handlers.insert(name, handler);
    }
    let addresses = &mut draft.config.addresses;
    addresses.paths = paths.rules;
    let mut of_handlers = draft.config.handlers.values();
    addresses.is_of_handlers = of_handlers.any(|it| !it.addresses.is_empty());
    let history_bytes_max = draft.config.limits.history_bytes_max;
    let tables = topics_table::read(&mut reader, &topics, history_bytes_max);
    draft.config.topics = Arc::new(tables.topics);
    draft.config.topics_handlers = tables.named;
    draft.config.topics_of_the_server = tables.unnamed;
    let (places, faults) = reader.into_findings();
    Ok(Parsed {
        draft,
        routes,
        places,
        faults,
    })
}

/// Reads one table of `[paths]`, whose key is a path.
fn path(reader: &mut Reader<'_>, entry: FileEntry<'_>, paths: &mut WrittenRules<AddressRules>) {
    let mut rules = AddressRules::default();
    for inner in table(reader, entry) {
        if !read(PATH, reader, inner, DecidedBy::Table, &mut rules) {
            unknown(reader, inner, KeyTable::Path(entry.key));
        }
    }
    paths.add(reader, entry, "[paths]", rules);
}

/// Where the section stands in which pywebsocket has all keys of its INI files.
fn pywebsocket_section(text: &str) -> Option<std::ops::Range<usize>> {
    let at = text.find(PYWEBSOCKET)?;
    let begins_a_line = at == 0 || text[..at].ends_with('\n');
    begins_a_line.then_some(at..at + PYWEBSOCKET.len())
}

const PYWEBSOCKET: &str = "[pywebsocket]";

/// What the parser says of `written`, with what it leaves out.
fn sentence(message: &str, written: &str) -> String {
    // It has several lines, and an entry in a log has one.
    let said = message.lines().collect::<Vec<_>>().join("; ");
    if said == "duplicate key" {
        return format!("duplicate key `{written}`; each key and each table is written once");
    }
    match said.starts_with("invalid unquoted key") {
        true => format!("{said}; any other key is quoted, like `\"chat/*\"`"),
        false => said,
    }
}

/// Reads one line under `[limits]`.
fn limit(reader: &mut Reader<'_>, entry: FileEntry<'_>, draft: &mut ConfigDraft) {
    let is_known = read_limit(Limits::KEYS, reader, entry, &mut draft.config.limits)
        || handler_limit(reader, entry, &mut draft.config.defaults);
    if !is_known {
        unknown(reader, entry, KeyTable::Limits);
    }
}

/// Reads the entry if its key is a limit that a handler's table can decide otherwise.
fn handler_limit(
    reader: &mut Reader<'_>,
    entry: FileEntry<'_>,
    handler: &mut HandlerConfig,
) -> bool {
    let session = &mut handler.session;
    read_limit(HandlerLimits::KEYS, reader, entry, &mut handler.limits)
        || read_limit(SessionLimits::KEYS, reader, entry, session)
        || read_limit(Deflate::KEYS, reader, entry, &mut session.deflate)
}

/// Reads one table `[handler.NAME]`, which begins as a copy of `defaults`.
fn handler(
    reader: &mut Reader<'_>,
    entry: FileEntry<'_>,
    defaults: &HandlerConfig,
) -> HandlerConfig {
    let name = entry.key;
    if let Some(bare) = name.strip_prefix('/') {
        let what = What::Unwanted {
            key: "handler".to_owned(),
            wanted: "the name of a handler, its route without the first slash".to_owned(),
            found: name.to_owned(),
            suggestion: Some(bare.to_owned()),
        };
        reader.fault(reader.key_place(entry), what);
    }
    let mut handler = defaults.clone();
    for entry in table(reader, entry) {
        let is_known = read(POLICY, reader, entry, DecidedBy::Table, &mut handler)
            || read(OWN, reader, entry, DecidedBy::Table, &mut handler)
            || handler_limit(reader, entry, &mut handler);
        if !is_known {
            unknown(reader, entry, KeyTable::Handler(name));
        }
    }
    handler
}

/// Reads the entry if its key is one of these.
fn read<T>(
    settings: &'static [Setting<T>],
    reader: &mut Reader<'_>,
    entry: FileEntry<'_>,
    by: DecidedBy,
    target: &mut T,
) -> bool {
    let known = settings::find(settings, entry.key).filter(|known| known.key.is_some());
    if let Some(known) = known {
        known.kind.read(reader, entry, by, target);
    }
    known.is_some()
}

/// Reads the entry if its key is one of these limits.
fn read_limit<T>(
    limits: &[Limit<T>],
    reader: &mut Reader<'_>,
    entry: FileEntry<'_>,
    target: &mut T,
) -> bool {
    let known = limits.iter().find(|limit| limit.name == entry.key);
    if let Some(limit) = known
        && let Some(number) = reader.number(entry, &limit.range)
    {
        (limit.set)(target, number);
    }
    known.is_some()
}

/// The entries of the table behind this key.
fn table<'a>(reader: &mut Reader<'_>, entry: FileEntry<'a>) -> Vec<FileEntry<'a>> {
    match entry.value.get_ref() {
        DeValue::Table(table) => entries(table),
        _ => {
            reader.wrong_type(entry, "a table");
            Vec::new()
        }
    }
}

/// Where an unknown key stands.
#[derive(Clone, Copy)]
pub(super) enum KeyTable<'a> {
    Top,
    Auth,
    Admin,
    Engine,
    Tls,
    Limits,
    Handler(&'a str),
    /// The table of a path.
    Path(&'a str),
    Topics,
    /// The table of a pattern of `[topics]`.
    Pattern(&'a str),
    /// `history` in the table of a pattern.
    History(&'a str),
}

/// Notes that a key is not known in its table.
pub(super) fn unknown(reader: &mut Reader<'_>, entry: FileEntry<'_>, table: KeyTable<'_>) {
    let what = What::UnknownKey {
        key: entry.key.to_owned(),
        table: match table {
            KeyTable::Top => String::new(),
            KeyTable::Auth => "[auth]".to_owned(),
            KeyTable::Admin => "[admin]".to_owned(),
            KeyTable::Engine => "[engine]".to_owned(),
            KeyTable::Tls => "[tls]".to_owned(),
            KeyTable::Limits => "[limits]".to_owned(),
            KeyTable::Handler(name) => format!("[handler.{}]", quoted(name)),
            KeyTable::Path(path) => format!("[paths.{}]", quoted(path)),
            KeyTable::Topics => "[topics]".to_owned(),
            KeyTable::Pattern(pattern) => format!("[topics.{}]", quoted(pattern)),
            KeyTable::History(pattern) => format!("[topics.{}.history]", quoted(pattern)),
        },
        hint: hint(entry, table),
    };
    reader.fault(reader.key_place(entry), what);
}

fn hint(entry: FileEntry<'_>, table: KeyTable<'_>) -> Hint {
    let key = entry.key;
    let (top, limits, own) = (top_keys(), limit_keys(), settings::keys(OWN));
    if limits.contains(&key) {
        return Hint::BelongsTo("under `[limits]`");
    }
    if top.contains(&key) {
        return Hint::BelongsTo("at the top of the file, above the first table");
    }
    if own.contains(&key) {
        return Hint::BelongsTo("to a handler's table like `[handler.chat]`");
    }
    let known = match table {
        KeyTable::Top => [top, TABLES.to_vec()].concat(),
        KeyTable::Admin => settings::keys(ADMIN),
        KeyTable::Engine => settings::keys(ENGINE),
        KeyTable::Tls => settings::keys(TLS),
        KeyTable::Limits => limits,
        KeyTable::Handler(_) => handler_keys(),
        KeyTable::Path(_) => settings::keys(PATH),
        KeyTable::Auth | KeyTable::Topics => Vec::new(),
        KeyTable::Pattern(_) => topics_table::KEYS.to_vec(),
        KeyTable::History(_) => topics_table::HISTORY_KEYS.to_vec(),
    };
    let synonym = SYNONYMS
        .iter()
        .find(|(word, meant)| *word == key && known.contains(meant));
    let meant = synonym.map(|(_, meant)| *meant);
    let is_of_topics = key == "topics" || topics_table::KEYS.contains(&key);
    match (meant.or_else(|| nearest(key, known)), table) {
        (Some(meant), _) => Hint::DidYouMean(meant.to_owned()),
        // A value that is no table may be the handler's own.
        (None, KeyTable::Handler(_)) if is_of_topics && entry.value.get_ref().is_table() => {
            Hint::BelongsTo(A_TABLE_OF_TOPICS)
        }
        (None, KeyTable::Handler(name)) if entry.value.get_ref().is_table() => {
            Hint::Quote(format!("[handler.{}]", quoted(&format!("{name}/{key}"))))
        }
        (None, KeyTable::Handler(_)) => {
            Hint::BelongsTo("under `config = { … }` if it is the handler's own")
        }
        (None, KeyTable::Top) if settings::keys(ENGINE).contains(&key) => {
            Hint::BelongsTo("under `[engine]`")
        }
        (None, KeyTable::Top) if settings::keys(TLS).contains(&key) => {
            Hint::BelongsTo("under `[tls]`")
        }
        (None, KeyTable::Top | KeyTable::Topics | KeyTable::Limits) if is_of_topics => {
            Hint::BelongsTo(A_TABLE_OF_TOPICS)
        }
        (None, KeyTable::Pattern(_)) if topics_table::HISTORY_KEYS.contains(&key) => {
            Hint::BelongsTo("into `history = { … }`")
        }
        (None, _) => Hint::Nothing,
    }
}

const A_TABLE_OF_TOPICS: &str = "to a table of topics like `[topics.\"chat/*\"]`";

/// The keys above the first table.
fn top_keys() -> Vec<&'static str> {
    [settings::keys(TOP), settings::keys(POLICY)].concat()
}

/// The keys of `[limits]`.
fn limit_keys() -> Vec<&'static str> {
    [names(Limits::KEYS), handler_limit_keys()].concat()
}

/// The keys of a handler's table.
fn handler_keys() -> Vec<&'static str> {
    [
        settings::keys(POLICY),
        handler_limit_keys(),
        settings::keys(OWN),
    ]
    .concat()
}

fn handler_limit_keys() -> Vec<&'static str> {
    [
        names(HandlerLimits::KEYS),
        names(SessionLimits::KEYS),
        names(Deflate::KEYS),
    ]
    .concat()
}

fn names<T>(limits: &[Limit<T>]) -> Vec<&'static str> {
    limits.iter().map(|limit| limit.name).collect()
}

/// The key as TOML writes it: bare if it can be.
pub(super) fn quoted(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !key.is_empty() && key.bytes().all(is_bare) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}

/// Every key that can be written, as `key` or `table.key`, for the test of the manual.
#[cfg(test)]
pub(super) fn all_keys() -> std::collections::BTreeSet<String> {
    let top = top_keys().into_iter().map(str::to_owned);
    let limits = limit_keys().into_iter().map(|key| format!("limits.{key}"));
    let handler = handler_keys().into_iter();
    let handler = handler.map(|key| format!("handler.{key}"));
    let engine = settings::keys(ENGINE).into_iter();
    let engine = engine.map(|key| format!("engine.{key}"));
    let admin = settings::keys(ADMIN).into_iter();
    let admin = admin.map(|key| format!("admin.{key}"));
    let tls = settings::keys(TLS).into_iter();
    let tls = tls.map(|key| format!("tls.{key}"));
    let topics = topics_table::KEYS.iter().map(|key| format!("topics.{key}"));
    let known = top.chain(limits).chain(handler);
    let paths = settings::keys(PATH).into_iter();
    let paths = paths.map(|key| format!("paths.{key}"));
    let known = known.chain(admin).chain(engine).chain(tls).chain(topics);
    known.chain(paths).collect()
}
