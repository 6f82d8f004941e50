//! Where the log goes: a private copy of the descriptor that was stderr when the process began.
//!
//! Plugins may close descriptor 2, or the copy. The number may then be given to a client's socket or to a
//! plugin's file. Before each batch, the sink checks that its descriptor still leads to the log.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use tracing::Level;

use super::line;
use super::opening::{self, Identity};

/// Stderr, as a file, a pipe, a terminal or a socket.
#[derive(Debug)]
pub(super) struct LogSink {
    /// `None` where stderr cannot be copied.
    file: Option<File>,
    identity: Option<Identity>,
    /// Whether journald reads it, which takes the priority of each line from its beginning.
    is_journal: bool,
    /// Whether an error has cut the last line, so that the next one begins with a line break.
    is_within_line: bool,
}

/// What could not be written.
#[derive(Debug)]
pub(super) struct Unwritten<'a> {
    pub(super) rest: &'a [u8],
    pub(super) error: io::Error,
}

impl LogSink {
    /// Opens a copy of stderr.
    pub(super) fn open() -> LogSink {
        let file = stderr();
        LogSink {
            identity: file.as_ref().and_then(identity),
            is_journal: file.as_ref().is_some_and(is_journal),
            file,
            is_within_line: false,
        }
    }

    /// Makes a sink that writes to `file`.
    #[cfg(test)]
    pub(super) fn to(file: File) -> LogSink {
        LogSink {
            identity: identity(&file),
            is_journal: false,
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
        if self.is_within_line && write_all(file, b"\n", None).is_err() {
            return count(lines);
        }
        self.is_within_line = false;
        let prefixed;
        let lines = match self.is_journal {
            true => {
                prefixed = with_priorities(lines);
                &*prefixed
            }
            false => lines,
        };
        match write_all(file, lines, None) {
            Ok(()) => 0,
            Err(Unwritten { rest, .. }) => {
                let written = &lines[..lines.len() - rest.len()];
                self.is_within_line = written.last().is_some_and(|byte| *byte != b'\n');
                count(rest)
            }
        }
    }

    /// Writes lines as far as the reader takes them at once. Answers how many of them are lost.
    pub(super) fn write_unless_stuck(&mut self, lines: &[u8]) -> u64 {
        let mut lost = 0;
        // A pipe that can be written to has room for as much at least.
        for some in lines.chunks(PIPE_BUF) {
            let is_free = lost == 0
                && self
                    .file
                    .as_ref()
                    .is_some_and(|file| wait(file, Some(Duration::ZERO)).is_ok());
            lost += if is_free {
                self.write(some)
            } else {
                count(some)
            };
        }
        lost
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

/// Whether the file is the stream that systemd has connected to journald (`systemd.exec(5)`, `JOURNAL_STREAM`).
fn is_journal(file: &File) -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let own = file.metadata();
    own.is_ok_and(|own| stream == format!("{}:{}", own.dev(), own.ino()))
}

fn identity(file: &File) -> Option<Identity> {
    file.metadata().ok().as_ref().map(opening::identity)
}

/// Writes all bytes. A reader that takes nothing is waited for as long as `patience`, or for ever.
pub(super) fn write_all<'a>(
    mut file: &File,
    mut bytes: &'a [u8],
    patience: Option<Duration>,
) -> Result<(), Unwritten<'a>> {
    while !bytes.is_empty() {
        let error = match file.write(bytes) {
            Ok(0) => ErrorKind::WriteZero.into(),
            Ok(written) => {
                bytes = &bytes[written..];
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // It is non-blocking: a FIFO, or a pipe that another process has made so.
            Err(error) if error.kind() == ErrorKind::WouldBlock => match wait(file, patience) {
                Ok(()) => continue,
                Err(error) => error,
            },
            // The reader has gone, or the disk is full. Later lines may be written again.
            Err(error) => error,
        };
        return Err(Unwritten { rest: bytes, error });
    }
    Ok(())
}

/// Waits until a file takes bytes.
fn wait(file: &File, patience: Option<Duration>) -> io::Result<()> {
    let limit = patience.and_then(|patience| Timespec::try_from(patience).ok());
    let mut log = [PollFd::new(file, PollFlags::OUT)];
    match poll(&mut log, limit.as_ref()) {
        Ok(0) => {
            let text = "the program that reads it takes nothing";
            Err(io::Error::new(ErrorKind::TimedOut, text))
        }
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The lines with their priorities before them, as `sd-daemon(3)` has it. What shows no level, such as a line of a
/// backtrace, stays as it is.
fn with_priorities(lines: &[u8]) -> Vec<u8> {
    let mut prefixed = Vec::with_capacity(lines.len() + lines.len() / 16);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        prefixed.extend_from_slice(line::level_of(line).map_or(b"".as_slice(), priority));
        prefixed.extend_from_slice(line);
    }
    prefixed
}

/// The priority of syslog.
fn priority(level: Level) -> &'static [u8] {
    match level {
        Level::ERROR => b"<3>",
        Level::WARN => b"<4>",
        Level::INFO => b"<6>",
        Level::DEBUG | Level::TRACE => b"<7>",
    }
}

pub(super) fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// `pipe(7)`.
const PIPE_BUF: usize = 4096;

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::line::{LineFormat, LogLine};
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
    fn journald_gets_the_priority_of_each_line_that_has_a_level() {
        let (mut sink, mut reader) = log();
        sink.is_journal = true;
        let mut lines = Vec::new();
        let mut expected = String::new();
        for (format, level, priority) in [
            (LineFormat::Text, Level::ERROR, "<3>"),
            (LineFormat::Text, Level::WARN, "<4>"),
            (LineFormat::Json, Level::WARN, "<4>"),
            (LineFormat::Text, Level::INFO, "<6>"),
            (LineFormat::Json, Level::INFO, "<6>"),
            (LineFormat::Json, Level::TRACE, "<7>"),
        ] {
            let mut line = Vec::new();
            let mut written = LogLine::begin(&mut line, level, format);
            written.message("level\":\"ERROR");
            written.end();
            expected += priority;
            expected += std::str::from_utf8(&line).unwrap();
            lines.extend_from_slice(&line);
        }
        lines.extend_from_slice(b"wshd: cannot start\n   0: a backtrace\n\n");
        expected += "<3>wshd: cannot start\n   0: a backtrace\n\n";

        assert_eq!(sink.write(&lines), 0);
        drop(sink);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();

        assert_eq!(read, expected);
    }

    #[test]
    fn a_notice_never_waits_for_a_reader() {
        let (mut sink, mut reader) = log();
        assert_eq!(sink.write_unless_stuck(b"one\n"), 0);
        let lines = b"a line\n".repeat(1_000_000);
        assert!(sink.write_unless_stuck(&lines) > 0);

        let mut line = [0; 4];
        reader.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"one\n");
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
