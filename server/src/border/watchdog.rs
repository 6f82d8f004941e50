//! Sees callbacks that run too long.
//!
//! A callback holds the worker it runs on. If that worker also drives the I/O of the runtime, every
//! other session waits with it, until an idle worker is made to look: so a plain thread
//! [watches](thread), and wakes one. Here is what a callback says of itself, which every message
//! pays for.

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

use self::idle_sleep::IdleSleep;
pub(crate) use self::thread::start;
use super::context::Context;
use crate::runtime::wakes::{self, Kept};

/// The callbacks, by the names of the ABI.
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
}

impl Callback {
    /// Every callback, where its number says.
    const ALL: [Callback; 15] = [
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
    ];

    /// Its name in the ABI.
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

/// A running callback: made when it begins, dropped when it ends.
pub(crate) struct Watched {
    slot: &'static Slot,
}

/// What one thread is busy with. Written by that thread, read by the watchdog.
#[derive(Debug)]
struct Slot {
    /// The number of the watchdog's last look before the callback began; 0 is none.
    since: AtomicU64,
    callback: AtomicUsize,
    context: AtomicPtr<Context>,
    /// Whether the callback has said why it is about to fail.
    has_given_reason: AtomicBool,
    /// The tasks that the thread woke meanwhile.
    kept: &'static Kept,
}

/// Notes that `callback` of the handler `context` begins on this thread.
#[inline]
pub(crate) fn watch(context: &'static Context, callback: Callback) -> Watched {
    let slot = slot();
    slot.callback.store(callback as usize, Ordering::Relaxed);
    slot.context
        .store(std::ptr::from_ref(context).cast_mut(), Ordering::Relaxed);
    slot.has_given_reason.store(false, Ordering::Relaxed);
    slot.since
        .store(SAMPLES.load(Ordering::Relaxed), Ordering::Release);
    if IDLE_SLEEP.is_asleep() {
        wake_up();
    }
    Watched { slot }
}

impl Watched {
    /// Notes that another call of the same callback begins.
    #[inline]
    pub(crate) fn renew(&self) {
        let now = SAMPLES.load(Ordering::Relaxed);
        self.slot.since.store(now, Ordering::Release);
        self.slot.has_given_reason.store(false, Ordering::Relaxed);
    }
}

/// Notes that the callback on this thread, if there is one, says why it is about to fail.
pub(crate) fn note_reason_given() {
    if let Some(slot) = SLOT.get() {
        slot.has_given_reason.store(true, Ordering::Relaxed);
    }
}

/// The handler whose callback runs on this thread, and the callback's name. It may be asked in a
/// signal's handler.
pub(crate) fn running_callback() -> Option<(&'static Context, &'static str)> {
    let slot = SLOT.get()?;
    let is_running = slot.since.load(Ordering::Acquire) != 0;
    let context = slot.context().filter(|_| is_running)?;
    Some((context, slot.callback_name()))
}

/// Whether the callback that ran last on this thread has said why it is about to fail.
pub(crate) fn has_given_reason() -> bool {
    SLOT.get()
        .is_some_and(|slot| slot.has_given_reason.load(Ordering::Relaxed))
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.slot.since.store(0, Ordering::Release);
    }
}

impl Slot {
    fn context(&self) -> Option<&'static Context> {
        let context = self.context.load(Ordering::Relaxed);
        // SAFETY: the pointer was made from a `&'static Context` in `watch`, or is NULL.
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
    // Workers live as long as the runtime; a slot for each is all that is ever made.
    let slot: &'static Slot = Box::leak(Box::new(Slot {
        since: AtomicU64::new(0),
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
    static SLOT: Cell<Option<&'static Slot>> = const { Cell::new(None) };
}

#[cold]
fn wake_up() {
    if IDLE_SLEEP.take()
        && let Some(watchdog) = WATCHDOG.get()
    {
        watchdog.unpark();
    }
}

static SLOTS: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());
/// Looks since the start; begins at 1 because 0 means "in no callback".
static SAMPLES: AtomicU64 = AtomicU64::new(1);
#[cfg(not(test))]
static IDLE_SLEEP: IdleSleep = IdleSleep::new();
#[cfg(test)]
static IDLE_SLEEP: LazyLock<IdleSleep> = LazyLock::new(IdleSleep::new);
static WATCHDOG: OnceLock<Thread> = OnceLock::new();
