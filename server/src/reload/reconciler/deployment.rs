//! What is deployed under one handler's name: the generation that serves, and older ones that have not
//! ended.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tracing::error;

use super::refused::RefusalReason;
use super::succession::Succession;
use super::turns::LOOK_AT_LOADS;
use super::{Reconciler, STOP_LIMIT};
use crate::generation::Generation;
use crate::generation::lineage::Lineage;
use crate::listing::{Listed, Listing};
use crate::reload::Order;
use crate::reload::belief::Observation;
use crate::reload::draining::Draining;
use crate::reload::load::{Finished, Loading};
use crate::reload::scan;

/// What is deployed under one handler's name.
#[derive(Debug, Default)]
pub(super) struct Deployment {
    /// The file that answers at its route.
    pub(super) path: Option<PathBuf>,
    /// The generation that new connections begin on.
    pub(super) serving: Option<Arc<Generation>>,
    /// The load under way.
    pub(super) loading: Option<Loading>,
    /// Why its file is not what serves.
    pub(super) refusal: Option<RefusalReason>,
    /// Superseded or removed generations of which something still runs, the oldest first.
    pub(super) draining: VecDeque<Draining>,
    retired: usize,
    numbers: u64,
    pub(super) lineage: Arc<Lineage>,
    /// What follows when `serving` of the newest generation has returned.
    pub(super) succession: Option<Succession>,
}

impl Deployment {
    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Whether it is listed: there is a generation, a load, or a reason for a refusal.
    fn is_there(&self) -> bool {
        let is_coming = self.loading.is_some() || self.refusal.is_some();
        is_coming || self.serving.is_some() || !self.draining.is_empty()
    }

    /// Its entry in the list of handlers.
    pub(super) fn listed(&self, name: &str) -> Listed {
        Listed {
            name: name.to_owned(),
            serving: self.serving.clone(),
            old: self
                .draining
                .iter()
                .map(|old| old.generation.clone())
                .collect(),
            retired: self.retired,
            refusal: self.refusal.as_ref().map(|it| it.reason.clone()),
            is_of_directory: self.file().is_some_and(scan::is_of_directory),
        }
    }

    /// The file that serves, or that is refused.
    fn file(&self) -> Option<&Path> {
        let refused = self.refusal.as_ref().map(|it| &*it.path);
        self.path.as_deref().or(refused)
    }

    fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.serving
            .iter()
            .chain(self.draining.iter().map(|old| &old.generation))
    }
}

impl Reconciler {
    /// Notes the end of a load: swaps its generation in, or refuses its file.
    pub(super) fn finish(&mut self, finished: Finished) {
        let Finished {
            context,
            provenance,
            outcome,
        } = finished;
        let name = context.handler.to_string();
        let Some(handler) = self.deployments.get_mut(&name) else {
            return;
        };
        let is_awaited = |loading: &mut Loading| loading.number == context.generation;
        let loading = handler.loading.take_if(is_awaited);
        let plugin = match (outcome, &loading) {
            (Ok(plugin), _) => plugin,
            (Err(refusal), Some(loading)) => {
                return self.refuse(Some(&name), &provenance.path, &refusal, loading.began);
            }
            // The load was given up, and that was said.
            (Err(_), None) => return,
        };
        let lineage = handler.lineage.clone();
        let settings = self.config.load().handler(&name).clone();
        let generation = Generation::new(plugin, context, provenance, settings, lineage);
        match loading {
            Some(loading) if self.files.contains_key(&loading.path) => {
                let now = Instant::now();
                let action = self.observe(&loading.path, &Observation::Loaded, now);
                self.perform(&loading.path, action, now);
                self.swap(&name, generation, loading.began);
            }
            // The file was removed meanwhile, or the load was given up. The generation exists and
            // never serves, so it is shut down.
            _ => {
                generation.end_serving();
                handler.draining.push_back(Draining::new(generation, None));
            }
        }
    }

    /// Does what is due: gives up loads and calls that are late, goes on with successions, and closes
    /// sessions of old generations.
    pub(super) fn advance_generations(&mut self, now: Instant) {
        let mut next = None;
        let (mut given_up, mut succeeding) = (Vec::new(), Vec::new());
        self.shared.lifecycle.tend();
        for (name, handler) in &mut self.deployments {
            match &handler.succession {
                Some(succession) if succession.at_the_latest <= now => {
                    succeeding.push(name.clone())
                }
                Some(succession) => next = next.into_iter().chain([succession.at_the_latest]).min(),
                None => {}
            }
            let limit =
                Duration::from_millis(self.config.load().handler(name).limits.init_timeout_ms);
            if let Some(loading) = &handler.loading {
                if let Some(refusal) = loading.overdue(limit) {
                    loading.give_up();
                    given_up.push((name.clone(), loading.path.clone(), refusal, loading.began));
                    handler.loading = None;
                } else {
                    next = next.into_iter().chain([now + LOOK_AT_LOADS]).min();
                }
            }
            for generation in handler.generations() {
                if let Some(callback) = generation.overdue(limit) {
                    error!(
                        handler = name,
                        generation = generation.number,
                        callback,
                        "callback has not returned within `init_timeout_ms`; its thread is given up"
                    );
                }
            }
            for old in &mut handler.draining {
                next = next.into_iter().chain(old.close_next(now)).min();
            }
            let before = handler.draining.len();
            handler.draining.retain(|old| !old.is_over());
            handler.retired += before - handler.draining.len();
        }
        for name in succeeding {
            self.succeed(&name);
        }
        for (name, path, refusal, began) in given_up {
            self.refuse(Some(&name), &path, &refusal, began);
        }
        if let Some(next) = next {
            self.due(next);
        }
        self.observe_freed_routes();
    }

    /// The number of loads that keep a processor busy.
    pub(super) fn loads_under_way(&self) -> usize {
        let loading = self
            .deployments
            .values()
            .filter_map(|handler| handler.loading.as_ref());
        loading
            .filter(|loading| !loading.is_waiting_for_plugin())
            .count()
    }

    /// Publishes the list of handlers.
    pub(super) fn publish(&self) {
        let handlers = self.deployments.iter().filter(|(_, it)| it.is_there());
        let listed = handlers.map(|(name, handler)| handler.listed(name));
        self.router.set_listing(Listing::new(listed.collect()));
    }

    /// Tells files that wait for their route when it is free.
    fn observe_freed_routes(&mut self) {
        self.observe_each(&Observation::RouteFreed, |this, file| {
            let deployment = || this.deployments.get(&file.name);
            file.belief.awaits_route() && deployment().is_none_or(|it| it.path.is_none())
        });
    }

    /// Shuts every generation down and waits for it, not longer than a plugin may take.
    pub(super) fn stop(mut self, inbox: &mpsc::Receiver<Order>) {
        let mut limit = Duration::ZERO;
        self.router.swap(crate::router::Table::default());
        for (name, handler) in &mut self.deployments {
            let own = self.config.load().handler(name).limits.init_timeout_ms;
            limit = limit.max(Duration::from_millis(own));
            handler.lineage.set_newest(None);
            if let Some(serving) = handler.serving.take() {
                handler.draining.push_back(Draining::new(serving, None));
            }
            // An older one may still wait for the newest to return from `serving`.
            handler.generations().for_each(|it| it.end_serving());
        }
        self.files.clear();
        let deadline = Instant::now() + limit.min(STOP_LIMIT);
        while self.is_busy() && Instant::now() < deadline {
            // A load that ends now has no file any more, so its generation is shut down.
            if let Ok(Order::Loaded(finished)) = inbox.recv_timeout(Duration::from_millis(1)) {
                self.finish(finished);
            }
        }
        self.stage.remove();
    }

    /// Whether a load or a lifecycle call of a generation is under way.
    fn is_busy(&self) -> bool {
        self.deployments.values().any(|handler| {
            let mut generations = handler.generations();
            handler.loading.is_some()
                // A generation with sessions is not waited for: they had their time to close.
                || generations.any(|it| {
                    it.sessions() == 0 && !it.life().is_retired() || !it.is_idle()
                })
        })
    }
}
