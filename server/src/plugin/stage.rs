//! The copies of plugins that are really opened.
//!
//! `dlopen` knows libraries by name and by inode: a replaced file opened again under its own name
//! is the old code, and a mapped file that is overwritten ends the process. So the watched file is
//! never mapped; each generation opens a copy under a name that no other ever has.

mod directory;
mod memory;

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::{info, warn};

pub(crate) use self::directory::StageError;
use self::directory::{Base, Directory};
use super::libraries::Library;
use super::trust::Guard;
use crate::config::Trust;
use crate::plugin::PLUGIN_BYTES_MAX;
use crate::process::regular_file::{self, Links, NotRead, is_absence};

/// The place of this process for copies.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The directory that the configuration names.
    wanted: Option<PathBuf>,
    place: Mutex<Storage>,
    next: AtomicU64,
    keeps_copies: bool,
    /// Whether libraries beside a plugin are copied although other users can write them.
    trusts_any: AtomicBool,
}

#[derive(Debug)]
enum Storage {
    Directory(Directory),
    /// Where no directory will do.
    Memory,
}

/// One staged copy.
#[derive(Debug)]
pub(crate) struct StagedCopy {
    pub(crate) path: PathBuf,
    /// The libraries that were copied with it.
    pub(crate) beside: Vec<Library>,
    medium: Medium,
}

/// What a copy lies on, and takes along when it is dropped: an opened library needs its file no more.
#[derive(Debug)]
enum Medium {
    /// A directory of its own, so that `$ORIGIN` finds what lies beside the copy.
    Directory {
        path: PathBuf,
        is_kept: bool,
    },
    Memory {
        _file: File,
    },
}

impl Stage {
    /// A stage in `wanted`, or else in the first place that will do, or else in memory. With
    /// `keeps_copies` the copies stay until the end, for debuggers.
    pub(crate) fn new(wanted: Option<&Path>, keeps_copies: bool) -> Result<Stage, StageError> {
        Stage::with_base(wanted, keeps_copies, Base::Made)
    }

    /// A stage for a check, after which there is no directory that was not there before.
    pub(crate) fn of_check(wanted: Option<&Path>) -> Result<Stage, StageError> {
        Stage::with_base(wanted, false, Base::Left)
    }

    fn with_base(
        wanted: Option<&Path>,
        keeps_copies: bool,
        missing: Base,
    ) -> Result<Stage, StageError> {
        let place = match Directory::find(wanted, missing) {
            Ok(directory) => Storage::Directory(directory),
            Err(error @ StageError::Nowhere(_)) if memory::is_possible() => {
                warn!(
                    %error,
                    "plugins are staged in memory: each generation stays there for ever"
                );
                Storage::Memory
            }
            Err(error) => return Err(error),
        };
        Ok(Stage::in_place(wanted, place, keeps_copies))
    }

    fn in_place(wanted: Option<&Path>, place: Storage, keeps_copies: bool) -> Stage {
        Stage {
            wanted: wanted.map(Path::to_owned),
            place: Mutex::new(place),
            next: AtomicU64::new(1),
            keeps_copies,
            trusts_any: AtomicBool::new(false),
        }
    }

    /// Decides whose libraries beside plugins are copied from now on.
    pub(crate) fn set_trust(&self, trust: Trust) {
        let trusts_any = trust == Trust::Any;
        self.trusts_any.store(trusts_any, Ordering::Relaxed);
    }

    fn guard(&self) -> Guard {
        Guard::new(match self.trusts_any.load(Ordering::Relaxed) {
            true => Trust::Any,
            false => Trust::Owner,
        })
    }

    /// Copies a plugin's bytes, and beside them what it needs and has beside it.
    pub(crate) fn copy(
        &self,
        name: &str,
        bytes: &[u8],
        original: &Path,
        needed: &[String],
    ) -> io::Result<StagedCopy> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file: String = name
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '_' })
            .collect();
        let file = format!("{number}-{file}_wsh.so");
        let beside = beside(original, needed, &mut self.guard())?;
        let Some(directory) = self.directory(number)? else {
            if let Some((library, _)) = beside.first() {
                let text = format!(
                    "`{library}` beside it cannot be staged in memory; `stage_dir` names another place"
                );
                return Err(io::Error::other(text));
            }
            let (file, path) = memory::write(&file, number, bytes)?;
            let medium = Medium::Memory { _file: file };
            let beside = Vec::new();
            return Ok(StagedCopy {
                path,
                beside,
                medium,
            });
        };
        let mut copy = StagedCopy {
            path: directory.join(file),
            beside: Vec::new(),
            // A copy that is not whole is removed also where copies are kept.
            medium: Medium::Directory {
                path: directory.clone(),
                is_kept: false,
            },
        };
        write_in_parts(&copy.path, bytes)?;
        fs::set_permissions(&copy.path, fs::Permissions::from_mode(0o500))?;
        for (library, bytes) in beside {
            write_in_parts(&directory.join(library), &bytes)?;
            copy.beside.push(Library::of(Path::new(library), &bytes));
        }
        if let Medium::Directory { is_kept, .. } = &mut copy.medium {
            *is_kept = self.keeps_copies;
        }
        Ok(copy)
    }

    /// Makes a directory for one copy. `None` where copies lie in memory. A stage that was removed, as by a
    /// sweeper of old files, is made again.
    fn directory(&self, number: u64) -> io::Result<Option<PathBuf>> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let make = |stage: &Path| {
            let directory = stage.join(number.to_string());
            fs::DirBuilder::new().mode(0o700).create(&directory)?;
            Ok(directory)
        };
        let Storage::Directory(stage) = &*place else {
            return Ok(None);
        };
        match make(&stage.path) {
            Err(error) if is_absence(&error) => {
                let lost = stage.path.display().to_string();
                let stage = Directory::find(self.wanted.as_deref(), Base::Made)
                    .map_err(io::Error::other)?;
                info!(path = %stage.path.display(), lost, "the directory of staged copies is made again");
                let made = make(&stage.path);
                *place = Storage::Directory(stage);
                made.map(Some)
            }
            made => made.map(Some),
        }
    }

    /// Removes every copy that is left.
    pub(crate) fn remove(&self) {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Storage::Directory(stage) = &*place {
            // The next process sweeps what cannot be removed.
            let _ = fs::remove_dir_all(&stage.path);
            if let Some(instead) = &stage.instead {
                let _ = fs::remove_dir_all(instead.path());
            }
        }
    }
}

/// The libraries that a plugin needs and has beside it, by name.
fn beside<'a>(
    original: &Path,
    needed: &'a [String],
    guard: &mut Guard,
) -> io::Result<Vec<(&'a str, Vec<u8>)>> {
    let directory = original.parent().unwrap_or(Path::new("."));
    let mut beside = Vec::new();
    for library in needed.iter().filter(|library| is_a_name(library)) {
        let found = directory.join(library);
        let unfit =
            |why: &dyn Display| io::Error::other(format!("`{}` beside it: {why}", found.display()));
        match regular_file::read(&found, Links::Followed, PLUGIN_BYTES_MAX) {
            Ok(read) => {
                // Its code runs in the server as the plugin's does.
                let trusted = guard.check(&found, &read.metadata)?;
                trusted.map_err(|refusal| unfit(&refusal))?;
                beside.push((library.as_str(), read.bytes));
            }
            // The system has it, or the dynamic linker says that it is missing.
            Err(NotRead::Io(error)) if is_absence(&error) => {}
            Err(error) => return Err(unfit(&error)),
        }
    }
    Ok(beside)
}

/// Whether the dynamic linker would look for a library of this name in directories.
fn is_a_name(library: &str) -> bool {
    !library.is_empty() && !library.contains('/')
}

/// Like [`fs::write`], but the kernel may run another thread after each part. A large file in one piece
/// takes a millisecond, in which a worker on that processor could do nothing.
fn write_in_parts(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    (bytes.chunks(PART_BYTES)).try_for_each(|part| file.write_all(part))
}

impl Drop for Medium {
    fn drop(&mut self) {
        if let Medium::Directory {
            path,
            is_kept: false,
        } = self
        {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// The size of a part.
const PART_BYTES: usize = 16 * 1024;
