//! What a loaded plugin knows of its host: the table and its own name.
//!
//! A plugin is initialised once per image, so this is a static. Under a test one
//! image holds many handlers and many tests: there it belongs to the thread.

use std::{
    cell::Cell,
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::{
    abi::Status,
    border::{guard, host::HostFunctions},
    error::{Refused, rule::Rule},
    stop::Stop,
};

/// Set at `init`, never changed.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) host: HostFunctions,
    /// The handler's name, as the server's configuration has it.
    pub(crate) name: String,
    /// What the jobs of [`spawn`](crate::spawn) hear of the end of this generation.
    pub(crate) stop: Stop,
}

impl Runtime {
    /// Sends to a session by its id.
    pub(crate) fn send_to(&self, id: u64, kind: u32, bytes: &[u8]) -> Result<u64, Refused> {
        let answer = self.host.send_to(id, kind, bytes);
        Refused::check_count(answer, |status| Rule::message(status, bytes))
    }

    /// Runs a job on a thread of the host's.
    pub(crate) fn spawn(&'static self, job: Box<dyn FnOnce() + Send>) -> Status {
        if !IS_TEST.get() {
            return self.host.spawn(job);
        }
        let now = clock();
        self.host.spawn(Box::new(move || {
            enter_test(Some(self), now);
            // No test can let time pass on a thread that runs by itself.
            SINCE.set(Some(Instant::now()));
            #[cfg(feature = "tracing")]
            let _tracing = crate::log::forward::enter();
            job();
        }))
    }
}

/// Keeps a runtime for as long as the image is mapped. None: the image has one already, of a host
/// that forgot that each generation is an image of its own.
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

/// The runtime of this image, if `init` was called.
#[inline]
pub(crate) fn current() -> Option<&'static Runtime> {
    IMAGE.get().or_else(|| CURRENT.get())
}

/// From now on `install` and `current` on this thread mean `runtime`, and it is `now` of a test's clock.
pub(crate) fn enter_test(runtime: Option<&'static Runtime>, now: Duration) {
    IS_TEST.set(true);
    CURRENT.set(runtime);
    NOW.set(now);
}

/// Whose handler's a thread of a test is, and its clock.
pub(crate) type OfTest = (Option<&'static Runtime>, Duration);

/// What [`enter_test`] was told last on this thread.
pub(crate) fn of_test() -> OfTest {
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
    /// On a thread that a handler under test has begun: when it began.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
    static CURRENT: Cell<Option<&'static Runtime>> = const { Cell::new(None) };
}
