//! The private directory that built libraries are served from.
//!
//! The server watches it as any directory of handlers. It is removed when it is dropped.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::plugin::PLUGIN_BYTES_MAX;
use crate::process::regular_file::{self, Links};

/// A directory of plugins that nobody else can write.
#[derive(Debug)]
pub(crate) struct LibraryDir {
    directory: TempDir,
}

/// What became of a library that was put there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is new, or another one than before.
    Changed,
    /// It is byte for byte what lies there.
    Same,
}

impl LibraryDir {
    pub(crate) fn new() -> io::Result<LibraryDir> {
        let directory = tempfile::Builder::new().prefix("wshd-dev-").tempdir()?;
        Ok(LibraryDir { directory })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Puts a library there under the name of its crate, whole at every moment.
    pub(crate) fn put(&self, name: &str, library: &Path) -> io::Result<Placed> {
        let bytes = regular_file::read(library, Links::Followed, PLUGIN_BYTES_MAX)?.bytes;
        let place = self.place(name);
        let old = regular_file::read(&place, Links::Refused, PLUGIN_BYTES_MAX);
        if old.is_ok_and(|old| old.bytes == bytes) {
            return Ok(Placed::Same);
        }
        let hidden = self.hidden(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&hidden)?.write_all(&bytes)?;
        fs::rename(&hidden, &place)?;
        Ok(Placed::Changed)
    }

    /// A place in the directory that no handler is looked for at: the scanner passes over what is
    /// hidden.
    pub(crate) fn hidden(&self, name: &str) -> PathBuf {
        self.path().join(format!(".{name}"))
    }

    /// Takes a library away; answers whether there was one.
    pub(crate) fn remove(&self, name: &str) -> io::Result<bool> {
        match fs::remove_file(self.place(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Without cargo's `lib` before it, unless the name begins with one of its own, which would be
    /// taken for cargo's.
    fn place(&self, name: &str) -> PathBuf {
        let prefix = if name.starts_with("lib") { "lib" } else { "" };
        self.path()
            .join(format!("{prefix}{name}{}", std::env::consts::DLL_SUFFIX))
    }
}
