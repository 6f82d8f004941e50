//! The memory that one trial shares with the server: the request, the step, the report, and what was
//! written to stderr.
//!
//! It is a file in memory whose length is sealed. The server reads and writes it as a file, so a plugin
//! that scribbles into it damages nothing but its own verdict.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};

use crate::plugin::step::Step;

/// The server's end of the memory.
#[derive(Debug)]
pub(super) struct Page {
    file: File,
    layout: Layout,
}

/// The trial's end of the memory, mapped.
pub(super) struct Mapped {
    base: NonNull<u8>,
    layout: Layout,
}

/// Where each part lies. The head holds the length of the request, and the rest follows from the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    request_bytes: usize,
    bytes: usize,
}

impl Layout {
    fn of_request(request_bytes: usize) -> Layout {
        let bytes = HEAD_BYTES + request_bytes + REPORT_BYTES_MAX + WORDS_BYTES_MAX;
        Layout {
            request_bytes,
            bytes: bytes.next_multiple_of(4096),
        }
    }

    fn report_at(self) -> usize {
        HEAD_BYTES + self.request_bytes
    }

    fn words_at(self) -> usize {
        self.bytes - WORDS_BYTES_MAX
    }
}

impl Page {
    /// Makes the memory, with `request` in it.
    pub(super) fn new(request: &[u8]) -> io::Result<Page> {
        let layout = Layout::of_request(request.len());
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("wshd-trial", flags)?;
        ftruncate(&memory, layout.bytes as u64)?;
        // A plugin that writes to stderr without end gets an error, and no more memory.
        fcntl_add_seals(&memory, SealFlags::GROW | SealFlags::SHRINK)?;
        let file = File::from(memory);
        let request_bytes = u32::try_from(request.len()).unwrap_or(u32::MAX);
        file.write_all_at(&request_bytes.to_ne_bytes(), REQUEST_BYTES_AT as u64)?;
        file.write_all_at(request, HEAD_BYTES as u64)?;
        Ok(Page { file, layout })
    }

    /// The step of the trial; [`Step::Trial`] as long as its process has not begun.
    pub(super) fn step(&self) -> Step {
        match self.number(STEP_AT) {
            None | Some(0) => Step::Trial,
            Some(number) => Step::numbered(number),
        }
    }

    /// The report that the trial wrote last; `None` if it did not come that far.
    pub(super) fn report(&self) -> Option<Vec<u8>> {
        let length = self.number(REPORT_BYTES_AT)? as usize;
        if length == 0 || length > REPORT_BYTES_MAX {
            return None;
        }
        let mut report = vec![0; length];
        let at = self.layout.report_at() as u64;
        self.file.read_exact_at(&mut report, at).ok()?;
        Some(report)
    }

    /// The text that was written to stderr, as far as there was room.
    pub(super) fn words(&self) -> Vec<u8> {
        let mut words = vec![0; WORDS_BYTES_MAX];
        let at = self.layout.words_at() as u64;
        if self.file.read_exact_at(&mut words, at).is_err() {
            return Vec::new();
        }
        let end = words.iter().rposition(|byte| *byte != 0);
        words.truncate(end.map_or(0, |end| end + 1));
        words
    }

    fn number(&self, at: usize) -> Option<u32> {
        let mut number = [0; 4];
        self.file.read_exact_at(&mut number, at as u64).ok()?;
        Some(u32::from_ne_bytes(number))
    }
}

impl AsFd for Page {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Mapped {
    /// Maps the memory behind `file` for as long as the process lives.
    pub(super) fn map(file: &OwnedFd) -> io::Result<Mapped> {
        let bytes = usize::try_from(fstat(file)?.st_size).unwrap_or(0);
        let protection = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                bytes,
                protection,
                rustix::mm::MapFlags::SHARED,
                file,
                0,
            )
        }?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(io::ErrorKind::InvalidData)?;
        let mut mapped = Mapped {
            base,
            layout: Layout {
                request_bytes: 0,
                bytes,
            },
        };
        let request_bytes = mapped.number(REQUEST_BYTES_AT).load(Ordering::Relaxed) as usize;
        if bytes < Layout::of_request(request_bytes).bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        mapped.layout.request_bytes = request_bytes;
        Ok(mapped)
    }

    /// The request.
    pub(super) fn request(&self) -> Vec<u8> {
        let mut request = vec![0; self.layout.request_bytes];
        // SAFETY: `map` has found the request to lie inside the mapping, which nothing writes to yet.
        unsafe {
            let from = self.base.add(HEAD_BYTES);
            from.copy_to_nonoverlapping(NonNull::from(&mut request[..]).cast(), request.len());
        }
        request
    }

    /// Where in the file the text for stderr begins.
    pub(super) fn words_at(&self) -> u64 {
        self.layout.words_at() as u64
    }

    /// Notes the step of the trial.
    pub(super) fn reach(&self, step: Step) {
        self.number(STEP_AT).store(step as u32, Ordering::Release);
    }

    /// Writes the report. One that is too long is not written.
    pub(super) fn write_report(&self, report: &[u8]) {
        if report.len() > REPORT_BYTES_MAX {
            return;
        }
        // SAFETY: the room for the report lies inside the mapping, and no reference leads into it.
        unsafe {
            let to = self.base.add(self.layout.report_at());
            NonNull::from(report)
                .cast::<u8>()
                .copy_to_nonoverlapping(to, report.len());
        }
        self.number(REPORT_BYTES_AT)
            .store(report.len() as u32, Ordering::Release);
    }

    fn number(&self, at: usize) -> &AtomicU32 {
        // SAFETY: the head lies inside the mapping, whose base is aligned to a page, and `at` is a
        // multiple of four. All accesses to it are atomic.
        unsafe { AtomicU32::from_ptr(self.base.add(at).cast().as_ptr()) }
    }
}

const STEP_AT: usize = 0;
const REQUEST_BYTES_AT: usize = 4;
const REPORT_BYTES_AT: usize = 8;
const HEAD_BYTES: usize = 64;
/// The longest report, log lines included.
pub(super) const REPORT_BYTES_MAX: usize = 96 * 1024;
/// The room for what is written to stderr.
const WORDS_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_see_the_same_request_steps_and_report() {
        let page = Page::new(b"a request").expect("memory");
        let other = page.as_fd().try_clone_to_owned().expect("a descriptor");
        let mapped = Mapped::map(&other).expect("a mapping");

        assert_eq!(mapped.request(), b"a request");
        assert_eq!(page.step(), Step::Trial);
        assert_eq!(page.report(), None);
        mapped.reach(Step::Opening);
        assert_eq!(page.step(), Step::Opening);
        mapped.reach(Step::Init);
        mapped.write_report(b"a report");

        assert_eq!(page.step(), Step::Init);
        assert_eq!(page.report().as_deref(), Some(&b"a report"[..]));
        assert_eq!(page.words(), b"");
    }

    #[test]
    fn words_without_end_end_where_the_memory_does() {
        let page = Page::new(b"").expect("memory");
        let other = page.as_fd().try_clone_to_owned().expect("a descriptor");
        let words_at = Mapped::map(&other).expect("a mapping").words_at();
        let file = File::from(other);

        let long = vec![b'x'; 3 * WORDS_BYTES_MAX];
        assert!(file.write_all_at(&long, words_at).is_err());
        file.write_all_at(b"few words", words_at)
            .expect("there is room");

        assert!(page.words().starts_with(b"few words"));
        assert!(page.words().len() <= WORDS_BYTES_MAX);
    }

    #[test]
    fn a_head_that_a_plugin_scribbled_into_is_no_report() {
        let page = Page::new(b"").expect("memory");

        for length in [0_u32, 97 * 1024, u32::MAX] {
            let at = REPORT_BYTES_AT as u64;
            page.file
                .write_all_at(&length.to_ne_bytes(), at)
                .expect("written");
            assert_eq!(page.report(), None, "{length}");
        }
        page.file.write_all_at(&[0xff; 4], 0).expect("written");
        assert_eq!(page.step(), Step::Opening);
    }
}
