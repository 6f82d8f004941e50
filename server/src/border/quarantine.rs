//! Takes a handler that fails too often out of service, and lets it back in a little at a time.
//!
//! A circuit breaker. Sessions that are open go on; only new ones are refused. After a pause one is
//! let in, and if nothing fails for a second two more, and so on. A failure meanwhile
//! begins a pause of twice the length.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::context::Context;

/// Whether sessions of one handler may begin.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    /// Whether not all may: one load for each session instead of the lock.
    is_on: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    breaker: Breaker,
    rule: Rule,
    /// Panics since the load.
    panics: u64,
}

/// When a handler is taken out of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// So many panics within the window are too many.
    pub(crate) panics_max: usize,
    pub(crate) window: Duration,
    /// How long no session is let in, at first.
    pub(crate) pause: Duration,
}

/// What is seen of a quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuarantineStatus {
    /// What stands for `serving` in the list of handlers.
    pub(crate) state: &'static str,
    pub(crate) panics: u64,
    /// How long until the next session may be let in, if not all are.
    pub(crate) next_try: Option<Duration>,
}

/// The state of the breaker. It is closed while the handler is in service.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Breaker {
    Closed {
        /// The times of the latest panics.
        panics: Vec<Instant>,
        /// How often it was opened, as far as that still counts.
        relapses: u32,
        /// When it was closed again.
        since: Option<Instant>,
    },
    Open {
        until: Instant,
        relapses: u32,
    },
    HalfOpen {
        /// 1, 2, 4, … sessions are let in.
        step: u32,
        let_in: u32,
        /// When the first session of this step was let in.
        since: Option<Instant>,
        relapses: u32,
    },
}

/// What happens to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BreakerEvent {
    /// A callback panicked.
    Panic,
    /// The handler's callbacks hold a quarter of the workers.
    Stuck,
    /// A session wants to begin; `is_held` while the handler's callbacks hold the workers.
    NewSession { is_held: bool },
    /// Somebody looks.
    StatusRead,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BreakerOutcome {
    Nothing,
    /// It was taken out of service.
    Opened,
    /// It failed again while it was tried.
    Reopened,
    /// A session is let in.
    LetIn,
    /// A session is let in, the first after a pause.
    LetInFirst,
    /// The session may try again after this time.
    Refused(Duration),
    /// It is in service again.
    Closed,
    /// It is in service again, and a session is let in.
    ClosedAndLetIn,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker::Closed {
            panics: Vec::new(),
            relapses: 0,
            since: None,
        }
    }
}

impl Breaker {
    /// What becomes of it, and what comes of the event.
    fn after(self, event: BreakerEvent, now: Instant, rule: &Rule) -> (Breaker, BreakerOutcome) {
        match (self, event) {
            (closed @ Breaker::Closed { .. }, BreakerEvent::NewSession { .. }) => {
                (closed, BreakerOutcome::LetIn)
            }
            (closed @ Breaker::Closed { .. }, BreakerEvent::StatusRead) => {
                (closed, BreakerOutcome::Nothing)
            }
            (
                Breaker::Closed {
                    mut panics,
                    relapses,
                    since,
                },
                event,
            ) => {
                panics.retain(|at| now.saturating_duration_since(*at) <= rule.window);
                panics.push(now);
                if event == BreakerEvent::Panic && panics.len() < rule.panics_max {
                    let closed = Breaker::Closed {
                        panics,
                        relapses,
                        since,
                    };
                    return (closed, BreakerOutcome::Nothing);
                }
                let is_relapse = since.is_some_and(|since| now - since < RELAPSE_WINDOW);
                let relapses = if is_relapse { relapses + 1 } else { 0 };
                (Breaker::open(now, rule, relapses), BreakerOutcome::Opened)
            }
            // Sessions that were open before go on, and may fail.
            (
                open @ Breaker::Open { .. },
                BreakerEvent::Panic | BreakerEvent::Stuck | BreakerEvent::StatusRead,
            ) => (open, BreakerOutcome::Nothing),
            (Breaker::Open { until, relapses }, BreakerEvent::NewSession { .. }) if now < until => {
                let open = Breaker::Open { until, relapses };
                (open, BreakerOutcome::Refused(until - now))
            }
            // It shows already that it is no better.
            (Breaker::Open { relapses, .. }, BreakerEvent::NewSession { is_held: true }) => {
                let pause = rule.pause_after(relapses);
                (
                    Breaker::open(now, rule, relapses),
                    BreakerOutcome::Refused(pause),
                )
            }
            (Breaker::Open { relapses, .. }, BreakerEvent::NewSession { is_held: false }) => {
                let half_open = Breaker::HalfOpen {
                    step: 0,
                    let_in: 1,
                    since: Some(now),
                    relapses,
                };
                (half_open, BreakerOutcome::LetInFirst)
            }
            (Breaker::HalfOpen { relapses, .. }, BreakerEvent::Panic | BreakerEvent::Stuck) => (
                Breaker::open(now, rule, relapses + 1),
                BreakerOutcome::Reopened,
            ),
            (
                Breaker::HalfOpen {
                    step,
                    let_in,
                    since,
                    relapses,
                },
                event @ (BreakerEvent::NewSession { .. } | BreakerEvent::StatusRead),
            ) => {
                let left = since.map(|since| (since + PROOF_TIME).saturating_duration_since(now));
                let has_passed = left.is_some_and(|left| left.is_zero());
                let (step, let_in, since) = match has_passed {
                    true => (step + 1, 0, None),
                    false => (step, let_in, since),
                };
                let is_new_session = event != BreakerEvent::StatusRead;
                if step == STEPS {
                    let closed = Breaker::Closed {
                        panics: Vec::new(),
                        relapses,
                        since: Some(now),
                    };
                    let outcome = match is_new_session {
                        true => BreakerOutcome::ClosedAndLetIn,
                        false => BreakerOutcome::Closed,
                    };
                    return (closed, outcome);
                }
                let has_room = let_in < 1 << step;
                let (let_in, since, outcome) = match (is_new_session, has_room) {
                    (false, _) => (let_in, since, BreakerOutcome::Nothing),
                    (true, true) => (let_in + 1, since.or(Some(now)), BreakerOutcome::LetIn),
                    (true, false) => (
                        let_in,
                        since,
                        BreakerOutcome::Refused(left.unwrap_or(PROOF_TIME)),
                    ),
                };
                let half_open = Breaker::HalfOpen {
                    step,
                    let_in,
                    since,
                    relapses,
                };
                (half_open, outcome)
            }
        }
    }

    fn open(now: Instant, rule: &Rule, relapses: u32) -> Breaker {
        Breaker::Open {
            until: now + rule.pause_after(relapses),
            relapses,
        }
    }
}

impl Rule {
    fn pause_after(&self, relapses: u32) -> Duration {
        self.pause.saturating_mul(1 << relapses.min(DOUBLINGS_MAX))
    }
}

impl Context {
    /// From now on these rules hold.
    pub(crate) fn set_quarantine_rule(&self, rule: Rule) {
        self.quarantine.lock().rule = rule;
    }

    /// Whether not every session may begin.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.quarantine.is_on.load(Ordering::Relaxed)
    }

    /// Whether a session may begin now; otherwise how long until one may.
    pub(crate) fn let_in(&self) -> Result<(), Duration> {
        if !self.is_quarantined() {
            return Ok(());
        }
        let is_held = self.throttle.is_on();
        match self.happens(BreakerEvent::NewSession { is_held }) {
            BreakerOutcome::Refused(after) => Err(after),
            _ => Ok(()),
        }
    }

    /// Counts a panic; too many within a short time take the handler out of service.
    pub(crate) fn record_panic(&self) {
        self.happens(BreakerEvent::Panic);
    }

    /// Takes the handler out of service because its callbacks hold the workers. Answers whether it
    /// was in service until now.
    pub(crate) fn quarantine_stuck(&self) -> bool {
        self.happens(BreakerEvent::Stuck) == BreakerOutcome::Opened
    }

    /// What is to be seen of it now.
    pub(crate) fn quarantine_status(&self) -> QuarantineStatus {
        self.happens(BreakerEvent::StatusRead);
        let inner = self.quarantine.lock();
        let now = Instant::now();
        let (state, next_try) = match &inner.breaker {
            Breaker::Closed { .. } => ("serving", None),
            Breaker::Open { until, .. } => {
                let left = until.saturating_duration_since(now);
                ("quarantined", Some(left))
            }
            Breaker::HalfOpen {
                step,
                let_in,
                since,
                ..
            } => {
                let left = since.map_or(Duration::ZERO, |since| {
                    (since + PROOF_TIME).saturating_duration_since(now)
                });
                let has_room = *let_in < 1 << *step;
                let left = if has_room { Duration::ZERO } else { left };
                ("half_open", Some(left))
            }
        };
        QuarantineStatus {
            state,
            panics: inner.panics,
            next_try,
        }
    }

    fn happens(&self, event: BreakerEvent) -> BreakerOutcome {
        let mut inner = self.quarantine.lock();
        inner.panics += u64::from(event == BreakerEvent::Panic);
        let breaker = std::mem::take(&mut inner.breaker);
        let (breaker, outcome) = breaker.after(event, Instant::now(), &inner.rule);
        let is_on = !matches!(breaker, Breaker::Closed { .. });
        self.quarantine.is_on.store(is_on, Ordering::Relaxed);
        let pause_ms = match breaker {
            Breaker::Open { relapses, .. } => inner.rule.pause_after(relapses).as_millis() as u64,
            Breaker::Closed { .. } | Breaker::HalfOpen { .. } => 0,
        };
        inner.breaker = breaker;
        let panics = inner.panics;
        drop(inner);
        let (handler, generation) = (&self.handler, self.generation);
        match outcome {
            BreakerOutcome::Opened if event == BreakerEvent::Panic => error!(
                %handler,
                generation,
                panics,
                pause_ms,
                "handler quarantined: it panics too often; after a pause one session is let in, and a new file or table brings it back at once"
            ),
            BreakerOutcome::Reopened => error!(
                %handler,
                generation,
                panics,
                pause_ms,
                "handler quarantined again: it failed while it was tried"
            ),
            BreakerOutcome::LetInFirst => warn!(
                %handler,
                generation,
                "quarantined handler is tried: one session is let in, then more"
            ),
            BreakerOutcome::Closed | BreakerOutcome::ClosedAndLetIn => {
                info!(%handler, generation, "handler is in service again");
            }
            BreakerOutcome::Opened
            | BreakerOutcome::Nothing
            | BreakerOutcome::LetIn
            | BreakerOutcome::Refused(_) => {}
        }
        outcome
    }
}

impl Quarantine {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long nothing must fail before more sessions are let in.
const PROOF_TIME: Duration = Duration::from_secs(1);
/// Steps of 1, 2, 4, … sessions until all are let in.
const STEPS: u32 = 5;
/// A handler that is quarantined so soon after it came back has a longer pause.
const RELAPSE_WINDOW: Duration = Duration::from_secs(60);
/// So often the pause is doubled.
const DOUBLINGS_MAX: u32 = 6;

#[cfg(test)]
mod tests;
