//! A log file with its older ones: `wshd.log`, `wshd.log.1`, `wshd.log.2` and so on. The higher the number, the older
//! the file.
//!
//! No error of the disk stops the server. Lines that cannot be written are counted, and a file that cannot be
//! renamed goes on growing.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::sink::{count, write_all};
use crate::config::Config;

/// Where the log file lies, and how far it grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogFileSettings {
    pub(super) path: PathBuf,
    /// The size at which the file is renamed and a new one begins. 0 is none.
    pub(super) bytes_max: u64,
    /// How many older files are kept. With 0 the file is never renamed.
    pub(super) files_max: u32,
}

/// An open log file.
#[derive(Debug)]
pub(super) struct LogFile {
    settings: LogFileSettings,
    file: File,
    /// The device and the inode of `file`.
    identity: (u64, u64),
    /// The size at which the file is renamed, if that failed at a smaller one.
    rotates_at: Option<u64>,
    /// Whether an error has cut the last line, so that the next one begins with a line break.
    is_within_line: bool,
}

/// What became of lines.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Lines that are lost.
    pub(super) lost: u64,
    /// Why the file could not be renamed. It is said once for each attempt.
    pub(super) not_rotated: Option<io::Error>,
}

impl LogFileSettings {
    /// The log file that a configuration names.
    pub(super) fn of(config: &Config) -> Option<LogFileSettings> {
        Some(LogFileSettings {
            path: config.log_file.clone()?,
            bytes_max: config.log_file_bytes_max,
            files_max: config.log_files_max,
        })
    }

    /// The older file of this age; 1 is the youngest.
    fn older(&self, age: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{age}"));
        PathBuf::from(name)
    }
}

impl LogFile {
    /// Opens the file, or makes it.
    pub(super) fn open(settings: LogFileSettings) -> io::Result<LogFile> {
        let (file, metadata) = open(&settings.path)?;
        Ok(LogFile {
            settings,
            identity: identity(&metadata),
            file,
            rotates_at: None,
            is_within_line: false,
        })
    }

    /// Opens the file again where its path leads to another file by now, or to none.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        let there = fs::metadata(&self.settings.path).map(|metadata| identity(&metadata));
        if there.is_ok_and(|there| there == self.identity) {
            return Ok(());
        }
        *self = LogFile::open(self.settings.clone())?;
        Ok(())
    }

    /// Writes whole lines. Where the file would grow too large, a new one begins between two lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut rest = lines;
        while !rest.is_empty() {
            let Some(size) = self.size() else {
                outcome.lost += count(rest);
                break;
            };
            let mut room = self.limit().saturating_sub(size);
            let first = rest.iter().position(|byte| *byte == b'\n');
            let first = first.map_or(rest.len(), |at| at + 1);
            if room < first as u64 && size > 0 && self.limit() < u64::MAX {
                match self.rotate() {
                    Ok(()) => self.rotates_at = None,
                    Err(error) => {
                        outcome.not_rotated = Some(error);
                        self.rotates_at = Some(size + self.settings.bytes_max);
                    }
                }
                room = self.limit();
            }
            let taken = whole_lines(rest, room).max(first);
            outcome.lost += self.append(&rest[..taken]);
            rest = &rest[taken..];
        }
        outcome
    }

    /// The size at which a new file begins.
    fn limit(&self) -> u64 {
        let LogFileSettings {
            bytes_max,
            files_max,
            ..
        } = self.settings;
        match bytes_max == 0 || files_max == 0 {
            true => u64::MAX,
            false => self.rotates_at.unwrap_or(bytes_max),
        }
    }

    /// The size of the file. `None` where its descriptor leads elsewhere and the path cannot be opened again.
    fn size(&mut self) -> Option<u64> {
        // A plugin may have closed the descriptor, and its number may belong to a client's socket now.
        if let Ok(metadata) = self.file.metadata()
            && identity(&metadata) == self.identity
        {
            return Some(metadata.len());
        }
        let (file, metadata) = open(&self.settings.path).ok()?;
        // The number belongs to another file, which must stay open.
        let _ = std::mem::replace(&mut self.file, file).into_raw_fd();
        self.identity = identity(&metadata);
        Some(metadata.len())
    }

    /// Renames each file to the next age, and begins a new one.
    fn rotate(&mut self) -> io::Result<()> {
        for age in (1..self.settings.files_max).rev() {
            rename(&self.settings.older(age), &self.settings.older(age + 1))?;
        }
        rename(&self.settings.path, &self.settings.older(1))?;
        let (file, metadata) = open(&self.settings.path)?;
        self.file = file;
        self.identity = identity(&metadata);
        self.is_within_line = false;
        Ok(())
    }

    /// Writes lines behind what the file has. Answers how many of them are lost.
    fn append(&mut self, lines: &[u8]) -> u64 {
        if self.is_within_line && write_all(&self.file, b"\n").is_err() {
            return count(lines);
        }
        self.is_within_line = false;
        match write_all(&self.file, lines) {
            Ok(()) => 0,
            Err(rest) => {
                let written = &lines[..lines.len() - rest.len()];
                self.is_within_line = written.last().is_some_and(|byte| *byte != b'\n');
                count(rest)
            }
        }
    }
}

/// Opens a log file to write behind its end. No child inherits it.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    if let Ok(metadata) = fs::metadata(path) {
        let kind = metadata.file_type();
        // A FIFO without a reader would be waited for.
        if !kind.is_file() && !kind.is_char_device() {
            let wanted = "it is no file that a log can be written to";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, wanted));
        }
    }
    let mut options = OpenOptions::new();
    // A log has addresses of peers, which are not for every user of the machine.
    options.append(true).create(true).mode(0o640);
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

/// Renames a file, if it is there.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// The bytes at the start of `lines` that are whole lines and find `room`.
fn whole_lines(lines: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if lines.len() <= room {
        return lines.len();
    }
    let last = lines[..room].iter().rposition(|byte| *byte == b'\n');
    last.map_or(0, |at| at + 1)
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Logs {
        directory: tempfile::TempDir,
        file: LogFile,
    }

    impl Logs {
        fn new(bytes_max: u64, files_max: u32) -> Logs {
            let directory = tempfile::tempdir().unwrap();
            let settings = LogFileSettings {
                path: directory.path().join("a.log"),
                bytes_max,
                files_max,
            };
            let file = LogFile::open(settings).unwrap();
            Logs { directory, file }
        }

        /// The names of the files and what they have, the youngest first.
        fn files(&self) -> Vec<(String, String)> {
            let entries = fs::read_dir(self.directory.path()).unwrap();
            let mut files: Vec<_> = entries
                .map(|entry| {
                    let path = entry.unwrap().path();
                    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                    (name, fs::read_to_string(path).unwrap_or_default())
                })
                .collect();
            files.sort();
            files
        }

        #[track_caller]
        fn have(&self, expected: &[(&str, &str)]) {
            let files = self.files();
            let files: Vec<_> = files.iter().map(|(a, b)| (&**a, &**b)).collect();
            assert_eq!(files, expected);
        }
    }

    #[test]
    fn a_full_file_is_renamed_and_the_oldest_is_given_up() {
        let mut logs = Logs::new(8, 2);
        for line in ["one\n", "two\n", "three\n", "4\n", "five\n", "six\n"] {
            assert_eq!(logs.file.write(line.as_bytes()).lost, 0);
        }
        let expected = [
            ("a.log", "six\n"),
            ("a.log.1", "five\n"),
            ("a.log.2", "three\n4\n"),
        ];
        // `five` and `six` have nine bytes together.
        logs.have(&expected);
    }

    #[test]
    fn lines_that_come_together_are_parted_between_two_lines() {
        let mut logs = Logs::new(8, 3);
        logs.file.write(b"one\ntwo\nthree\nlonger than a file\n5\n");
        logs.have(&[
            ("a.log", "5\n"),
            ("a.log.1", "longer than a file\n"),
            ("a.log.2", "three\n"),
            ("a.log.3", "one\ntwo\n"),
        ]);
    }

    #[test]
    fn without_a_size_or_without_older_files_it_grows() {
        for (bytes_max, files_max) in [(0, 5), (5, 0)] {
            let mut logs = Logs::new(bytes_max, files_max);
            logs.file.write(b"one\ntwo\n");
            logs.have(&[("a.log", "one\ntwo\n")]);
        }
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_again_when_that_is_asked_for() {
        let mut logs = Logs::new(0, 0);
        logs.file.write(b"one\n");
        let path = logs.file.settings.path.clone();
        fs::rename(&path, path.with_extension("old")).unwrap();
        logs.file.write(b"two\n");
        logs.have(&[("a.old", "one\ntwo\n")]);

        logs.file.reopen().unwrap();
        logs.file.write(b"three\n");

        logs.have(&[("a.log", "three\n"), ("a.old", "one\ntwo\n")]);
        logs.file.reopen().unwrap();
        logs.file.write(b"four\n");
        logs.have(&[("a.log", "three\nfour\n"), ("a.old", "one\ntwo\n")]);
    }

    #[test]
    fn a_file_that_cannot_be_renamed_goes_on_growing() {
        let mut logs = Logs::new(8, 1);
        logs.file.write(b"one\ntwo\n");
        // Nothing can be renamed to a directory that is not empty.
        fs::create_dir_all(logs.directory.path().join("a.log.1/x")).unwrap();

        let outcome = logs.file.write(b"three\n");

        assert!(outcome.not_rotated.is_some());
        assert_eq!(outcome.lost, 0);
        assert!(
            logs.file.write(b"4\n").not_rotated.is_none(),
            "it is said once"
        );
        logs.have(&[("a.log", "one\ntwo\nthree\n4\n"), ("a.log.1", "")]);
    }

    #[test]
    fn lines_on_a_full_disk_are_counted() {
        let settings = LogFileSettings {
            path: "/dev/full".into(),
            bytes_max: 8,
            files_max: 1,
        };
        let mut file = LogFile::open(settings).unwrap();
        assert_eq!(file.write(b"one\ntwo\n").lost, 2);
    }

    #[test]
    fn what_has_the_number_of_the_file_now_gets_no_line_and_stays_open() {
        let mut logs = Logs::new(0, 0);
        let other = tempfile::tempfile().unwrap();
        let watched = other.try_clone().unwrap();
        logs.file.file = other;

        assert_eq!(logs.file.write(b"one\n").lost, 0);

        assert_eq!(watched.metadata().unwrap().len(), 0);
        logs.have(&[("a.log", "one\n")]);
    }

    #[test]
    fn a_directory_and_a_fifo_are_no_log_files() {
        let directory = tempfile::tempdir().unwrap();
        let settings = LogFileSettings {
            path: directory.path().to_owned(),
            bytes_max: 0,
            files_max: 0,
        };
        let error = LogFile::open(settings).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it is no file that a log can be written to"
        );
    }
}
