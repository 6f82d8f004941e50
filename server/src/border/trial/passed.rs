//! Keeps what has passed its trial, so that it is not tried again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use super::{Bounds, Subject};
use crate::border::handler_context::Rights;
use crate::plugin::libraries::Library;

/// A hash of everything that a verdict depends on: the file, the libraries beside it, the handler's name, its
/// configuration, its rights, and the limits of the trial.
pub(super) fn verdict_key(subject: &Subject<'_>) -> u64 {
    let beside = format!("{:?}", subject.beside);
    let parts = [
        subject.hash,
        xxh3_64(beside.as_bytes()),
        xxh3_64(subject.config_json.as_bytes()),
        xxh3_64(subject.context.handler.as_bytes()),
        limits_key(subject.context.rights, subject.bounds),
    ];
    hash_of(&parts)
}

fn limits_key(rights: Rights, bounds: Bounds) -> u64 {
    let parts = [
        u64::from(rights.raw),
        rights.threads_max as u64,
        bounds.memory_bytes_max,
        bounds.timeout.as_millis() as u64,
    ];
    hash_of(&parts)
}

fn hash_of(parts: &[u64]) -> u64 {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Trial;

    #[test]
    fn a_plugin_is_tried_again_when_what_it_may_or_its_limits_have_changed() {
        let key = |threads_max, raw, memory_bytes_max, ms| {
            let bounds = Bounds {
                policy: Trial::Auto,
                timeout: Duration::from_millis(ms),
                memory_bytes_max,
            };
            limits_key(Rights { threads_max, raw }, bounds)
        };

        let first = key(4, false, 1_000, 500);

        assert_eq!(key(4, false, 1_000, 500), first);
        for changed in [
            key(5, false, 1_000, 500),
            key(4, true, 1_000, 500),
            key(4, false, 999, 500),
            key(4, false, 1_000, 499),
        ] {
            assert_ne!(changed, first);
        }
    }
}
