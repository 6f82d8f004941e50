//! Keeps what has passed its trial, so that it is not tried again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use super::Subject;
use crate::plugin::libraries::Library;

/// A hash of everything that a verdict depends on: the file, the libraries beside it, the configuration, the
/// handler's rights and its name.
pub(super) fn verdict_key(subject: &Subject<'_>) -> u64 {
    let beside = format!("{:?}", subject.beside);
    let parts = [
        subject.hash,
        xxh3_64(beside.as_bytes()),
        xxh3_64(subject.config_json.as_bytes()),
        u64::from(subject.context.rights.raw),
        xxh3_64(subject.context.handler.as_bytes()),
    ];
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_ne_bytes()).collect();
    xxh3_64(&bytes)
}

/// The libraries of a plugin that has passed.
pub(super) fn passed_before(key: u64) -> Option<Vec<Library>> {
    let passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    passed.get(&key).cloned()
}

/// Keeps the libraries of a plugin that has passed.
pub(super) fn note_passed(key: u64, libraries: &[Library]) {
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    if passed.len() >= PASSED_MAX {
        passed.clear();
    }
    passed.insert(key, libraries.to_vec());
}

/// The libraries of each plugin that has passed, by [`verdict_key`]. Refusals are not kept, because their
/// reason may have lain outside the file: a file that is touched is tried again. Global, as the one helper is.
static PASSED: Mutex<BTreeMap<u64, Vec<Library>>> = Mutex::new(BTreeMap::new());
/// The number of verdicts that are kept, of a few hundred bytes each.
const PASSED_MAX: usize = 10_000;
