//! Descriptors that a trial opens before a plugin's code runs, to see whether that code closes
//! descriptors that are not its own.
//!
//! In the server these numbers belong to sockets and files. A plugin that closes them there ends every
//! session. So a trial has a file at such numbers, and looks afterwards whether it is still there.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, fstat, memfd_create};
use rustix::process::{Resource, getrlimit};

/// The descriptors that were opened, and the limit of open files at that time.
#[derive(Debug)]
pub(super) struct Sentinels {
    /// The number of each, with the device and the inode of its file.
    files: Vec<(i32, u64, u64)>,
    open_files_max: u64,
}

impl Sentinels {
    /// Opens sentinels. Where no memory file can be made there are none, and only the limit is looked at.
    pub(super) fn open() -> Sentinels {
        let open_files_max = soft_limit();
        // A file that no other descriptor leads to by chance, as one could to `/dev/null`.
        let file = memfd_create("wshd-trial-sentinel", MemfdFlags::CLOEXEC);
        let files = file.map_or_else(|_| Vec::new(), |file| copies(file, open_files_max));
        Sentinels {
            files,
            open_files_max,
        }
    }

    /// The harm that a plugin has done, in words that follow the name of its file.
    pub(super) fn harm(&self) -> Option<&'static str> {
        if soft_limit() < self.open_files_max {
            return Some(LOWERS_THE_LIMIT);
        }
        let is_there = |&(number, device, inode): &(i32, u64, u64)| {
            // SAFETY: the descriptor is looked at for the length of the call; a closed one is an error.
            let file = unsafe { BorrowedFd::borrow_raw(number) };
            fstat(file).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (device, inode))
        };
        (!self.files.iter().all(is_there)).then_some(CLOSES_OTHERS)
    }
}

/// Opens `file` at each of [`NUMBERS`] that is free, below half of the limit of open files.
fn copies(file: OwnedFd, open_files_max: u64) -> Vec<(i32, u64, u64)> {
    let Ok(stat) = fstat(&file) else {
        return Vec::new();
    };
    let mut numbers = vec![file.as_raw_fd()];
    let wanted = NUMBERS.iter().flat_map(|range| range.clone());
    for number in wanted.filter(|number| u64::from(number.unsigned_abs()) < open_files_max / 2) {
        let Ok(copy) = rustix::io::fcntl_dupfd_cloexec(file.as_fd(), number) else {
            break;
        };
        // Where the wanted number is taken, the next free one serves as well.
        numbers.push(copy.as_raw_fd());
        // It is never dropped: that would close a file that a plugin has put at the number.
        std::mem::forget(copy);
    }
    std::mem::forget(file);
    let known = |number| (number, stat.st_dev, stat.st_ino);
    numbers.into_iter().map(known).collect()
}

fn soft_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The numbers of sentinels: low numbers one by one, then those at which a loop over all may begin.
const NUMBERS: [std::ops::Range<i32>; 10] = [
    4..32,
    40..41,
    63..65,
    100..101,
    128..129,
    255..257,
    511..513,
    1000..1001,
    1023..1025,
    4000..4001,
];
const CLOSES_OTHERS: &str = "it closes descriptors that are not its own, in its constructors, `init`, `self_test` or `shutdown`";
const LOWERS_THE_LIMIT: &str = "it lowers the limit of open files";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_or_led_elsewhere_is_seen_and_files_of_others_are_not() {
        let mut sentinels = Sentinels::open();
        assert_eq!(sentinels.harm(), None);
        drop(std::fs::File::open("/dev/null").expect("a file"));
        assert_eq!(sentinels.harm(), None);

        let (number, device, inode) = sentinels.files[1];
        // As if it led to another file. A closed number could be taken by other tests of this process.
        sentinels.files[1] = (number, device, inode + 1);
        assert_eq!(sentinels.harm(), Some(CLOSES_OTHERS));
        // As if it was closed.
        sentinels.files[1] = (i32::MAX, device, inode);
        assert_eq!(sentinels.harm(), Some(CLOSES_OTHERS));

        sentinels.open_files_max = u64::MAX;
        if soft_limit() < u64::MAX {
            assert_eq!(sentinels.harm(), Some(LOWERS_THE_LIMIT));
        }
    }
}
