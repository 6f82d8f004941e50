//! An engine for tests: a broker and many servers in one process, in virtual time, with faults that a seed decides.
//!
//! Each server has a connection to the broker. What is sent on it arrives later: for one topic in order, and between
//! topics in any order. A connection that is cut loses what is under way, in both directions. A publication can be lost
//! or repeated on its way to a server, an answer can be lost, and the broker can lose what it has kept.
//!
//! What happens is decided by the seed and the calls of the test alone, so that a failure can be had again.

pub(crate) mod broker;
mod engine;
pub(crate) mod faults;
mod message;
mod reply;
mod stream;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use self::broker::Broker;
use self::engine::BusEngine;
use self::faults::Faults;
use self::message::{Delivery, Request};
use self::reply::{Reply, Waiting};
use crate::config;
use crate::engine::{Engine, Failure, Sink, TopicName};

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

/// The connection of one server.
struct Server {
    sink: Weak<dyn Sink>,
    /// Whether the server believes that it is connected.
    is_up: bool,
    /// Rises with each connection. What belongs to an earlier one is lost.
    connection: u64,
    /// The connection that is cut. Nothing arrives on it, whether the server knows or not.
    is_cut: bool,
    cut_until: u64,
    is_gone: bool,
    waiting: HashMap<u64, Waiting>,
    next_request: u64,
    /// When the last thing that was sent for a topic arrives, in each direction.
    last_out: HashMap<TopicName, u64>,
    last_in: HashMap<TopicName, u64>,
    stalled_until: u64,
}

/// Something that happens at a time.
enum Event {
    /// A request of a server arrives at the broker.
    Arrives {
        server: usize,
        connection: u64,
        request: Request,
        id: u64,
    },
    /// Something arrives at a server.
    Delivered {
        server: usize,
        connection: u64,
        delivery: Delivery,
    },
    /// An answer arrives at a server.
    Answered {
        server: usize,
        connection: u64,
        id: u64,
        reply: Result<Reply, Failure>,
    },
    TimedOut {
        server: usize,
        id: u64,
    },
    /// A server finds that its connection is cut.
    Noticed {
        server: usize,
        connection: u64,
    },
    /// A server tries to connect.
    Connects {
        server: usize,
    },
    /// The broker looks for servers that are gone for as long as a lease.
    LeaseEnds {
        server: usize,
        connection: u64,
    },
}

/// A call into a server, which is made without the lock.
type Effect = Box<dyn FnOnce() + Send>;

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

    pub(crate) fn now_ms(&self) -> u64 {
        self.lock().now_ms
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

impl Server {
    fn new(sink: Weak<dyn Sink>) -> Server {
        Server {
            sink,
            is_up: true,
            connection: 1,
            is_cut: false,
            cut_until: 0,
            is_gone: false,
            waiting: HashMap::new(),
            next_request: 1,
            last_out: HashMap::new(),
            last_in: HashMap::new(),
            stalled_until: 0,
        }
    }
}

impl Inner {
    /// Sends a request to the broker. Answers false if the server knows that it is not connected.
    fn send(
        &mut self,
        server: usize,
        request: Request,
        waiting: Option<Waiting>,
    ) -> Result<(), Option<Waiting>> {
        let now = self.now_ms;
        let it = &mut self.servers[server];
        if !it.is_up {
            return Err(waiting);
        }
        let id = it.next_request;
        it.next_request += 1;
        let connection = it.connection;
        if let Some(waiting) = waiting {
            it.waiting.insert(id, waiting);
            self.schedule(now + TIMEOUT_MS, Event::TimedOut { server, id });
        }
        let times = match request {
            Request::Publish(_) if self.faults.repeats_request(&mut self.random) => 2,
            _ => 1,
        };
        for _ in 0..times {
            let delay = self.faults.delay(&mut self.random);
            let it = &mut self.servers[server];
            let last = it.last_out.entry(request.topic().clone()).or_default();
            *last = (*last).max(now + delay);
            let (at, request) = (*last, request.clone());
            self.schedule(
                at,
                Event::Arrives {
                    server,
                    connection,
                    request,
                    id,
                },
            );
        }
        Ok(())
    }

    fn schedule(&mut self, at: u64, event: Event) {
        let number = self.next_event;
        self.next_event += 1;
        self.events.insert((at, number), event);
    }

    fn cut(&mut self, server: usize, ms: u64) {
        let now = self.now_ms;
        let notice = now + self.random.u64(0..NOTICE_MS);
        let it = &mut self.servers[server];
        it.cut_until = it.cut_until.max(now + ms);
        if it.is_cut {
            return;
        }
        it.is_cut = true;
        let connection = it.connection;
        self.schedule(notice, Event::Noticed { server, connection });
        self.schedule(now + LEASE_MS, Event::LeaseEnds { server, connection });
        self.broker.disconnect(server);
    }

    /// Whether what was sent on a connection still arrives.
    fn arrives(&self, server: usize, connection: u64) -> bool {
        let it = &self.servers[server];
        it.connection == connection && !it.is_cut && !it.is_gone
    }

    fn happen(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Arrives {
                server,
                connection,
                request,
                id,
            } => {
                if self.arrives(server, connection) {
                    self.serve(server, request, id);
                }
                Vec::new()
            }
            Event::Delivered {
                server,
                connection,
                delivery,
            } => {
                let sink = self.servers[server].sink.clone();
                match self.arrives(server, connection) {
                    true => vec![Box::new(move || delivery.tell(&sink))],
                    false => Vec::new(),
                }
            }
            Event::Answered {
                server,
                connection,
                id,
                reply,
            } => {
                let arrives = self.arrives(server, connection);
                let waiting = arrives.then(|| self.servers[server].waiting.remove(&id));
                let waiting = waiting.flatten();
                waiting
                    .map(|waiting| waiting.answer(reply))
                    .into_iter()
                    .collect()
            }
            Event::TimedOut { server, id } => {
                let waiting = self.servers[server].waiting.remove(&id);
                let fail = |waiting: Waiting| waiting.answer(Err(Failure::Unavailable));
                waiting.map(fail).into_iter().collect()
            }
            Event::Noticed { server, connection } => self.notice(server, connection),
            Event::Connects { server } => self.reconnect(server),
            Event::LeaseEnds { server, connection } => {
                let deliveries = self.broker.end_lease(server, connection);
                self.deliver(deliveries);
                Vec::new()
            }
        }
    }

    /// The broker does what a server asks.
    fn serve(&mut self, server: usize, request: Request, id: u64) {
        let topic = request.topic().clone();
        let connection = self.servers[server].connection;
        let (reply, deliveries) = self
            .broker
            .serve((server, connection), request, self.now_ms);
        // The answer goes first: what is delivered by then comes after it.
        if let Some(reply) = reply
            && !self.faults.loses_answer(&mut self.random)
        {
            let at = self.arrival(server, &topic);
            self.schedule(
                at,
                Event::Answered {
                    server,
                    connection,
                    id,
                    reply,
                },
            );
        }
        self.deliver(deliveries);
    }

    fn deliver(&mut self, deliveries: Vec<(usize, Delivery)>) {
        for (server, delivery) in deliveries {
            let connection = self.servers[server].connection;
            for delivery in self.faults.on_the_way(delivery, &mut self.random) {
                let at = self.arrival(server, delivery.topic());
                self.schedule(
                    at,
                    Event::Delivered {
                        server,
                        connection,
                        delivery,
                    },
                );
            }
        }
    }

    /// When something that is sent to a server now arrives there.
    fn arrival(&mut self, server: usize, topic: &TopicName) -> u64 {
        let delay = self.faults.delay(&mut self.random);
        let it = &mut self.servers[server];
        let last = it.last_in.entry(topic.clone()).or_default();
        *last = (*last).max(self.now_ms + delay).max(it.stalled_until);
        *last
    }

    /// A server finds that its connection is cut: it hears it, and what it has asked is not answered.
    fn notice(&mut self, server: usize, connection: u64) -> Vec<Effect> {
        let is_told_first = self.random.bool();
        let it = &mut self.servers[server];
        if it.connection != connection || it.is_gone {
            return Vec::new();
        }
        it.is_up = false;
        let mut ids: Vec<_> = it.waiting.drain().collect();
        ids.sort_by_key(|(id, _)| *id);
        let failures = ids
            .into_iter()
            .map(|(_, waiting)| waiting.answer(Err(Failure::Unavailable)));
        let mut effects: Vec<Effect> = failures.collect();
        let tell = reachable(&it.sink, false);
        match is_told_first {
            true => effects.insert(0, tell),
            false => effects.push(tell),
        }
        let at = it.cut_until.max(self.now_ms) + self.random.u64(50..1_000);
        self.schedule(at, Event::Connects { server });
        effects
    }

    fn reconnect(&mut self, server: usize) -> Vec<Effect> {
        let (now, down_until) = (self.now_ms, self.broker_down_until);
        let it = &mut self.servers[server];
        let possible = it.cut_until.max(down_until);
        if possible > now {
            self.schedule(possible + 50, Event::Connects { server });
            return Vec::new();
        }
        it.connection += 1;
        it.is_cut = false;
        it.is_up = true;
        it.last_in.clear();
        it.last_out.clear();
        vec![reachable(&it.sink, true)]
    }
}

fn reachable(sink: &Weak<dyn Sink>, is_reachable: bool) -> Effect {
    let sink = sink.clone();
    Box::new(move || {
        if let Some(sink) = sink.upgrade() {
            sink.reachable(is_reachable);
        }
    })
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

/// A request that is not answered by then has failed.
const TIMEOUT_MS: u64 = 3_000;
/// By then, a server finds that its connection is cut.
const NOTICE_MS: u64 = 3_000;
/// So long after its connection was cut, a server counts as gone.
const LEASE_MS: u64 = 15_000;
