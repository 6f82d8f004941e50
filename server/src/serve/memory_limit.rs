//! Keeps the memory of the process below its limit: measures it, and does what its [`OverloadLevel`] asks for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use crate::connection::server::Server;
use crate::process::machine;
use crate::sessions::mailbox::dismissal::Dismissal;
use crate::shared::Shared;
use crate::shared::overload::OverloadLevel;

/// Starts the thread that measures, for as long as the process lives. `give_back` gives free memory to the system.
pub(super) fn start(
    server: Arc<Server>,
    shared: Arc<Shared>,
    give_back: impl Fn() + Send + 'static,
) {
    let group_max = machine::group_memory_bytes().unwrap_or(0);
    let watch = move || {
        let mut shed = None;
        loop {
            let max = match server.config.load().limits.memory_bytes_max {
                0 => group_max,
                bytes => bytes,
            };
            let is_quiet = max == 0
                || shared.overload.level() == OverloadLevel::Normal
                    && server.admission.open_connections() == 0;
            std::thread::sleep(if is_quiet { QUIET_LOOK } else { LOOK });
            let used = if max > 0 {
                machine::resident_bytes()
            } else {
                0
            };
            let level = look(&shared, used, max);
            let may_shed = shed.is_none_or(|at: Instant| at.elapsed() >= SHED_PAUSE);
            if level >= OverloadLevel::Shed && may_shed {
                give_back();
                shed = Some(Instant::now());
            }
            // What was given back may have been enough.
            if level == OverloadLevel::Close && level.after(machine::resident_bytes(), max) == level
            {
                close_some(&shared);
            }
        }
    };
    let thread = std::thread::Builder::new().name("overload".to_owned());
    if let Err(error) = thread.spawn(watch) {
        error!(%error, "no thread to measure memory on; `memory_bytes_max` has no effect");
    }
}

/// Takes a measurement over. Returns the level that holds now.
fn look(shared: &Shared, used: u64, max: u64) -> OverloadLevel {
    let before = shared.overload.level();
    let level = before.after(used, max);
    if level != before {
        shared.overload.set(level);
        shared
            .readiness
            .set_overloaded(level >= OverloadLevel::RefuseNew);
        let (word, limit) = (level.word(), max);
        warn!(
            level = %word,
            memory_bytes = used,
            limit,
            "the level of overload has changed (`memory_bytes_max`)"
        );
    }
    level
}

/// Closes some of the sessions: first those that hold most of messages that are incomplete or not sent, and of others the
/// newest.
fn close_some(shared: &Shared) {
    let mut open = shared.sessions.list(|_, _| true);
    let count = open.len().div_ceil(CLOSE_ONE_OF).min(CLOSE_AT_ONCE);
    open.sort_unstable_by_key(|mailbox| (mailbox.held_bytes(), mailbox.id));
    for mailbox in open.iter().rev().take(count) {
        mailbox.dismiss(Dismissal::OVERLOADED);
    }
}

/// The time between two measurements, each of which takes some microseconds.
const LOOK: Duration = Duration::from_millis(250);
/// The time between two where there is no connection, or no limit.
const QUIET_LOOK: Duration = Duration::from_secs(1);
/// To give memory back takes milliseconds.
const SHED_PAUSE: Duration = Duration::from_secs(1);
/// One of so many sessions is closed at a time, and at most so many.
const CLOSE_ONE_OF: usize = 100;
const CLOSE_AT_ONCE: usize = 100;
