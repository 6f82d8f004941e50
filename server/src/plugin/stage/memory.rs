//! Copies in memory files, for systems where no directory can be used: the root file system is
//! read-only, and all others are mounted noexec.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use super::PART_BYTES;
use crate::process::optional::{Optional, is_allowed};

/// Whether this system has memory files.
pub(super) fn is_possible() -> bool {
    is_allowed(Optional::Memory) && make("wshd").is_ok()
}

/// Writes a sealed copy. Returns it, and the path at which it can be opened as long as the file is open.
///
/// Each `number` gives another path: to `dlopen` one path is one library, and the numbers of descriptors
/// are used again.
pub(super) fn write(name: &str, number: u64, bytes: &[u8]) -> io::Result<(File, PathBuf)> {
    let mut file = make(name)?;
    // In parts, as on a disk, so that other threads run in between.
    (bytes.chunks(PART_BYTES)).try_for_each(|part| file.write_all(part))?;
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    let path = path_of(file.as_raw_fd(), number);
    Ok((file, path))
}

fn make(name: &str) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // `EXEC` asks for a file that may be mapped to run, where the system makes others by default. A
    // kernel before 6.3 does not know the flag.
    let made = match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        made => made,
    };
    Ok(File::from(made?))
}

/// The path of a descriptor, made another for each number: its binary digits are `/` or `/./` between the
/// parts of the path. The kernel sees no difference there, and the dynamic linker compares texts.
fn path_of(descriptor: i32, number: u64) -> PathBuf {
    // By the number of the process and not by `self`, so that a child process finds the file too.
    let mut path = format!("/proc/{}/fd", std::process::id());
    let mut digits = number;
    while digits > 0 {
        path += if digits & 1 == 1 { "/." } else { "/" };
        digits >>= 1;
    }
    format!("{path}/{descriptor}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    #[test]
    fn each_copy_has_a_path_of_its_own_at_which_it_is_whole_and_cannot_be_changed() {
        let mut paths = BTreeSet::new();
        for number in 1..200 {
            // Each file is closed before the next is made, so that all have one descriptor.
            let bytes = vec![number as u8; 40_000];
            let (file, path) = write("echo_wsh.so", number, &bytes).unwrap();

            assert_eq!(std::fs::read(&path).unwrap(), bytes);
            let change = File::options().write(true).open(&path);
            assert!(change.and_then(|mut file| file.write_all(b"x")).is_err());
            drop(file);
            paths.insert(path.to_string_lossy().into_owned());
        }
        assert_eq!(paths.len(), 199);
    }
}
