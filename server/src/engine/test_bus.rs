//! An engine for tests: a broker and many servers in one process, in virtual time, with faults that a seed decides.
//!
//! Each server has a connection to the broker. What is sent on it arrives later: for one topic in order, and between
//! topics in any order. A connection that is cut loses what is under way, in both directions. A publication can be lost
//! or repeated on its way to a server, an answer can be lost, and the broker can lose what it has kept.
//!
//! What happens is decided by the seed and the calls of the test alone, so that a failure can be had again.

pub(crate) mod broker;
mod connection;
mod engine;
mod events;
pub(crate) mod faults;
mod message;
mod reply;
mod stream;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use self::broker::Broker;
use self::connection::Server;
use self::engine::BusEngine;
use self::events::Event;
use self::faults::Faults;
use crate::config;
use crate::engine::{Engine, Sink};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct TestBus(Mutex<Inner>);

struct Inner {
    now_ms: u64,
    random: fastrand::Rng,
    faults: Faults,
    broker: Broker,
    servers: Vec<Server>,
    /// What happens next, by its time and then in the order in which it was decided.
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    /// Until when the broker does nothing.
    broker_down_until: u64,
}

impl TestBus {
    /// A broker without servers. Topics have a history as `policies` says.
    pub(crate) fn new(seed: u64, policies: Arc<config::Topics>) -> Arc<TestBus> {
        let mut random = fastrand::Rng::with_seed(seed);
        let broker = Broker::new(random.u64(..), policies);
        Arc::new(TestBus(Mutex::new(Inner {
            now_ms: 0,
            random,
            faults: Faults::none(),
            broker,
            servers: Vec::new(),
            events: BTreeMap::new(),
            next_event: 0,
            broker_down_until: 0,
        })))
    }

    /// Connects one more server. Its number is that of the servers before it.
    pub(crate) fn connect(self: &Arc<Self>, sink: Weak<dyn Sink>) -> Arc<dyn Engine> {
        let mut inner = self.lock();
        let server = inner.servers.len();
        inner.servers.push(Server::new(sink));
        Arc::new(BusEngine::new(self, server))
    }

    /// Lets time pass: everything happens that is due by then.
    pub(crate) fn run_to(&self, time_ms: u64) {
        loop {
            let mut inner = self.lock();
            let due = inner
                .events
                .first_entry()
                .filter(|it| it.key().0 <= time_ms);
            let Some(((at, _), event)) = due.map(|it| it.remove_entry()) else {
                inner.now_ms = inner.now_ms.max(time_ms);
                return;
            };
            inner.now_ms = inner.now_ms.max(at);
            let effects = inner.happen(event);
            drop(inner);
            effects.into_iter().for_each(|effect| effect());
        }
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Cuts the connection of a server for a time.
    pub(crate) fn cut(&self, server: usize, ms: u64) {
        self.lock().cut(server, ms);
    }

    /// Ends a server for ever, without a word to the broker.
    pub(crate) fn kill(&self, server: usize) {
        let mut inner = self.lock();
        inner.servers[server].is_gone = true;
        inner.cut(server, u64::MAX / 4);
        inner.servers[server].waiting.clear();
    }

    /// Holds up what a server is sent for a time. Nothing is lost.
    pub(crate) fn stall(&self, server: usize, ms: u64) {
        let mut inner = self.lock();
        let until = inner.now_ms + ms;
        inner.servers[server].stalled_until = until;
    }

    /// Stops the broker for a time. All connections are cut.
    pub(crate) fn stop_broker(&self, ms: u64) {
        let mut inner = self.lock();
        inner.broker_down_until = inner.now_ms + ms;
        (0..inner.servers.len()).for_each(|server| inner.cut(server, ms));
    }

    /// Has the broker lose everything that it has kept, as a restart does.
    pub(crate) fn lose_everything(&self) {
        self.lock().broker.lose_everything();
    }

    /// Has topics have a history as `policies` says from now on.
    pub(crate) fn set_policies(&self, policies: Arc<config::Topics>) {
        let mut inner = self.lock();
        let now_ms = inner.now_ms;
        let deliveries = inner.broker.set_policies(policies, now_ms);
        inner.deliver(deliveries);
    }

    /// Keeps what the broker has now, for a failover.
    pub(crate) fn take_replica(&self) {
        self.lock().broker.take_replica();
    }

    /// Goes on with what [`take_replica`](Self::take_replica) has kept. What came after it is lost.
    pub(crate) fn fail_over(&self) {
        self.lock().broker.fail_over();
    }

    /// How often each kind of request has arrived at the broker: `subscribe`, `history` and so on.
    pub(crate) fn requests(&self, kind: &str) -> usize {
        self.lock().broker.requests(kind)
    }

    /// How many publications and changes the broker has sent to servers.
    pub(crate) fn deliveries(&self) -> usize {
        self.lock().broker.deliveries
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}
