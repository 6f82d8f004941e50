//! Servers that share an engine, and sessions on them, for the suite.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwap;

use super::session::TestSession;
use crate::config::{self, HistoryBounds, TopicPolicy};
use crate::engine::local::LocalEngine;
use crate::engine::local::settings::Settings;
use crate::engine::node::callbacks::{EnvelopeCall, HandlerCallbacks};
use crate::engine::node::{Job, JoinFrom, Node, NodeParts};
use crate::engine::position::{Position, Positions};
use crate::engine::test_bus::TestBus;
use crate::engine::test_bus::faults::Faults;
use crate::engine::{
    Done, Engine, Failure, Origin, PresenceChange, Sink, StreamPosition, TopicName,
};
use crate::process::clock::Moment;
use crate::sessions::prepared_message::PreparedMessage;
use crate::sessions::registry::Registry;
use crate::sessions::topics::{Topic, Topics};
use crate::ws::frame;

/// Servers that share an engine, in virtual time.
pub(super) struct Cluster {
    pub(super) servers: Vec<TestServer>,
    engine: TestEngine,
    time: Arc<AtomicU64>,
}

/// The engine of a cluster.
enum TestEngine {
    Local(Arc<LocalEngine>),
    Bus(Arc<TestBus>),
}

/// One server: everything but connections and handlers.
pub(super) struct TestServer {
    pub(super) node: Arc<Node>,
    registry: Arc<Registry>,
    jobs: Jobs,
}

/// What waits for a thread on which a handler's code may run.
type Jobs = Arc<Mutex<VecDeque<Job>>>;

/// The engines that the suite runs on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The memory of one server.
    Local,
    /// The test bus, with so many servers.
    Bus(usize),
}

/// Every claim that one process can show runs on each of these.
pub(super) const KINDS: [Kind; 2] = [Kind::Local, Kind::Bus(5)];

impl Cluster {
    /// A cluster without faults. The topics `kept…` of the handlers `chat` and `news` have a history of 100 publications,
    /// `short…` of 3, `small…` of 1,000 bytes, `long…` of all, and the others of none.
    pub(super) fn new(kind: Kind) -> Cluster {
        match kind {
            Kind::Local => Cluster::local(),
            Kind::Bus(servers) => Cluster::on_bus(servers, 1),
        }
    }

    /// One server that works alone.
    pub(super) fn local() -> Cluster {
        let policies = Arc::new(ArcSwap::from_pointee(policies()));
        let time: Arc<AtomicU64> = Arc::default();
        let mut local = None;
        let server = TestServer::new(0, &policies, |sink, jobs| {
            let (of, now, later) = (policies.clone(), time.clone(), jobs.clone());
            let settings = Settings {
                history: Box::new(move |topic| of.load().policy(&topic.owner, &topic.name).history),
                now: Box::new(move || Moment::ORIGIN.after(now.load(Ordering::Relaxed))),
                run_later: Box::new(move |job| later.lock().unwrap().push_back(job)),
                ..Settings::default()
            };
            let engine = LocalEngine::new(settings, sink);
            local = Some(engine.clone());
            engine
        });
        Cluster {
            servers: vec![server],
            engine: TestEngine::Local(local.expect("the server has made it")),
            time,
        }
    }

    /// A cluster on a test bus with this seed.
    pub(super) fn on_bus(servers: usize, seed: u64) -> Cluster {
        let policies = Arc::new(policies());
        let bus = TestBus::new(seed, policies.clone());
        let servers = (0..servers).map(|number| {
            let policies = Arc::new(ArcSwap::new(policies.clone()));
            TestServer::new(number, &policies, |sink, _| bus.connect(sink))
        });
        Cluster {
            servers: servers.collect(),
            engine: TestEngine::Bus(bus.clone()),
            time: Arc::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    pub(super) fn bus(&self) -> &TestBus {
        match &self.engine {
            TestEngine::Bus(bus) => bus,
            TestEngine::Local(_) => panic!("the cluster is on no bus"),
        }
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.bus().set_faults(faults);
    }

    /// Has the topics `kept…` of `chat` have this history, and all others none, on every server and in the engine.
    pub(super) fn set_history(&self, history: Option<HistoryBounds>) {
        let policy = TopicPolicy {
            history,
            ..TopicPolicy::DEFAULT
        };
        let policies = Arc::new(config::Topics::of(&[("chat/kept*", policy)]));
        for server in &self.servers {
            server.node.set_policies(policies.clone());
        }
        match &self.engine {
            TestEngine::Local(engine) => engine.apply_settings(),
            TestEngine::Bus(bus) => bus.set_policies(policies),
        }
    }

    /// Lets time pass.
    pub(super) fn advance(&self, ms: u64) {
        let end = self.now_ms() + ms;
        while self.now_ms() < end {
            let before = self.now_ms();
            let now_ms = (before + STEP_MS).min(end);
            self.time.store(now_ms, Ordering::Relaxed);
            if let TestEngine::Bus(bus) = &self.engine {
                bus.run_to(now_ms);
            }
            self.servers.iter().for_each(TestServer::run_jobs);
            if now_ms / TICK_MS != before / TICK_MS {
                let servers = self.servers.iter();
                servers.for_each(|it| it.node.tick(now_ms).for_each(drop));
                if let TestEngine::Local(engine) = &self.engine {
                    engine.sweep();
                }
            }
        }
    }

    /// Lets everything arrive that is under way.
    pub(super) fn settle(&self) {
        self.advance(100);
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.time.load(Ordering::Relaxed)
    }

    /// A session of the handler `chat` on a server.
    pub(super) fn session(&self, server: usize) -> TestSession {
        self.session_of("chat", server)
    }

    pub(super) fn session_of(&self, handler: &str, server: usize) -> TestSession {
        let it = &self.servers[server];
        TestSession::new(
            &it.node,
            it.registry.register(&handler.into(), 1, 256 << 20),
        )
    }

    /// Publishes a text to a topic of the handler `chat`.
    pub(super) fn publish(&self, server: usize, topic: &str, text: &str) -> Result<usize, Failure> {
        self.publish_but(server, topic, text, 0)
    }

    pub(super) fn publish_but(
        &self,
        server: usize,
        topic: &str,
        text: &str,
        except: u64,
    ) -> Result<usize, Failure> {
        let node = &self.servers[server].node;
        node.publish(Topic::new("chat", topic), &message(text), except)
    }

    /// Publishes a text, and answers where its position will be.
    pub(super) fn publish_acked(&self, server: usize, topic: &str, text: &str) -> Answer<Position> {
        let (answer, done) = answer();
        let node = &self.servers[server].node;
        node.publish_acked(Topic::new("chat", topic), &message(text), 0, done);
        answer
    }

    /// What a position of a topic of `chat` stands for, if a server of the cluster has made it.
    pub(super) fn place(&self, topic: &str, position: &[u8]) -> Option<StreamPosition> {
        let kind = self.servers[0].node.status().kind;
        let positions = Positions::new(SECRET, kind);
        let topic = TopicName::new(Topic::new("chat", topic));
        positions.read(&topic, position).ok()
    }

    /// Has each server put the position of a publication before its text, as `POSITION TEXT`.
    pub(super) fn tell_positions(&self) {
        for server in &self.servers {
            let envelope = |call: &EnvelopeCall<'_>| {
                let position = super::session::text_of(&call.position);
                let text = String::from_utf8_lossy(call.message.payload());
                Some(self::message(&format!("{position} {text}")))
            };
            let callbacks = HandlerCallbacks {
                envelope: Some(Box::new(envelope)),
                ..HandlerCallbacks::default()
            };
            server.node.set_callbacks("chat", 1, callbacks);
        }
    }

    /// Has each server tell its subscribers of members, as `joined ID VALUE`.
    pub(super) fn tell_members(&self) {
        for server in &self.servers {
            let presence = |change: &PresenceChange| {
                let value = String::from_utf8_lossy(&change.member.value);
                let kind = format!("{:?}", change.kind).to_lowercase();
                Some(message(&format!("{kind} {} {value}", change.member.id)))
            };
            let callbacks = HandlerCallbacks {
                presence: Some(Box::new(presence)),
                ..HandlerCallbacks::default()
            };
            server.node.set_callbacks("chat", 1, callbacks);
        }
    }

    /// How often publications were lost for the subscribers of any server.
    pub(super) fn gaps(&self) -> u64 {
        self.servers.iter().map(|it| it.node.gaps()).sum()
    }
}

impl TestServer {
    fn new(
        number: usize,
        policies: &Arc<ArcSwap<config::Topics>>,
        connect: impl FnOnce(Weak<dyn Sink>, &Jobs) -> Arc<dyn Engine>,
    ) -> TestServer {
        let jobs = Jobs::default();
        let queue = jobs.clone();
        let parts = NodeParts {
            topics: Topics::new(),
            policies: policies.clone(),
            origin: Origin {
                node: number as u32 + 1,
                incarnation: 7,
            },
            secret: SECRET,
            run: Box::new(move |job| queue.lock().unwrap().push_back(job)),
        };
        TestServer {
            node: Node::new(parts, |sink| connect(sink, &jobs)),
            registry: Registry::of_node(number as u32 + 1),
            jobs,
        }
    }

    /// Does what waits for a thread on which a handler's code may run.
    pub(super) fn run_jobs(&self) {
        loop {
            let Some(job) = self.jobs.lock().unwrap().pop_front() else {
                return;
            };
            job();
        }
    }
}

fn policies() -> config::Topics {
    let kept = |count| TopicPolicy {
        history: Some(HistoryBounds {
            count,
            age_ms: 3_600_000,
            bytes: 1 << 21,
        }),
        ..TopicPolicy::DEFAULT
    };
    let long = TopicPolicy {
        history: Some(HistoryBounds {
            count: 100_000,
            age_ms: u64::MAX,
            bytes: usize::MAX,
        }),
        ..TopicPolicy::DEFAULT
    };
    let small = TopicPolicy {
        history: Some(HistoryBounds {
            count: 100,
            age_ms: 3_600_000,
            bytes: 1_000,
        }),
        ..TopicPolicy::DEFAULT
    };
    let secret = TopicPolicy {
        presence: false,
        ..TopicPolicy::DEFAULT
    };
    config::Topics::of(&[
        ("chat/kept*", kept(100)),
        ("chat/short*", kept(3)),
        ("chat/long*", long),
        ("chat/small*", small),
        ("chat/secret*", secret),
        ("news/kept*", kept(100)),
        ("/kept*", kept(100)),
    ])
}

/// A text message.
pub(super) fn message(text: &str) -> Arc<PreparedMessage> {
    PreparedMessage::new(frame::TEXT, text.as_bytes(), false)
}

/// Where an answer will be.
#[derive(Debug)]
pub(super) struct Answer<T>(Arc<Mutex<Option<Result<T, Failure>>>>);

impl<T> Answer<T> {
    pub(super) fn is_there(&self) -> bool {
        self.0.lock().unwrap().is_some()
    }

    /// The answer, which must have come.
    pub(super) fn take(&self) -> Result<T, Failure> {
        let answer = self.0.lock().unwrap().take();
        answer.expect("the answer has come")
    }
}

/// Where an answer will be, and what is called with it. It must not be called twice.
pub(super) fn answer<T: Send + 'static>() -> (Answer<T>, Done<T>) {
    let place = Arc::new(Mutex::new(None));
    let done = place.clone();
    let done = move |answer| {
        *done.lock().unwrap() = Some(answer);
    };
    (Answer(place), Box::new(done))
}

/// From now on.
pub(super) const NOW: JoinFrom<'static> = JoinFrom {
    after: None,
    last: 0,
};

/// With so many of the last messages.
pub(super) fn last(count: u64) -> JoinFrom<'static> {
    JoinFrom {
        after: None,
        last: count,
    }
}

/// Behind a position.
pub(super) fn after(position: &Position) -> JoinFrom<'_> {
    JoinFrom {
        after: Some(position.as_bytes()),
        last: 0,
    }
}

const SECRET: [u8; 16] = [3; 16];
const STEP_MS: u64 = 5;
const TICK_MS: u64 = 500;
