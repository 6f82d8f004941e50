//! Sees callbacks that run too long.
//!
//! A callback holds the worker it runs on. If that worker also drives the I/O of the runtime, every
//! other session waits with it, until an idle worker is made to look: so a plain thread watches,
//! and wakes one. For each worker that is held, one of the reserve goes on in its place, and a
//! handler whose callbacks hold too many has its other sessions wait, so that it never takes them
//! all. Past its budget, a callback is named in the log.

mod doze;

use std::cell::Cell;
#[cfg(test)]
use std::sync::LazyLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::{debug, error, warn};

use self::doze::Doze;
use super::context::Context;
use super::reserve::{Reserve, Share};
use crate::clock;

/// The callbacks, by the names of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callback {
    Handshake,
    Abandon,
    Open,
    Message,
    Ping,
    Pong,
    Drain,
    Timer,
    Wake,
    Closing,
    Closed,
    Destroy,
    Snapshot,
    Restore,
}

impl Callback {
    pub(super) fn name(self) -> &'static str {
        NAMES[self as usize]
    }
}

/// A running callback: made when it begins, dropped when it ends.
pub(super) struct Watched {
    slot: &'static Slot,
}

/// What one thread is busy with. Written by that thread, read by the watchdog.
#[derive(Debug, Default)]
struct Slot {
    /// The tick at which the callback began; 0 is none.
    since: AtomicU64,
    callback: AtomicUsize,
    context: AtomicPtr<Context>,
}

/// Starts the thread that watches the callbacks of `runtime`; once a process. As many of the
/// runtime's workers work as there are processors, the others become the reserve.
pub(crate) fn start(runtime: Handle) {
    let all = runtime.metrics().num_workers();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    // More would only take turns with one another on the same processors.
    let reserve = Reserve::new(runtime, processors.min(all));
    // What one handler may hold.
    let workers = all - all / 2;
    let watch = move || {
        let mut idle_ticks = 0;
        let mut held = Vec::new();
        let mut share = Share::new(reserve.workers);
        loop {
            if idle_ticks < IDLE_TICKS {
                std::thread::sleep(TICK);
                clock::keep();
            } else {
                clock::stop();
                if DOZE.lie_down(is_any_running) {
                    std::thread::park_timeout(IDLE_TIMEOUT);
                    DOZE.get_up();
                }
                idle_ticks = 0;
            }
            let now = CLOCK.fetch_add(1, Ordering::Relaxed) + 1;
            let is_busy = look(now, &reserve, workers, &mut share, &mut held);
            idle_ticks = if is_busy { 0 } else { idle_ticks + 1 };
        }
    };
    let spawned = std::thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(watch);
    match spawned {
        Ok(thread) => drop(WATCHDOG.set(thread.thread().clone())),
        Err(error) => error!(%error, "no watchdog: a slow callback will hold up other sessions"),
    }
}

/// Notes that `callback` of the handler `context` begins on this thread.
#[inline]
pub(super) fn watch(context: &'static Context, callback: Callback) -> Watched {
    let slot = slot();
    slot.callback.store(callback as usize, Ordering::Relaxed);
    slot.context
        .store(std::ptr::from_ref(context).cast_mut(), Ordering::Relaxed);
    slot.since
        .store(CLOCK.load(Ordering::Relaxed), Ordering::Release);
    if DOZE.is_asleep() {
        wake_up();
    }
    Watched { slot }
}

impl Watched {
    /// Notes that another call of the same callback begins.
    #[inline]
    pub(super) fn renew(&self) {
        let now = CLOCK.load(Ordering::Relaxed);
        self.slot.since.store(now, Ordering::Release);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.slot.since.store(0, Ordering::Release);
    }
}

/// Whether any thread is in a callback.
fn is_any_running() -> bool {
    let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    slots
        .iter()
        .any(|slot| slot.since.load(Ordering::Acquire) != 0)
}

/// Looks at every thread; answers whether any is in a callback.
fn look(
    now: u64,
    reserve: &Reserve,
    workers: usize,
    share: &mut Share,
    held: &mut Vec<&'static Context>,
) -> bool {
    let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut is_busy = false;
    let mut stuck: Vec<(&'static Context, u64)> = Vec::new();
    let mut over_budget: Vec<&'static Context> = Vec::new();
    for slot in slots.iter() {
        let since = slot.since.load(Ordering::Acquire);
        if since == 0 {
            continue;
        }
        is_busy = true;
        let ticks = now - since;
        if ticks >= STUCK_TICKS
            && let Some(context) = slot.context()
        {
            stuck.push((context, ticks));
        }
        if ticks >= BUDGET_TICKS
            && let Some(context) = slot.context()
        {
            over_budget.push(context);
            if ticks == BUDGET_TICKS {
                warn!(
                    handler = %context.handler,
                    generation = context.generation,
                    callback = slot.callback_name(),
                    elapsed_ms = ticks * TICK.as_millis() as u64,
                    "callback runs past its budget and holds a worker"
                );
            }
        }
    }
    // Before others go on, who would take them too is held back.
    hold(&stuck, workers, held);
    let free = (reserve.usual + reserve.workers).saturating_sub(stuck.len());
    let work = if held.is_empty() {
        reserve.usual.min(free)
    } else {
        // Another handler may do the same at any moment.
        free.div_ceil(2)
    };
    reserve.rest(share.towards(free - work, !held.is_empty(), now));
    for _ in &stuck {
        reserve.stir();
    }
    for context in &over_budget {
        let stuck = over_budget
            .iter()
            .filter(|other| std::ptr::eq(**other, *context))
            .count();
        if stuck * 2 >= workers && context.quarantine() {
            error!(
                handler = %context.handler,
                generation = context.generation,
                workers = stuck,
                "handler quarantined: its callbacks hold a quarter of the workers"
            );
        }
    }
    is_busy || !held.is_empty()
}

/// Has the sessions of each handler wait that holds half of all workers, or a quarter for
/// long; where several hold so many together, those of each of them. Lets those go on whose
/// handler no longer does.
fn hold(stuck: &[(&'static Context, u64)], workers: usize, held: &mut Vec<&'static Context>) {
    let is_over = |context: &Context| {
        let own = stuck
            .iter()
            .filter(|(other, _)| std::ptr::eq(*other, context));
        let long = own.clone().filter(|(_, ticks)| *ticks >= LONG_TICKS);
        let holds_some = own.count() > 0;
        holds_some && stuck.len() >= workers || long.count() * 2 >= workers
    };
    for (context, _) in stuck {
        if is_over(context) && context.hold.set(true) {
            debug!(handler = %context.handler, generation = context.generation, "its callbacks hold the workers: its other sessions wait");
            held.push(*context);
        }
    }
    held.retain(|context| is_over(context) || !context.hold.set(false));
}

impl Slot {
    fn context(&self) -> Option<&'static Context> {
        let context = self.context.load(Ordering::Relaxed);
        // SAFETY: the pointer was made from a `&'static Context` in `watch`, or is NULL.
        unsafe { context.as_ref() }
    }

    fn callback_name(&self) -> &'static str {
        NAMES
            .get(self.callback.load(Ordering::Relaxed))
            .copied()
            .unwrap_or("?")
    }
}

#[inline]
fn slot() -> &'static Slot {
    SLOT.get().unwrap_or_else(new_slot)
}

#[cold]
fn new_slot() -> &'static Slot {
    // Workers live as long as the runtime; a slot for each is all that is ever made.
    let slot: &'static Slot = Box::leak(Box::default());
    let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    slots.push(slot);
    SLOT.set(Some(slot));
    slot
}

thread_local! {
    static SLOT: Cell<Option<&'static Slot>> = const { Cell::new(None) };
}

#[cold]
fn wake_up() {
    if DOZE.ends()
        && let Some(watchdog) = WATCHDOG.get()
    {
        watchdog.unpark();
    }
}

static SLOTS: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());
/// Ticks since the start; begins at 1 because 0 means "in no callback".
static CLOCK: AtomicU64 = AtomicU64::new(1);
#[cfg(not(test))]
static DOZE: Doze = Doze::new();
#[cfg(test)]
static DOZE: LazyLock<Doze> = LazyLock::new(Doze::new);
static WATCHDOG: OnceLock<Thread> = OnceLock::new();

const NAMES: [&str; 14] = [
    "handshake",
    "abandon",
    "open",
    "message",
    "ping",
    "pong",
    "drain",
    "timer",
    "wake",
    "closing",
    "closed",
    "destroy",
    "snapshot",
    "restore",
];
const TICK: Duration = Duration::from_millis(5);
/// After that many ticks a worker is stuck, another takes its place, and one that sleeps wakes,
/// finds nobody driving the I/O, and does: 10 ms.
const STUCK_TICKS: u64 = 2;
/// After that many ticks half of that number are too many for one handler: 100 ms.
const LONG_TICKS: u64 = 20;
/// After that many ticks the callback is named: 1 s.
const BUDGET_TICKS: u64 = 200;
/// Ticks without a callback after which the watchdog sleeps until the next one.
const IDLE_TICKS: u32 = 20;
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
