//! The files of the repository, for tests that hold them to the program and to each other.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of a file, by its path from the root.
#[track_caller]
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A file, or every file below a folder whose name ends in one of `endings`.
pub(crate) fn files(place: &Path, endings: &[&str]) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let entries = fs::read_dir(place).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| !path.ends_with("target"))
        .flat_map(|path| match path.is_dir() {
            true => files(&path, endings),
            false => vec![path],
        })
        .filter(|path| {
            endings
                .iter()
                .any(|it| path.to_string_lossy().ends_with(it))
        })
        .collect()
}
