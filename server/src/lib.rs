//! A server of pluggable WebSocket handlers: a watched directory of compiled libraries, each
//! answering at a path of its own name.

mod alarms;
mod cause;
pub mod check;
mod clock;
pub mod config;
mod connection;
mod controls;
mod descriptors;
pub mod dev;
mod encoded;
mod eviction;
mod files;
mod flow;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod generation;
mod handshake;
mod head;
pub mod heap;
pub mod last_resort;
mod listener;
mod listing;
pub mod logging;
mod mailbox;
mod memory;
pub mod new;
pub mod optional;
mod origin;
pub mod overlay;
mod patient_threads;
mod peer;
mod places;
mod plugin;
mod pulse;
mod registry;
mod regular_file;
pub mod reload;
mod reply;
mod rooms;
mod router;
mod scan;
mod scratch;
pub mod serve;
mod session;
mod shared;
pub mod signals;
mod soon;
mod stopping;
mod tally;
mod target;
mod threads;
mod throttle;
mod topics;
pub mod urgency;
mod wakes;
mod watcher;
mod wire;
mod ws;

#[cfg(feature = "bench")]
#[doc(hidden)]
pub use plugin::hop::Hop;

/// Empties the signal mask that the process has inherited, and has children waited for again where what
/// started it ignored SIGCHLD. To be called first thing in `main`.
pub fn forget_inherited_signals() {
    plugin::dispositions::forget_inherited();
}

/// If this process was started to try plugins in, it does so until its end. To be called before
/// anything else is made.
pub fn be_trial_helper_if_asked() {
    plugin::trial::be_helper_if_asked();
}

/// Makes the process in which plugins are tried before they are loaded. To be called once, first thing in
/// `main`: the process must have a single thread, and nothing that waits in a buffer.
pub fn start_trial_helper() {
    optional::probe();
    plugin::trial::start_helper();
}

/// From now on it is told when code of a plugin ends the process, whose code it is. `has_sessions` says
/// whether there will be any to close.
pub fn tell_exits(has_sessions: bool) {
    plugin::exits::begin(has_sessions);
}

/// Ends the process, without running what plugins' libraries have for its end.
pub fn leave(code: u8) -> ! {
    logging::flush(LOG_WAIT);
    plugin::library::leave(code)
}

/// What the end waits for a log that is not read.
const LOG_WAIT: std::time::Duration = std::time::Duration::from_secs(1);
