//! Sees callbacks that run too long.
//!
//! A callback holds the worker that it runs on. If that worker also drives the I/O of the runtime, every other session waits
//! with it, until an idle worker takes the I/O over. So a plain thread [watches](thread), and wakes one. This file has what
//! a callback notes of itself, which every message pays for.

mod idle_sleep;
mod observed_thread;
mod sample_rate;
mod thread;

use std::cell::Cell;
#[cfg(test)]
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use self::idle_sleep::IdleSleep;
pub(crate) use self::thread::start;
use super::handler_context::HandlerContext;
use crate::process::clock;
use crate::runtime::wakes::{self, DeferredWakes};

/// The callbacks of a plugin that the watchdog watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callback {
    Handshake,
    Abandon,
    Open,
    Message,
    Ping,
    Pong,
    Drain,
    Timer,
    Wake,
    Note,
    Closing,
    Closed,
    Destroy,
    Snapshot,
    Restore,
    Answer,
    Answered,
    Envelope,
    Presence,
}

impl Callback {
    /// Every callback, where its number says.
    const ALL: [Callback; 19] = [
        Callback::Handshake,
        Callback::Abandon,
        Callback::Open,
        Callback::Message,
        Callback::Ping,
        Callback::Pong,
        Callback::Drain,
        Callback::Timer,
        Callback::Wake,
        Callback::Note,
        Callback::Closing,
        Callback::Closed,
        Callback::Destroy,
        Callback::Snapshot,
        Callback::Restore,
        Callback::Answer,
        Callback::Answered,
        Callback::Envelope,
        Callback::Presence,
    ];

    /// The callback's name in the ABI.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Callback::Handshake => "handshake",
            Callback::Abandon => "abandon",
            Callback::Open => "open",
            Callback::Message => "message",
            Callback::Ping => "ping",
            Callback::Pong => "pong",
            Callback::Drain => "drain",
            Callback::Timer => "timer",
            Callback::Wake => "wake",
            Callback::Note => "note",
            Callback::Closing => "closing",
            Callback::Closed => "closed",
            Callback::Destroy => "destroy",
            Callback::Snapshot => "snapshot",
            Callback::Restore => "restore",
            Callback::Answer => "answer",
            Callback::Answered => "answered",
            Callback::Envelope => "envelope",
            Callback::Presence => "presence",
        }
    }
}

const _: () = {
    let mut number = 0;
    while number < Callback::ALL.len() {
        assert!(Callback::ALL[number] as usize == number);
        number += 1;
    }
};

/// A handler whose code runs on a thread, and the name of the callback.
pub(crate) type RunningCallback = (&'static HandlerContext, &'static str);

/// The note of a running callback: made when it begins, dropped when it ends.
pub(crate) struct Watched {
    slot: &'static Slot,
    /// The number of the watchdog's last sample before it; 0 if its time is taken, which no sample has.
    sample: u64,
}

/// The callback that one thread runs. That thread writes it, and the watchdog reads it.
#[derive(Debug)]
struct Slot {
    /// The number of the watchdog's last sample before the callback began; 0 while no callback runs.
    since: AtomicU64,
    /// The number of the sample after which a callback was last timed on this thread.
    timed_at: AtomicU64,
    /// When the callback that is timed began, as [`clock::nanos`] counts; 0 if the callback that runs is not timed.
    timed_since: AtomicU64,
    /// The value of `since` of the last callback that two samples saw, and when the first of them did.
    late: AtomicU64,
    late_since: AtomicU64,
    callback: AtomicUsize,
    context: AtomicPtr<HandlerContext>,
    /// Whether the callback has given a reason to `fail`.
    has_given_reason: AtomicBool,
    /// The tasks that the callback woke.
    kept: &'static DeferredWakes,
}

/// Notes that `callback` of the handler `context` begins on this thread.
#[inline]
pub(crate) fn watch(context: &'static HandlerContext, callback: Callback) -> Watched {
    let slot = slot();
    slot.callback.store(callback as usize, Ordering::Relaxed);
    slot.context
        .store(std::ptr::from_ref(context).cast_mut(), Ordering::Relaxed);
    slot.has_given_reason.store(false, Ordering::Relaxed);
    let now = SAMPLES.load(Ordering::Relaxed);
    slot.since.store(now, Ordering::Release);
    // The first callback after each sample is timed: nearly all where callbacks are few, a few where they are many. Of the
    // others, only those are timed during which two samples are taken.
    let mut sample = now;
    if slot.timed_at.load(Ordering::Relaxed) != now {
        slot.begin_timing(now);
        sample = 0;
    }
    if IDLE_SLEEP.is_asleep() {
        wake_up();
    }
    Watched { slot, sample }
}

impl Watched {
    /// Whether the time of this callback is taken.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.sample == 0
    }

    /// Notes that the next call of this callback begins.
    #[inline]
    pub(crate) fn renew(&self) {
        let now = SAMPLES.load(Ordering::Relaxed);
        self.slot.since.store(now, Ordering::Release);
        self.slot.has_given_reason.store(false, Ordering::Relaxed);
    }
}

/// Notes that the callback on this thread, if there is one, gives a reason to `fail`.
pub(crate) fn note_reason_given() {
    if let Some(slot) = SLOT.get() {
        slot.has_given_reason.store(true, Ordering::Relaxed);
    }
}

/// The handler whose callback runs on this thread, and the callback's name. May be called in a handler of a signal.
pub(crate) fn running_callback() -> Option<RunningCallback> {
    let slot = SLOT.get()?;
    let is_running = slot.since.load(Ordering::Acquire) != 0;
    let context = slot.context().filter(|_| is_running)?;
    Some((context, slot.callback_name()))
}

/// Whether the callback that ran last on this thread gave a reason to `fail`.
pub(crate) fn has_given_reason() -> bool {
    SLOT.get()
        .is_some_and(|slot| slot.has_given_reason.load(Ordering::Relaxed))
}

impl Drop for Watched {
    #[inline]
    fn drop(&mut self) {
        // A callback may be a long one if a sample was taken meanwhile.
        if self.sample != SAMPLES.load(Ordering::Relaxed) {
            self.slot.end_timing();
        }
        self.slot.since.store(0, Ordering::Release);
    }
}

impl Slot {
    #[cold]
    fn begin_timing(&self, sample: u64) {
        self.timed_at.store(sample, Ordering::Relaxed);
        self.timed_since.store(clock::nanos(), Ordering::Relaxed);
    }

    /// Records the time of the callback, if it is known.
    #[cold]
    fn end_timing(&self) {
        let sample = self.since.load(Ordering::Relaxed);
        let began = match self.timed_since.swap(0, Ordering::Relaxed) {
            0 if self.late.load(Ordering::Acquire) == sample => {
                self.late_since.load(Ordering::Relaxed)
            }
            0 => return,
            began => began,
        };
        if let Some(context) = self.context() {
            let elapsed = Duration::from_nanos(clock::nanos().saturating_sub(began));
            context.meters.callbacks.record(elapsed);
        }
    }

    /// Notes that the callback that began after the sample `sample` is late, and was first seen so long ago.
    fn note_late(&self, sample: u64, age: Duration) {
        let ago = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let since = clock::nanos().saturating_sub(ago).max(1);
        self.late_since.store(since, Ordering::Relaxed);
        self.late.store(sample, Ordering::Release);
    }

    fn context(&self) -> Option<&'static HandlerContext> {
        let context = self.context.load(Ordering::Relaxed);
        // SAFETY: `watch` stored the address of a `&'static HandlerContext`; before the first call it is NULL.
        unsafe { context.as_ref() }
    }

    fn callback_name(&self) -> &'static str {
        let callback = Callback::ALL.get(self.callback.load(Ordering::Relaxed));
        callback.map_or("?", |callback| callback.name())
    }
}

#[inline]
fn slot() -> &'static Slot {
    SLOT.get().unwrap_or_else(new_slot)
}

#[cold]
fn new_slot() -> &'static Slot {
    // Leaked: each worker needs one, and lives as long as the runtime.
    let slot: &'static Slot = Box::leak(Box::new(Slot {
        since: AtomicU64::new(0),
        timed_at: AtomicU64::new(0),
        timed_since: AtomicU64::new(0),
        late: AtomicU64::new(0),
        late_since: AtomicU64::new(0),
        callback: AtomicUsize::new(0),
        context: AtomicPtr::default(),
        has_given_reason: AtomicBool::new(false),
        kept: wakes::of_this_thread(),
    }));
    let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    slots.push(slot);
    SLOT.set(Some(slot));
    slot
}

thread_local! {
    /// Per thread, so that a callback finds its slot without a lock.
    static SLOT: Cell<Option<&'static Slot>> = const { Cell::new(None) };
}

/// Wakes the watchdog, if it still sleeps.
#[cold]
fn wake_up() {
    if IDLE_SLEEP.take()
        && let Some(watchdog) = WATCHDOG.get()
    {
        watchdog.unpark();
    }
}

// Global, because each callback of the process reads them, wherever it runs. An address that is known when the program is
// built is the cheapest to read.

/// The slots of all threads that have run a callback.
static SLOTS: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());
/// The number of the watchdog's latest sample. Begins at 1, because 0 in a slot means that no callback runs.
static SAMPLES: AtomicU64 = AtomicU64::new(1);
/// Whether the watchdog sleeps, so that the next callback must wake it.
#[cfg(not(test))]
static IDLE_SLEEP: IdleSleep = IdleSleep::new();
#[cfg(test)]
static IDLE_SLEEP: LazyLock<IdleSleep> = LazyLock::new(IdleSleep::new);
/// The watchdog's thread, to be woken.
static WATCHDOG: OnceLock<Thread> = OnceLock::new();
