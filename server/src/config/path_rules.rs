//! Reads tables whose keys are paths: `[auth]` and `[paths]`.

use super::fault::What;
use super::source::Place;
use super::values::{FileEntry, Reader};
use crate::auth::access::{PathRules, PatternRefusal};

/// The rules of a table, and where each is written.
pub(super) struct WrittenRules<R> {
    pub(super) rules: PathRules<R>,
    /// Each path as it is written, and where.
    written: Vec<(String, Place)>,
}

impl<R> Default for WrittenRules<R> {
    fn default() -> WrittenRules<R> {
        WrittenRules {
            rules: PathRules::default(),
            written: Vec::new(),
        }
    }
}

impl<R> WrittenRules<R> {
    /// Adds the rule of an entry, whose key is a path. `table` is its table, for messages.
    pub(super) fn add(
        &mut self,
        reader: &mut Reader<'_>,
        entry: FileEntry<'_>,
        table: &'static str,
        rule: R,
    ) {
        let (found, place) = (entry.key.to_owned(), reader.key_place(entry));
        if found.split('/').any(|name| matches!(name, "." | "..")) {
            return reader.fault(place, What::RulePathWithDots { table, found });
        }
        match self.rules.add(&found, rule) {
            Ok(()) => self.written.push((found, place)),
            Err(PatternRefusal::NotOne) => {
                reader.fault(place, What::BadRulePath { table, found });
            }
            Err(PatternRefusal::Duplicate { of }) => {
                let (other, other_place) = self.written[of].clone();
                let what = What::SecondOfRulePath {
                    table,
                    found,
                    other,
                    place: other_place,
                };
                reader.fault(place, what);
            }
        }
    }
}
