//! The server's log: one line on stderr, or in a file, for each event. Its level, its format and its file can change while
//! the server runs. The lines of sessions that are over are the access log, which may have a format and a file of its own.
//!
//! The log never blocks the code that logs. Each thread makes its lines and leaves them in a bounded
//! queue; one thread writes them.

mod destination;
mod file;
pub(crate) mod line;
mod opening;
mod outage;
mod queue;
mod sink;
pub(crate) mod value;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber, info};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use self::destination::Role;
use self::file::{LogFile, LogFileSettings};
use self::line::{LineFormat, LogLine};
use self::writer::Log;
use crate::config::{AccessLogFormat, Config, LogFormat, LogLevel};

/// Begins to log at `level`. To be called once, before anything is logged.
pub fn init(level: LogLevel) {
    let (filter, handle) = reload::Layer::new(targets(level));
    note_file(Role::Log, false);
    // It fails where a subscriber was set before, which then stays.
    if tracing_subscriber::registry()
        .with(filter)
        .with(Lines)
        .try_init()
        .is_ok()
    {
        let _ = HANDLE.set(handle);
        LEVEL.store(level as u8, Ordering::Relaxed);
    }
}

/// A log file that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the {what} `{}`: {source}", .path.display())]
pub struct LogFileError {
    what: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// Writes the log, and the access log, to the files and in the formats that `config` names from now on. Without a file the
/// log goes to stderr, and the lines of the access log go where the log goes.
///
/// # Errors
///
/// A file cannot be opened. Its lines go on where they went before, until it can.
pub fn set_files(config: &Config) -> Result<(), LogFileError> {
    LOG_IS_JSON.store(config.log_format == LogFormat::Json, Ordering::Relaxed);
    ACCESS_FORMAT.store(config.access_log_format as u8, Ordering::Relaxed);
    let log = set_file(Role::Log, LogFileSettings::of(config));
    let access = set_file(Role::Access, LogFileSettings::of_access_log(config));
    log.and(access)
}

/// Writes a log to this file from now on; without one, the log goes to stderr and the access log into the log.
fn set_file(role: Role, settings: Option<LogFileSettings>) -> Result<(), LogFileError> {
    let log = log_of(role);
    let opened = settings.map(|settings| {
        LogFile::open(settings.clone()).map_err(|source| {
            let path = settings.path.clone();
            log.want(settings);
            LogFileError::new(role, path, source)
        })
    });
    let file = opened.transpose()?;
    match (&file, role) {
        (Some(file), Role::Log) => {
            info!(log_file = %file.path().display(), "the log goes to a file");
        }
        (Some(file), Role::Access) => {
            info!(access_log_file = %file.path().display(), "the access log goes to a file");
        }
        (None, _) => {}
    }
    // What was logged before stands where the log went before.
    log.flush(FLUSH_LIMIT);
    let has_file = file.is_some();
    log.write_to(file);
    note_file(role, has_file);
    Ok(())
}

/// Whether the log files of `config` could be opened, or made. They are neither opened nor made.
///
/// Answers why each of those that could not be could not, and a remark on each that a server would do without something
/// for.
pub(crate) fn check_files(config: &Config) -> (Vec<LogFileError>, Vec<String>) {
    let log = LogFileSettings::of(config).map(|it| (Role::Log, it));
    let access = LogFileSettings::of_access_log(config).map(|it| (Role::Access, it));
    let (mut errors, mut remarks) = (Vec::new(), Vec::new());
    for (role, settings) in log.into_iter().chain(access) {
        let rotates = settings.rotates();
        let path = settings.path;
        if let Err(source) = opening::check(&path) {
            errors.push(LogFileError::new(role, path, source));
        } else if rotates && path.is_file() && !opening::may_rename(&path) {
            remarks.push(format!(
                "the {} `{}` can be written and not be renamed, since its directory cannot be written: it grows beyond \
                 `log_file_bytes_max`",
                role.file(),
                path.display()
            ));
        }
    }
    (errors, remarks)
}

impl LogFileError {
    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn new(role: Role, path: PathBuf, source: std::io::Error) -> LogFileError {
        LogFileError {
            what: role.file(),
            path,
            source,
        }
    }
}

impl Role {
    /// What its file is called.
    fn file(self) -> &'static str {
        match self {
            Role::Log => "log file",
            Role::Access => "access log file",
        }
    }
}

fn log_of(role: Role) -> &'static Log {
    match role {
        Role::Log => &writer::LOG,
        Role::Access => &writer::ACCESS,
    }
}

/// Notes whether a log has a file of its own from now on.
fn note_file(role: Role, has_file: bool) {
    match role {
        Role::Log => {
            let is_terminal = !has_file && std::io::stderr().is_terminal();
            IS_TERMINAL.store(is_terminal, Ordering::Relaxed);
        }
        Role::Access => HAS_ACCESS_FILE.store(has_file, Ordering::Relaxed),
    }
}

/// Opens the log files again that were moved, as programs do that rotate logs.
pub(crate) fn reopen_files() {
    writer::LOG.reopen();
    writer::ACCESS.reopen();
}

/// How many lines were lost since the process began.
pub(crate) fn dropped_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Counts lines that are lost.
fn count_lost(lines: u64) {
    LOST.fetch_add(lines, Ordering::Relaxed);
}

/// Logs at `level` from now on.
pub(crate) fn set_level(level: LogLevel) {
    if let Some(handle) = HANDLE.get() {
        LEVEL.store(level as u8, Ordering::Relaxed);
        // It fails only when the subscriber is gone, and the log with it.
        let _ = handle.reload(targets(level));
    }
}

/// Whether events of this level are logged.
#[inline]
pub(crate) fn has_level(level: Level) -> bool {
    LEVEL.load(Ordering::Relaxed) >= rank(level)
}

/// Logs an event that happens once in each session. The line may wait a moment, and leaves with others.
///
/// It goes past tracing, whose dispatch takes as long as all the rest of the work for the line.
#[inline]
pub(crate) fn session(level: Level, message: &str, fields: impl FnOnce(&mut LogLine<'_>)) {
    session_line(Role::Log, level, message, fields);
}

/// Like [`session`], in the access log: the one line of a session that is over, at the level info.
#[inline]
pub(crate) fn access(message: &str, fields: impl FnOnce(&mut LogLine<'_>)) {
    session_line(Role::Access, Level::INFO, message, fields);
}

fn session_line(role: Role, level: Level, message: &str, fields: impl FnOnce(&mut LogLine<'_>)) {
    if !has_level(level) {
        return;
    }
    with_buffer(|text| {
        let mut line = LogLine::begin(text, level, format_of(role));
        line.message(message);
        fields(&mut line);
        line.end();
        let role = match HAS_ACCESS_FILE.load(Ordering::Relaxed) {
            true => role,
            false => Role::Log,
        };
        log_of(role).write(text, true);
    });
}

/// Writes a text for people between the lines of the log, at every level. It goes to stderr also where the log is a
/// file.
pub fn say(text: &str) {
    writer::LOG.write_text(format!("{text}\n").as_bytes());
}

/// The text on one line that steers no terminal: what is invisible in it is written as an escape, as in the log.
pub fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    value::push_message(&mut line, text);
    line
}

/// Waits until all that was logged is written, for at most `limit`.
pub fn flush(limit: Duration) {
    writer::ACCESS.flush(limit);
    writer::LOG.flush(limit);
}

/// Like [`flush`], before the process ends. What a log file that fails has not taken goes to stderr.
pub fn end(limit: Duration) {
    writer::ACCESS.end(limit);
    writer::LOG.end(limit);
}

/// The filter: the server's own events at `level`, those of libraries only as warnings and errors.
fn targets(level: LogLevel) -> Targets {
    let filter = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(filter.min(LevelFilter::WARN))
        .with_targets([("wshd", filter), ("handler", filter)])
        // `notify` warns of each watched directory that is removed, which the server logs itself.
        .with_target("notify", filter.min(LevelFilter::ERROR))
}

/// The lowest level of the log at which events of `level` are logged.
fn rank(level: Level) -> u8 {
    let lowest = match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    };
    lowest as u8
}

/// The layer that makes a line of each event that passes the filter.
///
/// tracing's own layer for this takes a quarter of the instructions of an opening handshake.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        with_buffer(|text| {
            line::write(text, event, format_of(Role::Log));
            writer::LOG.write(text, false);
        });
    }
}

/// Calls `then` with the thread's line buffer, which is empty.
fn with_buffer(then: impl FnOnce(&mut Vec<u8>)) {
    LINE.with(|line| {
        // Formatting a field may log too. The buffer is in use then, and another one takes its place.
        let mut own = Vec::new();
        let mut line = line.try_borrow_mut();
        let line = line.as_deref_mut().unwrap_or(&mut own);
        line.clear();
        then(line);
        line.shrink_to(LINE_BYTES_KEPT);
    });
}

/// Logs a panic of the server's own code, at every level.
///
/// The standard library would write to stderr itself, and wait for its reader.
pub(crate) fn panicked(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let mut text = Vec::new();
    let format = format_of(Role::Log);
    let mut line = LogLine::begin(&mut text, Level::ERROR, format);
    line.message("panicked");
    line.text("thread", thread.name().unwrap_or("?"));
    if let Some(place) = info.location() {
        line.text("place", place);
    }
    line.text("error", text_of(info));
    // `RUST_BACKTRACE` asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    if let (Some(backtrace), LineFormat::Json) = (&backtrace, format) {
        line.text("backtrace", backtrace);
    }
    line.end();
    if let Some(backtrace) = backtrace.filter(|_| format != LineFormat::Json) {
        text.extend_from_slice(backtrace.to_string().as_bytes());
        text.push(b'\n');
    }
    writer::LOG.write(&text, false);
}

fn text_of<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a payload that is no text")
}

/// How the lines of a log are written now.
fn format_of(role: Role) -> LineFormat {
    let is_terminal = IS_TERMINAL.load(Ordering::Relaxed);
    let text = match is_terminal && *MAY_COLOUR.get_or_init(may_colour) {
        true => LineFormat::ColourfulText,
        false => LineFormat::Text,
    };
    let log = match LOG_IS_JSON.load(Ordering::Relaxed) {
        true => LineFormat::Json,
        false => text,
    };
    if role == Role::Log {
        return log;
    }
    let has_file = HAS_ACCESS_FILE.load(Ordering::Relaxed);
    let wanted = ACCESS_FORMAT.load(Ordering::Relaxed);
    if wanted == AccessLogFormat::Json as u8 {
        LineFormat::Json
    } else if wanted == AccessLogFormat::Text as u8 {
        if has_file { LineFormat::Text } else { text }
    } else if is_terminal && !has_file {
        log
    } else {
        LineFormat::Json
    }
}

/// How a line is written that goes to stderr though the log is a file.
fn format_of_stderr() -> LineFormat {
    let is_json = LOG_IS_JSON.load(Ordering::Relaxed);
    match std::io::stderr().is_terminal() && *MAY_COLOUR.get_or_init(may_colour) {
        _ if is_json => LineFormat::Json,
        true => LineFormat::ColourfulText,
        false => LineFormat::Text,
    }
}

fn may_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none()
}

thread_local! {
    /// Memory for the next line. Per thread, so that a line waits for no other one.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

// Global, as the subscriber of tracing is.

/// The handle with which the level is changed.
static HANDLE: OnceLock<Handle<Targets, Registry>> = OnceLock::new();
/// The level of the log, as [`rank`] counts. 0 is off, also before the log begins.
static LEVEL: AtomicU8 = AtomicU8::new(0);
/// Lines that are lost.
static LOST: AtomicU64 = AtomicU64::new(0);
/// Whether the log goes to a terminal.
static IS_TERMINAL: AtomicBool = AtomicBool::new(false);
/// Whether lines may have colours on a terminal.
static MAY_COLOUR: OnceLock<bool> = OnceLock::new();
/// Whether the log is written as JSON.
static LOG_IS_JSON: AtomicBool = AtomicBool::new(false);
/// The [`AccessLogFormat`] that is wanted.
static ACCESS_FORMAT: AtomicU8 = AtomicU8::new(AccessLogFormat::Auto as u8);
/// Whether the access log has a file of its own.
static HAS_ACCESS_FILE: AtomicBool = AtomicBool::new(false);

/// How long lines from before may take to be written when the log goes elsewhere.
const FLUSH_LIMIT: Duration = Duration::from_millis(200);
/// How much memory a thread keeps for its next line.
const LINE_BYTES_KEPT: usize = 1024;
