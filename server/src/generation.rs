//! One loaded version of a plugin: who is on it, how it fares, and how its life ends.
//!
//! A generation serves until it is superseded or removed; it then stays for the sessions that it
//! has, and when the last of them is gone it shuts down and is retired: mapped, counted, silent.

mod count;
mod lifecycle;
pub(crate) mod lineage;
pub(crate) mod owners;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::{debug, error, info, warn};
use wsh::abi;

use self::count::Count;
use self::lifecycle::Lifecycle;
use self::lineage::Lineage;
use crate::config::{HandlerConfig, SessionLimits};
use crate::plugin::context::Context;
use crate::plugin::inspect::About;
use crate::plugin::library::Plugin;

/// One loaded version of a plugin.
#[derive(Debug)]
pub(crate) struct Generation {
    /// From 1, per handler.
    pub(crate) number: u64,
    pub(crate) handler: Arc<str>,
    /// Called by [`owners`] and for the generation's own life only.
    plugin: Plugin,
    pub(crate) context: &'static Context,
    pub(crate) provenance: Provenance,
    settings: ArcSwap<HandlerConfig>,
    /// Those of the settings, shared by the sessions that begin now.
    session_limits: ArcSwap<SessionLimits>,
    stays: Count,
    lineage: Arc<Lineage>,
    panics: Mutex<VecDeque<Instant>>,
    lifecycle: Lifecycle,
    has_given_back: AtomicBool,
}

/// What a generation was loaded from.
#[derive(Clone, Debug)]
pub(crate) struct Provenance {
    pub(crate) path: PathBuf,
    /// Of the file's bytes.
    pub(crate) hash: u64,
    /// The handler's table of the configuration, as the handler got it.
    pub(crate) config_json: String,
    pub(crate) about: About,
}

/// Where a generation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// New sessions begin on it.
    Serving,
    /// It was superseded or removed, and has sessions.
    Draining,
    /// It has none any more and has been, or is being, shut down.
    Retired,
}

/// Why a session cannot begin on a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoEntry {
    /// It is retired; the route leads elsewhere by now.
    Over,
    /// Its threads are all taken.
    Full,
}

impl Generation {
    pub(crate) fn new(
        plugin: Plugin,
        context: &'static Context,
        provenance: Provenance,
        settings: HandlerConfig,
        lineage: Arc<Lineage>,
    ) -> Arc<Generation> {
        Arc::new(Generation {
            number: context.generation,
            handler: context.handler.clone(),
            plugin,
            context,
            provenance,
            session_limits: ArcSwap::from_pointee(settings.session.clone()),
            settings: ArcSwap::from_pointee(settings),
            stays: Count::default(),
            lineage,
            panics: Mutex::default(),
            lifecycle: Lifecycle::default(),
            has_given_back: AtomicBool::new(false),
        })
    }

    /// What holds for its sessions from now on.
    pub(crate) fn settings(&self) -> Arc<HandlerConfig> {
        self.settings.load_full()
    }

    /// The limits of a session that begins now.
    pub(crate) fn session_limits(&self) -> Arc<SessionLimits> {
        self.session_limits.load_full()
    }

    /// Changes what holds for sessions that begin from now on.
    pub(crate) fn set_settings(&self, settings: HandlerConfig) {
        self.session_limits
            .store(Arc::new(settings.session.clone()));
        self.settings.store(Arc::new(settings));
    }

    /// A place for one handshake and the session that may come of it.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Stay, NoEntry> {
        if self.is_blocking() {
            let max = self.settings.load().blocking_sessions_max;
            let taken = &self.lineage.blocking_sessions;
            if taken.fetch_add(1, Ordering::Relaxed) >= max {
                taken.fetch_sub(1, Ordering::Relaxed);
                return Err(NoEntry::Full);
            }
        }
        if self.stays.enter() {
            return Ok(Stay(self.clone()));
        }
        self.give_thread_back();
        Err(NoEntry::Over)
    }

    /// Handshakes and sessions on it.
    pub(crate) fn sessions(&self) -> usize {
        self.stays.get()
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> State {
        match (self.stays.is_over(), self.stays.is_ending()) {
            (true, _) => State::Retired,
            (false, true) => State::Draining,
            (false, false) => State::Serving,
        }
    }

    /// Tells the handler that clients come; `then` runs when it knows.
    pub(crate) fn begin_serving(self: &Arc<Self>, then: impl FnOnce() + Send + 'static) {
        let generation = self.clone();
        self.lifecycle.run("serving", move || {
            generation.plugin.serving(true);
            then();
        });
    }

    /// No session begins on it any more: it was superseded or removed. It shuts down when it is
    /// empty.
    pub(crate) fn end_serving(self: &Arc<Self>) {
        let generation = self.clone();
        self.lifecycle
            .run("serving", move || generation.plugin.serving(false));
        if self.stays.end() {
            self.shut_down();
        }
    }

    /// The lifecycle callback that has been running for longer than `limit`, told once.
    pub(crate) fn overdue(&self, limit: Duration) -> Option<&'static str> {
        self.lifecycle.overdue(limit)
    }

    /// Whether no lifecycle callback runs or waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.lifecycle.is_idle()
    }

    /// Counts a panic; too many within a short time take the handler out of service.
    pub(crate) fn record_panic(&self) {
        let settings = self.settings.load();
        let window = Duration::from_millis(settings.panics_window_ms);
        let now = Instant::now();
        let mut panics = self.panics.lock().unwrap_or_else(PoisonError::into_inner);
        panics.push_back(now);
        while panics.front().is_some_and(|first| now - *first > window) {
            panics.pop_front();
        }
        if panics.len() >= settings.panics_max as usize && self.context.quarantine() {
            error!(
                handler = %self.handler,
                generation = self.number,
                panics = panics.len(),
                "handler quarantined: it panics too often; a new file or table brings it back"
            );
        }
    }

    /// Whether new connections are answered 503 until the handler's file or table changes.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.context.is_quarantined()
    }

    /// Whether it is retired and none of its code runs any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.state() == State::Retired && self.context.has_ended() && self.context.threads() == 0
    }

    /// The same; the first who is told so gives back what the process has too few of.
    pub(crate) fn is_silent(&self) -> bool {
        let is_silent = self.is_gone();
        // Else it may be entered again by a thread that nobody counts.
        let may_end = is_silent && !self.provenance.about.may_start_threads;
        if may_end && !self.has_given_back.swap(true, Ordering::Relaxed) {
            let keys = self.plugin.give_back_keys();
            debug!(handler = %self.handler, generation = self.number, keys, "thread keys given back");
        }
        is_silent
    }

    /// Whether its handler takes messages in parts.
    pub(crate) fn takes_parts(&self) -> bool {
        self.plugin.vtable.flags & abi::STREAM != 0
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
        self.give_thread_back();
        if self.stays.leave() {
            self.shut_down();
        }
    }

    /// Runs once: `Count` says so to one caller only.
    fn shut_down(self: &Arc<Self>) {
        let generation = self.clone();
        self.lifecycle.run("shutdown", move || {
            generation.plugin.shutdown();
            generation.context.end();
            let threads = generation.context.threads();
            let (handler, number) = (&generation.handler, generation.number);
            info!(%handler, generation = number, threads, "generation retired");
            // With threads it is asked again, whenever the keeper looks.
            if !generation.is_silent() {
                warn!(%handler, generation = number, threads, "threads of a retired generation still run");
            }
        });
    }
}

/// A place on a generation: while it lasts, the generation is not shut down.
#[derive(Debug)]
pub(crate) struct Stay(Arc<Generation>);

impl Stay {
    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.0
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.leave();
    }
}
