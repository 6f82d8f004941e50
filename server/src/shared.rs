//! What the road of a connection and the road of a change share, for the life of the process.

pub(crate) mod overload;
pub(crate) mod readiness;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use self::overload::Overload;
use self::readiness::ServerReadiness;
use crate::config::{self, Config, HandlerConfig, LogLevel};
use crate::engine::Origin;
use crate::engine::local::LocalEngine;
use crate::engine::local::settings::{Job, Settings, StoreLimits, TopicLimits};
use crate::engine::node::{Node, NodeParts};
use crate::metrics::Meters;
use crate::process::clock::Moment;
use crate::process::machine;
use crate::process::thread_pool::ThreadPool;
use crate::runtime::pacer::Pacer;
use crate::runtime::wakes;
use crate::runtime::workers::Workers;
use crate::sessions::descriptors::Descriptors;
use crate::sessions::held_memory::HeldMemory;
use crate::sessions::registry::Registry;
use crate::sessions::timer_wheel::TimerWheel;
use crate::sessions::topics::Topics;
use crate::ws::deflate::budget::Budget;

/// The one value that reaches every session, generation and handler.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What the operator decided, as it holds now.
    config: Arc<ArcSwap<Config>>,
    pub(crate) sessions: Arc<Registry>,
    /// The one door to what servers share, and to the subscribers of every topic.
    pub(crate) node: Arc<Node>,
    engine: Arc<LocalEngine>,
    /// Whether the engine may keep something, so that it is swept.
    is_swept: AtomicBool,
    pub(crate) workers: Workers,
    /// What is counted of the server's work.
    pub(crate) meters: Arc<Meters>,
    /// Wakes sessions for their deadlines.
    pub(crate) timer_wheel: Arc<TimerWheel>,
    /// Spreads the ends of sessions.
    pub(crate) ends: Arc<Pacer>,
    /// Spreads the handshakes of TLS.
    pub(crate) tls_handshakes: Arc<Pacer>,
    /// The memory that compression contexts may take.
    pub(crate) deflate_budget: Arc<Budget>,
    /// What sessions hold of messages that are incomplete or not sent.
    pub(crate) held_memory: Arc<HeldMemory>,
    /// How near the memory of the process is to its limit.
    pub(crate) overload: Arc<Overload>,
    /// How many files the system lets the process open.
    pub(crate) descriptors: Arc<Descriptors>,
    /// Whether new clients should come here.
    pub(crate) readiness: Arc<ServerReadiness>,
    /// Tells the admin address that the configuration has changed.
    pub(crate) config_changed: Notify,
    /// Threads that make the calls of generations' lives, and ask sessions to move.
    pub(crate) lifecycle: Arc<ThreadPool>,
    /// In the numbers of the ABI. Plugins read it in place, so it lives as long as the process.
    pub(crate) log_level: &'static AtomicU32,
}

impl Shared {
    /// `config` is replaced when the operator has changed it; [`apply`](Self::apply) follows each time.
    ///
    /// Jobs run in the runtime in which this is called. Without one, as in a trial, no job runs.
    pub(crate) fn new(config: Arc<ArcSwap<Config>>) -> Arc<Shared> {
        let now = config.load();
        let workers = Workers::of_this_runtime();
        let (engine, node) = start_engine(&config, &workers);
        let shared = Shared {
            sessions: Registry::new(),
            node,
            engine,
            is_swept: AtomicBool::new(false),
            workers,
            meters: Arc::default(),
            timer_wheel: TimerWheel::new(),
            ends: Arc::new(Pacer::new(ENDS_EACH_WORKER)),
            tls_handshakes: Arc::new(Pacer::new(TLS_HANDSHAKES_EACH_WORKER)),
            deflate_budget: Budget::new(now.limits.deflate_contexts_bytes_max),
            held_memory: Arc::new(HeldMemory::new(held_bytes_max(&now))),
            overload: Arc::default(),
            descriptors: Arc::new(Descriptors::now()),
            readiness: Arc::default(),
            config_changed: Notify::new(),
            lifecycle: ThreadPool::new(),
            log_level: Box::leak(Box::new(AtomicU32::new(0))),
            config: config.clone(),
        };
        shared.set_log_level(now.log_level);
        if !now.topics.is_plain() {
            shared.begin_sweeps();
        }
        Arc::new(shared)
    }

    /// Spreads ends and handshakes from now on, on so many workers.
    pub(crate) fn run_pacers(&self, workers: usize) {
        for pacer in [&self.ends, &self.tls_handshakes] {
            let pacer = pacer.clone();
            self.workers.spawn(async move { pacer.run(workers).await });
        }
    }

    /// Applies what has changed in the configuration.
    pub(crate) fn apply(&self) {
        self.config_changed.notify_one();
        let config = self.config.load();
        self.set_log_level(config.log_level);
        self.deflate_budget
            .set_max(config.limits.deflate_contexts_bytes_max);
        self.held_memory.set_max(held_bytes_max(&config));
        self.node.set_policies(config.topics.clone());
        self.engine.apply_settings();
        if !config.topics.is_plain() {
            self.begin_sweeps();
        }
    }

    /// Has the engine free what is too old, and the node follow the time, each second from now on. Only the first call has
    /// work to do. It comes before anything is kept.
    pub(crate) fn begin_sweeps(&self) {
        if self.is_swept.load(Ordering::Relaxed) || self.is_swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let (engine, node) = (self.engine.clone(), self.node.clone());
        self.workers.spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_PAUSE).await;
                while engine.sweep() {
                    wakes::yield_now().await;
                }
                let now_ms = Moment::now().ms_since(Moment::ORIGIN);
                for _ in node.tick(now_ms) {
                    wakes::yield_now().await;
                }
            }
        });
    }

    /// Sets the level that plugins see from now on.
    pub(crate) fn set_log_level(&self, level: LogLevel) {
        self.log_level.store(level as u32, Ordering::Relaxed);
    }

    /// The settings of a handler that hold now.
    pub(crate) fn settings_of(&self, handler: &str) -> HandlerConfig {
        self.config.load().handler(handler).clone()
    }

    /// The longest value of a member of a topic.
    pub(crate) fn presence_value_bytes_max(&self) -> usize {
        self.config.load().limits.presence_value_bytes_max
    }
}

/// What sessions may hold together.
fn held_bytes_max(config: &Config) -> u64 {
    match config.limits.buffered_bytes_max {
        0 => machine::usable_memory_bytes() / 4,
        bytes => bytes,
    }
}

/// The engine that the configuration names, and this server's side of it.
fn start_engine(config: &Arc<ArcSwap<Config>>, workers: &Workers) -> (Arc<LocalEngine>, Arc<Node>) {
    let policies = Arc::new(ArcSwap::new(config.load().topics.clone()));
    let random = RandomState::new();
    let mut secret = [0; 16];
    secret[..8].copy_from_slice(&random.hash_one(0).to_le_bytes());
    secret[8..].copy_from_slice(&random.hash_one(1).to_le_bytes());
    let parts = NodeParts {
        topics: Topics::new(),
        policies: policies.clone(),
        origin: Origin {
            node: 0,
            incarnation: random.hash_one(2),
        },
        secret,
        run: run_on(workers),
    };
    let mut local = None;
    let node = Node::new(parts, |sink| {
        let engine = LocalEngine::new(settings(policies, config, workers), sink);
        local = Some(engine.clone());
        engine
    });
    let engine = local.expect("the node has made its engine");
    (engine, node)
}

/// What the engine asks for whenever it needs it.
fn settings(
    policies: Arc<ArcSwap<config::Topics>>,
    config: &Arc<ArcSwap<Config>>,
    workers: &Workers,
) -> Settings {
    let (limits, handlers) = (config.clone(), config.clone());
    Settings {
        history: Box::new(move |topic| policies.load().policy(&topic.owner, &topic.name).history),
        limits: Box::new(move || TopicLimits::of(&limits.load().limits)),
        store: Box::new(move |handler| StoreLimits::of(&handlers.load().handler(handler).limits)),
        now: Box::new(Moment::recent),
        run_later: run_on(workers),
    }
}

/// Runs each job soon, on a worker.
fn run_on(workers: &Workers) -> Box<dyn Fn(Job) + Send + Sync> {
    let workers = workers.clone();
    Box::new(move |job| {
        workers.spawn(async move {
            // What the job wakes is woken after it.
            let _scope = wakes::defer();
            job();
        });
    })
}

/// The sessions that end between two looks for messages, for each worker. An end takes some 20 µs.
const ENDS_EACH_WORKER: usize = 8;
/// Like `ENDS_EACH_WORKER`. A handshake takes 100 µs, or half a millisecond with a key of RSA.
const TLS_HANDSHAKES_EACH_WORKER: usize = 1;
/// The time between two sweeps. What has an age or a time to live is freed within it.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
