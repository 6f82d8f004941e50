//! Whose code is run: only that of the server's own user, or of root.
//!
//! A file or directory that somebody else can write is as good as somebody else's code.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::refusal::Refusal;

/// Whether what lies at `path` can be changed by nobody but the server's user and root.
pub(crate) fn check(path: &Path, metadata: &Metadata) -> Result<(), Refusal> {
    // SAFETY: `geteuid` reads a number of the process and cannot fail.
    let server = unsafe { libc::geteuid() };
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != server && owner != 0 {
        return Err(Refusal::ForeignOwner {
            path: path.into(),
            owner,
            wanted: server,
        });
    }
    let by = if mode & OTHERS_WRITE != 0 {
        "others"
    } else if mode & GROUP_WRITE != 0 && metadata.gid() != primary_group(owner) {
        "a group that is not its owner's own"
    } else {
        return Ok(());
    };
    Err(Refusal::Writable {
        path: path.into(),
        mode,
        by,
    })
}

/// The primary group of a user; with the usual umask of 002 every new file is writable by it, and
/// on systems that use such an umask nobody else is in it.
fn primary_group(user: u32) -> u32 {
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut strings = [0; 4096];
    let mut found = std::ptr::null_mut();
    // SAFETY: every pointer is to memory of ours that is as long as the call is told.
    let status = unsafe {
        libc::getpwuid_r(
            user,
            entry.as_mut_ptr(),
            strings.as_mut_ptr(),
            strings.len(),
            &raw mut found,
        )
    };
    if status != 0 || found.is_null() {
        // In a container a user may have no entry; such a user's group has its number.
        return user;
    }
    // SAFETY: on success the entry is filled in, and `found` points to it.
    unsafe { entry.assume_init() }.pw_gid
}

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITE: u32 = 0o020;
