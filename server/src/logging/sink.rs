//! Where the log goes: a private copy of the descriptor that was stderr when the process began.
//!
//! Plugins may close descriptor 2, or the copy. The number may then be given to a client's socket or to a
//! plugin's file. Before each batch, the sink checks that its descriptor still leads to the log.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::fs::MetadataExt;

use rustix::event::{PollFd, PollFlags, poll};

/// Stderr, as a file, a pipe, a terminal or a socket.
#[derive(Debug)]
pub(super) struct LogSink {
    /// `None` where stderr cannot be copied.
    file: Option<File>,
    identity: Option<Identity>,
    /// Whether an error has cut the last line, so that the next one begins with a line break.
    is_within_line: bool,
}

/// The device and the inode of what a descriptor leads to.
type Identity = (u64, u64);

impl LogSink {
    /// Opens a copy of stderr.
    pub(super) fn open() -> LogSink {
        let file = stderr();
        LogSink {
            identity: file.as_ref().and_then(identity),
            file,
            is_within_line: false,
        }
    }

    /// Makes a sink that writes to `file`.
    #[cfg(test)]
    fn to(file: File) -> LogSink {
        LogSink {
            identity: identity(&file),
            file: Some(file),
            is_within_line: false,
        }
    }

    /// Writes whole lines, however long the reader takes. Answers how many of them are lost.
    pub(super) fn write(&mut self, lines: &[u8]) -> u64 {
        if lines.is_empty() {
            return 0;
        }
        self.find_again();
        let Some(file) = &self.file else {
            return count(lines);
        };
        if self.is_within_line && write_all(file, b"\n").is_err() {
            return count(lines);
        }
        self.is_within_line = false;
        match write_all(file, lines) {
            Ok(()) => 0,
            Err(rest) => {
                let written = &lines[..lines.len() - rest.len()];
                self.is_within_line = written.last().is_some_and(|byte| *byte != b'\n');
                count(rest)
            }
        }
    }

    /// Copies stderr again, if the copy is closed or leads elsewhere by now.
    fn find_again(&mut self) {
        if self.identity.is_some() && self.file.as_ref().and_then(identity) == self.identity {
            return;
        }
        let again = stderr().filter(|file| identity(file) == self.identity);
        if let Some(other) = std::mem::replace(&mut self.file, again) {
            // The number belongs to another file now, which must stay open.
            let _ = other.into_raw_fd();
        }
    }
}

/// Copies descriptor 2. No child inherits the copy, and its number is above 2.
fn stderr() -> Option<File> {
    let copy = std::io::stderr().as_fd().try_clone_to_owned();
    copy.ok().map(File::from)
}

fn identity(file: &File) -> Option<Identity> {
    let metadata = file.metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Writes all bytes, or answers the bytes that are left.
pub(super) fn write_all<'a>(mut file: &File, mut bytes: &'a [u8]) -> Result<(), &'a [u8]> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(bytes),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process has made the pipe non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut log = [PollFd::new(file, PollFlags::OUT)];
                if poll(&mut log, None).is_err_and(|error| error != rustix::io::Errno::INTR) {
                    return Err(bytes);
                }
            }
            // The reader has gone, or the disk is full. Later lines may be written again.
            Err(_) => return Err(bytes),
        }
    }
    Ok(())
}

pub(super) fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    /// A log that is a socket, and its reader.
    fn log() -> (LogSink, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        (
            LogSink::to(File::from(std::os::fd::OwnedFd::from(ours))),
            theirs,
        )
    }

    #[test]
    fn a_full_non_blocking_log_is_waited_for() {
        let (mut sink, mut reader) = log();
        rustix::io::ioctl_fionbio(sink.file.as_ref().unwrap(), true).unwrap();
        let lines = b"a line\n".repeat(200_000);
        let length = lines.len();

        let writing = std::thread::spawn(move || sink.write(&lines));
        let mut read = vec![0; length];
        reader.read_exact(&mut read).unwrap();

        assert_eq!(writing.join().unwrap(), 0);
    }

    #[test]
    fn what_a_reader_that_has_gone_does_not_get_is_counted() {
        let (mut sink, reader) = log();
        drop(reader);

        assert_eq!(sink.write(b"one\ntwo\n"), 2);
        assert_eq!(sink.write(b"three\n"), 1);
    }

    #[test]
    fn a_full_disk_loses_lines_and_no_more() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut sink = LogSink::to(full);

        assert_eq!(sink.write(b"one\ntwo\n"), 2);
    }

    #[test]
    fn what_has_the_number_of_the_log_now_gets_no_line_and_stays_open() {
        let (mut sink, _reader) = log();
        let (other, mut others_peer) = UnixStream::pair().unwrap();
        others_peer.set_nonblocking(true).unwrap();
        // Closes the log's descriptor, and gives its number to another socket.
        sink.file = Some(File::from(std::os::fd::OwnedFd::from(other)));

        assert_eq!(sink.write(b"one\n"), 1, "stderr is not that log either");

        let nothing = others_peer.read(&mut [0; 8]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    }
}
