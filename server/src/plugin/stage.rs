//! Where the copies of plugins lie that are really opened.
//!
//! `dlopen` knows libraries by name and by inode: a replaced file opened again under its own name
//! is the old code, and a mapped file that is overwritten ends the process. So the watched file is
//! never mapped; each generation opens a copy under a name that no other ever has.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::{debug, warn};
use xxhash_rust::xxh3::xxh3_64;

use crate::regular_file::{self, Links, NotRead};
use crate::scan::PLUGIN_BYTES_MAX;

/// This process's directory of copies; removed at its end, or swept by a later process.
#[derive(Debug)]
pub(crate) struct Stage {
    directory: PathBuf,
    next: AtomicU64,
    /// The libraries that were copied beside plugins, by name: each is mapped once a process.
    beside: Mutex<HashMap<String, u64>>,
    keeps_copies: bool,
    /// While it is locked, nobody sweeps the directory.
    _lock: File,
}

/// One staged copy.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) path: PathBuf,
    directory: PathBuf,
    is_kept: bool,
}

/// Why there is no stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Programs cannot be mapped from there.
    #[error(
        "cannot stage plugins in `{}`: its file system is mounted noexec; `stage_dir` names another", .0.display()
    )]
    NoExec(PathBuf),
    /// Others could put code there.
    #[error("cannot stage plugins in `{}`: it belongs to somebody else or others can write it; `stage_dir` names another", .0.display())]
    NotOurs(PathBuf),
    /// The system said no.
    #[error("cannot stage plugins in `{}`: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Stage {
    /// A stage in `wanted`, or else in the first place that will do. With `keeps_copies` the copies
    /// stay until the end, for debuggers.
    pub(crate) fn new(wanted: Option<&Path>, keeps_copies: bool) -> Result<Stage, StageError> {
        if let Some(base) = wanted {
            return Stage::in_base(base, keeps_copies);
        }
        let mut failure = None;
        for base in default_bases() {
            match Stage::in_base(&base, keeps_copies) {
                Ok(stage) => return Ok(stage),
                Err(error) => {
                    debug!(%error, "stage not used");
                    failure.get_or_insert(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| StageError::NotOurs(std::env::temp_dir())))
    }

    fn in_base(base: &Path, keeps_copies: bool) -> Result<Stage, StageError> {
        let failed = |source| StageError::Io {
            path: base.into(),
            source,
        };
        private_directory(base).map_err(failed)?;
        let metadata = fs::symlink_metadata(base).map_err(failed)?;
        // SAFETY: `geteuid` reads a number of the process and cannot fail.
        let is_ours = metadata.uid() == unsafe { libc::geteuid() };
        if !is_ours || !metadata.is_dir() || metadata.mode() & 0o022 != 0 {
            return Err(StageError::NotOurs(base.into()));
        }
        let kind = file_system(base).map_err(failed)?;
        if kind.is_noexec {
            return Err(StageError::NoExec(base.into()));
        }
        if kind.is_in_memory {
            warn!(
                path = %base.display(),
                "plugins are staged in memory: each generation stays there for ever; `stage_dir` names another place"
            );
        }
        sweep(base);
        // Locked before it has a name that others sweep.
        let hidden = tempfile::Builder::new()
            .prefix(&format!(".{}-", std::process::id()))
            .tempdir_in(base)
            .map_err(failed)?
            .keep();
        let lock = File::create(hidden.join(LOCK)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let name = hidden.file_name().unwrap_or_default().to_string_lossy();
        let directory = base.join(name.trim_start_matches('.'));
        fs::rename(&hidden, &directory).map_err(failed)?;
        Ok(Stage {
            directory,
            next: AtomicU64::new(1),
            beside: Mutex::default(),
            keeps_copies,
            _lock: lock,
        })
    }

    /// Copies a plugin's bytes, and beside them what it needs and has beside it.
    pub(super) fn copy(
        &self,
        name: &str,
        bytes: &[u8],
        original: &Path,
        needed: &[String],
    ) -> io::Result<Copy> {
        // A directory of its own, so that `$ORIGIN` finds what lies beside the copy.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory.join(number.to_string());
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let file: String = name
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '_' })
            .collect();
        let copy = Copy {
            path: directory.join(format!("{number}-{file}_wsh.so")),
            directory,
            is_kept: self.keeps_copies,
        };
        write_in_parts(&copy.path, bytes)?;
        fs::set_permissions(&copy.path, fs::Permissions::from_mode(0o500))?;
        let beside = original.parent().unwrap_or(Path::new("."));
        for library in needed.iter().filter(|library| !library.contains('/')) {
            let found = beside.join(library);
            let bytes = match regular_file::read(&found, Links::Followed, PLUGIN_BYTES_MAX) {
                Ok(read) => read.bytes,
                // The system has it, or the linker says that there is none.
                Err(NotRead::Io(error)) if regular_file::is_absence(&error) => continue,
                Err(error) => {
                    let text = format!("`{}` beside it: {error}", found.display());
                    return Err(io::Error::other(text));
                }
            };
            write_in_parts(&copy.directory.join(library), &bytes)?;
            self.note(library, xxh3_64(&bytes));
        }
        Ok(copy)
    }

    /// A library that plugins share is mapped once a process, whatever becomes of its file.
    fn note(&self, library: &str, hash: u64) {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        let known = *beside.entry(library.to_owned()).or_insert(hash);
        if known != hash {
            warn!(
                library,
                "a library beside a plugin has changed; the one loaded first stays until a restart"
            );
        }
    }

    /// Removes the directory.
    pub(crate) fn remove(&self) {
        // What cannot be removed is swept by the next process.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// As [`fs::write`], but the kernel may run another thread after each part: in one piece a large
/// file takes it a millisecond, in which a worker on the same processor can do nothing.
fn write_in_parts(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    (bytes.chunks(PART_BYTES)).try_for_each(|part| file.write_all(part))
}

/// An opened library needs its file no more.
impl Drop for Copy {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Places on a disk come before places in memory.
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

fn private_directory(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}

/// Removes what processes left that ended without removing it.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    let is_hidden = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    let entries = entries.flatten().filter(|entry| !is_hidden(entry));
    for directory in entries.map(|entry| entry.path()) {
        // Whoever lives holds the lock. Without a lock file it may be about to be made.
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
const PART_BYTES: usize = 16 * 1024;
const RAMFS_MAGIC: i64 = 0x8584_58f6;
