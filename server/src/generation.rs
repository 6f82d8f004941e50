//! One loaded version of a plugin: what refers to it, how it fares, and how its life ends.
//!
//! A generation serves until it is superseded or removed. It then drains: it stays for the sessions
//! that it has. When the last one has ended it is shut down and retired. Its image stays mapped.

mod closable_counter;
mod engine_side;
pub(crate) mod life;
mod lifecycle;
pub(crate) mod lineage;
pub(crate) mod owners;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::{debug, info, warn};
use wsh::abi;

use self::closable_counter::ClosableCounter;
use self::life::{Life, LifeAction, LifeEvent};
use self::lifecycle::Lifecycle;
use self::lineage::Lineage;
use crate::border::handler_context::HandlerContext;
use crate::border::library::Plugin;
use crate::border::quarantine::Rule;
use crate::config::{HandlerConfig, SessionLimits};
use crate::plugin::inspect::PluginInfo;

/// One loaded version of a plugin.
#[derive(Debug)]
pub(crate) struct Generation {
    /// From 1 on, for each handler.
    pub(crate) number: u64,
    pub(crate) handler: Arc<str>,
    /// Called by [`owners`] and for the generation's own life only.
    plugin: Plugin,
    pub(crate) context: &'static HandlerContext,
    pub(crate) provenance: Provenance,
    settings: ArcSwap<HandlerConfig>,
    /// The limits in `settings`, shared by the sessions that begin now.
    session_limits: ArcSwap<SessionLimits>,
    references: ClosableCounter,
    /// How many of the references are for calls that belong to no session.
    calls: AtomicUsize,
    lineage: Arc<Lineage>,
    lifecycle: Lifecycle,
    life: Mutex<Life>,
}

/// What a generation was loaded from.
#[derive(Clone, Debug)]
pub(crate) struct Provenance {
    pub(crate) path: PathBuf,
    /// The hash of the file's bytes.
    pub(crate) hash: u64,
    /// The handler's table of the configuration, as the handler got it.
    pub(crate) config_json: String,
    pub(crate) about: PluginInfo,
}

/// Why a session cannot begin on a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoEntry {
    /// It is closed. The route leads to another generation, or nowhere, by now.
    Closed,
    /// The handler has as many sessions as it may.
    Full(SessionsLimit),
}

/// Which limit of the sessions of one handler is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionsLimit {
    /// `sessions_max`
    All,
    /// `blocking_sessions_max`
    Blocking,
}

impl SessionsLimit {
    /// The key of the configuration.
    pub(crate) fn key(self) -> &'static str {
        match self {
            SessionsLimit::All => "sessions_max",
            SessionsLimit::Blocking => "blocking_sessions_max",
        }
    }
}

impl Generation {
    pub(crate) fn new(
        plugin: Plugin,
        context: &'static HandlerContext,
        provenance: Provenance,
        settings: HandlerConfig,
        lineage: Arc<Lineage>,
    ) -> Arc<Generation> {
        context.set_quarantine_rule(quarantine_rule(&settings));
        context.set_ask_limits(&settings);
        Arc::new(Generation {
            number: context.generation,
            handler: context.handler.clone(),
            plugin,
            context,
            provenance,
            session_limits: ArcSwap::from_pointee(settings.session.clone()),
            settings: ArcSwap::from_pointee(settings),
            references: ClosableCounter::default(),
            calls: AtomicUsize::new(0),
            lineage,
            lifecycle: Lifecycle::default(),
            life: Mutex::default(),
        })
    }

    /// The handler's settings that hold now.
    pub(crate) fn settings(&self) -> Arc<HandlerConfig> {
        self.settings.load_full()
    }

    /// The limits of a session that begins now.
    pub(crate) fn session_limits(&self) -> Arc<SessionLimits> {
        self.session_limits.load_full()
    }

    /// Changes the settings of sessions that begin from now on.
    pub(crate) fn set_settings(&self, settings: HandlerConfig) {
        self.context.set_quarantine_rule(quarantine_rule(&settings));
        self.context.set_ask_limits(&settings);
        self.session_limits
            .store(Arc::new(settings.session.clone()));
        self.settings.store(Arc::new(settings));
    }

    /// A reference for one handshake and the session that it may become.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<GenerationRef, NoEntry> {
        // The newest settings are those of the newest generation, which is the one that is entered.
        let limits = &self.settings.load().limits;
        let sessions = self.lineage.sessions.load(Ordering::Relaxed);
        if limits
            .sessions_max
            .is_some_and(|max| sessions as u64 >= max)
        {
            return Err(NoEntry::Full(SessionsLimit::All));
        }
        if self.is_blocking() {
            let max = limits.blocking_sessions_max;
            let taken = &self.lineage.blocking_sessions;
            if taken.fetch_add(1, Ordering::Relaxed) >= max {
                taken.fetch_sub(1, Ordering::Relaxed);
                return Err(NoEntry::Full(SessionsLimit::Blocking));
            }
        }
        let entered = self.enter_moved();
        if entered.is_none() {
            self.give_thread_back();
        }
        entered.ok_or(NoEntry::Closed)
    }

    /// A reference for a session that moves here from another generation of its handler, which no limit keeps out. `None`
    /// if the generation is closed.
    pub(crate) fn enter_moved(self: &Arc<Self>) -> Option<GenerationRef> {
        self.references.enter().then(|| {
            self.lineage.sessions.fetch_add(1, Ordering::Relaxed);
            GenerationRef(self.clone())
        })
    }

    /// The number of handshakes and sessions that refer to it.
    pub(crate) fn sessions(&self) -> usize {
        let calls = self.calls.load(Ordering::Relaxed);
        self.references.get().saturating_sub(calls)
    }

    /// The stage of its life.
    pub(crate) fn life(&self) -> Life {
        *self.lock_life()
    }

    /// Calls `serving` with 1. `then` runs when that has returned.
    pub(crate) fn begin_serving(self: &Arc<Self>, then: impl FnOnce() + Send + 'static) {
        self.happens(LifeEvent::Serve);
        self.call("serving", then);
    }

    /// Closes it to new sessions: it was superseded or removed, or never serves. It is shut down when
    /// nothing refers to it. Only the first call counts.
    pub(crate) fn end_serving(self: &Arc<Self>) {
        self.happens(LifeEvent::End);
        if self.references.close() {
            self.happens(LifeEvent::Empty);
        }
    }

    /// The lifecycle callback that has been running for longer than `limit`. Each call is told once.
    pub(crate) fn overdue(&self, limit: Duration) -> Option<&'static str> {
        self.lifecycle.overdue(limit)
    }

    /// Whether no lifecycle callback runs or waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.lifecycle.is_idle()
    }

    /// Whether it failed too often, so that not all new sessions are let in.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.context.is_quarantined()
    }

    /// Whether it is retired and none of its code runs.
    pub(crate) fn is_gone(&self) -> bool {
        self.life().is_retired() && self.context.threads() == 0
    }

    /// Like `is_gone`. Also logs threads that still run, and frees the plugin's thread keys when none does.
    pub(crate) fn look(self: &Arc<Self>) -> bool {
        let threads = self.context.threads();
        self.happens(LifeEvent::Look { threads });
        self.life() == Life::Silent
    }

    /// Whether its handler takes messages in parts.
    pub(crate) fn takes_parts(&self) -> bool {
        self.plugin.vtable.flags & abi::STREAM != 0
    }

    /// Whether its handler's own `handshake` judges the `Origin`.
    pub(crate) fn judges_origins(&self) -> bool {
        self.provenance.about.flags & abi::ORIGIN_ANY != 0
    }

    fn is_blocking(&self) -> bool {
        self.provenance.about.flags & abi::BLOCKING != 0
    }

    fn give_thread_back(&self) {
        if self.is_blocking() {
            self.lineage
                .blocking_sessions
                .fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn leave(self: &Arc<Self>) {
        self.lineage.sessions.fetch_sub(1, Ordering::Relaxed);
        self.give_thread_back();
        self.end_reference();
    }

    fn end_reference(self: &Arc<Self>) {
        if self.references.leave() {
            self.happens(LifeEvent::Empty);
        }
    }

    /// Notes an event of its life, and performs the action that follows.
    fn happens(self: &Arc<Self>, event: LifeEvent) {
        let mut life = self.lock_life();
        let (next, action) = life.after(event, Instant::now());
        *life = next;
        drop(life);
        let generation = self.clone();
        let (handler, number) = (&self.handler, self.number);
        match action {
            None => {}
            Some(LifeAction::TellServing) => {
                self.call("serving", move || {
                    generation.plugin.serving(true);
                    generation.begin_hearing();
                });
            }
            Some(LifeAction::TellNotServing) => {
                self.call("serving", move || generation.plugin.serving(false));
            }
            Some(LifeAction::ShutDown) => self.call("shutdown", move || {
                generation.close_to_engine();
                generation.plugin.shutdown();
                generation.context.end();
                generation.happens(LifeEvent::ShutDown);
                // While threads run, the reconciler looks again.
                generation.look();
            }),
            Some(LifeAction::LogRetired) => {
                info!(%handler, generation = number, threads = self.context.threads(), "generation retired");
            }
            Some(LifeAction::LogThreads) => {
                let threads = self.context.threads();
                warn!(%handler, generation = number, threads, "threads of a retired generation still run");
            }
            // In other plugins a thread that the server does not count may still run.
            Some(LifeAction::FreeThreadKeys) if !self.provenance.about.may_start_threads => {
                let keys = self.plugin.free_thread_keys();
                debug!(%handler, generation = number, keys, "thread keys given back");
            }
            Some(LifeAction::FreeThreadKeys) => {}
        }
    }

    /// Makes a lifecycle call, after those that were asked for before.
    fn call(&self, callback: &'static str, call: impl FnOnce() + Send + 'static) {
        let threads = &self.context.shared.lifecycle;
        self.lifecycle.run(threads, callback, call);
    }

    fn lock_life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn quarantine_rule(settings: &HandlerConfig) -> Rule {
    Rule {
        panics_max: settings.limits.panics_max as usize,
        window: Duration::from_millis(settings.limits.panics_window_ms),
        pause: Duration::from_millis(settings.limits.quarantine_ms),
    }
}

/// A reference to a generation, which is not shut down as long as there is one.
#[derive(Debug)]
pub(crate) struct GenerationRef(Arc<Generation>);

impl GenerationRef {
    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.0
    }
}

impl Drop for GenerationRef {
    fn drop(&mut self) {
        self.0.leave();
    }
}
