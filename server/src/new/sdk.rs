//! The SDK that a new handler is built with. It is packed by build.rs, since no registry has it.
//!
//! It lies once beside all handlers of a directory. The note `sdk.toml` in it says which wshd wrote it;
//! tests of handlers start that program. A digest in the note shows whether files were changed since.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::{manifest, put};
use crate::process::regular_file::{self, Links};

include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// What lies where an SDK is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExistingSdk {
    Nothing,
    /// The SDK of this program.
    Ours,
    /// Files of this program's SDK, but not all that are needed.
    Part,
    /// The SDK of another wshd, or a changed one.
    Other {
        /// The version that it says it has.
        version: Option<String>,
        /// Whether its files were changed since they were written.
        is_edited: bool,
    },
    /// Files that are no SDK.
    NoSdk,
}

impl ExistingSdk {
    /// Looks what lies at a place. `needs` says of each file of the SDK whether it is needed.
    pub(crate) fn at(place: &Path, needs: impl Fn(&str) -> bool) -> ExistingSdk {
        let is_empty = || fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_none());
        match fs::symlink_metadata(place) {
            Err(error) if error.kind() == ErrorKind::NotFound => return ExistingSdk::Nothing,
            Ok(_) if is_empty() => return ExistingSdk::Nothing,
            _ => {}
        }
        if fs::metadata(place.join(HEADER)).is_err() {
            return ExistingSdk::NoSdk;
        }
        let (mut lacks, mut differs) = (false, false);
        for (name, text) in files() {
            match regular_file::read(&place.join(name), Links::Followed, text.len() as u64) {
                Ok(found) => differs |= found.bytes != text.as_bytes(),
                Err(_) if fs::symlink_metadata(place.join(name)).is_ok() => differs = true,
                Err(_) => lacks |= needs(name),
            }
        }
        match (differs, lacks) {
            (false, false) => ExistingSdk::Ours,
            (false, true) => ExistingSdk::Part,
            (true, _) => ExistingSdk::Other {
                version: version(place),
                is_edited: noted(place, "digest") != digest_of(place),
            },
        }
    }

    /// The words for an SDK of another wshd.
    pub(crate) fn other(version: Option<&str>) -> String {
        match version {
            Some(version) if version == OUR_VERSION => {
                format!("another build of wshd {version}")
            }
            Some(version) => format!("wshd {version}"),
            None => "another wshd".to_owned(),
        }
    }
}

/// A sentence about the SDK at a place, if another wshd has written it.
pub(crate) fn outdated(place: &Path) -> Option<String> {
    // Only an SDK that a wshd has written: handlers may also be built with the sources of plugin-api.
    let is_copy = fs::symlink_metadata(place.join(NOTE)).is_ok()
        || text(place, "Cargo.toml").is_some_and(|it| it.starts_with(manifest::HEAD));
    let found = is_copy.then(|| ExistingSdk::at(place, |_| false))?;
    match found {
        // An SDK of this version that was changed is as its owner wants it.
        ExistingSdk::Other { version, is_edited }
            if !is_edited || version.as_deref() != Some(OUR_VERSION) =>
        {
            let (other, place) = (ExistingSdk::other(version.as_deref()), place.display());
            Some(format!(
                "`{place}` is the SDK of {other}, and this is wshd {OUR_VERSION}; `wshd sdk {place}` puts this one \
                 in its place"
            ))
        }
        _ => None,
    }
}

/// The names and texts of all files.
pub(crate) fn files() -> impl Iterator<Item = (&'static str, String)> {
    let packed = FILES.iter().map(|(name, text)| (*name, (*text).to_owned()));
    std::iter::once(("Cargo.toml", manifest::of_the_sdk())).chain(packed)
}

/// Writes the files that are needed to a new directory.
pub(crate) fn write(place: &Path, needs: impl Fn(&str) -> bool) -> io::Result<()> {
    let mut written: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, text) in files().filter(|(name, _)| needs(name)) {
        put(&place.join(name), &text)?;
        written.push((name.to_owned(), text.into_bytes()));
    }
    let digest = digest(written);
    let mut note = format!(
        "# Written by wshd; `wshd sdk` puts that of a newer one in its place.\nversion = \"{OUR_VERSION}\"\n\
         digest = \"{digest}\"\n"
    );
    // Tests of handlers read the path of the program, and of TOML they know plain strings only.
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(Path::to_str);
    let is_plain = |text: &&str| !text.contains(['"', '\\', '\n']);
    if let Some(program) = program.filter(is_plain) {
        note.push_str(&format!("wshd = \"{program}\"\n"));
    }
    put(&place.join(NOTE), &note)
}

/// The version that an SDK says it has.
fn version(place: &Path) -> Option<String> {
    // An older wshd wrote no note.
    noted(place, "version").or_else(|| manifest::version(&text(place, "Cargo.toml")?))
}

/// The note of an SDK.
fn noted(place: &Path, key: &str) -> Option<String> {
    manifest::value(&text(place, NOTE)?, key)
}

fn text(place: &Path, file: &str) -> Option<String> {
    let found = regular_file::read(&place.join(file), Links::Followed, FILE_BYTES_MAX).ok()?;
    String::from_utf8(found.bytes).ok()
}

/// The digest of all files at a place, without the note and what cargo makes. `None` where a file cannot
/// be read.
fn digest_of(place: &Path) -> Option<String> {
    let mut all = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(place.join(&directory)).ok()? {
            let entry = entry.ok()?;
            let name = directory.join(entry.file_name());
            let name_text = name.to_str()?;
            if ["target", "Cargo.lock", NOTE].contains(&name_text) {
                continue;
            }
            if entry.file_type().ok()?.is_dir() {
                directories.push(name);
                continue;
            }
            let found = regular_file::read(&place.join(&name), Links::Refused, FILE_BYTES_MAX);
            all.push((name_text.to_owned(), found.ok()?.bytes));
        }
    }
    Some(digest(all))
}

fn digest(mut files: Vec<(String, Vec<u8>)>) -> String {
    files.sort();
    let mut hash = Xxh3::new();
    for (name, bytes) in files {
        for part in [name.as_bytes(), &bytes] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    format!("{:032x}", hash.digest128())
}

/// The version of this program and of its SDK.
pub(crate) const OUR_VERSION: &str = env!("CARGO_PKG_VERSION");
/// A file that the SDK has for each language.
const HEADER: &str = "include/wsh.h";
const NOTE: &str = "sdk.toml";
const FILE_BYTES_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> String {
        let found = files().find(|(file, _)| *file == name);
        found.map_or_else(|| panic!("no `{name}` is packed"), |(_, text)| text)
    }

    #[test]
    fn the_manifest_stands_alone_and_says_what_the_workspace_says() {
        let manifest = file("Cargo.toml");

        assert!(!manifest.contains("workspace = "), "{manifest}");
        assert!(!manifest.contains("dev-dependencies"), "{manifest}");
        for expected in [
            "name = \"wshd-plugin\"\n",
            concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"\n"),
            concat!("rust-version = \"", env!("CARGO_PKG_RUST_VERSION"), "\"\n"),
            "[dependencies.serde_core]\nfeatures = [\"alloc\"]\noptional = true\nversion = \"1\"\n",
            "[dependencies.tracing]\ndefault-features = false\nfeatures = [\"std\"]\noptional = true\nversion = \"0.1\"\n",
            "default = [\"serde\"]\n",
            // The SDK is a workspace of its own, wherever it lies.
            "\n[workspace]\n",
        ] {
            assert!(
                manifest.contains(expected),
                "no `{expected}` in\n{manifest}"
            );
        }
    }

    #[test]
    fn sources_header_and_licences_are_packed_as_they_are() {
        assert_eq!(
            file("src/lib.rs"),
            include_str!("../../../plugin-api/src/lib.rs")
        );
        assert_eq!(
            file("include/wsh.h"),
            include_str!("../../../plugin-api/include/wsh.h")
        );
        file("include/wsh_raw.h");
        file("include/wsh_test.h");
        file("include/wsh_test_host.h");
        file("include/wsh_test_asks.h");
        assert_eq!(file("LICENSE-MIT"), include_str!("../../../LICENSE-MIT"));
        file("src/border/shims.rs");
        file("build.rs");
    }

    #[test]
    fn what_lies_where_an_sdk_is_looked_for_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("wsh");
        let found = |needs: &str| ExistingSdk::at(&place, |file| file.starts_with(needs));

        assert_eq!(found(""), ExistingSdk::Nothing);
        fs::create_dir(&place).unwrap();
        assert_eq!(found(""), ExistingSdk::Nothing);
        fs::write(place.join("notes.txt"), "mine").unwrap();
        assert_eq!(found(""), ExistingSdk::NoSdk);
        fs::remove_file(place.join("notes.txt")).unwrap();
        write(&place, |file| file.starts_with("include/")).unwrap();
        assert_eq!(found("include/"), ExistingSdk::Ours);
        assert_eq!(found(""), ExistingSdk::Part);
        write(&place, |_| true).unwrap();
        assert_eq!(found(""), ExistingSdk::Ours);
        let other = |version: &str, is_edited| ExistingSdk::Other {
            version: Some(version.to_owned()),
            is_edited,
        };
        put(&place.join("include/wsh.h"), "/* mine */\n").unwrap();
        assert_eq!(found(""), other(OUR_VERSION, true));
        // As an older wshd would have left it.
        let digest = digest_of(&place).unwrap();
        let note = format!("version = \"0.0.9\"\ndigest = \"{digest}\"\n");
        put(&place.join(NOTE), &note).unwrap();
        assert_eq!(found(""), other("0.0.9", false));
        put(&place.join("Cargo.lock"), "").unwrap();
        assert_eq!(found(""), other("0.0.9", false));
        fs::remove_file(place.join(NOTE)).unwrap();
        assert_eq!(found(""), other(OUR_VERSION, true));
    }
}
