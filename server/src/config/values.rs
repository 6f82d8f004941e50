//! Reads the values of a config file, and collects what is wrong with them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::endpoint::Endpoint;
use super::fault::{ConfigFault, What, nearest};
use super::listen_address::ListenEntry;
use super::source::{Place, Source};

/// A key and its value.
#[derive(Clone, Copy)]
pub(super) struct FileEntry<'a> {
    /// The key, as written.
    pub(super) key: &'a str,
    /// Where the key is written.
    pub(super) key_span: (usize, usize),
    /// Its value.
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

/// Reads one file. It collects faults and goes on, so that all of them are told at once.
pub(super) struct Reader<'a> {
    source: &'a Source,
    /// The directory to which paths in the file are relative; absolute.
    base: &'a Path,
    places: PathPlaces,
    faults: Vec<ConfigFault>,
}

/// Where the file says each path, for messages.
pub(super) type PathPlaces = BTreeMap<PathBuf, Place>;

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source, base: &'a Path) -> Reader<'a> {
        Reader {
            source,
            base,
            places: PathPlaces::new(),
            faults: Vec::new(),
        }
    }

    /// Where each path is written, and the faults in the order of the file.
    pub(super) fn into_findings(mut self) -> (PathPlaces, Vec<ConfigFault>) {
        self.faults
            .sort_by_key(|fault| (fault.place.line, fault.place.column));
        (self.places, self.faults)
    }

    /// The place of an entry's key.
    pub(super) fn key_place(&self, entry: FileEntry<'_>) -> Place {
        self.source.place(entry.key_span.0..entry.key_span.1)
    }

    /// The place of a value.
    pub(super) fn value_place(&self, value: &Spanned<DeValue<'_>>) -> Place {
        self.source.place(value.span())
    }

    /// Notes a fault at this place.
    pub(super) fn fault(&mut self, place: Place, what: What) {
        self.faults.push(ConfigFault { place, what });
    }

    /// Notes that the value is a text, but not one of those that the key wants.
    pub(super) fn unwanted(
        &mut self,
        entry: FileEntry<'_>,
        wanted: impl Into<String>,
        suggestion: Option<&str>,
    ) {
        let Some(found) = entry.value.get_ref().as_str() else {
            return self.wrong_type(entry, wanted);
        };
        let what = What::Unwanted {
            key: entry.key.to_owned(),
            wanted: wanted.into(),
            found: found.to_owned(),
            suggestion: suggestion.map(str::to_owned),
        };
        self.fault(self.value_place(entry.value), what);
    }

    /// Notes that the value has the wrong type. It is shown as written, with its quotes.
    pub(super) fn wrong_type(&mut self, entry: FileEntry<'_>, wanted: impl Into<String>) {
        let written = self
            .source
            .text()
            .get(entry.value.span())
            .unwrap_or_default();
        // The first line of a long list or table says enough.
        let found = written.lines().next().unwrap_or_default().to_owned();
        let what = What::Unwanted {
            key: entry.key.to_owned(),
            wanted: wanted.into(),
            found,
            suggestion: None,
        };
        self.fault(self.value_place(entry.value), what);
    }

    /// Notes that a secret value is not what the key wants. It is not shown.
    pub(super) fn unwanted_secret(&mut self, entry: FileEntry<'_>, wanted: &str) {
        let what = What::Unwanted {
            key: entry.key.to_owned(),
            wanted: wanted.to_owned(),
            found: "…".to_owned(),
            suggestion: None,
        };
        self.fault(self.key_place(entry), what);
    }

    pub(super) fn truth(&mut self, entry: FileEntry<'_>) -> Option<bool> {
        let truth = entry.value.get_ref().as_bool();
        if truth.is_none() {
            self.wrong_type(entry, "`true` or `false`");
        }
        truth
    }

    /// Reads a whole number in this range.
    pub(super) fn number(
        &mut self,
        entry: FileEntry<'_>,
        range: &RangeInclusive<u64>,
    ) -> Option<u64> {
        let number = match entry.value.get_ref() {
            DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let wanted = format!("a whole number from {} to {}", range.start(), range.end());
            self.wrong_type(entry, wanted);
        }
        number
    }

    /// Reads a path, and makes it absolute.
    pub(super) fn path(&mut self, entry: FileEntry<'_>, wanted: &str) -> Option<PathBuf> {
        match entry.value.get_ref().as_str() {
            // An empty path would be the directory of the file itself, and is a mistake.
            None | Some("") => {
                self.unwanted(entry, wanted, None);
                None
            }
            Some(path) => {
                let path = absolute(self.base, Path::new(path));
                let place = self.value_place(entry.value);
                self.places.entry(path.clone()).or_insert(place);
                Some(path)
            }
        }
    }

    /// Where an entry that needs no port listens. Paths are relative to the file.
    pub(super) fn endpoints(&mut self, entry: &ListenEntry, place: &Place) -> Vec<Endpoint> {
        let endpoints = entry.endpoints(0, self.base);
        for path in endpoints.iter().filter_map(Endpoint::path) {
            self.places
                .entry(path.to_owned())
                .or_insert_with(|| place.clone());
        }
        endpoints
    }

    /// Reads one of these words, and answers what comes with it.
    pub(super) fn word<T: Copy>(&mut self, entry: FileEntry<'_>, words: &[(&str, T)]) -> Option<T> {
        let word = entry.value.get_ref().as_str();
        let meant = words.iter().find(|(known, _)| word == Some(*known));
        if meant.is_none() {
            let known = words.iter().map(|(known, _)| *known);
            let suggestion = word.and_then(|word| nearest(&word.to_lowercase(), known));
            self.unwanted(entry, one_of(words), suggestion);
        }
        meant.map(|(_, meaning)| *meaning)
    }

    /// Reads any value, as the JSON that a handler gets.
    pub(super) fn json(&mut self, entry: FileEntry<'_>) -> Option<Value> {
        let json = match entry.value.get_ref() {
            DeValue::String(text) => Value::from(text.as_ref()),
            DeValue::Boolean(truth) => Value::from(*truth),
            // JSON has no dates; handlers parse their text.
            DeValue::Datetime(time) => Value::from(time.to_string()),
            DeValue::Integer(digits) => {
                match i64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(number) => Value::from(number),
                    Err(_) => {
                        self.wrong_type(entry, "a number of 64 bits");
                        return None;
                    }
                }
            }
            DeValue::Float(digits) => {
                let number = digits
                    .as_str()
                    .parse()
                    .ok()
                    .and_then(serde_json::Number::from_f64);
                let Some(number) = number else {
                    self.wrong_type(entry, "a number that JSON can write");
                    return None;
                };
                Value::Number(number)
            }
            DeValue::Array(items) => {
                let items = items
                    .iter()
                    .map(|value| self.json(FileEntry { value, ..entry }));
                Value::Array(items.collect::<Option<_>>()?)
            }
            DeValue::Table(table) => {
                let entries = entries(table).into_iter();
                let entries =
                    entries.map(|entry| self.json(entry).map(|json| (entry.key.to_owned(), json)));
                Value::Object(entries.collect::<Option<_>>()?)
            }
        };
        Some(json)
    }
}

/// The entries of a table, in the order written.
pub(super) fn entries<'a>(table: &'a DeTable<'a>) -> Vec<FileEntry<'a>> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| FileEntry {
            key: key.get_ref(),
            key_span: (key.span().start, key.span().end),
            value,
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span);
    entries
}

/// The words as messages list them: `` `drain` or `close` ``.
pub(super) fn one_of<T>(words: &[(&str, T)]) -> String {
    let quoted: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Makes `path` absolute, and free of dots. It is relative to `base`, which is absolute.
pub(super) fn absolute(base: &Path, path: &Path) -> PathBuf {
    let joined = base.join(path);
    let components: Vec<_> = joined.components().collect();
    let is_up =
        |component: &std::path::Component<'_>| *component == std::path::Component::ParentDir;
    let Some(last_up) = components.iter().rposition(is_up) else {
        return components.into_iter().collect();
    };
    // `..` behind a symlink is the parent of the link's target, so only the file system can tell.
    // What comes after it stays as written: the target of a symlink may change while the server runs.
    let head: PathBuf = components[..=last_up].iter().collect();
    let tail = components[last_up + 1..].iter();
    let head = head.canonicalize().unwrap_or(head);
    head.join(tail.collect::<PathBuf>())
}
