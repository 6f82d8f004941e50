//! The SDK, packed by build.rs: what a new handler is built with, as no registry has it.

use std::fs;
use std::path::Path;

use super::{SDK, manifest};
use crate::config::Style;
use crate::regular_file::{self, Links};

/// Where a new handler has the SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sdk {
    /// In its directory.
    Own,
    /// In its directory, as the one beside it is not what this program brings along.
    OwnBesideAnother,
    /// Beside it, where other handlers have it too.
    Shared,
}

impl Sdk {
    /// Where a handler that is to lie in `parent` has the SDK. Only those in C and C++ share one.
    pub(crate) fn beside(parent: &Path, style: Style) -> Sdk {
        let place = parent.join(SDK);
        if style.is_rust() || fs::symlink_metadata(place.join("include/wsh.h")).is_err() {
            return Sdk::Own;
        }
        let mut headers = FILES
            .iter()
            .filter(|(name, _)| name.starts_with("include/"));
        let is_there = |(name, text): &(&str, &str)| {
            let found = regular_file::read(&place.join(name), Links::Followed, text.len() as u64);
            found.is_ok_and(|found| found.bytes == text.as_bytes())
        };
        match headers.all(is_there) {
            true => Sdk::Shared,
            false => Sdk::OwnBesideAnother,
        }
    }
}

include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// Each file by its name, and its text.
pub(crate) fn files() -> impl Iterator<Item = (&'static str, String)> {
    let packed = FILES.iter().map(|(name, text)| (*name, (*text).to_owned()));
    std::iter::once(("Cargo.toml", manifest::of_the_sdk())).chain(packed)
}

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

        assert!(!manifest.contains("workspace"), "{manifest}");
        assert!(!manifest.contains("dev-dependencies"), "{manifest}");
        for expected in [
            "name = \"wshd-plugin\"\n",
            concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"\n"),
            concat!("rust-version = \"", env!("CARGO_PKG_RUST_VERSION"), "\"\n"),
            "[dependencies.serde]\nfeatures = [\"derive\"]\noptional = true\nversion = \"1\"\n",
            "[dependencies.tracing]\ndefault-features = false\nfeatures = [\"std\"]\noptional = true\nversion = \"0.1\"\n",
            "default = [\"serde\"]\n",
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
        assert_eq!(file("LICENSE-MIT"), include_str!("../../../LICENSE-MIT"));
        file("src/border/shims.rs");
        file("build.rs");
    }
}
