//! What is found to be wrong while a configuration is put together, so that all of it is told at once.

use std::collections::BTreeSet;
use std::path::Path;

use super::environment::WrongVariable;
use super::error::ConfigError;
use super::fault::ConfigFault;
use super::source::Place;
use super::values::PathPlaces;

/// All that is wrong, in the order in which it was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: Vec<ConfigError>,
    /// The keys without a value because theirs is wrong. What is only wrong because of that is not told.
    spoiled: BTreeSet<String>,
    /// Where the configuration file says each path.
    pub(super) places: PathPlaces,
}

impl Findings {
    /// What is wrong with variables.
    pub(super) fn of_variables(wrong: Vec<WrongVariable>) -> Findings {
        let mut findings = Findings::default();
        for WrongVariable { key, error } in wrong {
            findings.spoiled.insert(key.to_owned());
            findings.push(error);
        }
        findings
    }

    /// Adds the faults of the configuration file.
    pub(super) fn add_faults(&mut self, faults: Vec<ConfigFault>) {
        let keys = faults.iter().filter_map(ConfigFault::spoiled_key);
        self.spoiled.extend(keys.map(str::to_owned));
        if !faults.is_empty() {
            self.push(ConfigError::Faults(faults));
        }
    }

    pub(super) fn push(&mut self, error: ConfigError) {
        self.errors.push(error);
    }

    pub(super) fn extend(&mut self, errors: impl IntoIterator<Item = ConfigError>) {
        self.errors.extend(errors);
    }

    /// The value of what could be read; otherwise it adds why not.
    pub(super) fn take<T>(&mut self, result: Result<T, ConfigError>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Whether one of these keys has no value because that is wrong.
    pub(super) fn is_spoiled(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.spoiled.contains(*key))
    }

    /// Notes that what depends on this key is not to be judged.
    pub(super) fn spoil(&mut self, key: &str) {
        self.spoiled.insert(key.to_owned());
    }

    /// Where the configuration file says this path.
    pub(super) fn place(&self, path: &Path) -> Option<Place> {
        self.places.get(path).cloned()
    }

    /// How many errors there are.
    pub(super) fn len(&self) -> usize {
        self.errors.len()
    }

    /// All of it with `last` as one error.
    pub(super) fn and(mut self, last: ConfigError) -> ConfigError {
        match self.errors.is_empty() {
            true => last,
            false => {
                self.push(last);
                ConfigError::Several(self.errors)
            }
        }
    }

    /// All of it as one error, and where each path is said.
    pub(super) fn into_error(self) -> (Option<ConfigError>, PathPlaces) {
        (ConfigError::of(self.errors), self.places)
    }
}
