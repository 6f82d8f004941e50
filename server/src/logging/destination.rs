//! Where lines go: stderr, or a file. While the file fails, its lines are kept and tried again, and stderr tells of it.

use std::time::Instant;

use tracing::Level;

use super::file::{LogFile, LogFileSettings};
use super::line::{LineFormat, LogLine};
use super::outage::{Outage, OutageNews};
use super::sink::LogSink;

/// Where lines go, and those that are not there yet.
pub(super) struct Destination {
    role: Role,
    stderr: LogSink,
    /// `None` where the log goes to stderr.
    file: Option<Box<LogFile>>,
    /// Whole lines that are not written yet.
    held: Vec<u8>,
    /// Whether the file takes lines.
    writing: Outage,
    /// What is to be opened, and could not be.
    wanted: Option<Wanted>,
    /// Whether `wanted` can be opened.
    opening: Outage,
    /// Lines that had no room or that stderr did not take, and that the log does not mention yet.
    untold: u64,
}

/// Which lines go to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// All, or all but those of the access log.
    Log,
    /// One for each session that is over, where they have a file of their own.
    Access,
}

/// A file that is to be opened.
#[derive(Debug)]
enum Wanted {
    /// The file that the configuration names. The log goes where it went before until then.
    Other(LogFileSettings),
    /// The file of the same path, after a signal.
    Again,
}

impl Destination {
    /// The process's stderr.
    pub(super) fn new(stderr: LogSink, role: Role) -> Destination {
        Destination {
            role,
            stderr,
            file: None,
            held: Vec::new(),
            writing: Outage::None,
            wanted: None,
            opening: Outage::None,
            untold: 0,
        }
    }

    /// Has all lines go to this file from now on, or to stderr.
    pub(super) fn go_to(&mut self, mut file: Option<Box<LogFile>>) {
        if let Some(file) = &mut file {
            // The lines before may have filled the file of this path, which was renamed then. If that fails, each write
            // tries again.
            let _ = file.reopen();
        }
        self.file = file;
        self.writing = Outage::None;
        self.wanted = None;
        self.opening = Outage::None;
    }

    /// Has lines go to this file as soon as it can be opened, which has just failed.
    pub(super) fn want(&mut self, settings: LogFileSettings, now: Instant) {
        self.wanted = Some(Wanted::Other(settings));
        self.opening = Outage::None.step(false, now).0;
    }

    /// Opens the file again, if it was moved. That is tried until it works.
    pub(super) fn reopen(&mut self, now: Instant) {
        if self.file.is_some() && self.wanted.is_none() {
            self.wanted = Some(Wanted::Again);
            self.open_wanted(now);
        }
    }

    /// Tries again to open what could not be opened, if it is time.
    pub(super) fn open_wanted(&mut self, now: Instant) {
        if !self.opening.is_over(now) {
            return;
        }
        let opened = match (&self.wanted, &mut self.file) {
            (None, _) => return,
            (Some(Wanted::Other(settings)), _) => LogFile::open(settings.clone()).map(Some),
            (Some(Wanted::Again), file) => {
                let reopened = file.as_mut().map(|file| file.reopen());
                reopened.transpose().map(|_| None)
            }
        };
        let (opening, news) = self.opening.step(opened.is_ok(), now);
        self.opening = opening;
        match opened {
            Ok(None) => {
                self.wanted = None;
                if news == OutageNews::Ends {
                    self.tell_everywhere(Level::INFO, "log file is opened again", |_| {});
                }
            }
            Ok(Some(file)) => {
                let path = file.path().to_owned();
                self.tell_everywhere(Level::INFO, "the log goes to a file", |line| {
                    line.text("log_file", path.display());
                });
                self.write(now, 0);
                super::note_file(self.role, true);
                self.go_to(Some(Box::new(file)));
            }
            Err(error) if news == OutageNews::Begins => {
                let message = "log file cannot be opened again";
                self.tell_everywhere(Level::WARN, message, |line| line.text("error", &error));
            }
            Err(_) => {}
        }
    }

    /// Whether the file takes no lines at the moment.
    pub(super) fn is_failing(&self) -> bool {
        self.writing != Outage::None
    }

    /// When something is to be tried again.
    pub(super) fn next_try(&self) -> Option<Instant> {
        let tries = [self.writing.next_try(), self.opening.next_try()];
        tries.into_iter().flatten().min()
    }

    /// Writes a text for people to stderr, where the log is a file. Otherwise the text is among the lines.
    pub(super) fn say(&mut self, text: &[u8]) {
        if self.file.is_some() {
            // Whatever becomes of it, the log has it.
            self.stderr.write_unless_stuck(text);
        }
    }

    /// Takes a batch of lines, behind which `dropped` lines had no room. No line of an earlier
    /// batch may be held; lines of the log's own may.
    pub(super) fn take(&mut self, batch: &mut Vec<u8>, dropped: u64) {
        if self.file.is_some() {
            self.hold_dropped();
        }
        match self.held.is_empty() {
            true => std::mem::swap(&mut self.held, batch),
            false => self.held.append(batch),
        }
        self.untold += dropped;
        // Where the log is stderr, they are told of behind the batch, once stderr takes that.
        if self.file.is_some() {
            self.hold_dropped();
        }
    }

    /// Writes the lines that are held. Answers whether none is held any more. `dropped` lines have had no room since
    /// they were taken.
    pub(super) fn write(&mut self, now: Instant, dropped: u64) -> bool {
        if self.file.is_none() {
            let lost = self.stderr.write(&self.held);
            super::count_lost(lost);
            self.untold += lost;
            self.held.clear();
            self.tell_dropped();
            return true;
        }
        if !self.writing.is_over(now) {
            return false;
        }
        let written = self.write_to_file();
        let (writing, news) = self.writing.step(written.is_ok(), now);
        self.writing = writing;
        match (news, written) {
            (OutageNews::Begins, Err(error)) => {
                let message = "log file takes no lines, they are kept as far as there is room, and tried again";
                self.tell_on_stderr(Level::ERROR, message, |line| line.text("error", &error));
            }
            (OutageNews::Ends, Ok(())) => {
                let message = "log file takes lines again";
                self.tell_on_stderr(Level::WARN, message, |line| line.number("lost", dropped));
            }
            _ => {}
        }
        self.writing == Outage::None
    }

    /// Has stderr take the lines that the file does not take, because the process ends.
    pub(super) fn give_up_file(&mut self) {
        if self.file.take().is_some() {
            self.go_to(None);
        }
    }

    /// Writes the lines that are held, or as many as the file takes.
    fn write_to_file(&mut self) -> std::io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        if self.writing != Outage::None {
            // It may have been made again, or another one in its place.
            file.reopen()?;
        }
        while !self.held.is_empty() {
            let outcome = file.write(&self.held);
            self.held.drain(..outcome.taken);
            if let Some(error) = outcome.not_rotated {
                let message = "log file cannot be renamed and goes on growing";
                let format = super::format_of(self.role);
                push_line(&mut self.held, Level::WARN, message, format, |line| {
                    line.text("error", &error);
                });
            }
            if let Some(error) = outcome.error {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Adds a line to those that are held, on how many are missing there.
    fn hold_dropped(&mut self) {
        if let lines @ 1.. = std::mem::take(&mut self.untold) {
            let format = super::format_of(self.role);
            push_line(&mut self.held, Level::WARN, DROPPED, format, |line| {
                line.number("lines", lines);
            });
        }
    }

    /// Writes to stderr how many lines are missing there. If that fails too, it is written later.
    fn tell_dropped(&mut self) {
        let lines = self.untold;
        if lines > 0
            && self.tell_on_stderr(Level::WARN, DROPPED, |line| line.number("lines", lines))
        {
            self.untold = 0;
        }
    }

    /// Writes a line of the log's own to the log, and where that is a file to stderr too.
    fn tell_everywhere(&mut self, level: Level, message: &str, fields: impl Fn(&mut LogLine<'_>)) {
        if self.file.is_some() {
            self.tell_on_stderr(level, message, &fields);
        }
        push_line(
            &mut self.held,
            level,
            message,
            super::format_of(self.role),
            fields,
        );
    }

    /// Writes a line of the log's own to stderr. Answers whether stderr has taken it.
    fn tell_on_stderr(
        &mut self,
        level: Level,
        message: &str,
        fields: impl FnOnce(&mut LogLine<'_>),
    ) -> bool {
        let mut text = Vec::new();
        push_line(
            &mut text,
            level,
            message,
            super::format_of_stderr(),
            |line| {
                if let Some(file) = &self.file {
                    line.text("log_file", file.path().display());
                }
                fields(line);
            },
        );
        match self.file {
            Some(_) => self.stderr.write_unless_stuck(&text) == 0,
            None => self.stderr.write(&text) == 0,
        }
    }
}

/// Appends a line of the log's own.
fn push_line(
    text: &mut Vec<u8>,
    level: Level,
    message: &str,
    format: LineFormat,
    fields: impl FnOnce(&mut LogLine<'_>),
) {
    // In memory of its own: the end of a line cuts all that is before it to the length of one line.
    let mut own = Vec::new();
    let mut line = LogLine::begin(&mut own, level, format);
    line.message(message);
    fields(&mut line);
    line.end();
    text.append(&mut own);
}

const DROPPED: &str = "log lines were dropped";

#[cfg(test)]
mod tests;
