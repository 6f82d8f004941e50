//! The private directory of built libraries, which the server watches like any directory of handlers.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
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
        if let Some(folder) = place.parent() {
            // A folder that its group could write would be refused, whatever the umask is.
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
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
        self.path().join(format!(".{}", name.replace('/', "-")))
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
        let (folders, stem) = name.rsplit_once('/').unwrap_or(("", name));
        let prefix = if stem.starts_with("lib") { "lib" } else { "" };
        let file = format!("{prefix}{stem}{}", std::env::consts::DLL_SUFFIX);
        self.path().join(folders).join(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_lies_where_the_server_finds_its_name() {
        let libraries = LibraryDir::new().unwrap();
        let built = libraries.path().join(".built");
        fs::write(&built, "a library").unwrap();
        for (name, file) in [
            ("tea_wsh", "tea_wsh.so"),
            ("libtea_wsh", "liblibtea_wsh.so"),
            ("rooms/tea_wsh", "rooms/tea_wsh.so"),
            ("rooms/libtea_wsh", "rooms/liblibtea_wsh.so"),
            ("sub/_wsh", "sub/_wsh.so"),
        ] {
            assert_eq!(libraries.put(name, &built).unwrap(), Placed::Changed);
            assert_eq!(libraries.put(name, &built).unwrap(), Placed::Same);

            let place = libraries.path().join(file);
            assert_eq!(fs::read(&place).unwrap(), b"a library", "{name}");
            assert!(libraries.remove(name).unwrap());
            assert!(!place.exists(), "{name}");
        }
    }
}
