//! The watchdog's thread: samples which callback runs on each thread, and acts on those that run too long.
//!
//! For a callback that is late, an idle worker is woken. It drives the I/O of the runtime, and runs the tasks that the
//! callback woke. For each worker that is stuck in a callback, a worker of the reserve goes to work. A handler whose
//! callbacks hold too many workers has its other sessions wait, so that it never takes all workers. A callback past its
//! budget is logged.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{debug, error, warn};

use super::observed_thread::ObservedThread;
use super::sample_rate::{SLOW, SampleRate, ThreadObservation};
use super::{IDLE_SLEEP, SAMPLES, SLOTS, Slot, WATCHDOG};
use crate::border::handler_context::HandlerContext;
use crate::process::clock;
use crate::runtime;
use crate::runtime::reserve::{Reserve, RestingWorkers};
use crate::runtime::wakes::Deferred;

/// Starts the thread that watches the callbacks of a runtime's workers; once a process. Returns how many workers work from
/// now on. The others become the reserve.
pub(crate) fn start(workers: Handle) -> usize {
    let usual = runtime::usual_workers(&workers);
    let per_handler = runtime::workers_of_one_handler(&workers);
    let reserve = Reserve::new(workers, usual);
    let mut watchdog = Watchdog {
        share: RestingWorkers::new(reserve.workers),
        reserve,
        workers: per_handler,
        seen: Vec::new(),
        throttled: Vec::new(),
        ticks: 0,
    };
    let spawned = std::thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || {
            // The thread sleeps nearly always, and is of use only if it is on time.
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
    share: RestingWorkers,
    /// How many workers one handler may hold.
    workers: usize,
    /// What the samples showed of each slot's thread.
    seen: Vec<ObservedThread>,
    /// The handlers that are throttled, so that their sessions wait.
    throttled: Vec<&'static HandlerContext>,
    /// How often [`relieve_stuck_workers`](Self::relieve_stuck_workers) was called.
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
            let observation = self.sample(now);
            if now - relieved_at >= SLOW {
                relieved_at = now;
                self.relieve_stuck_workers(now);
            }
            rate = rate.after(observation, !self.throttled.is_empty());
        }
    }

    /// Samples every thread. For each callback that is late, an idle worker is woken.
    fn sample(&mut self, now: Instant) -> ThreadObservation {
        let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
        self.seen.resize_with(slots.len(), ObservedThread::default);
        let mut most = ThreadObservation::Nothing;
        for (slot, seen) in slots.iter().zip(&mut self.seen) {
            let since = slot.since.load(Ordering::Acquire);
            let observation = seen.observe(since, now);
            if observation == ThreadObservation::TurnedLate {
                slot.note_late(since, seen.age(now).unwrap_or_default());
            }
            if observation == ThreadObservation::TurnedLate
                || observation == ThreadObservation::Late
            {
                let woken = slot.kept.take_over();
                if observation == ThreadObservation::TurnedLate || !woken.is_empty() {
                    self.reserve.wake_worker(woken);
                }
            }
            most = most.max(observation);
        }
        most
    }

    /// Has other workers go on for those that are stuck, throttles handlers, and logs callbacks past their budget.
    fn relieve_stuck_workers(&mut self, now: Instant) {
        self.ticks += 1;
        let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stuck: Vec<(&'static HandlerContext, Duration)> = Vec::new();
        let mut over_budget: Vec<&'static HandlerContext> = Vec::new();
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
        // Handlers are throttled before other workers go on, which their sessions would take too.
        throttle(&stuck, self.workers, &mut self.throttled);
        let free = (self.reserve.usual + self.reserve.workers).saturating_sub(stuck.len());
        let is_any_throttled = !self.throttled.is_empty();
        let work = if is_any_throttled {
            // Half of the free workers rest, because another handler may hold workers at any moment too.
            free.div_ceil(2)
        } else {
            self.reserve.usual.min(free)
        };
        let rest = self
            .share
            .towards(free - work, is_any_throttled, self.ticks);
        self.reserve.rest(rest);
        for _ in &stuck {
            self.reserve.wake_worker(Deferred::default());
        }
        self.quarantine(&over_budget);
    }

    /// Takes each handler out of service whose callbacks hold a quarter of the workers for too long.
    fn quarantine(&self, over_budget: &[&'static HandlerContext]) {
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
                    "handler quarantined: its callbacks hold a quarter of the workers; after `quarantine_ms` one session is let in"
                );
            }
        }
    }
}

/// Sleeps until a callback begins, a second at most.
fn sleep_until_a_callback_begins() {
    clock::stop();
    if IDLE_SLEEP.try_begin(does_any_callback_run) {
        std::thread::park_timeout(SLEEP_MAX);
        IDLE_SLEEP.end();
    }
}

/// Whether a callback runs on any thread.
fn does_any_callback_run() -> bool {
    let slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    slots
        .iter()
        .any(|slot| slot.since.load(Ordering::Acquire) != 0)
}

fn log_over_budget(slot: &Slot, context: &HandlerContext, age: Duration) {
    warn!(
        handler = %context.handler,
        generation = context.generation,
        callback = slot.callback_name(),
        elapsed_ms = age.as_millis() as u64,
        "callback runs past its budget and holds a worker"
    );
}

/// Throttles each handler whose callbacks hold too many workers, and ends the throttle of the others in `throttled`.
///
/// `workers`, which is half of all, are too many for one handler, and half of that number for longer than [`LONG`]. Where
/// several handlers hold `workers` together, each of them is throttled.
fn throttle(
    stuck: &[(&'static HandlerContext, Duration)],
    workers: usize,
    throttled: &mut Vec<&'static HandlerContext>,
) {
    let is_over = |context: &HandlerContext| {
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
            throttled.push(*context);
        }
    }
    throttled.retain(|context| is_over(context) || !context.throttle.set(false));
}

/// A worker is stuck after this time in one callback, and another takes its place.
const STUCK: Duration = Duration::from_millis(10);
/// A handler may hold half of its workers no longer than this.
const LONG: Duration = Duration::from_millis(100);
/// A callback is logged after this time.
const BUDGET: Duration = Duration::from_secs(1);
/// The longest sleep of the watchdog.
const SLEEP_MAX: Duration = Duration::from_secs(1);
