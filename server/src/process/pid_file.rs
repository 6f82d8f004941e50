//! The file with the number of the process, for scripts and service managers.
//!
//! It is written beside its path and renamed, so that a reader finds a whole number or none. While the process lives it holds a
//! lock on the file: a file without one was left by a process that is gone.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::regular_file::{self, Links, NotRead};

/// The file of this process. It is removed when this is dropped, if it still is that file.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    /// Holds the lock.
    file: File,
}

/// Why there is no file with the number of the process.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}` (`pid_file`): {why}", path.display())]
pub struct PidFileError {
    path: PathBuf,
    why: WhyNoPidFile,
}

impl PidFileError {
    /// Whether its directory is not there.
    pub(crate) fn lacks_directory(&self) -> bool {
        matches!(self.why, WhyNoPidFile::NoDirectory)
    }
}

/// Why the file cannot be written.
#[derive(Debug, thiserror::Error)]
enum WhyNoPidFile {
    #[error("it is that of a server that runs, process {0}; give each server a path of its own")]
    Taken(String),
    #[error(
        "what lies there is no file with the number of a process, and is left as it is; name another path, or remove it"
    )]
    NoPidFile,
    #[error("its directory is not there")]
    NoDirectory,
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Whether the file of another process may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PidFileOf {
    /// Only of one that is gone.
    New,
    /// Also of the server that this process takes the place of.
    Successor,
}

impl PidFile {
    /// Writes the number of this process to `path`, and replaces the file of a process that is gone.
    pub(crate) fn write(path: &Path, of: PidFileOf) -> Result<PidFile, PidFileError> {
        let written = check(path, of).and_then(|()| put(path));
        let fault = |why| PidFileError {
            path: path.to_owned(),
            why,
        };
        let file = written.map_err(fault)?;
        let path = path.to_owned();
        Ok(PidFile { path, file })
    }

    /// Fails if something lies at `path` that no server replaces. Nothing is written, and a server that runs may have it.
    ///
    /// What only the server's user can see is no fault.
    pub(crate) fn check(path: &Path) -> Result<(), PidFileError> {
        let directory = path.parent().map(fs::metadata);
        let why = match (directory, check(path, PidFileOf::Successor)) {
            (Some(Err(error)), _) if error.kind() == ErrorKind::NotFound => {
                WhyNoPidFile::NoDirectory
            }
            (Some(Ok(found)), _) if !found.is_dir() => {
                WhyNoPidFile::System(ErrorKind::NotADirectory.into())
            }
            (_, Err(why @ WhyNoPidFile::NoPidFile)) => why,
            _ => return Ok(()),
        };
        let path = path.to_owned();
        Err(PidFileError { path, why })
    }
}

/// Fails if something else lies at the path than a file that may be replaced.
fn check(path: &Path, of: PidFileOf) -> Result<(), WhyNoPidFile> {
    let mut file = match regular_file::open(path, Links::Refused) {
        Ok((file, _)) => file,
        Err(NotRead::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(NotRead::Io(error)) => return Err(error.into()),
        Err(_) => return Err(WhyNoPidFile::NoPidFile),
    };
    let mut text = String::new();
    let read = (&mut file).take(TEXT_BYTES_MAX).read_to_string(&mut text);
    if read.is_err() || !text.trim().bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WhyNoPidFile::NoPidFile);
    }
    let is_held = flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK);
    match is_held && of == PidFileOf::New {
        true => Err(WhyNoPidFile::Taken(text.trim().to_owned())),
        false => Ok(()),
    }
}

/// Writes a new file, and puts it at the path.
fn put(path: &Path) -> Result<File, WhyNoPidFile> {
    let pid = std::process::id();
    let mut beside = path.to_owned().into_os_string();
    beside.push(format!(".{pid}"));
    let beside = PathBuf::from(beside);
    let new = || {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&beside)
    };
    let file = match new() {
        // A process of the same number has left it.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(&beside).and_then(|()| new())
        }
        file => file,
    };
    let mut file = match file {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(WhyNoPidFile::NoDirectory),
        file => file?,
    };
    let written = (|| {
        // Whatever the umask says: scripts of any user read it.
        file.set_permissions(Permissions::from_mode(MODE))?;
        writeln!(file, "{pid}")?;
        // Where the system has no such lock, the file is one that anybody may replace.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        fs::rename(&beside, path)
    })();
    if let Err(error) = written {
        let _ = fs::remove_file(&beside);
        return Err(error.into());
    }
    Ok(file)
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let identity = |found: &fs::Metadata| (found.dev(), found.ino());
        let own = self.file.metadata().map(|it| identity(&it)).ok();
        let there = fs::symlink_metadata(&self.path);
        if own.is_some() && own == there.map(|it| identity(&it)).ok() {
            // Without a right to the directory it stays, and the next server replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

const MODE: u32 = 0o644;
/// Longer than the number of any process.
const TEXT_BYTES_MAX: u64 = 32;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn number_at(path: &Path) -> String {
        fs::read_to_string(path).expect("it is there")
    }

    #[test]
    fn a_file_is_replaced_if_it_is_that_of_a_process_that_is_gone_and_nothing_else_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let own = format!("{}\n", std::process::id());
        fs::write(at("stale"), "4194305\n").expect("a file");
        fs::write(at("empty"), "").expect("a file");
        fs::write(at("config.toml"), "listen = []\n").expect("a file");
        fs::write(at("bytes"), [0xff, 0xfe]).expect("a file");
        fs::write(at("long"), "1".repeat(40)).expect("a file");
        fs::create_dir(at("directory")).expect("a directory");
        symlink(at("stale"), at("link")).expect("a link");
        let _socket = UnixListener::bind(at("socket")).expect("a socket");

        for (name, expected) in [
            ("new", None),
            ("stale", None),
            ("empty", None),
            ("config.toml", Some("no file with the number of a process")),
            ("bytes", Some("no file with the number of a process")),
            ("directory", Some("no file with the number of a process")),
            ("link", Some("no file with the number of a process")),
            ("socket", Some("no file with the number of a process")),
            ("nowhere/pid", Some("its directory is not there")),
        ] {
            match (PidFile::write(&at(name), PidFileOf::New), expected) {
                (Ok(file), None) => {
                    assert_eq!(number_at(&at(name)), own, "{name}");
                    let mode = fs::metadata(at(name)).expect("it is there").mode();
                    assert_eq!(mode & 0o7777, 0o644, "{name}");
                    drop(file);
                    assert!(!at(name).exists(), "{name}");
                }
                (Err(error), Some(expected)) => {
                    let error = error.to_string();
                    assert!(error.contains(expected), "{name}: {error}");
                }
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
        assert_eq!(number_at(&at("config.toml")), "listen = []\n");
        let beside = fs::read_dir(dir.path()).expect("a directory").flatten();
        let beside = beside.filter(|it| it.file_name().to_string_lossy().contains("new"));
        assert_eq!(beside.count(), 0);
    }

    #[test]
    fn a_file_that_is_held_is_replaced_by_a_successor_only_which_then_keeps_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("wshd.pid");
        let first = PidFile::write(&path, PidFileOf::New).expect("it is written");

        let error = PidFile::write(&path, PidFileOf::New).expect_err("it is taken");
        let pid = std::process::id();
        assert!(
            error.to_string().contains(&format!(
                "it is that of a server that runs, process {pid}; give each server a path of its own"
            )),
            "{error}"
        );
        assert_eq!(number_at(&path), format!("{pid}\n"));

        let second = PidFile::write(&path, PidFileOf::Successor).expect("it takes over");
        drop(first);
        assert!(path.exists(), "it is the second one's");
        drop(second);
        assert!(!path.exists());
    }
}
