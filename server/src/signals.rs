//! Listens to signals on a thread of its own. That thread needs neither the runtime nor its I/O, so a second
//! signal ends the process whatever hangs.

mod meaning;
mod reload_notice;

use std::collections::HashMap;
use std::ffi::c_int;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals as Heard;
use tokio::sync::watch;
use tracing::{error, info, warn};

pub use self::meaning::HangUp;
use self::meaning::{Meaning, ServerPhase, SignalAction, name, step};
use crate::border::guards::signal_dispositions;
use crate::border::library;
use crate::dev;
use crate::last_resort;
use crate::logging;
use crate::process::ending_signals;
use crate::process::service_manager::service_manager;
use crate::reload::Control;
use crate::serve::{StopReason, Upgrade};

/// Listens to every signal that ends a process by default. Those that mean nothing here are ignored, with a
/// line in the log.
#[derive(Clone, Debug)]
pub struct Signals {
    state: Arc<Mutex<SignalState>>,
    stop: watch::Sender<Option<StopReason>>,
}

/// The state on which signals act.
struct SignalState {
    phase: ServerPhase,
    control: Option<Arc<Control>>,
    /// The thread that tells the service manager of reloads, if there is a manager.
    reload_notice: Option<mpsc::Sender<()>>,
    /// What another program takes the place of this one by; `None` where none does.
    upgrade: Option<Arc<Upgrade>>,
    /// Whether the configuration is to be read again as soon as there is a control.
    is_reread_due: bool,
    /// How long a stop may take; called when a stop begins.
    stop_limit: Box<dyn Fn() -> Duration + Send>,
}

impl Signals {
    /// Begins to listen. `hang_up` is what SIGHUP means. A SIGHUP that would stop the server stays ignored if
    /// it was ignored when the process began, as under `nohup`.
    ///
    /// # Errors
    ///
    /// The system refuses a signal handler or a thread.
    pub fn listen(hang_up: HangUp) -> io::Result<Signals> {
        let is_hang_up_ignored = signal_dispositions::is_ignored(SIGHUP);
        let is_listened_to =
            |signal: &c_int| meaning::is_listened_to(*signal, hang_up, is_hang_up_ignored);
        let mut heard = Heard::new(meaning::needed().into_iter().filter(is_listened_to))?;
        for signal in ending_signals::all().into_iter().filter(is_listened_to) {
            // It fails where a tool that runs the server, such as valgrind, keeps the signal for itself.
            let _ = heard.add_signal(signal);
        }
        // Those that have come since the process began are heard now.
        signal_dispositions::release();
        let (stop, _) = watch::channel(None);
        let signals = Signals {
            state: Arc::new(Mutex::new(SignalState {
                phase: ServerPhase::Preparing,
                control: None,
                reload_notice: None,
                upgrade: None,
                is_reread_due: false,
                stop_limit: Box::new(|| START_STOP_LIMIT),
            })),
            stop,
        };
        let own = signals.clone();
        let listen = move || {
            let mut told = HashMap::new();
            // `wait` panics when its descriptors are gone.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                // A wait may end without a signal. Every wait does when a plugin has shut down the
                // descriptors that tell of signals.
                let mut in_vain = 0;
                while in_vain < WAITS_IN_VAIN_MAX {
                    in_vain += 1;
                    for signal in heard.wait() {
                        in_vain = 0;
                        own.hear(&name(signal), Meaning::of(signal, hang_up), &mut told);
                    }
                }
            }));
            last_resort::look();
            error!("signals are not heard any more, leaving");
            logging::end(LAST_WORDS);
            dev::clear_up();
            library::leave(FAILED);
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)?;
        Ok(signals)
    }

    /// Stops the server when stdin ends. It ends at the latest with the process that holds its other end.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn stop_with_stdin(&self) -> io::Result<()> {
        let own = self.clone();
        let listen = move || {
            let mut stdin = io::stdin().lock();
            // What is written there means nothing, and an error counts as the end.
            while stdin.read(&mut [0; 256]).is_ok_and(|read| read > 0) {}
            own.hear("end of stdin", Meaning::Orphaned, &mut HashMap::new());
        };
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(listen)?;
        Ok(())
    }

    /// Notes that handlers are being loaded. A signal that stops the server waits for the end of that.
    pub fn start(&self) {
        self.lock().phase.advance(ServerPhase::Starting);
    }

    /// Notes that the server is up. `stop_limit` says how long a stop may take in all; it is called when one
    /// begins.
    pub fn serve(
        &self,
        control: Arc<Control>,
        upgrade: Option<Arc<Upgrade>>,
        stop_limit: impl Fn() -> Duration + Send + 'static,
    ) {
        let mut state = self.lock();
        state.phase.advance(ServerPhase::Serving);
        if std::mem::take(&mut state.is_reread_due) {
            info!("reading the configuration again, for a SIGHUP that came during the start");
            control.reread();
        }
        if let Some(manager) = service_manager() {
            let started = reload_notice::start(manager, control.clone());
            let told = started.inspect_err(
                |error| warn!(%error, "cannot tell the service manager when a reload is over"),
            );
            state.reload_notice = told.ok();
        }
        state.control = Some(control);
        state.upgrade = upgrade;
        state.stop_limit = Box::new(stop_limit);
    }

    /// Whether a signal has stopped the server.
    pub fn is_told_to_stop(&self) -> bool {
        self.stop.borrow().is_some()
    }

    /// Has the server drain, since another process has taken its place.
    pub fn hand_over(&self) {
        let mut state = self.lock();
        state.phase.advance(ServerPhase::Replaced);
        last_resort::leave_within((state.stop_limit)());
        self.stop.send_if_modified(|reason| {
            let is_first = reason.is_none();
            reason.get_or_insert(StopReason::Upgraded);
            is_first
        });
    }

    /// Resolves with the first signal that stops the server, or when another process has taken its place. A second
    /// signal ends the process at once.
    pub async fn stopped(self) -> StopReason {
        let mut stop = self.stop.subscribe();
        // The sender lives as long as `self`.
        let reason = stop.wait_for(Option::is_some).await;
        reason.ok().and_then(|it| *it).unwrap_or(StopReason::Told)
    }

    fn hear(&self, name: &str, meaning: Meaning, told: &mut HashMap<String, Instant>) {
        let mut state = self.lock();
        let (phase, action) = step(state.phase, meaning);
        state.phase = phase;
        match action {
            SignalAction::Stop => {
                info!("{name}, stopping");
                if let Some(upgrade) = &state.upgrade {
                    upgrade.stop();
                }
                last_resort::leave_within((state.stop_limit)());
                self.stop.send_replace(Some(StopReason::Told));
            }
            SignalAction::Leave => {
                info!("{name}, leaving before anything is served");
                logging::end(LAST_WORDS);
                dev::clear_up();
                library::leave(STOPPED);
            }
            SignalAction::TellEnd => {
                info!(
                    "{name}, but another process has taken the place of this one, which ends when its sessions have; another signal ends it at once"
                );
            }
            SignalAction::LeaveAtOnce => {
                warn!("{name}, a second signal, leaving at once");
                logging::end(LAST_WORDS);
                dev::clear_up();
                library::leave(FORCED);
            }
            SignalAction::Reread => {
                logging::reopen_files();
                // A reading that was asked for and has not begun serves this request as well.
                if state.control.as_ref().is_none_or(|it| it.reread()) {
                    info!("{name}, reading the configuration again");
                }
                if let Some(notice) = &state.reload_notice {
                    let _ = notice.send(());
                }
            }
            SignalAction::RereadLater => {
                logging::reopen_files();
                if !std::mem::replace(&mut state.is_reread_due, true) {
                    info!("{name}, reading the configuration again as soon as handlers are loaded");
                }
            }
            SignalAction::ReopenLogs => {
                logging::reopen_files();
                info!("{name}, opening log files again that were moved");
            }
            SignalAction::Upgrade => {
                if let Some(upgrade) = &state.upgrade {
                    upgrade.ask(None);
                }
            }
            SignalAction::Nothing => {}
            SignalAction::Tell => {
                let now = Instant::now();
                let before = told.get(name);
                if before.is_none_or(|before| now.duration_since(*before) > TOLD_AGAIN) {
                    told.insert(name.to_owned(), now);
                    warn!(signal = %name, "signal has no meaning here and is ignored");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, SignalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for SignalState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignalState")
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// The exit code of a stop in good order, which has nothing to close.
const STOPPED: u8 = 0;
/// The exit code of a stop that was forced: 128 and the number of SIGINT, as shells count.
const FORCED: u8 = 130;
const FAILED: u8 = 1;
/// How long a stop may take before the server is up: as long as a plugin may take to start and to end.
const START_STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long a forced end waits for its line to be written.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How many waits in a row may end without a signal. More are no chance.
const WAITS_IN_VAIN_MAX: u32 = 10_000;
/// How often a signal without a meaning is logged at most.
const TOLD_AGAIN: Duration = Duration::from_secs(1);
