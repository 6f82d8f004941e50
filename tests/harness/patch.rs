//! Libraries that no build makes: other numbers and names, written into the bytes of a good one.

use std::path::Path;

use super::site::library;

/// A library's bytes, to be changed.
pub(crate) struct Patch {
    bytes: Vec<u8>,
    /// The offset of the descriptor in the file.
    pub(crate) descriptor: usize,
}

/// Offsets of the descriptor's numbers, from its first byte.
pub(crate) const ABI_MAJOR: usize = 8;
pub(crate) const ABI_MINOR: usize = 12;
pub(crate) const MIN_HOST_MINOR: usize = 16;
pub(crate) const SIZE: usize = 20;
pub(crate) const FLAGS: usize = 24;
pub(crate) const SCHEMA: usize = 28;
pub(crate) const SCHEMA_MIN: usize = 32;
pub(crate) const RESERVED: usize = 36;

impl Patch {
    #[track_caller]
    pub(crate) fn of(plugin: &str) -> Patch {
        Patch::of_file(&library(plugin))
    }

    /// Reads any library, also one that is no crate of this workspace.
    #[track_caller]
    pub(crate) fn of_file(library: &Path) -> Patch {
        let bytes = std::fs::read(library).expect("the plugin's library");
        let mut head = b"\x89WSH\r\n\x1a\n".to_vec();
        // The major follows the magic: nothing else begins so.
        head.extend_from_slice(&1u32.to_ne_bytes());
        let places = places(&bytes, &head);
        assert_eq!(places.len(), 1, "one descriptor");
        let descriptor = places[0];
        Patch { bytes, descriptor }
    }

    /// Replaces every occurrence of `from` by `to`, which must be as long.
    #[track_caller]
    pub(crate) fn replace(mut self, from: &str, to: &str) -> Patch {
        assert_eq!(from.len(), to.len());
        let places = places(&self.bytes, from.as_bytes());
        assert!(!places.is_empty(), "`{from}` is not in the library");
        for at in places {
            self.bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
        self
    }

    /// Writes a number of the descriptor.
    #[track_caller]
    pub(crate) fn number(mut self, field: usize, value: u32) -> Patch {
        let at = self.descriptor + field;
        self.bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    /// Writes bytes at an offset of the file.
    pub(crate) fn bytes_at(mut self, at: usize, bytes: &[u8]) -> Patch {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

fn places(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let candidates = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == wanted[0]);
    let candidates = candidates.map(|(at, _)| at);
    candidates
        .filter(|at| bytes[*at..].starts_with(wanted))
        .collect()
}

/// A build of `versioned_wsh` that answers `version-NNNN`.
pub(crate) fn versioned(number: u32) -> Vec<u8> {
    Patch::of("versioned_wsh")
        .replace("version-0001", &format!("version-{number:04}"))
        .into_bytes()
}

/// As many builds of one plugin as a test wants. Each calls itself `build-NNNN`.
pub(crate) struct Builds {
    template: Patch,
    names: Vec<usize>,
    has_schemas: bool,
}

impl Builds {
    /// Builds whose state schema is their number. Each reads the schemas of all before it.
    #[track_caller]
    pub(crate) fn of(plugin: &str) -> Builds {
        let mut builds = Builds::alike(plugin);
        builds.template = builds.template.number(SCHEMA_MIN, 1);
        builds.has_schemas = true;
        builds
    }

    /// Builds that all have the plugin's own schemas.
    #[track_caller]
    pub(crate) fn alike(plugin: &str) -> Builds {
        let template = Patch::of(plugin);
        let names = places(&template.bytes, build_name(1).as_bytes());
        assert!(!names.is_empty(), "`{plugin}` has no build's name in it");
        Builds {
            template,
            names,
            has_schemas: false,
        }
    }

    pub(crate) fn number(&self, number: u32) -> Vec<u8> {
        let mut bytes = self.template.bytes.clone();
        let name = build_name(number);
        for at in &self.names {
            bytes[*at..*at + name.len()].copy_from_slice(name.as_bytes());
        }
        if self.has_schemas {
            let at = self.template.descriptor + SCHEMA;
            bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }
}

/// One of [`Builds::of`] a plugin.
pub(crate) fn build(plugin: &str, number: u32) -> Vec<u8> {
    Builds::of(plugin).number(number)
}

/// One of [`Builds::alike`] of a plugin.
pub(crate) fn build_again(plugin: &str, number: u32) -> Vec<u8> {
    Builds::alike(plugin).number(number)
}

/// The name that a build answers with.
pub(crate) fn build_name(number: u32) -> String {
    format!("build-{number:04}")
}
