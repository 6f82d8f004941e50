//! What a loaded plugin knows of its host and of itself: the host's table, its name, its clock.
//!
//! A plugin is initialised once per image, so this is a static. In a test one image holds many handlers, so there it
//! belongs to the thread.

use std::{
    cell::Cell,
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::{
    abi::Status,
    asks::{ask::allow_waiting, waiting::HandlerAsks},
    border::{guard, host::HostFunctions},
    error::{Refused, rule::Rule},
    stop::Stop,
};

/// Made by `init`, and never changed.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) host: HostFunctions,
    /// The handler's name, as the server's configuration has it.
    pub(crate) name: String,
    /// Tells the jobs of [`spawn`](crate::spawn) when this generation ends.
    pub(crate) stop: Stop,
    /// What the handler itself has asked, and the tokens of what its sessions ask.
    pub(crate) asks: HandlerAsks,
}

impl Runtime {
    /// Sends a message to a session by its id.
    pub(crate) fn send_to(&self, id: u64, kind: u32, bytes: &[u8]) -> Result<u64, Refused> {
        let answer = self.host.send_to(id, kind, bytes);
        Refused::check_count(answer, |status| Rule::message(status, bytes))
    }

    /// Runs a job on a thread of the host's.
    pub(crate) fn spawn(&'static self, job: Box<dyn FnOnce() + Send>) -> Status {
        if !IS_TEST.get() {
            return self.host.spawn(Box::new(move || {
                allow_waiting();
                job();
            }));
        }
        let now = clock();
        self.host.spawn(Box::new(move || {
            allow_waiting();
            enter_test(Some(self), now);
            // A test cannot advance the clock of a thread that runs by itself, so its time is real time.
            SINCE.set(Some(Instant::now()));
            #[cfg(feature = "tracing")]
            let _tracing = crate::log::forward::enter();
            job();
        }))
    }
}

/// Keeps a runtime for as long as the image is mapped. `None` if the image has one already: the host has called `init`
/// twice.
pub(crate) fn install(runtime: Runtime) -> Option<&'static Runtime> {
    if IS_TEST.get() {
        let runtime = Box::leak(Box::new(runtime));
        CURRENT.set(Some(runtime));
        return Some(runtime);
    }
    IMAGE.set(runtime).ok()?;
    guard::set_panic_hook();
    #[cfg(feature = "tracing")]
    crate::log::forward::install();
    IMAGE.get()
}

/// The runtime of this image, or of the handler under test; `None` before `init`.
#[inline]
pub(crate) fn current() -> Option<&'static Runtime> {
    IMAGE.get().or_else(|| CURRENT.get())
}

/// Lets this thread run for the handler `runtime` under test, with `now` as the time of its clock.
pub(crate) fn enter_test(runtime: Option<&'static Runtime>, now: Duration) {
    IS_TEST.set(true);
    CURRENT.set(runtime);
    NOW.set(now);
}

/// The handler for which a thread of a test runs, and the time of its clock.
pub(crate) type TestThread = (Option<&'static Runtime>, Duration);

/// The arguments of the last [`enter_test`] on this thread.
pub(crate) fn test_thread() -> TestThread {
    (CURRENT.get(), NOW.get())
}

/// Whether the calling thread runs for a handler under test.
pub(crate) fn is_test() -> bool {
    IS_TEST.get()
}

/// The time since some moment of the past, by the clock of the host.
pub(crate) fn clock() -> Duration {
    if IS_TEST.get() {
        let real = SINCE.get().map_or(Duration::ZERO, |since| since.elapsed());
        return NOW.get() + real;
    }
    BEGAN.get_or_init(Instant::now).elapsed()
}

static IMAGE: OnceLock<Runtime> = OnceLock::new();
static BEGAN: OnceLock<Instant> = OnceLock::new();

thread_local! {
    static IS_TEST: Cell<bool> = const { Cell::new(false) };
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// When this thread began, if a handler under test has begun it.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
    static CURRENT: Cell<Option<&'static Runtime>> = const { Cell::new(None) };
}
