//! Reads the table `[topics]`.

use std::collections::HashMap;

use toml::Spanned;
use toml::de::DeValue;

use super::pattern::Pattern;
use super::{HistoryBounds, NamedHandler, TopicPolicy, Topics};
use crate::config::fault::{PatternFault, What};
use crate::config::file::{KeyTable, unknown};
use crate::config::source::Place;
use crate::config::values::{FileEntry, Reader, entries};

/// What `[topics]` says.
pub(in crate::config) struct TopicTables {
    pub(in crate::config) topics: Topics,
    /// The handlers that it names.
    pub(in crate::config) named: Vec<NamedHandler>,
    /// The patterns of the server's own topics that say nothing of handlers, with the topic's name in the place of a
    /// handler's.
    pub(in crate::config) unnamed: Vec<NamedHandler>,
}

/// Reads the tables of all patterns.
///
/// No topic may keep more than `history_bytes_max`.
pub(in crate::config) fn read(
    reader: &mut Reader<'_>,
    tables: &[FileEntry<'_>],
    history_bytes_max: usize,
) -> TopicTables {
    let mut topics = Topics::default();
    let (mut named, mut unnamed) = (Vec::new(), Vec::new());
    let mut seen: HashMap<Pattern, (&str, Place)> = HashMap::new();
    for &entry in tables {
        if KEYS.contains(&entry.key) {
            unknown(reader, entry, KeyTable::Topics);
            continue;
        }
        let place = reader.key_place(entry);
        let pattern = Pattern::parse(entry.key).and_then(|pattern| match seen.get(&pattern) {
            Some((of, place)) => Err(PatternFault::Duplicate {
                of: (*of).to_owned(),
                place: place.clone(),
            }),
            None => Ok(pattern),
        });
        let pattern = pattern.map_err(|why| bad_pattern(reader, place.clone(), entry.key, why));
        let mut policy = PolicyReader {
            written: entry.key,
            is_of_a_handler: matches!(&pattern, Ok(Pattern { owner: Some(_), .. })),
            history_bytes_max,
            policy: TopicPolicy::DEFAULT,
            named: &mut named,
        };
        policy.read(reader, entry);
        let policy = policy.policy;
        let Ok(pattern) = pattern else { continue };
        let noted = |name: &str| NamedHandler {
            pattern: entry.key.to_owned(),
            name: name.to_owned(),
            place: place.clone(),
        };
        match &pattern.owner {
            Some(name) => named.push(noted(name)),
            None if policy.handlers.is_none() => unnamed.push(noted(&pattern.name)),
            None => {}
        }
        topics.insert(&pattern, policy);
        seen.insert(pattern, (entry.key, place));
    }
    TopicTables {
        topics,
        named,
        unnamed,
    }
}

fn bad_pattern(reader: &mut Reader<'_>, place: Place, written: &str, why: PatternFault) {
    let pattern = written.to_owned();
    reader.fault(place, What::BadPattern { pattern, why });
}

/// Reads the table of one pattern.
struct PolicyReader<'a> {
    /// The pattern, as written.
    written: &'a str,
    is_of_a_handler: bool,
    history_bytes_max: usize,
    policy: TopicPolicy,
    named: &'a mut Vec<NamedHandler>,
}

impl PolicyReader<'_> {
    fn read(&mut self, reader: &mut Reader<'_>, entry: FileEntry<'_>) {
        let DeValue::Table(table) = entry.value.get_ref() else {
            return reader.wrong_type(entry, TABLE_WANTED);
        };
        for entry in entries(table) {
            match entry.key {
                "history" => self.policy.history = self.history(reader, entry),
                "presence" => {
                    if let Some(presence) = reader.truth(entry) {
                        self.policy.presence = presence;
                    }
                }
                "handlers" => self.policy.handlers = self.handlers(reader, entry),
                _ => unknown(reader, entry, KeyTable::Pattern(self.written)),
            }
        }
    }

    /// `false`, or a table with at least one bound.
    fn history(&self, reader: &mut Reader<'_>, entry: FileEntry<'_>) -> Option<HistoryBounds> {
        let table = match entry.value.get_ref() {
            DeValue::Boolean(false) => return None,
            DeValue::Table(table) if !table.is_empty() => table,
            _ => {
                reader.wrong_type(entry, HISTORY_WANTED);
                return None;
            }
        };
        let mut bounds = HistoryBounds {
            count: usize::MAX,
            age_ms: u64::MAX,
            bytes: usize::MAX,
        };
        for entry in entries(table) {
            match entry.key {
                "count" => {
                    if let Some(count) = reader.number(entry, &(1..=COUNT_MAX)) {
                        bounds.count = saturated(count);
                    }
                }
                "age_s" => {
                    if let Some(age_s) = reader.number(entry, &(1..=AGE_S_MAX)) {
                        bounds.age_ms = age_s * 1_000;
                    }
                }
                "bytes" => {
                    if let Some(bytes) = self.bytes(reader, entry) {
                        bounds.bytes = bytes;
                    }
                }
                _ => unknown(reader, entry, KeyTable::History(self.written)),
            }
        }
        Some(bounds)
    }

    /// A bound that the limit of all topics together lets be reached.
    fn bytes(&self, reader: &mut Reader<'_>, entry: FileEntry<'_>) -> Option<usize> {
        let bytes = saturated(reader.number(entry, &(1..=BYTES_MAX))?);
        let max = self.history_bytes_max;
        if bytes > max {
            reader.wrong_type(
                entry,
                format!("at most the {max} bytes of `history_bytes_max`"),
            );
            return None;
        }
        Some(bytes)
    }

    /// A list of handlers' names, which may be empty.
    fn handlers(&mut self, reader: &mut Reader<'_>, entry: FileEntry<'_>) -> Option<Vec<String>> {
        if self.is_of_a_handler {
            let place = reader.key_place(entry);
            bad_pattern(reader, place, self.written, PatternFault::NotShared);
            return None;
        }
        let DeValue::Array(items) = entry.value.get_ref() else {
            reader.wrong_type(entry, HANDLERS_WANTED);
            return None;
        };
        let names = items
            .iter()
            .filter_map(|value| self.handler(reader, entry, value));
        Some(names.collect())
    }

    fn handler(
        &mut self,
        reader: &mut Reader<'_>,
        list: FileEntry<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<String> {
        let name = value.get_ref().as_str();
        let Some(name) = name.filter(|name| !name.starts_with('/')) else {
            let bare = name.map(|name| name.trim_start_matches('/'));
            let entry = FileEntry { value, ..list };
            reader.unwanted(entry, HANDLER_WANTED, bare);
            return None;
        };
        self.named.push(NamedHandler {
            pattern: self.written.to_owned(),
            name: name.to_owned(),
            place: reader.value_place(value),
        });
        Some(name.to_owned())
    }
}

/// Where a `usize` has 32 bits, a larger number is the largest of them.
fn saturated(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The keys of a pattern's table.
pub(in crate::config) const KEYS: [&str; 3] = ["history", "presence", "handlers"];
/// The keys of `history = {…}`.
pub(in crate::config) const HISTORY_KEYS: [&str; 3] = ["count", "age_s", "bytes"];

const TABLE_WANTED: &str = "a table like `{ history = { count = 100 } }`";
const HISTORY_WANTED: &str =
    "`false`, or at least one bound like `{ count = 100, age_s = 86400, bytes = 1048576 }`";
const HANDLERS_WANTED: &str = "a list of handlers like `[\"chat\", \"news\"]`";
const HANDLER_WANTED: &str = "the name of a handler, its route without the first slash";
const COUNT_MAX: u64 = 10_000_000;
const BYTES_MAX: u64 = 1 << 40;
const AGE_S_MAX: u64 = 10 * 365 * 24 * 60 * 60;
