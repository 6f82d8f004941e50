//! What the operator says with signals, heard on a thread of its own: it needs neither the runtime nor
//! its I/O, so a second signal ends the process whatever hangs.

mod meaning;

use std::collections::HashMap;
use std::ffi::c_int;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals as Heard;
use tokio::sync::watch;
use tracing::{error, info, warn};

pub use self::meaning::HangUp;
use self::meaning::{Action, Meaning, Phase, name, step};
use crate::border::guards::signal_dispositions;
use crate::border::library;
use crate::dev;
use crate::last_resort;
use crate::logging;
use crate::reload::Control;

/// The signals that this process listens to. Those of the system's that end a process by default and
/// mean nothing here are ignored with a line.
#[derive(Clone, Debug)]
pub struct Signals {
    state: Arc<Mutex<SignalState>>,
    stop: watch::Sender<bool>,
}

/// What signals act on.
struct SignalState {
    phase: Phase,
    control: Option<Arc<Control>>,
    /// How long a stop may take, asked when it begins.
    patience: Box<dyn Fn() -> Duration + Send>,
}

impl Signals {
    /// Listens from now on. `hang_up` is what SIGHUP means. One that would stop the server and was
    /// ignored before, as `nohup` has it, stays ignored.
    ///
    /// # Errors
    ///
    /// The system does not give a signal or a thread.
    pub fn listen(hang_up: HangUp) -> io::Result<Signals> {
        let is_hang_up_ignored = signal_dispositions::is_ignored(SIGHUP);
        let is_listened_to =
            |signal: &c_int| meaning::is_listened_to(*signal, hang_up, is_hang_up_ignored);
        let mut heard = Heard::new(meaning::needed().into_iter().filter(is_listened_to))?;
        for signal in meaning::all().into_iter().filter(is_listened_to) {
            // A tool that runs the server, such as valgrind, may keep some for itself.
            let _ = heard.add_signal(signal);
        }
        let (stop, _) = watch::channel(false);
        let signals = Signals {
            state: Arc::new(Mutex::new(SignalState {
                phase: Phase::Preparing,
                control: None,
                patience: Box::new(|| START_PATIENCE),
            })),
            stop,
        };
        let own = signals.clone();
        let listen = move || {
            let mut told = HashMap::new();
            // It panics if its descriptors are gone.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                // A wait ends without a signal now and then, and each does when the descriptors that
                // tell of signals were shut down.
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
            logging::flush(LAST_WORDS);
            dev::clear_up();
            library::leave(FAILED);
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)?;
        Ok(signals)
    }

    /// Stops the server when stdin ends, which it does at the latest when the process at its other end does.
    ///
    /// # Errors
    ///
    /// The system does not give a thread.
    pub fn stop_with_stdin(&self) -> io::Result<()> {
        let own = self.clone();
        let listen = move || {
            let mut stdin = io::stdin().lock();
            // What is written there means nothing; an error says as much as the end.
            while stdin.read(&mut [0; 256]).is_ok_and(|read| read > 0) {}
            own.hear("end of stdin", Meaning::Orphaned, &mut HashMap::new());
        };
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(listen)?;
        Ok(())
    }

    /// Handlers are loaded from now on: a signal that stops the server lets that come to its end.
    pub fn start(&self) {
        self.lock().phase.advance(Phase::Starting);
    }

    /// The server is up. `patience` is how long a stop may take in all, asked when one begins.
    pub fn serve(&self, control: Arc<Control>, patience: impl Fn() -> Duration + Send + 'static) {
        let mut state = self.lock();
        state.phase.advance(Phase::Serving);
        state.control = Some(control);
        state.patience = Box::new(patience);
    }

    /// Ends with the first signal that stops the server. From then on a second one ends the process
    /// at once.
    pub async fn stopped(self) {
        let mut stop = self.stop.subscribe();
        // It ends only with `self`.
        let _ = stop.wait_for(|stops| *stops).await;
    }

    fn hear(&self, name: &str, meaning: Meaning, told: &mut HashMap<String, Instant>) {
        let mut state = self.lock();
        let (phase, action) = step(state.phase, meaning);
        state.phase = phase;
        match action {
            Action::Stop => {
                info!("{name}, stopping");
                last_resort::leave_within((state.patience)());
                self.stop.send_replace(true);
            }
            Action::Leave => {
                info!("{name}, leaving before anything is served");
                logging::flush(LAST_WORDS);
                dev::clear_up();
                library::leave(FORCED);
            }
            Action::LeaveAtOnce => {
                warn!("{name}, a second signal, leaving at once");
                logging::flush(LAST_WORDS);
                dev::clear_up();
                library::leave(FORCED);
            }
            Action::Reread => {
                // One that is asked for before it has begun answers for this one as well.
                if state.control.as_ref().is_none_or(|it| it.reread()) {
                    info!("{name}, reading the configuration again");
                }
            }
            Action::Nothing => {}
            Action::Tell => {
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

/// What a shell says of a process that a signal ended: it was not in good order.
const FORCED: u8 = 130;
const FAILED: u8 = 1;
/// How long a stop may take that was asked for before the server is up: what a plugin may take to
/// start, and to end.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long a forced end waits for its line to be written.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// So many waits in a row that end without a signal are no chance.
const WAITS_IN_VAIN_MAX: u32 = 10_000;
/// A signal without a meaning is told of once in that time.
const TOLD_AGAIN: Duration = Duration::from_secs(1);
