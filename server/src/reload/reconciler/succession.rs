//! One generation follows another: the swap, and what becomes of the older ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Reconciler;
use crate::config::ReloadPolicy;
use crate::generation::Generation;
use crate::reload::draining::Draining;
use crate::reload::rolling_move::RollingMove;
use crate::reload::{Change, Order};

/// What follows when `serving` of the new generation has returned.
#[derive(Debug)]
pub(super) struct Succession {
    /// The generation that served before.
    pub(super) from: Option<Arc<Generation>>,
    pub(super) to: Arc<Generation>,
    /// The move of the sessions of all older generations.
    pub(super) to_move: Option<RollingMove>,
    /// The time at which it follows although `serving` has not returned.
    pub(super) at_the_latest: Instant,
}

impl Reconciler {
    /// Swaps a generation in: from here on connections begin on it.
    pub(super) fn swap(&mut self, name: &str, generation: Arc<Generation>, began: Instant) {
        let Some(handler) = self.deployments.get_mut(name) else {
            return;
        };
        handler.refusal = None;
        let old = handler.serving.replace(generation.clone());
        // Before the table: a session that begins on the old generation from now on sees the newer one.
        handler.lineage.set_newest(Some(generation.clone()));
        generation.open_to_node();
        self.swap_table();
        let elapsed = began.elapsed();
        self.shared.meters.handler_loads.count("loaded");
        info!(
            handler = name,
            generation = generation.number,
            version = %generation.provenance.about.version,
            toolchain = %generation.provenance.about.toolchain,
            elapsed_ms = elapsed.as_millis() as u64,
            "handler loaded"
        );
        self.waiters.note(Change {
            handler: name.to_owned(),
            outcome: Ok(generation.number),
            elapsed,
            moved: None,
        });
        if let Some(old) = &old {
            self.drain(name, old.clone());
        }
        let to_move = self.plan_move(name, &generation);
        if to_move.is_some() {
            let now = Instant::now();
            self.waiters.expect_move(name, generation.number, now);
        }
        self.succeed(name);
        let at_the_latest = Instant::now() + SERVING_PATIENCE;
        if let Some(handler) = self.deployments.get_mut(name) {
            handler.succession = Some(Succession {
                from: old,
                to: generation.clone(),
                to_move,
                at_the_latest,
            });
        }
        self.due(at_the_latest);
        let (orders, name) = (self.orders.clone(), name.to_owned());
        let number = generation.number;
        generation.begin_serving(move || {
            let _ = orders.send(Order::Serves {
                handler: name,
                generation: number,
            });
        });
    }

    /// Notes that `serving` of this generation has returned.
    pub(super) fn serves(&mut self, name: &str, generation: u64) {
        let succession = self
            .deployments
            .get(name)
            .and_then(|it| it.succession.as_ref());
        if succession.is_some_and(|it| it.to.number == generation) {
            self.succeed(name);
        }
    }

    /// Ends the service of the generation before, and begins the move of the sessions.
    ///
    /// Called as well when the new code does not return from `serving` in time: an old generation does not
    /// wait for ever for code that is not its own.
    pub(super) fn succeed(&mut self, name: &str) {
        let handler = self.deployments.get_mut(name);
        let Some(succession) = handler.and_then(|it| it.succession.take()) else {
            return;
        };
        if let Some(from) = succession.from {
            from.end_serving();
        }
        let number = succession.to.number;
        if let Some(to_move) = succession.to_move.filter(|_| succession.to.is_newest()) {
            let (orders, handler) = (self.orders.clone(), name.to_owned());
            to_move.begin(move |moved| {
                let _ = orders.send(Order::Moved {
                    handler,
                    generation: number,
                    moved,
                });
            });
        }
    }

    /// The move of the sessions that older generations still have. `None` if none is to move; then the
    /// number of generations is bounded at once.
    fn plan_move(&mut self, name: &str, to: &Arc<Generation>) -> Option<RollingMove> {
        let handler = self.deployments.get(name)?;
        let from: Vec<_> = handler
            .draining
            .iter()
            .map(|old| old.generation.clone())
            .collect();
        if !from.is_empty() && to.moves_sessions() {
            let to = to.clone();
            return Some(RollingMove { from, to });
        }
        self.bound_generations(name);
        None
    }

    /// Ends the service of a generation whose handler was removed.
    pub(super) fn supersede(&mut self, name: &str, old: Arc<Generation>) {
        if let Some(handler) = self.deployments.get(name) {
            handler.lineage.set_newest(None);
        }
        self.succeed(name);
        old.end_serving();
        self.drain(name, old);
        self.bound_generations(name);
    }

    /// Keeps an old generation until none of its code runs any more.
    fn drain(&mut self, name: &str, generation: Arc<Generation>) {
        let settings = generation.settings();
        let Some(handler) = self.deployments.get_mut(name) else {
            return;
        };
        let now = Instant::now();
        let deadline = settings.limits.drain_timeout_s;
        let deadline = deadline.map(|seconds| now + Duration::from_secs(seconds));
        let mut old = Draining::new(generation, deadline);
        match settings.reload {
            ReloadPolicy::Close => old.begin_closing(now),
            // A session that does not move finishes on the old code, or closes at the deadline.
            ReloadPolicy::Migrate | ReloadPolicy::Drain => {}
        }
        handler.draining.push_back(old);
        self.due(Instant::now());
    }

    /// Closes the sessions of the oldest generations, if more have sessions than the configuration allows.
    pub(super) fn bound_generations(&mut self, name: &str) {
        let max = self
            .config
            .load()
            .handler(name)
            .limits
            .generations_max
            .max(1);
        let Some(handler) = self.deployments.get_mut(name) else {
            return;
        };
        let serving = usize::from(handler.serving.is_some());
        let crowded = handler.draining.iter_mut().filter(|old| old.has_sessions());
        let mut crowded: Vec<&mut Draining> = crowded.collect();
        let over = (crowded.len() + serving).saturating_sub(max);
        for old in crowded
            .iter_mut()
            .take(over)
            .filter(|old| !old.is_closing())
        {
            warn!(
                handler = name,
                generation = old.generation.number,
                sessions = old.generation.sessions(),
                "more generations than `generations_max` have sessions, the oldest sessions close"
            );
            old.begin_closing(Instant::now());
        }
        self.due(Instant::now());
    }
}

/// How long an old generation serves on while `serving` of the new one runs.
const SERVING_PATIENCE: Duration = Duration::from_secs(1);
