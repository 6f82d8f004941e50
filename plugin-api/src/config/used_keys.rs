//! The keys of its table that a handler has asked for, so that a warning can name the others.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_core::{Deserializer, de::Visitor, forward_to_deserialize_any};
use serde_json::{Map, Value};

/// The keys that the handler has asked for so far.
#[derive(Debug, Default)]
pub(crate) struct UsedKeys(Mutex<Keys>);

#[derive(Debug, Default)]
struct Keys {
    names: Vec<String>,
    /// The handler has taken the table as a whole, so only it knows which keys mean something.
    are_all: bool,
}

impl UsedKeys {
    pub(crate) fn key(&self, name: &str) {
        let mut keys = self.lock();
        if !keys.names.iter().any(|known| known == name) {
            keys.names.push(name.into());
        }
    }

    pub(crate) fn all(&self) {
        self.lock().are_all = true;
    }

    /// The keys of a table that the handler has not asked for, each with the known key that it looks like.
    pub(crate) fn rest(&self, json: &str) -> Vec<(String, Option<String>)> {
        let keys = self.lock();
        if keys.are_all {
            return Vec::new();
        }
        let mut rest = table_keys(json);
        rest.retain(|key| !keys.names.contains(key));
        rest.into_iter()
            .map(|key| {
                let meant = nearest(&key, &keys.names);
                (key, meant)
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of a JSON object, with their escapes.
// Written by hand: a handler that reads no configuration would contain all of serde_json for this, 140 KB.
fn table_keys(json: &str) -> Vec<String> {
    let (mut keys, mut depth, mut rest) = (Vec::new(), 0, json);
    while let Some(at) = rest.find(['{', '}', '[', ']', '"']) {
        let (mark, tail) = rest[at..].split_at(1);
        rest = tail;
        match mark {
            "{" | "[" => depth += 1,
            "}" | "]" => depth -= 1,
            _ => {
                let end = string_end(tail);
                rest = tail.get(end + 1..).unwrap_or_default();
                if depth == 1 && rest.trim_start().starts_with(':') {
                    keys.push(tail[..end].to_owned());
                }
            }
        }
    }
    keys
}

/// The end of the JSON string that begins here: the first quote that no backslash escapes.
fn string_end(text: &str) -> usize {
    let mut is_escaped = false;
    text.find(|letter| {
        let is_end = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        is_end
    })
    .unwrap_or(text.len())
}

/// The known key that a misspelt key looks like.
fn nearest(key: &str, known: &[String]) -> Option<String> {
    let near = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(key, known), known))
        .filter(|(distance, known)| *distance <= known.chars().count().max(3) / 3)
        .min()?;
    Some(near.1.clone())
}

/// A table that is deserialized into a type of the handler's. The fields of the type count as keys that it asks for.
pub(crate) struct ConfigTable<'a> {
    pub(crate) used_keys: &'a UsedKeys,
    pub(crate) table: Map<String, Value>,
}

impl<'de> Deserializer<'de> for ConfigTable<'_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.used_keys.all();
        Value::Object(self.table).deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        for field in fields {
            self.used_keys.key(field);
        }
        Value::Object(self.table).deserialize_struct(name, fields, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.used_keys.all();
        Value::Object(self.table).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_table_are_those_of_its_first_level() {
        for (json, keys) in [
            ("{}", &[][..]),
            ("", &[]),
            (
                r#"{"a": 1, "b" : "c", "d": {"e": 2}, "f": [{"g": "h"}, "i"]}"#,
                &["a", "b", "d", "f"],
            ),
            (
                r#"{"quo\"te": "\\", "brace}": "{\"", "ü": null}"#,
                &["quo\\\"te", "brace}", "ü"],
            ),
            (r#"{"cut"#, &[]),
        ] {
            assert_eq!(table_keys(json), keys, "{json}");
        }
    }
}
