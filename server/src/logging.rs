//! The server's log: one line an event on stderr, its level changeable while it runs.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

use crate::config::LogLevel;

/// Begins to log at `level`; to be called once, before anything is logged.
pub fn init(level: LogLevel) {
    let (filter, handle) = reload::Layer::new(targets(level));
    let is_colourful = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(is_colourful)
        .with_target(false);
    // Whoever has set a subscriber before keeps it.
    if tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .is_ok()
    {
        let _ = HANDLE.set(handle);
    }
}

/// Logs at `level` from now on.
pub(crate) fn set_level(level: LogLevel) {
    if let Some(handle) = HANDLE.get() {
        // It fails only if the subscriber is gone, and with it the log.
        let _ = handle.reload(targets(level));
    }
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

static HANDLE: OnceLock<Handle<Targets, Registry>> = OnceLock::new();
