//! The SDK, packed by build.rs: what a new handler is built with, as no registry has it.

use super::manifest;

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
