//! The watchdog's thread: looks at what runs on every thread, and does what has to be done.
//!
//! A callback that is late has an idle worker woken, which drives the I/O of the runtime and runs
//! the tasks that the callback woke. For each worker that is stuck in one, a worker of the reserve
//! goes on in its place, and a handler whose callbacks hold too many has its other sessions wait, so
//! that it never takes them all. Past its budget, a callback is named in the log.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{debug, error, warn};

use super::observed_thread::ObservedThread;
use super::sample_rate::{Observation, SLOW, SampleRate};
use super::{IDLE_SLEEP, SAMPLES, SLOTS, Slot, WATCHDOG};
use crate::border::context::Context;
use crate::process::clock;
use crate::runtime;
use crate::runtime::reserve::{Reserve, Share};

/// Starts the thread that watches the callbacks of a runtime's workers; once a process. Answers how many
/// workers work from now on; the others become the reserve.
pub(crate) fn start(workers: Handle) -> usize {
    let usual = runtime::usual_workers(&workers);
    let per_handler = runtime::workers_of_one_handler(&workers);
    let reserve = Reserve::new(workers, usual);
    let mut watchdog = Watchdog {
        share: Share::new(reserve.workers),
        reserve,
        workers: per_handler,
        seen: Vec::new(),
        held: Vec::new(),
        ticks: 0,
    };
    let spawned = std::thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || {
            // It sleeps nearly always, and is of use only while it is on time.
            runtime::go_first();
            watchdog.run();
        });
    match spawned {
        Ok(thread) => drop(WATCHDOG.set(thread.thread().clone())),
        Err(error) => error!(%error, "no watchdog: a slow callback will hold up other sessions"),
    }
    usual
}

/// What the watchdog's thread knows.
struct Watchdog {
    reserve: Reserve,
    share: Share,
    /// How many workers one handler may hold.
    workers: usize,
    /// What was seen in each of the slots.
    seen: Vec<ObservedThread>,
    /// The handlers whose sessions wait.
    held: Vec<&'static Context>,
    /// How often it was seen to what is stuck.
    ticks: u64,
}

impl Watchdog {
    fn run(&mut self) {
        let mut rate = SampleRate::Slow { idle: 0 };
        let mut relieved_at = Instant::now();
        loop {
            match rate.rest() {
                Some(rest) => std::thread::sleep(rest),
                None => sleep_until_a_callback_begins(),
            }
            clock::keep();
            SAMPLES.fetch_add(1, Ordering::Relaxed);
            let now = Instant::now();
            let observation = self.look(now);
            if now - relieved_at >= SLOW {
                relieved_at = now;
                self.relieve_stuck_workers(now);
            }
            rate = rate.after(observation, !self.held.is_empty());
        }
    }

    /// Looks at every thread. A callback that is late gets an idle worker to go on beside it.
    fn look(&mut self, now: Instant) -> Observation {
        let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
        self.seen.resize_with(slots.len(), ObservedThread::default);
        let mut most = Observation::Nothing;
        for (slot, seen) in slots.iter().zip(&mut self.seen) {
            let observation = seen.look(slot.since.load(Ordering::Acquire), now);
            if observation == Observation::TurnedLate || observation == Observation::Late {
                let woken = slot.kept.take();
                if observation == Observation::TurnedLate || !woken.is_empty() {
                    self.reserve.wake_worker(woken);
                }
            }
            most = most.max(observation);
        }
        most
    }

    /// Sees to workers that are stuck, and to callbacks that are past their budget.
    fn relieve_stuck_workers(&mut self, now: Instant) {
        self.ticks += 1;
        let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stuck: Vec<(&'static Context, Duration)> = Vec::new();
        let mut over_budget: Vec<&'static Context> = Vec::new();
        for (slot, seen) in slots.iter().zip(&mut self.seen) {
            let Some((age, context)) = seen.age(now).zip(slot.context()) else {
                continue;
            };
            if age >= STUCK {
                stuck.push((context, age));
            }
            if age >= BUDGET {
                over_budget.push(context);
                if seen.take_unlogged() {
                    log_over_budget(slot, context, age);
                }
            }
        }
        drop(slots);
        // Before others go on, who would take them too is held back.
        throttle(&stuck, self.workers, &mut self.held);
        let free = (self.reserve.usual + self.reserve.workers).saturating_sub(stuck.len());
        let is_held = !self.held.is_empty();
        let work = if is_held {
            // Another handler may do the same at any moment.
            free.div_ceil(2)
        } else {
            self.reserve.usual.min(free)
        };
        let rest = self.share.towards(free - work, is_held, self.ticks);
        self.reserve.rest(rest);
        for _ in &stuck {
            self.reserve.wake_worker(Vec::new());
        }
        self.quarantine(&over_budget);
    }

    /// Takes each handler out of service whose callbacks hold a quarter of the workers for too long.
    fn quarantine(&self, over_budget: &[&'static Context]) {
        for context in over_budget {
            let stuck = over_budget
                .iter()
                .filter(|other| std::ptr::eq(**other, *context))
                .count();
            if stuck * 2 >= self.workers && context.quarantine_stuck() {
                error!(
                    handler = %context.handler,
                    generation = context.generation,
                    workers = stuck,
                    "handler quarantined: its callbacks hold a quarter of the workers"
                );
            }
        }
    }
}

fn sleep_until_a_callback_begins() {
    clock::stop();
    if IDLE_SLEEP.try_begin(is_any_running) {
        std::thread::park_timeout(SLEEP_MAX);
        IDLE_SLEEP.end();
    }
}

/// Whether any thread is in a callback.
fn is_any_running() -> bool {
    let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    slots
        .iter()
        .any(|slot| slot.since.load(Ordering::Acquire) != 0)
}

fn log_over_budget(slot: &Slot, context: &Context, age: Duration) {
    warn!(
        handler = %context.handler,
        generation = context.generation,
        callback = slot.callback_name(),
        elapsed_ms = age.as_millis() as u64,
        "callback runs past its budget and holds a worker"
    );
}

/// Has the sessions of each handler wait that holds half of all workers, or a quarter for
/// long; where several hold so many together, those of each of them. Lets those go on whose
/// handler no longer does.
fn throttle(
    stuck: &[(&'static Context, Duration)],
    workers: usize,
    held: &mut Vec<&'static Context>,
) {
    let is_over = |context: &Context| {
        let own = stuck
            .iter()
            .filter(|(other, _)| std::ptr::eq(*other, context));
        let long = own.clone().filter(|(_, age)| *age >= LONG);
        let holds_some = own.count() > 0;
        holds_some && stuck.len() >= workers || long.count() * 2 >= workers
    };
    for (context, _) in stuck {
        if is_over(context) && context.throttle.set(true) {
            debug!(handler = %context.handler, generation = context.generation, "its callbacks hold the workers: its other sessions wait");
            held.push(*context);
        }
    }
    held.retain(|context| is_over(context) || !context.throttle.set(false));
}

/// After so long a worker is stuck, and another takes its place.
const STUCK: Duration = Duration::from_millis(10);
/// After so long half of that number are too many for one handler.
const LONG: Duration = Duration::from_millis(100);
/// After so long the callback is named.
const BUDGET: Duration = Duration::from_secs(1);
/// The watchdog looks at least so often.
const SLEEP_MAX: Duration = Duration::from_secs(1);
