//! The bytes of a plugin's file, read once: these very bytes are hashed, inspected and loaded.

use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::plugin::PLUGIN_BYTES_MAX;
use crate::plugin::inspect::{ELF_MAGIC, PluginInfo};
use crate::plugin::refusal::Refusal;
use crate::process::regular_file::{self, Links, NotRead};
use crate::reload::scan::Stamp;

/// A plugin file's bytes at one moment.
pub(crate) struct PluginContent {
    pub(crate) bytes: Vec<u8>,
    pub(crate) hash: u64,
    /// How the file looked when its last byte was read.
    pub(crate) stamp: Stamp,
    /// What an inspection has said, if there was one already.
    pub(super) about: Option<Result<PluginInfo, Refusal>>,
}

impl std::fmt::Debug for PluginContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginContent")
            .field("bytes", &self.bytes.len())
            .field("stamp", &self.stamp)
            .finish_non_exhaustive()
    }
}

/// Reads a plugin's file. Of one that does not begin as a library only the beginning is read, which is
/// enough to refuse it.
pub(crate) fn read(path: &Path) -> Result<PluginContent, NotRead> {
    let (file, opened) = regular_file::open(path, Links::Followed)?;
    let mut beginning = [0; BEGINNING_BYTES];
    let begun = file.read_at(&mut beginning, 0)?;
    let (bytes, stamp) = if beginning.starts_with(ELF_MAGIC) {
        let read = regular_file::read_opened(file, &opened, PLUGIN_BYTES_MAX)?;
        (read.bytes, Stamp::of(&read.metadata))
    } else {
        (beginning[..begun].to_vec(), Stamp::of(&opened))
    };
    Ok(PluginContent {
        hash: xxh3_64(&bytes),
        bytes,
        stamp,
        about: None,
    })
}

/// Enough to say what a file is that is no library of this system.
const BEGINNING_BYTES: usize = 4096;
