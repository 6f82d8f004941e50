//! The server's log: one line an event on stderr, its level changeable while it runs.

mod line;
mod output;

use std::cell::RefCell;
use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogLevel;

/// The target of the lines that there are as many of as there are sessions: they may wait a moment
/// and leave together.
pub(crate) const SESSIONS: &str = "wshd::sessions";

/// Begins to log at `level`; to be called once, before anything is logged.
pub fn init(level: LogLevel) {
    let (filter, handle) = reload::Layer::new(targets(level));
    let is_colourful = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // Whoever has set a subscriber before keeps it.
    if tracing_subscriber::registry()
        .with(filter)
        .with(Lines { is_colourful })
        .try_init()
        .is_ok()
    {
        let _ = HANDLE.set(handle);
        output::start();
    }
}

/// Logs at `level` from now on.
pub(crate) fn set_level(level: LogLevel) {
    if let Some(handle) = HANDLE.get() {
        // It fails only if the subscriber is gone, and with it the log.
        let _ = handle.reload(targets(level));
    }
}

/// Nothing that was logged waits any more.
pub(crate) fn flush() {
    output::flush();
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

/// Every event that the filter lets through, as a line.
///
/// tracing's own layer for this takes a quarter of the instructions of an opening handshake.
struct Lines {
    is_colourful: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        LINE.with(|line| {
            // What a field's own formatting logs comes in the middle of a line, which is taken.
            let mut own = Vec::new();
            let mut line = line.try_borrow_mut();
            let line = line.as_deref_mut().unwrap_or(&mut own);
            line.clear();
            line::write(line, event, self.is_colourful);
            output::write(line, event.metadata().target() == SESSIONS);
            line.shrink_to(LINE_BYTES_KEPT);
        });
    }
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

static HANDLE: OnceLock<Handle<Targets, Registry>> = OnceLock::new();

/// What a thread keeps for its next line.
const LINE_BYTES_KEPT: usize = 1024;
