//! A server of pluggable WebSocket handlers: a watched directory of compiled libraries, each
//! answering at a path of its own name.

mod admin;
mod auth;
mod border;
mod buffers;
pub mod check;
pub mod commands;
pub mod config;
pub mod connect;
pub mod connection;
pub mod dev;
#[allow(
    dead_code,
    reason = "an engine elsewhere, as the tests have one, can be away and can lose publications"
)]
mod engine;
mod generation;
mod http;
pub mod last_resort;
mod listing;
pub mod logging;
mod metrics;
pub mod new;
mod outbound;
mod plugin;
pub mod process;
pub mod reload;
mod router;
pub mod runtime;
pub mod serve;
mod session;
mod sessions;
mod shared;
pub mod signals;
#[cfg(any(test, fuzzing, feature = "bench"))]
#[doc(hidden)]
pub mod testing;
pub mod transport;
mod ws;

/// Has signals that would end the process wait until it listens to them or [releases](release_signals) them, forgets the
/// signal mask that it has inherited, and has children waited for again where what started it ignored SIGCHLD. To be called
/// first thing in `main`.
pub fn hold_signals() {
    std::sync::LazyLock::force(&process::PROCESS_BEGAN);
    border::guards::signal_dispositions::hold_only(&process::ending_signals::all());
}

/// Lets signals do what they do by default. To be called where the process does not listen to them.
pub fn release_signals() {
    border::guards::signal_dispositions::release();
}

/// If this process was started to try plugins, does that and never returns. To be called before anything
/// else is made.
pub fn be_trial_helper_if_asked() {
    border::trial::be_helper_if_asked();
}

/// Makes the process in which plugins are tried before they are loaded. To be called once, first thing in
/// `main`: the process must have a single thread, and no buffer with bytes that are not written.
pub fn start_trial_helper() {
    process::optional::probe();
    border::trial::start_helper();
}

/// From now on, when code of a plugin ends the process, the log says which plugin it was. `has_sessions` says
/// whether there will be sessions to close.
pub fn tell_exits(has_sessions: bool) {
    border::guards::exits::install(has_sessions);
}

/// Ends the process without running the destructors of plugins' libraries.
pub fn leave(code: u8) -> ! {
    logging::end(LOG_WAIT);
    border::library::leave(code)
}

/// Like [`leave`], from a thread that waits for nothing. Builds of `wshd dev` that run are ended.
pub fn leave_at_once(code: u8) -> ! {
    dev::clear_up();
    border::library::leave(code)
}

/// How long the end waits for a log that is not read.
const LOG_WAIT: std::time::Duration = std::time::Duration::from_secs(1);
