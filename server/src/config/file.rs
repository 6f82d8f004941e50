//! Reads config.toml: strictly, and all of its faults at once.

use std::path::Path;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::HandlerConfig;
use super::fault::{ConfigError, Fault, Hint, Source, What, nearest};
use super::keys::{
    CONFIG, Draft, HANDLER_LIMITS, Key, Limit, POLICY, SERVER_LIMITS, SYNONYMS, TABLES, TOP,
};
use super::routes;
use super::values::{Entry, Reader};

/// What the file says, over the defaults.
pub(super) fn read(path: &Path, working_dir: &Path) -> Result<Draft, ConfigError> {
    let source = Source::read(path, working_dir)?;
    let table = DeTable::parse(source.text()).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        // The parser explains over several lines; a log has one.
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        let place = source.place(span);
        let what = What::Syntax(message);
        ConfigError::Faults(vec![Fault { place, what }])
    })?;
    let base = path.parent().unwrap_or(Path::new("/"));
    let mut reader = Reader::new(&source, base);
    let mut draft = Draft::default();
    draft.config.file = Some(path.to_owned());
    top(&mut reader, table.get_ref(), &mut draft);
    match reader.into_faults() {
        faults if faults.is_empty() => Ok(draft),
        faults => Err(ConfigError::Faults(faults)),
    }
}

fn top(reader: &mut Reader<'_>, table: &DeTable<'_>, draft: &mut Draft) {
    for entry in entries(table) {
        if read_key(TOP, reader, entry, draft)
            || read_key(POLICY, reader, entry, &mut draft.config.defaults)
            || TABLES.contains(&entry.key)
        {
            continue;
        }
        let limit = SERVER_LIMITS.iter().map(|limit| limit.name);
        let is_limit = limit
            .chain(HANDLER_LIMITS.iter().map(|limit| limit.name))
            .any(|name| name == entry.key);
        let known = TOP
            .iter()
            .map(|key| key.name)
            .chain(POLICY.iter().map(|key| key.name));
        let hint = if is_limit {
            Hint::BelongsTo("under `[limits]`")
        } else {
            hint(entry.key, known.chain(TABLES.iter().copied()))
        };
        unknown(reader, entry, "", hint);
    }
    // The limits first: a handler's table begins with them.
    if let Some(limits) = sub_table(reader, table, "limits") {
        for entry in entries(limits) {
            let is_known = read_limit(SERVER_LIMITS, reader, entry, &mut draft.config.limits)
                || read_limit(HANDLER_LIMITS, reader, entry, &mut draft.config.defaults);
            if !is_known {
                let known = SERVER_LIMITS.iter().map(|limit| limit.name);
                let known = known.chain(HANDLER_LIMITS.iter().map(|limit| limit.name));
                unknown(reader, entry, "[limits]", hint(entry.key, known));
            }
        }
    }
    if let Some(handlers) = sub_table(reader, table, "handler") {
        for entry in entries(handlers) {
            let Some(own) = entry.value.get_ref().as_table() else {
                reader.unwanted(
                    entry.key,
                    entry.value,
                    "a table like `[handler.chat]`",
                    None,
                );
                continue;
            };
            let name = entry.key.trim_start_matches('/').to_owned();
            let settings = handler(reader, &name, own, draft.config.defaults.clone());
            draft
                .config
                .places
                .insert(name.clone(), reader.key_place(entry));
            draft.config.handlers.insert(name, settings);
        }
    }
    if let Some(table) = sub_table(reader, table, "routes") {
        for entry in entries(table) {
            if let Some(target) = reader.text(entry, "a handler's path like `\"/echo\"`") {
                let place = reader.key_place(entry);
                match routes::check(entry.key, target, place.clone(), &draft.config.routes) {
                    Ok(route) => draft.config.routes.push(route),
                    Err(what) => reader.fault(place, what),
                }
            }
        }
    }
}

fn handler(
    reader: &mut Reader<'_>,
    name: &str,
    table: &DeTable<'_>,
    mut settings: HandlerConfig,
) -> HandlerConfig {
    for entry in entries(table) {
        if read_key(POLICY, reader, entry, &mut settings)
            || read_limit(HANDLER_LIMITS, reader, entry, &mut settings)
        {
            continue;
        }
        if entry.key == CONFIG {
            match reader.json(entry.key, entry.value) {
                Some(config @ Value::Object(_)) => settings.config = config,
                Some(_) => reader.unwanted(
                    entry.key,
                    entry.value,
                    "a table like `{ history = 100 }`",
                    None,
                ),
                None => {}
            }
            continue;
        }
        let known = HANDLER_LIMITS
            .iter()
            .map(|limit| limit.name)
            .chain(POLICY.iter().map(|key| key.name));
        let is_table = entry.value.get_ref().is_table();
        let hint = match hint(entry.key, known.chain([CONFIG])) {
            Hint::Nothing if is_table => Hint::Quote(format!("[handler.\"{name}/{}\"]", entry.key)),
            Hint::Nothing => Hint::BelongsTo("under `config = { … }` if it is the handler's own"),
            hint => hint,
        };
        unknown(reader, entry, &format!("[handler.{name}]"), hint);
    }
    settings
}

/// The entries in the order of the file.
fn entries<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let entry = |(key, value): (
        &'a Spanned<std::borrow::Cow<'a, str>>,
        &'a Spanned<DeValue<'a>>,
    )| {
        let span = key.span();
        Entry {
            key: key.get_ref(),
            key_span: (span.start, span.end),
            value,
        }
    };
    let mut entries: Vec<Entry<'a>> = table.iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.key_span);
    entries
}

fn sub_table<'a>(
    reader: &mut Reader<'_>,
    table: &'a DeTable<'a>,
    name: &str,
) -> Option<&'a DeTable<'a>> {
    let (_, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    let found = value.get_ref().as_table();
    if found.is_none() {
        reader.unwanted(name, value, format!("a table like `[{name}]`"), None);
    }
    found
}

fn read_key<T>(keys: &[Key<T>], reader: &mut Reader<'_>, entry: Entry<'_>, into: &mut T) -> bool {
    let key = keys.iter().find(|key| key.name == entry.key);
    key.map(|key| (key.read)(reader, entry, into)).is_some()
}

fn read_limit<T>(
    limits: &[Limit<T>],
    reader: &mut Reader<'_>,
    entry: Entry<'_>,
    into: &mut T,
) -> bool {
    let Some(limit) = limits.iter().find(|limit| limit.name == entry.key) else {
        return false;
    };
    let (least, most) = limit.range;
    if let Some(number) = reader.number(entry, least, most) {
        (limit.set)(into, number);
    }
    true
}

fn unknown(reader: &mut Reader<'_>, entry: Entry<'_>, table: &str, hint: Hint) {
    let what = What::UnknownKey {
        key: entry.key.to_owned(),
        table: table.to_owned(),
        hint,
    };
    reader.fault(reader.key_place(entry), what);
}

fn hint<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Hint {
    let synonym = SYNONYMS
        .iter()
        .find(|(word, _)| *word == key)
        .map(|(_, known)| *known);
    match synonym.or_else(|| nearest(key, known)) {
        Some(known) => Hint::DidYouMean(known.to_owned()),
        None => Hint::Nothing,
    }
}
