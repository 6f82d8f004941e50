//! Reads large files on a thread of their own, hashed and inspected.
//!
//! A quarter of a gigabyte takes some hundred milliseconds, in which no other change would be noticed.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::Order;
use super::content::{self, PluginContent};
use crate::plugin::inspect::inspect;
use crate::process::regular_file::NotRead;

/// The reading of a large file. There is one at a time, because each holds a whole file in memory.
#[derive(Debug, Default)]
pub(super) enum Reading {
    #[default]
    Nothing,
    UnderWay,
    /// It is over, and its content was not taken yet.
    Done(Box<(PathBuf, Read)>),
}

/// What a reading came to.
pub(super) type Read = Result<PluginContent, NotRead>;

impl Reading {
    /// What this file holds, which had so many bytes when it was seen; `None` where that takes a while. Then
    /// there will be an [`Order::Read`], which is a reason to go on.
    pub(super) fn of(
        &mut self,
        path: &Path,
        bytes: u64,
        orders: &mpsc::Sender<Order>,
    ) -> Option<Read> {
        match std::mem::take(self) {
            Reading::Done(done) if done.0 == path => return Some(done.1),
            Reading::UnderWay if bytes > LARGE_BYTES => {
                *self = Reading::UnderWay;
                return None;
            }
            // The content of another file, which was not taken, is read again if it is still wanted.
            Reading::Done(..) | Reading::Nothing => {}
            Reading::UnderWay => *self = Reading::UnderWay,
        }
        if bytes <= LARGE_BYTES {
            return Some(content::read(path));
        }
        let (own, orders) = (path.to_owned(), orders.clone());
        let read = move || {
            // A panic must not leave the reconciler waiting for an end.
            let read = catch_unwind(AssertUnwindSafe(|| read_and_inspect(&own)));
            let panicked = || io::Error::other("its inspection panicked").into();
            let outcome = read.unwrap_or_else(|_| Err(panicked()));
            drop(orders.send(Order::Read(own, outcome)));
        };
        let thread = std::thread::Builder::new().name("read".to_owned());
        if thread.spawn(read).is_err() {
            return Some(content::read(path));
        }
        *self = Reading::UnderWay;
        None
    }

    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Reading::UnderWay)
    }

    /// Notes the end of the reading.
    pub(super) fn end(&mut self, path: PathBuf, outcome: Read) {
        *self = Reading::Done(Box::new((path, outcome)));
    }

    /// Forgets content that was read and not taken.
    pub(super) fn forget(&mut self) {
        if let Reading::Done(..) = self {
            *self = Reading::Nothing;
        }
    }
}

fn read_and_inspect(path: &Path) -> Read {
    let mut content = content::read(path)?;
    content.about = Some(inspect(&content.bytes));
    Ok(content)
}

/// The largest file that is read on the reconciler's thread: that takes a few milliseconds.
const LARGE_BYTES: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_read_on_another_thread_one_at_a_time_and_a_small_one_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str, bytes: u64| {
            let path = directory.path().join(name);
            let mut text = b"\x7fELF".to_vec();
            text.resize(bytes as usize, 7);
            std::fs::write(&path, text).unwrap();
            path
        };
        let large = [at("a", LARGE_BYTES + 1), at("b", LARGE_BYTES + 1)];
        let small = at("small", 4096);
        let (orders, inbox) = mpsc::channel();
        let mut reading = Reading::default();

        assert!(reading.of(&large[0], LARGE_BYTES + 1, &orders).is_none());
        assert!(reading.of(&large[1], LARGE_BYTES + 1, &orders).is_none());
        let beside = reading.of(&small, 4096, &orders).expect("at once");
        assert_eq!(beside.unwrap().bytes.len(), 4096);
        assert!(reading.is_under_way());

        let Ok(Order::Read(path, outcome)) = inbox.recv() else {
            panic!("it was read");
        };
        assert_eq!(path, large[0]);
        reading.end(path, outcome);
        let content = reading.of(&large[0], LARGE_BYTES + 1, &orders);
        let content = content.expect("it is there").unwrap();
        assert_eq!(content.bytes.len() as u64, LARGE_BYTES + 1);
        assert!(content.about.expect("it is inspected").is_err());
        assert!(!reading.is_under_way());
        assert!(inbox.try_recv().is_err(), "the other one was not begun");

        // What is not taken is forgotten.
        assert!(reading.of(&large[1], LARGE_BYTES + 1, &orders).is_none());
        let Ok(Order::Read(path, outcome)) = inbox.recv() else {
            panic!("it was read");
        };
        reading.end(path, outcome);
        reading.forget();
        assert!(reading.of(&large[1], LARGE_BYTES + 1, &orders).is_none());
    }
}
