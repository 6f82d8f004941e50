//! The libraries that plugins bring along, of which the process can have one version each.
//!
//! The dynamic linker knows a library by its SONAME: a later plugin that brings another file under that
//! name is given the first one. So the server notes each version that it maps, and refuses a plugin that
//! wants another: only a restart can give it that.

#![allow(unsafe_code)] // the dynamic linker tells through a callback what the process has open

use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use object::Endianness;
use object::elf::{DT_SONAME, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::refusal::Refusal;
use crate::plugin::PLUGIN_BYTES_MAX;
use crate::process::regular_file::{self, Links};

/// One version of a library.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Library {
    /// Its SONAME, or its path if it has none, as the dynamic linker has it.
    name: String,
    hash: u64,
}

/// Libraries that are about to be mapped. A drop without [`keep`](Claim::keep) forgets the new ones again.
#[derive(Debug)]
pub(crate) struct Claim {
    new: Vec<String>,
}

impl Library {
    /// The library with these bytes, which lies at `path`.
    pub(crate) fn of(path: &Path, bytes: &[u8]) -> Library {
        let name = soname(bytes);
        Library {
            name: name.unwrap_or_else(|| path.to_string_lossy().into_owned()),
            hash: xxh3_64(bytes),
        }
    }
}

/// The library at `path`; `None` if it cannot be read any more, or is too large to be read each time.
pub(crate) fn read(path: &Path) -> Option<Library> {
    let read = regular_file::read(path, Links::Followed, PLUGIN_BYTES_MAX).ok()?;
    Some(Library::of(path, &read.bytes))
}

/// Notes that these libraries are about to be mapped. Refuses if the process has another version of one.
pub(crate) fn claim(libraries: &[Library]) -> Result<Claim, Refusal> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    for library in libraries {
        if known
            .get(&library.name)
            .is_some_and(|hash| *hash != library.hash)
        {
            let name = library.name.clone();
            return Err(Refusal::OtherLibrary { name });
        }
    }
    let mut new = Vec::new();
    for library in libraries {
        if known.insert(library.name.clone(), library.hash).is_none() {
            new.push(library.name.clone());
        }
    }
    Ok(Claim { new })
}

impl Claim {
    /// Notes that the libraries are mapped, and stay so.
    pub(crate) fn keep(mut self) {
        self.new.clear();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.new.is_empty() {
            return;
        }
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        for name in self.new.drain(..) {
            known.get_or_insert_default().remove(&name);
        }
    }
}

/// The paths of all libraries that are mapped now, by the dynamic linker's list.
pub(crate) fn mapped() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    // SAFETY: the function is called until this call returns, and `paths` outlives that.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut paths).cast()) };
    paths
}

/// Called by [`mapped`] for each image.
unsafe extern "C" fn note(
    info: *mut libc::dl_phdr_info,
    _bytes: usize,
    paths: *mut c_void,
) -> c_int {
    // SAFETY: the dynamic linker lends `info` for the call, and `paths` is what `mapped` gave it.
    let (name, paths) = unsafe { ((*info).dlpi_name, &mut *paths.cast::<Vec<PathBuf>>()) };
    if !name.is_null() {
        // SAFETY: a name that the dynamic linker keeps, which ends with NUL.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        // The program itself and the kernel's own image have no path.
        if name.starts_with(b"/") {
            paths.push(PathBuf::from(OsStr::from_bytes(name)));
        }
    }
    0
}

/// The SONAME of a library.
fn soname(bytes: &[u8]) -> Option<String> {
    let header = FileHeader64::<Endianness>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, bytes).ok()?;
    let (entries, link) = sections.dynamic(endian, bytes).ok()??;
    let strings = sections.strings(endian, bytes, link).ok()?;
    let wanted = |entry: &&object::elf::Dyn64<Endianness>| entry.d_tag(endian) == DT_SONAME;
    let name = entries.iter().find(wanted)?.string(endian, strings).ok()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// The hash of the version that the process has, by the library's name. Global, as the dynamic linker's list of libraries is.
static KNOWN: Mutex<Option<HashMap<String, u64>>> = Mutex::new(None);

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &str, hash: u64) -> Library {
        Library {
            name: name.to_owned(),
            hash,
        }
    }

    #[test]
    fn another_version_of_what_the_process_has_is_refused_and_the_same_is_not() {
        let claimed = claim(&[library("libshared.so.1", 1), library("libother.so", 1)]);
        claimed.expect("both are new").keep();

        claim(&[library("libshared.so.1", 1)])
            .expect("the same again")
            .keep();
        let refused = claim(&[library("libnew.so", 1), library("libshared.so.1", 2)]);
        assert_eq!(
            refused.err(),
            Some(Refusal::OtherLibrary {
                name: "libshared.so.1".to_owned()
            })
        );
        claim(&[library("libnew.so", 2)])
            .expect("what was refused has claimed nothing")
            .keep();
    }

    #[test]
    fn a_claim_that_came_to_nothing_is_forgotten() {
        drop(claim(&[library("libfleeting.so", 1)]).expect("it is new"));

        claim(&[library("libfleeting.so", 2)])
            .expect("the first was never mapped")
            .keep();
    }

    #[test]
    fn the_c_library_is_mapped_and_calls_itself_as_the_linker_does() {
        let paths = mapped();
        let names = paths.iter().filter_map(|path| read(path));
        let names: Vec<String> = names.map(|library| library.name).collect();

        assert!(names.iter().any(|name| name == "libc.so.6"), "{names:?}");
    }
}
