//! Takes a handler that fails too often out of service, and back into service a few sessions at a time.
//!
//! It is a circuit breaker. Sessions that are open go on; only new ones are refused. After a pause one session is let in.
//! When nothing fails for a second, two more are let in, then four, and so on. A failure meanwhile begins a pause of twice
//! the length.
//!
//! An operator can take a handler out of service too. Then it stays out until the operator takes it back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::handler_context::HandlerContext;

/// Decides whether sessions of one handler may begin.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    /// Whether some may not: one load for each session, instead of the lock.
    is_on: AtomicBool,
    state: Mutex<BreakerState>,
}

/// What the lock protects.
#[derive(Debug, Default)]
struct BreakerState {
    breaker: Breaker,
    rule: Rule,
    /// Panics since the load.
    panics: u64,
}

/// When a handler is taken out of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The number of panics within the window that are too many.
    pub(crate) panics_max: usize,
    pub(crate) window: Duration,
    /// How long no session is let in at first. Each relapse doubles it.
    pub(crate) pause: Duration,
}

/// How a handler's quarantine stands, for the list of handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuarantineStatus {
    /// `serving`, `quarantined` or `half_open`.
    pub(crate) state: &'static str,
    pub(crate) panics: u64,
    /// How long until the next session may be let in, if not all are. `None` as well where only the operator can.
    pub(crate) next_try: Option<Duration>,
    /// Whether the operator has taken it out of service.
    pub(crate) is_withdrawn: bool,
}

impl QuarantineStatus {
    /// What keeps sessions from beginning: `operator` or `failures`.
    pub(crate) fn by(&self) -> Option<&'static str> {
        match (self.state, self.is_withdrawn) {
            ("serving", _) => None,
            (_, true) => Some("operator"),
            (_, false) => Some("failures"),
        }
    }
}

/// Why a session may not begin, and when a client may try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotLetIn {
    pub(crate) after: Duration,
    /// Whether the operator has taken the handler out of service. It has failed too often otherwise.
    pub(crate) by_operator: bool,
}

/// The state of the breaker. It is closed while the handler is in service, as the breaker of an electric circuit is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Breaker {
    Closed {
        /// The times of the latest panics.
        panics: Vec<Instant>,
        /// How often it opened again soon after it had closed.
        relapses: u32,
        /// When it closed again; `None` before it ever opened.
        since: Option<Instant>,
    },
    Open {
        until: Instant,
        relapses: u32,
    },
    HalfOpen {
        /// Step 0 lets 1 session in, step 1 lets 2 in, step 2 lets 4 in, and so on.
        step: u32,
        /// How many sessions this step has let in.
        let_in: u32,
        /// When the first session of this step was let in.
        since: Option<Instant>,
        relapses: u32,
    },
    /// The operator has taken the handler out of service.
    Withdrawn,
}

/// What the breaker learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BreakerEvent {
    /// A callback panicked.
    Panic,
    /// The handler's callbacks hold a quarter of the workers.
    Stuck,
    /// A session wants to begin. `is_throttled`: the handler's callbacks hold the workers.
    NewSession { is_throttled: bool },
    /// The state is asked for.
    StatusRead,
    /// The operator takes the handler out of service.
    Withdraw,
    /// The operator takes it back into service, whatever took it out.
    Release,
}

/// What follows from an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BreakerOutcome {
    Nothing,
    /// The handler is taken out of service.
    Opened,
    /// The handler failed while it was tried, and is taken out of service again.
    Reopened,
    /// A session is let in.
    LetIn,
    /// A session is let in, the first after a pause.
    LetInFirst,
    /// The session is refused; it may try again after this time.
    Refused(Duration),
    /// The session is refused, as long as the operator wants it.
    RefusedByOperator,
    /// The handler is in service again.
    Closed,
    /// The handler is in service again, and the session is let in.
    ClosedAndLetIn,
    /// The operator has taken the handler out of service.
    Withdrawn,
    /// The operator has taken it back into service.
    Released,
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
    /// The state after an event, and what follows from the event.
    fn after(self, event: BreakerEvent, now: Instant, rule: &Rule) -> (Breaker, BreakerOutcome) {
        match (self, event) {
            (
                Breaker::Withdrawn | Breaker::Open { .. } | Breaker::HalfOpen { .. },
                BreakerEvent::Release,
            ) => (Breaker::default(), BreakerOutcome::Released),
            (closed @ Breaker::Closed { .. }, BreakerEvent::Release) => {
                (closed, BreakerOutcome::Nothing)
            }
            (Breaker::Withdrawn, BreakerEvent::NewSession { .. }) => {
                (Breaker::Withdrawn, BreakerOutcome::RefusedByOperator)
            }
            (Breaker::Withdrawn, _) => (Breaker::Withdrawn, BreakerOutcome::Nothing),
            (_, BreakerEvent::Withdraw) => (Breaker::Withdrawn, BreakerOutcome::Withdrawn),
            (closed @ Breaker::Closed { .. }, BreakerEvent::NewSession { .. }) => {
                (closed, BreakerOutcome::LetIn)
            }
            (closed @ Breaker::Closed { .. }, BreakerEvent::StatusRead) => {
                (closed, BreakerOutcome::Nothing)
            }
            (
                Breaker::Closed {
                    panics,
                    relapses,
                    since,
                },
                BreakerEvent::Panic | BreakerEvent::Stuck,
            ) => Breaker::after_failure(panics, relapses, since, event, now, rule),
            // Sessions that were open before go on, and may fail.
            (
                open @ Breaker::Open { .. },
                BreakerEvent::Panic | BreakerEvent::Stuck | BreakerEvent::StatusRead,
            ) => (open, BreakerOutcome::Nothing),
            (Breaker::Open { until, relapses }, BreakerEvent::NewSession { .. }) if now < until => {
                let open = Breaker::Open { until, relapses };
                (open, BreakerOutcome::Refused(until - now))
            }
            // The handler still holds the workers, so it is not tried.
            (Breaker::Open { relapses, .. }, BreakerEvent::NewSession { is_throttled: true }) => {
                let pause = rule.pause_after(relapses);
                (
                    Breaker::open(now, rule, relapses),
                    BreakerOutcome::Refused(pause),
                )
            }
            (
                Breaker::Open { relapses, .. },
                BreakerEvent::NewSession {
                    is_throttled: false,
                },
            ) => {
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
                BreakerEvent::NewSession { .. } | BreakerEvent::StatusRead,
            ) => {
                let is_new_session = event != BreakerEvent::StatusRead;
                Breaker::after_trial_step(step, let_in, since, relapses, is_new_session, now)
            }
        }
    }

    /// What follows a failure of a handler in service: a single panic is counted only.
    fn after_failure(
        mut panics: Vec<Instant>,
        relapses: u32,
        since: Option<Instant>,
        event: BreakerEvent,
        now: Instant,
        rule: &Rule,
    ) -> (Breaker, BreakerOutcome) {
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

    /// What follows while a handler is tried: after a second without a failure, the next step or the end.
    fn after_trial_step(
        step: u32,
        let_in: u32,
        since: Option<Instant>,
        relapses: u32,
        is_new_session: bool,
        now: Instant,
    ) -> (Breaker, BreakerOutcome) {
        let left = since.map(|since| (since + PROOF_TIME).saturating_duration_since(now));
        let has_passed = left.is_some_and(|left| left.is_zero());
        let (step, let_in, since) = match has_passed {
            true => (step + 1, 0, None),
            false => (step, let_in, since),
        };
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
            (true, false) => {
                let wait = left.unwrap_or(PROOF_TIME);
                (let_in, since, BreakerOutcome::Refused(wait))
            }
        };
        let half_open = Breaker::HalfOpen {
            step,
            let_in,
            since,
            relapses,
        };
        (half_open, outcome)
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

impl HandlerContext {
    /// Has these rules hold from now on.
    pub(crate) fn set_quarantine_rule(&self, rule: Rule) {
        self.quarantine.lock().rule = rule;
    }

    /// Whether some sessions may not begin.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.quarantine.is_on.load(Ordering::Relaxed)
    }

    /// Lets a session begin.
    pub(crate) fn let_in(&self) -> Result<(), NotLetIn> {
        if !self.is_quarantined() {
            return Ok(());
        }
        let is_throttled = self.throttle.is_on();
        match self.happens(BreakerEvent::NewSession { is_throttled }) {
            BreakerOutcome::Refused(after) => Err(NotLetIn {
                after,
                by_operator: false,
            }),
            BreakerOutcome::RefusedByOperator => Err(NotLetIn {
                after: WITHDRAWN_RETRY,
                by_operator: true,
            }),
            _ => Ok(()),
        }
    }

    /// Counts a panic. Too many within the window take the handler out of service.
    pub(crate) fn record_panic(&self) {
        self.meters.panics.fetch_add(1, Ordering::Relaxed);
        self.happens(BreakerEvent::Panic);
    }

    /// Takes the handler out of service because its callbacks hold the workers. True if it was in service until now.
    pub(crate) fn quarantine_stuck(&self) -> bool {
        self.happens(BreakerEvent::Stuck) == BreakerOutcome::Opened
    }

    /// Takes the handler out of service for the operator.
    pub(crate) fn withdraw(&self) {
        self.happens(BreakerEvent::Withdraw);
    }

    /// Takes the handler back into service for the operator. False if it was in service.
    pub(crate) fn release(&self) -> bool {
        self.happens(BreakerEvent::Release) == BreakerOutcome::Released
    }

    /// How the quarantine stands now.
    pub(crate) fn quarantine_status(&self) -> QuarantineStatus {
        self.happens(BreakerEvent::StatusRead);
        let known = self.quarantine.lock();
        let now = Instant::now();
        let (state, next_try) = match &known.breaker {
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
            Breaker::Withdrawn => ("quarantined", None),
        };
        QuarantineStatus {
            state,
            panics: known.panics,
            next_try,
            is_withdrawn: known.breaker == Breaker::Withdrawn,
        }
    }

    /// Tells the breaker of an event, and logs what follows.
    fn happens(&self, event: BreakerEvent) -> BreakerOutcome {
        let mut state = self.quarantine.lock();
        state.panics += u64::from(event == BreakerEvent::Panic);
        let breaker = std::mem::take(&mut state.breaker);
        let (breaker, outcome) = breaker.after(event, Instant::now(), &state.rule);
        let is_on = !matches!(breaker, Breaker::Closed { .. });
        self.quarantine.is_on.store(is_on, Ordering::Relaxed);
        let pause_ms = match breaker {
            Breaker::Open { relapses, .. } => state.rule.pause_after(relapses).as_millis() as u64,
            Breaker::Closed { .. } | Breaker::HalfOpen { .. } | Breaker::Withdrawn => 0,
        };
        state.breaker = breaker;
        let panics = state.panics;
        drop(state);
        let (handler, generation) = (&self.handler, self.generation);
        match outcome {
            BreakerOutcome::Opened if event == BreakerEvent::Panic => error!(
                %handler,
                generation,
                panics,
                pause_ms,
                "handler quarantined: it had `panics_max` panics within `panics_window_ms`; after `quarantine_ms` one session is let in, and a new file or table brings it back at once"
            ),
            BreakerOutcome::Reopened => error!(
                %handler,
                generation,
                panics,
                pause_ms,
                "handler quarantined again: it failed while it was tried; each time the pause is twice as long, and begins with `quarantine_ms`"
            ),
            BreakerOutcome::LetInFirst => warn!(
                %handler,
                generation,
                "quarantined handler is tried: one session is let in, then more"
            ),
            BreakerOutcome::Closed | BreakerOutcome::ClosedAndLetIn => {
                info!(%handler, generation, "handler is in service again");
            }
            BreakerOutcome::Withdrawn => warn!(
                %handler,
                generation,
                "handler quarantined by the operator: no new session begins until `wshd release`"
            ),
            BreakerOutcome::Released => {
                info!(%handler, generation, "handler is in service again: released by the operator");
            }
            BreakerOutcome::Opened
            | BreakerOutcome::Nothing
            | BreakerOutcome::LetIn
            | BreakerOutcome::Refused(_)
            | BreakerOutcome::RefusedByOperator => {}
        }
        outcome
    }
}

impl Quarantine {
    fn lock(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long no failure must come before more sessions are let in.
const PROOF_TIME: Duration = Duration::from_secs(1);
/// The number of steps, of 1, 2, 4, 8 and 16 sessions, until all are let in.
const STEPS: u32 = 5;
/// A handler that opens the breaker within this time after it closed has relapsed.
const RELAPSE_WINDOW: Duration = Duration::from_secs(60);
/// After how long a client may try again while the operator keeps the handler out of service. The end of that is not known.
const WITHDRAWN_RETRY: Duration = Duration::from_secs(30);
/// How often the pause is doubled at most.
const DOUBLINGS_MAX: u32 = 6;

#[cfg(test)]
mod tests;
