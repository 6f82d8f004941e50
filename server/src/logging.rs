//! The server's log: one line on stderr, or in a file, for each event. Its level and its file can change while the
//! server runs.
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
use std::path::PathBuf;
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

use self::file::{LogFile, LogFileSettings};
use self::line::LogLine;
use crate::config::{Config, LogLevel};

/// Begins to log at `level`. To be called once, before anything is logged.
pub fn init(level: LogLevel) {
    let (filter, handle) = reload::Layer::new(targets(level));
    IS_COLOURFUL.store(is_stderr_colourful(), Ordering::Relaxed);
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
#[error("cannot open the log file `{}`: {source}", .path.display())]
pub struct LogFileError {
    path: PathBuf,
    source: std::io::Error,
}

/// Writes the log to the file that `config` names from now on, or to stderr if it names none.
///
/// # Errors
///
/// The file cannot be opened. The log goes on where it went before, until it can.
pub fn set_file(config: &Config) -> Result<(), LogFileError> {
    let settings = LogFileSettings::of(config);
    let opened = settings.map(|settings| {
        LogFile::open(settings.clone()).map_err(|source| {
            let path = settings.path.clone();
            writer::want(settings);
            LogFileError { path, source }
        })
    });
    let file = opened.transpose()?;
    if let Some(path) = &config.log_file {
        info!(log_file = %path.display(), "the log goes to a file");
    }
    // What was logged before stands where the log went before.
    writer::flush(FLUSH_LIMIT);
    let is_colourful = file.is_none() && is_stderr_colourful();
    IS_COLOURFUL.store(is_colourful, Ordering::Relaxed);
    writer::write_to(file);
    Ok(())
}

/// Whether the log file of `config` could be opened, or made. It is neither opened nor made.
///
/// The answer is a remark on what a server would do without, if there is something.
///
/// # Errors
///
/// It could not be.
pub(crate) fn check_file(config: &Config) -> Result<Option<String>, LogFileError> {
    let Some(settings) = LogFileSettings::of(config) else {
        return Ok(None);
    };
    let rotates = settings.rotates();
    let path = settings.path;
    if let Err(source) = opening::check(&path) {
        return Err(LogFileError { path, source });
    }
    let goes_on_growing = rotates && path.is_file() && !opening::may_rename(&path);
    Ok(goes_on_growing.then(|| {
        format!(
            "the log file `{}` can be written and not be renamed, since its directory cannot be written: it grows beyond \
             `log_file_bytes_max`",
            path.display()
        )
    }))
}

/// Opens the log file again if it was moved, as programs do that rotate logs.
pub(crate) fn reopen_file() {
    writer::reopen();
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

/// Logs an event that happens once in each session. The line may wait a moment, and leaves with others.
///
/// It goes past tracing, whose dispatch takes as long as all the rest of the work for the line.
#[inline]
pub(crate) fn session(level: Level, message: &str, fields: impl FnOnce(&mut LogLine<'_>)) {
    if LEVEL.load(Ordering::Relaxed) < rank(level) {
        return;
    }
    with_buffer(|text| {
        let mut line = LogLine::begin(text, level, is_colourful());
        line.message(message);
        fields(&mut line);
        line.end();
        writer::write(text, true);
    });
}

/// Writes a text for people between the lines of the log, at every level. It goes to stderr also where the log is a
/// file.
pub fn say(text: &str) {
    writer::write_text(format!("{text}\n").as_bytes());
}

/// The text on one line that steers no terminal: what is invisible in it is written as an escape, as in the log.
pub fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    value::push_message(&mut line, text);
    line
}

/// Waits until all that was logged is written, for at most `limit`.
pub fn flush(limit: Duration) {
    writer::flush(limit);
}

/// Like [`flush`], before the process ends. What a log file that fails has not taken goes to stderr.
pub fn end(limit: Duration) {
    writer::end(limit);
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
            line::write(text, event, is_colourful());
            writer::write(text, false);
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
    let mut line = LogLine::begin(&mut text, Level::ERROR, is_colourful());
    line.message("panicked");
    line.text("thread", thread.name().unwrap_or("?"));
    if let Some(place) = info.location() {
        line.text("place", place);
    }
    line.text("error", text_of(info));
    line.end();
    // `RUST_BACKTRACE` asks for it.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        text.extend_from_slice(backtrace.to_string().as_bytes());
        text.push(b'\n');
    }
    writer::write(&text, false);
}

fn text_of<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a payload that is no text")
}

fn is_stderr_colourful() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn is_colourful() -> bool {
    IS_COLOURFUL.load(Ordering::Relaxed)
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
/// Whether lines have colours.
static IS_COLOURFUL: AtomicBool = AtomicBool::new(false);

/// How long lines from before may take to be written when the log goes elsewhere.
const FLUSH_LIMIT: Duration = Duration::from_millis(200);
/// How much memory a thread keeps for its next line.
const LINE_BYTES_KEPT: usize = 1024;
