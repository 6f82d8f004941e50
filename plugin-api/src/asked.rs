//! Which keys of its table a handler has asked for, so that the others can be told of.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserializer, de::Visitor, forward_to_deserialize_any};
use serde_json::{Map, Value};

/// The keys that were asked for so far.
#[derive(Debug, Default)]
pub(crate) struct Asked(Mutex<Keys>);

#[derive(Debug, Default)]
struct Keys {
    names: Vec<String>,
    /// Some part of the handler took the table as a whole, and only it knows which keys mean something.
    are_all: bool,
}

impl Asked {
    pub(crate) fn key(&self, name: &str) {
        let mut keys = self.lock();
        if !keys.names.iter().any(|known| known == name) {
            keys.names.push(name.into());
        }
    }

    pub(crate) fn all(&self) {
        self.lock().are_all = true;
    }

    /// The keys of a table that nothing asked for, each with the known key that it looks like.
    pub(crate) fn rest<'a>(&self, table: &'a Map<String, Value>) -> Vec<(&'a str, Option<String>)> {
        let keys = self.lock();
        if keys.are_all {
            return Vec::new();
        }
        let is_known = |key: &&String| keys.names.contains(key);
        let rest = table.keys().filter(|key| !is_known(key));
        rest.map(|key| (key.as_str(), nearest(key, &keys.names)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The known key that a misspelt one may mean.
fn nearest(key: &str, known: &[String]) -> Option<String> {
    let near = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(key, known), known))
        .filter(|(distance, known)| *distance <= known.chars().count().max(3) / 3)
        .min()?;
    Some(near.1.clone())
}

/// A table on its way into a type of the handler's, which says by its fields what it asks for.
pub(crate) struct Table<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) table: Map<String, Value>,
}

impl<'de> Deserializer<'de> for Table<'_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.asked.all();
        Value::Object(self.table).deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        for field in fields {
            self.asked.key(field);
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
        self.asked.all();
        Value::Object(self.table).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}
