//! Opens a log file, and tells beforehand whether that will be possible.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::process::regular_file::{is_absence, kind};

/// The device and the inode of a file.
pub(super) type Identity = (u64, u64);

/// Opens a log file to write behind its end, or makes it. The call returns at once, also for a FIFO that no program
/// reads. No child inherits the file.
pub(super) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // Checked before the file is opened: opening may make a device act.
    if let Ok(metadata) = fs::metadata(path) {
        check_kind(metadata.file_type())?;
    }
    let mut options = OpenOptions::new();
    // A log has addresses of peers, which are not for every user of the machine.
    options.append(true).create(true).mode(0o640);
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path).map_err(|error| named(error, path))?;
    // Checked again on the open file, because another file may have taken its place.
    let metadata = file.metadata()?;
    check_kind(metadata.file_type())?;
    Ok((file, metadata))
}

/// Fails if the log file could not be opened or made. It is neither opened nor made.
pub(super) fn check(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) => {
            check_kind(metadata.file_type())?;
            may(path, Access::WRITE_OK)
        }
        // A link that leads to no file has its target made.
        Err(error) if is_absence(&error) => {
            let target = target(path)?;
            let directory = directory(&target);
            if !fs::metadata(directory)?.is_dir() {
                return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
            }
            may(directory, Access::WRITE_OK | Access::EXEC_OK)
        }
        Err(error) => Err(error),
    }
}

/// Whether the log file could be renamed and made anew. Files that are no regular ones never are.
pub(super) fn may_rename(path: &Path) -> bool {
    let real = target(path);
    real.is_ok_and(|real| may(directory(&real), Access::WRITE_OK | Access::EXEC_OK).is_ok())
}

pub(super) fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Where a path leads to, also if there is no file yet.
fn target(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    // As many links as Linux follows.
    for _ in 0..40 {
        let Ok(link) = fs::read_link(&path) else {
            return Ok(path);
        };
        path = directory(&path).join(link);
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// The directory of an absolute path.
fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn may(path: &Path, access: Access) -> io::Result<()> {
    Ok(accessat(CWD, path, access, AtFlags::EACCESS)?)
}

/// Fails for what a log is not written to: a file of a kind that is opened or written in another way.
fn check_kind(found: FileType) -> io::Result<()> {
    if found.is_file() || found.is_char_device() || found.is_fifo() {
        return Ok(());
    }
    let text = format!("it is {}, wanted is a file", kind(found));
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Says of a FIFO what the system's error does not say.
fn named(error: io::Error, path: &Path) -> io::Error {
    let is_unread = error.raw_os_error() == Some(libc::ENXIO)
        && fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    match is_unread {
        true => io::Error::new(error.kind(), "it is a FIFO that no program reads"),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    #[test]
    fn only_what_a_log_can_be_written_to_is_opened_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let made = Command::new("mkfifo").arg(at("fifo")).status();
        assert!(made.expect("mkfifo, of coreutils, runs").success());
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();
        symlink(at("missing/a.log"), at("into_nowhere")).unwrap();
        symlink(at("made"), at("to_no_file")).unwrap();
        fs::write(at("file"), "").unwrap();

        for (name, opened, checked) in [
            ("file", None, None),
            ("new", None, None),
            ("to_no_file", None, None),
            ("/dev/null", None, None),
            ("/dev/full", None, None),
            (
                "",
                Some("it is a directory, wanted is a file"),
                Some("it is a directory, wanted is a file"),
            ),
            (
                "socket",
                Some("it is a socket, wanted is a file"),
                Some("it is a socket, wanted is a file"),
            ),
            // A program may read it by the time at which the server starts.
            ("fifo", Some("it is a FIFO that no program reads"), None),
            (
                "missing/a.log",
                Some("No such file or directory (os error 2)"),
                Some("No such file or directory (os error 2)"),
            ),
            (
                "into_nowhere",
                Some("No such file or directory (os error 2)"),
                Some("No such file or directory (os error 2)"),
            ),
            (
                "file/a.log",
                Some("Not a directory (os error 20)"),
                Some("Not a directory (os error 20)"),
            ),
            (
                "loop",
                Some("Too many levels of symbolic links (os error 40)"),
                Some("Too many levels of symbolic links (os error 40)"),
            ),
        ] {
            let why = check(&at(name)).err().map(|error| error.to_string());
            assert_eq!(why.as_deref(), checked, "checking {name:?}");
            assert!(
                !["new", "made"].iter().any(|name| at(name).exists()),
                "a check makes no file"
            );
            let why = open(&at(name)).err().map(|error| error.to_string());
            assert_eq!(why.as_deref(), opened, "opening {name:?}");
            for made in ["new", "made"] {
                let _ = fs::remove_file(at(made));
            }
        }
    }
}
