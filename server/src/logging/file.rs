//! A log file with its older ones: `wshd.log`, `wshd.log.1`, `wshd.log.2` and so on. The higher the number, the older
//! the file.
//!
//! No error of the disk stops the server. Lines that are not taken stay with the caller, which gives them again later. A
//! file that cannot be renamed goes on growing.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::opening::{Identity, identity, open};
use super::sink::write_all;
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
    identity: Identity,
    /// Whether it may be renamed.
    can_rotate: bool,
    /// The size at which the file is renamed, if that failed at a smaller one.
    rotates_at: Option<u64>,
    /// The first of the lines that were not taken, if the file has its beginning.
    cut: Option<CutLine>,
}

/// A line that an error has cut.
#[derive(Clone, Copy, Debug)]
struct CutLine {
    /// How much of it the file has.
    bytes: usize,
    /// The size of the file behind that.
    size: u64,
}

/// What became of lines.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The bytes of the lines that the file has taken wholly.
    pub(super) taken: usize,
    /// Why it has not taken the others. They are to be given again, from the first one on.
    pub(super) error: Option<io::Error>,
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

    /// The access log's own file that a configuration names. Where it is that of the log, it is none of its own.
    pub(super) fn of_access_log(config: &Config) -> Option<LogFileSettings> {
        let path = config.access_log_file.clone();
        Some(LogFileSettings {
            path: path.filter(|path| config.log_file.as_ref() != Some(path))?,
            bytes_max: config.log_file_bytes_max,
            files_max: config.log_files_max,
        })
    }

    /// Whether a full file is renamed.
    pub(super) fn rotates(&self) -> bool {
        self.bytes_max > 0 && self.files_max > 0
    }
}

impl LogFile {
    /// Opens the file, or makes it.
    pub(super) fn open(settings: LogFileSettings) -> io::Result<LogFile> {
        let (file, metadata) = open(&settings.path)?;
        // What /dev and /proc have at a path, as /dev/stdout, belongs to another program.
        let is_named = !["/dev", "/proc"]
            .iter()
            .any(|it| settings.path.starts_with(it));
        Ok(LogFile {
            can_rotate: settings.rotates() && metadata.is_file() && is_named,
            identity: identity(&metadata),
            settings,
            file,
            rotates_at: None,
            cut: None,
        })
    }

    /// Where the file lies.
    pub(super) fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Opens the file again where its path leads to another file by now, or to none.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if !self.is_at_its_path() {
            *self = LogFile::open(self.settings.clone())?;
        }
        Ok(())
    }

    /// Writes whole lines. Where the file would grow too large, a new one begins between two lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> Outcome {
        let mut outcome = Outcome::default();
        while outcome.taken < lines.len() && outcome.error.is_none() {
            let rest = &lines[outcome.taken..];
            if let Err(error) = self.write_some(rest, &mut outcome) {
                outcome.error = Some(error);
            }
        }
        outcome
    }

    /// Writes as many of the lines as this file or the next one has room for.
    fn write_some(&mut self, lines: &[u8], outcome: &mut Outcome) -> io::Result<()> {
        let size = self.find_again()?;
        let mut room = self.limit().saturating_sub(size);
        let first = lines.iter().position(|byte| *byte == b'\n');
        let first = first.map_or(lines.len(), |at| at + 1);
        if room < first as u64 && size > 0 && self.cut.is_none() && self.can_rotate {
            if let Err(error) = self.rotate() {
                outcome.not_rotated = Some(error);
                self.rotates_at = Some(size + self.settings.bytes_max);
            }
            room = self.limit();
        }
        let some = whole_lines(lines, room).max(first);
        self.append(&lines[..some], outcome)
    }

    /// The size at which a new file begins.
    fn limit(&self) -> u64 {
        match self.can_rotate {
            true => self.rotates_at.unwrap_or(self.settings.bytes_max),
            false => u64::MAX,
        }
    }

    /// The size of the file. It is opened again first where it was removed, or where its descriptor leads elsewhere.
    fn find_again(&mut self) -> io::Result<u64> {
        let metadata = self.file.metadata();
        // A plugin may have closed the descriptor, and its number may belong to a client's socket now.
        let is_ours = metadata
            .as_ref()
            .is_ok_and(|it| identity(it) == self.identity);
        if is_ours && metadata.as_ref().is_ok_and(|it| it.nlink() > 0) {
            return metadata.map(|metadata| metadata.len());
        }
        let mut again = LogFile::open(self.settings.clone())?;
        std::mem::swap(self, &mut again);
        if !is_ours {
            // The number belongs to another file, which must stay open.
            let _ = again.file.into_raw_fd();
        }
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// Renames each file to the next age, and begins a new one.
    fn rotate(&mut self) -> io::Result<()> {
        // Where another server that writes to the file was first, or a program that rotates logs, the new file is theirs.
        if self.is_at_its_path() {
            // A link stays, and what it leads to is renamed.
            let real = fs::canonicalize(&self.settings.path)?;
            for age in (1..self.settings.files_max).rev() {
                rename(&older(&real, age), &older(&real, age + 1))?;
            }
            let full = older(&real, 1);
            rename(&real, &full)?;
            if let Err(error) = self.reopen() {
                // The lines go on into this file, which keeps its name then.
                let _ = fs::hard_link(&full, &real).and_then(|()| fs::remove_file(&full));
                return Err(error);
            }
            return Ok(());
        }
        self.reopen()
    }

    fn is_at_its_path(&self) -> bool {
        let there = fs::metadata(&self.settings.path);
        there.is_ok_and(|there| identity(&there) == self.identity)
    }

    /// Writes lines behind what the file has, and notes which of them it has taken.
    fn append(&mut self, lines: &[u8], outcome: &mut Outcome) -> io::Result<()> {
        let begun = self.begun()?;
        match write_all(&self.file, &lines[begun..], Some(PATIENCE)) {
            Ok(()) => {
                outcome.taken += lines.len();
                Ok(())
            }
            Err(unwritten) => {
                let written = &lines[..lines.len() - unwritten.rest.len()];
                let end = written.iter().rposition(|byte| *byte == b'\n');
                let whole = end.map_or(0, |at| at + 1);
                outcome.taken += whole;
                // The next reader of a FIFO gets whole lines.
                let is_lost = unwritten.error.kind() == io::ErrorKind::BrokenPipe;
                self.cut = (whole < written.len() && !is_lost).then(|| CutLine {
                    bytes: written.len() - whole,
                    size: self.file.metadata().map_or(0, |metadata| metadata.len()),
                });
                Err(unwritten.error)
            }
        }
    }

    /// How much of the first line the file has already, behind which the rest of it can go.
    fn begun(&mut self) -> io::Result<usize> {
        let Some(cut) = self.cut else {
            return Ok(0);
        };
        let size = self.file.metadata()?.len();
        // Another program may have emptied the file since, or written behind the cut line.
        let is_at_end = size == cut.size;
        if !is_at_end && size > 0 {
            write_all(&self.file, b"\n", Some(PATIENCE)).map_err(|unwritten| unwritten.error)?;
        }
        self.cut = None;
        Ok(if is_at_end { cut.bytes } else { 0 })
    }
}

/// The older file of this age; 1 is the youngest.
fn older(path: &Path, age: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{age}"));
    PathBuf::from(name)
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

/// How long the reader of a FIFO may take nothing until that is an error.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
