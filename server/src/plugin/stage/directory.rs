//! A stage on a file system: a directory of this process's own, from which programs can be mapped.

#![allow(unsafe_code)] // `statfs` and `statvfs` of one path, and `geteuid`

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tracing::{debug, info, warn};

use crate::process::regular_file::{self, Links};

/// A directory of copies. It is removed at the end of the process, or swept by a later process.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// No other process sweeps the directory while it is locked.
    _lock: File,
    /// What takes the place of a base that is missing and is not to be made. It is removed with the copies.
    pub(super) instead: Option<TempDir>,
}

/// Whether a base that is missing is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Made,
    /// A temporary directory takes its place, in the directory in which it would be made.
    Left,
}

/// Why plugins cannot be staged in a directory, or anywhere.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The directory that the configuration names cannot be used.
    #[error("cannot stage plugins in `{}`: {why}; `stage_dir` names another", path.display())]
    Unfit {
        /// The directory.
        path: PathBuf,
        /// The reason.
        why: Unfit,
    },
    /// No directory can be used.
    #[error("cannot stage plugins anywhere: {}; `stage_dir` names another place", listed(.0))]
    Nowhere(Vec<(PathBuf, Unfit)>),
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Programs cannot be mapped from there.
    #[error("its file system is mounted noexec")]
    NoExec,
    /// Other users could put code there.
    #[error("it belongs to another user or others can write it")]
    NotOurs,
    /// A system call failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Directory {
    /// A directory in `wanted`, or else in the first default place that can be used.
    pub(super) fn find(wanted: Option<&Path>, missing: Base) -> Result<Directory, StageError> {
        match wanted {
            Some(base) => Directory::in_base(base, missing).map_err(|why| StageError::Unfit {
                path: base.into(),
                why,
            }),
            None => Directory::in_first_of(default_bases(), missing),
        }
    }

    pub(super) fn in_first_of(bases: Vec<PathBuf>, missing: Base) -> Result<Directory, StageError> {
        let mut failures = Vec::new();
        for base in bases {
            match Directory::in_base(&base, missing) {
                Ok(directory) => return Ok(directory),
                Err(why) => {
                    debug!(path = %base.display(), %why, "stage not used");
                    failures.push((base, why));
                }
            }
        }
        Err(StageError::Nowhere(failures))
    }

    fn in_base(base: &Path, missing: Base) -> Result<Directory, Unfit> {
        let instead = match missing {
            Base::Left => instead_of(base)?,
            Base::Made => None,
        };
        let base = instead.as_ref().map_or(base, TempDir::path);
        if missing == Base::Made && private_directory(base)? {
            // A misspelt `stage_dir` is seen by it.
            info!(path = %base.display(), "stage directory made");
        }
        let metadata = fs::symlink_metadata(base)?;
        // SAFETY: `geteuid` reads a number of the process and cannot fail.
        let is_ours = metadata.uid() == unsafe { libc::geteuid() };
        if !is_ours || !metadata.is_dir() || metadata.mode() & 0o022 != 0 {
            return Err(Unfit::NotOurs);
        }
        let kind = file_system(base)?;
        if kind.is_noexec {
            return Err(Unfit::NoExec);
        }
        if kind.is_in_memory {
            warn!(
                path = %base.display(),
                "plugins are staged in memory: each generation stays there for ever; `stage_dir` names another place"
            );
        }
        if missing == Base::Made {
            sweep(base);
        }
        // It is locked before it has a name that other processes sweep.
        let hidden = tempfile::Builder::new()
            .prefix(&format!(".{}-", std::process::id()))
            .tempdir_in(base)?
            .keep();
        let lock = File::create(hidden.join(LOCK))?;
        lock.lock()?;
        let name = hidden.file_name().unwrap_or_default().to_string_lossy();
        let path = base.join(name.trim_start_matches('.'));
        fs::rename(&hidden, &path)?;
        Ok(Directory {
            path,
            _lock: lock,
            instead,
        })
    }
}

/// Each place with the reason against it.
fn listed(failures: &[(PathBuf, Unfit)]) -> String {
    let failures = failures.iter();
    let each = failures.map(|(path, why)| format!("`{}`: {why}", path.display()));
    each.collect::<Vec<_>>().join("; ")
}

/// The default places. Those on a disk come before those in memory.
fn default_bases() -> Vec<PathBuf> {
    // SAFETY: `geteuid` reads a number of the process and cannot fail.
    let user = unsafe { libc::geteuid() };
    let mut bases = vec![PathBuf::from(format!("/var/tmp/wshd-{user}"))];
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    bases.extend(cache.or(home).map(|cache| cache.join("wshd")));
    bases.push(std::env::temp_dir().join(format!("wshd-{user}")));
    bases.retain(|base| base.is_absolute());
    let in_memory = |base: &PathBuf| {
        let parent = base.ancestors().find(|ancestor| ancestor.exists());
        parent.is_none_or(|parent| file_system(parent).map_or(true, |kind| kind.is_in_memory))
    };
    bases.sort_by_key(in_memory);
    bases
}

/// Makes a directory for this user alone. Answers false if something has its name already.
fn private_directory(path: &Path) -> io::Result<bool> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// A temporary directory where `base` would be made; `None` if something has its name already.
fn instead_of(base: &Path) -> io::Result<Option<TempDir>> {
    match fs::symlink_metadata(base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found.map(|_| None),
    }
    let parent = base.ancestors().find(|ancestor| ancestor.exists());
    let parent = parent.unwrap_or(Path::new("/"));
    let mut made = tempfile::Builder::new();
    made.prefix(".wshd-check-").tempdir_in(parent).map(Some)
}

/// Removes the directories of processes that ended without removing them.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    let is_hidden = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    let entries = entries.flatten().filter(|entry| !is_hidden(entry));
    for directory in entries.map(|entry| entry.path()) {
        // A running process holds its lock. A directory without a lock file may be about to get one.
        let lock = regular_file::open(&directory.join(LOCK), Links::Refused);
        if lock.is_ok_and(|(lock, _)| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(&directory);
        }
    }
}

struct FileSystem {
    is_noexec: bool,
    is_in_memory: bool,
}

fn file_system(path: &Path) -> io::Result<FileSystem> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut kind = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    let mut flags = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends with NUL, and both are memory of ours of the wanted size.
    let failed = unsafe {
        libc::statfs(path.as_ptr(), kind.as_mut_ptr()) != 0
            || libc::statvfs(path.as_ptr(), flags.as_mut_ptr()) != 0
    };
    if failed {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the calls have filled them in.
    let (kind, flags) = unsafe { (kind.assume_init(), flags.assume_init()) };
    Ok(FileSystem {
        is_noexec: flags.f_flag & libc::ST_NOEXEC != 0,
        is_in_memory: [libc::TMPFS_MAGIC, RAMFS_MAGIC].contains(&kind.f_type),
    })
}

const LOCK: &str = "lock";
const RAMFS_MAGIC: i64 = 0x8584_58f6;

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_place_that_was_tried_is_named_with_its_reason() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("file"), "").unwrap();
        fs::create_dir(at("open")).unwrap();
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o777)).unwrap();
        let bases = ["file/below", "open"].map(at);

        let error = Directory::in_first_of(bases.to_vec(), Base::Made).unwrap_err();

        let at = root.path().display();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot stage plugins anywhere: `{at}/file/below`: File exists (os error 17); \
                 `{at}/open`: it belongs to another user or others can write it; \
                 `stage_dir` names another place"
            )
        );
        let found = Directory::in_first_of(
            vec![root.path().join("file"), root.path().join("new")],
            Base::Made,
        );
        assert!(found.unwrap().path.starts_with(root.path().join("new")));
    }
}
