//! config.toml: from its text to what it says.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::fault::{ConfigError, Fault, Hint, What, nearest};
use super::flags::Flags;
use super::keys::{self, Draft, Key, Limit};
use super::routes::Routes;
use super::source::Source;
use super::values::{Entry, Reader, entries};
use super::{DecidedBy, HandlerConfig};

/// What the file says over the defaults, and its routes. Paths are relative to `base`. What `flags`
/// say of the top of the file holds for the tables of handlers, which may say otherwise.
///
/// # Errors
///
/// Everything that is wrong with it; of bad TOML the first.
pub(super) fn parse(
    source: &Source,
    base: &Path,
    flags: &Flags,
) -> Result<(Draft, Routes), ConfigError> {
    let document = DeTable::parse(source.text()).map_err(|error| {
        let place = source.place(error.span().unwrap_or(0..0));
        // The parser explains over several lines; a log has one.
        let what = What::Syntax(error.message().lines().collect::<Vec<_>>().join("; "));
        ConfigError::Faults(vec![Fault { place, what }])
    })?;
    let mut reader = Reader::new(source, base);
    let mut draft = Draft::default();
    let mut routes = Routes::default();
    let mut handlers = Vec::new();
    for entry in entries(document.get_ref()) {
        let is_known = read(keys::TOP, &mut reader, entry, &mut draft)
            || read(keys::POLICY, &mut reader, entry, &mut draft.config.defaults);
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
            // They start from the defaults, which stand perhaps further down.
            "handler" => handlers = table(&mut reader, entry),
            _ => unknown(&mut reader, entry, Table::Top),
        }
    }
    flags.set_policy(&mut draft.config.defaults);
    for entry in handlers {
        if let Some(handler) = handler(&mut reader, entry, &draft.config.defaults) {
            draft
                .config
                .places
                .insert(entry.key.to_owned(), reader.key_place(entry));
            draft.config.handlers.insert(entry.key.to_owned(), handler);
        }
    }
    let faults = reader.into_faults();
    if faults.is_empty() {
        Ok((draft, routes))
    } else {
        Err(ConfigError::Faults(faults))
    }
}

/// One line under `[limits]`.
fn limit(reader: &mut Reader<'_>, entry: Entry<'_>, draft: &mut Draft) {
    let is_known = read_limit(keys::SERVER_LIMITS, reader, entry, &mut draft.config.limits)
        || read_limit(
            keys::HANDLER_LIMITS,
            reader,
            entry,
            &mut draft.config.defaults,
        );
    if !is_known {
        unknown(reader, entry, Table::Limits);
    }
}

/// One table `[handler.NAME]`.
fn handler(
    reader: &mut Reader<'_>,
    entry: Entry<'_>,
    defaults: &HandlerConfig,
) -> Option<HandlerConfig> {
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
        if entry.key == "origins" {
            handler.origins_by = DecidedBy::Table;
        }
        let is_known = read(keys::POLICY, reader, entry, &mut handler)
            || read(keys::OWN, reader, entry, &mut handler)
            || read_limit(keys::HANDLER_LIMITS, reader, entry, &mut handler);
        match (entry.key, entry.value.get_ref()) {
            _ if is_known => {}
            (keys::CONFIG, DeValue::Table(_)) => handler.config = reader.json(entry)?,
            (keys::CONFIG, _) => reader.wrong_type(entry, "a table like `{ history = 100 }`"),
            _ => unknown(reader, entry, Table::Handler(name)),
        }
    }
    Some(handler)
}

/// Reads the entry if its key is one of these.
fn read<T>(keys: &[Key<T>], reader: &mut Reader<'_>, entry: Entry<'_>, target: &mut T) -> bool {
    let known = keys.iter().find(|key| key.name == entry.key);
    if let Some(key) = known {
        (key.read)(reader, entry, target);
    }
    known.is_some()
}

/// Reads the entry if its key is one of these limits.
fn read_limit<T>(
    limits: &[Limit<T>],
    reader: &mut Reader<'_>,
    entry: Entry<'_>,
    target: &mut T,
) -> bool {
    let known = limits.iter().find(|limit| limit.name == entry.key);
    if let Some(limit) = known {
        let (least, most) = limit.range;
        if let Some(number) = reader.number(entry, least, most) {
            (limit.set)(target, number);
        }
    }
    known.is_some()
}

/// The entries of the table behind this key.
fn table<'a>(reader: &mut Reader<'_>, entry: Entry<'a>) -> Vec<Entry<'a>> {
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
enum Table<'a> {
    Top,
    Limits,
    Handler(&'a str),
}

fn unknown(reader: &mut Reader<'_>, entry: Entry<'_>, table: Table<'_>) {
    let what = What::UnknownKey {
        key: entry.key.to_owned(),
        table: match table {
            Table::Top => String::new(),
            Table::Limits => "[limits]".to_owned(),
            Table::Handler(name) => format!("[handler.{}]", quoted(name)),
        },
        hint: hint(entry, table),
    };
    reader.fault(reader.key_place(entry), what);
}

fn hint(entry: Entry<'_>, table: Table<'_>) -> Hint {
    let key = entry.key;
    let top = [names(keys::TOP), names(keys::POLICY)].concat();
    let limits = [
        limit_names(keys::SERVER_LIMITS),
        limit_names(keys::HANDLER_LIMITS),
    ]
    .concat();
    let own = [names(keys::OWN), vec![keys::CONFIG]].concat();
    let handler = [
        names(keys::POLICY),
        limit_names(keys::HANDLER_LIMITS),
        own.clone(),
    ]
    .concat();
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
        Table::Top => [top, keys::TABLES.to_vec()].concat(),
        Table::Limits => limits,
        Table::Handler(_) => handler,
    };
    let synonym = keys::SYNONYMS
        .iter()
        .find(|(word, meant)| *word == key && known.contains(meant));
    let meant = synonym.map(|(_, meant)| *meant);
    match (meant.or_else(|| nearest(key, known)), table) {
        (Some(meant), _) => Hint::DidYouMean(meant.to_owned()),
        (None, Table::Handler(name)) if entry.value.get_ref().is_table() => {
            Hint::Quote(format!("[handler.{}]", quoted(&format!("{name}/{key}"))))
        }
        (None, Table::Handler(_)) => {
            Hint::BelongsTo("under `config = { … }` if it is the handler's own")
        }
        (None, _) => Hint::Nothing,
    }
}

fn names<T>(keys: &[Key<T>]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

fn limit_names<T>(limits: &[Limit<T>]) -> Vec<&'static str> {
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
    let top = [names(keys::TOP), names(keys::POLICY)].concat();
    let limits = [
        limit_names(keys::SERVER_LIMITS),
        limit_names(keys::HANDLER_LIMITS),
    ]
    .concat();
    let handler = [
        names(keys::POLICY),
        limit_names(keys::HANDLER_LIMITS),
        names(keys::OWN),
        vec![keys::CONFIG],
    ]
    .concat();
    let top = top.into_iter().map(str::to_owned);
    let limits = limits.into_iter().map(|key| format!("limits.{key}"));
    let handler = handler.into_iter().map(|key| format!("handler.{key}"));
    top.chain(limits).chain(handler).collect()
}
