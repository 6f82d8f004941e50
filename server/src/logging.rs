//! The server's log: one line an event on stderr, its level changeable while it runs.
//!
//! The log never holds anything up. A line is made on the thread where it is logged and left in a
//! bounded queue; one thread writes them.

pub(crate) mod line;
mod queue;
mod sink;
pub(crate) mod value;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use self::line::LogLine;
use crate::config::LogLevel;

/// Begins to log at `level`; to be called once, before anything is logged.
pub fn init(level: LogLevel) {
    let (filter, handle) = reload::Layer::new(targets(level));
    let is_colourful = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    IS_COLOURFUL.store(is_colourful, Ordering::Relaxed);
    // A subscriber that was set before stays.
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

/// Logs at `level` from now on.
pub(crate) fn set_level(level: LogLevel) {
    if let Some(handle) = HANDLE.get() {
        LEVEL.store(level as u8, Ordering::Relaxed);
        // It fails only if the subscriber is gone, and with it the log.
        let _ = handle.reload(targets(level));
    }
}

/// Logs one event of a session, of those that there are as many of as there are sessions. Such a
/// line may wait a moment and leaves with others.
///
/// It goes past tracing, whose dispatch takes as long as everything else that is done for the line.
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

/// Writes a text for people among the lines of the log, whatever its level.
pub fn say(text: &str) {
    writer::write(format!("{text}\n").as_bytes(), false);
}

/// Waits until everything that was logged is written, but not longer than `limit`.
pub fn flush(limit: Duration) {
    writer::flush(limit);
}

/// Our own events at `level`, those of the libraries only when they matter.
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
        // It warns of every watched directory that goes, which has a line of ours.
        .with_target("notify", filter.min(LevelFilter::ERROR))
}

/// The lowest level at which events of `level` are logged.
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

/// Every event that the filter lets through, as a line.
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

/// Lends the thread's buffer for one line, empty.
fn with_buffer(then: impl FnOnce(&mut Vec<u8>)) {
    LINE.with(|line| {
        // What a field's own formatting logs comes in the middle of a line, which is taken.
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
/// std would write to stderr itself, and wait for its reader.
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
    // Asked for with RUST_BACKTRACE.
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

fn is_colourful() -> bool {
    IS_COLOURFUL.load(Ordering::Relaxed)
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

static HANDLE: OnceLock<Handle<Targets, Registry>> = OnceLock::new();
/// The level of the log, as [`rank`] counts: 0 is off, and so is a log that did not begin.
static LEVEL: AtomicU8 = AtomicU8::new(0);
static IS_COLOURFUL: AtomicBool = AtomicBool::new(false);

/// What a thread keeps for its next line.
const LINE_BYTES_KEPT: usize = 1024;
