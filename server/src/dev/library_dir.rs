//! The private directory of built libraries, which the server watches like any directory of handlers.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::plugin::PLUGIN_BYTES_MAX;
use crate::process::regular_file::{self, Links};

/// A directory of plugins that no other user can write. Dropping it removes the directory.
#[derive(Debug)]
pub(crate) struct LibraryDir {
    directory: TempDir,
}

/// What became of a library that was put into the directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// The library is new, or differs from the one before.
    Changed,
    /// The library is byte for byte the one that lies there.
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

    /// Puts a library into the directory under the name of its handler. The file is whole at every moment.
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

    /// A path in the directory that holds no handler for the server, since its name begins with a dot.
    pub(crate) fn hidden(&self, name: &str) -> PathBuf {
        self.path().join(format!(".{name}"))
    }

    /// Removes a library. Answers whether there was one.
    pub(crate) fn remove(&self, name: &str) -> io::Result<bool> {
        match fs::remove_file(self.place(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The path of a library, without cargo's `lib` before its name. A name that begins with `lib` itself
    /// keeps one more, since the server takes one away.
    fn place(&self, name: &str) -> PathBuf {
        let prefix = if name.starts_with("lib") { "lib" } else { "" };
        self.path()
            .join(format!("{prefix}{name}{}", std::env::consts::DLL_SUFFIX))
    }
}
