//! Servers that share an engine, and sessions on them, for the suite.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::session::TestSession;
use crate::config::{self, HistoryBounds, TopicPolicy};
use crate::engine::node::callbacks::HandlerCallbacks;
use crate::engine::node::{Job, JoinFrom, Joined, Node, NodeParts};
use crate::engine::position::Position;
use crate::engine::test_bus::TestBus;
use crate::engine::test_bus::faults::Faults;
use crate::engine::{Done, Failure, Origin};
use crate::sessions::prepared_message::PreparedMessage;
use crate::sessions::registry::Registry;
use crate::sessions::topics::{Topic, Topics};
use crate::ws::frame;

/// Servers that share an engine, in virtual time.
pub(super) struct Cluster {
    pub(super) servers: Vec<TestServer>,
    engine: TestEngine,
    now_ms: u64,
}

/// The engine of a cluster.
enum TestEngine {
    Bus(Arc<TestBus>),
}

/// One server: everything but connections and handlers.
pub(super) struct TestServer {
    pub(super) node: Arc<Node>,
    registry: Arc<Registry>,
    jobs: Arc<Mutex<VecDeque<Job>>>,
}

/// The engines that the suite runs on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The test bus, with so many servers.
    Bus(usize),
}

/// Every claim that one process can show runs on each of these.
pub(super) const KINDS: [Kind; 1] = [Kind::Bus(5)];

impl Cluster {
    /// A cluster without faults. The topics `kept…` of the handlers `chat` and `news` have a history of 100 publications,
    /// `short…` of 3, and the others of none.
    pub(super) fn new(kind: Kind) -> Cluster {
        let Kind::Bus(servers) = kind;
        Cluster::on_bus(servers, 1)
    }

    /// A cluster on a test bus with this seed.
    pub(super) fn on_bus(servers: usize, seed: u64) -> Cluster {
        let policies = Arc::new(policies());
        let bus = TestBus::new(seed, policies.clone());
        let servers =
            (0..servers).map(|number| TestServer::new(number, &policies, |sink| bus.connect(sink)));
        Cluster {
            servers: servers.collect(),
            engine: TestEngine::Bus(bus.clone()),
            now_ms: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    pub(super) fn bus(&self) -> &TestBus {
        let TestEngine::Bus(bus) = &self.engine;
        bus
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.bus().set_faults(faults);
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms = (self.now_ms + STEP_MS).min(end);
            let TestEngine::Bus(bus) = &self.engine;
            bus.run_to(self.now_ms);
            self.servers.iter().for_each(TestServer::run_jobs);
            if self.now_ms / TICK_MS != (self.now_ms - STEP_MS.min(self.now_ms)) / TICK_MS {
                let now_ms = self.now_ms;
                self.servers.iter().for_each(|it| it.node.tick(now_ms));
            }
        }
    }

    /// Lets everything arrive that is under way.
    pub(super) fn settle(&mut self) {
        self.advance(100);
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
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

    /// Has each server put the position of a publication before its text, as `POSITION TEXT`.
    pub(super) fn tell_positions(&self) {
        for server in &self.servers {
            let envelope = |_: &_, position: &Position, message: &Arc<PreparedMessage>| {
                let position = super::session::text_of(position);
                let text = String::from_utf8_lossy(message.payload());
                Some(self::message(&format!("{position} {text}")))
            };
            let callbacks = HandlerCallbacks {
                envelope: Some(Box::new(envelope)),
                presence: None,
            };
            server.node.set_callbacks("chat", 1, callbacks);
        }
    }

    /// Has each server tell its subscribers of members, as `joined ID VALUE`.
    pub(super) fn tell_members(&self) {
        for server in &self.servers {
            let presence = |change: &crate::engine::PresenceChange| {
                let value = String::from_utf8_lossy(&change.member.value);
                let kind = format!("{:?}", change.kind).to_lowercase();
                Some(message(&format!("{kind} {} {value}", change.member.id)))
            };
            let callbacks = HandlerCallbacks {
                envelope: None,
                presence: Some(Box::new(presence)),
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
        policies: &Arc<config::Topics>,
        connect: impl FnOnce(std::sync::Weak<dyn crate::engine::Sink>) -> Arc<dyn crate::engine::Engine>,
    ) -> TestServer {
        let jobs: Arc<Mutex<VecDeque<Job>>> = Arc::default();
        let queue = jobs.clone();
        let parts = NodeParts {
            topics: Topics::new(),
            policies: policies.clone(),
            origin: Origin {
                node: number as u32 + 1,
                incarnation: 7,
            },
            secret: [3; 16],
            run: Box::new(move |job| queue.lock().unwrap().push_back(job)),
        };
        TestServer {
            node: Node::new(parts, connect),
            registry: Registry::of_node(number as u32 + 1),
            jobs,
        }
    }

    fn run_jobs(&self) {
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
            bytes: 1 << 20,
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
        ("chat/long*", kept(100_000)),
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

/// What a join answers that has recovered everything, but for its position.
pub(super) fn recovered(missed: usize) -> Joined {
    Joined {
        is_recovered: true,
        position: None,
        missed,
    }
}

const STEP_MS: u64 = 5;
const TICK_MS: u64 = 500;
