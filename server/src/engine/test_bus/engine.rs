//! The test bus as an [`Engine`], as one server sees it.

use std::sync::Arc;

use super::TestBus;
use super::message::Request;
use super::reply::Waiting;
use crate::engine::{
    Capabilities, Done, Engine, EngineStatus, Failure, HistoryFrom, Member, MembersPage, Page,
    PageLimit, Publication, Start, StoreAnswer, StoreRequest, StreamPosition, TopicName, Usage,
};

/// The side of one server.
#[derive(Debug)]
pub(super) struct BusEngine {
    bus: Arc<TestBus>,
    server: usize,
}

impl BusEngine {
    pub(super) fn new(bus: &Arc<TestBus>, server: usize) -> BusEngine {
        let bus = bus.clone();
        BusEngine { bus, server }
    }

    fn tell(&self, request: Request) -> Result<(), Failure> {
        let sent = self.bus.lock().send(self.server, request, None);
        sent.map_err(|_| Failure::Full)
    }

    fn ask(&self, request: Request, waiting: Waiting) {
        let sent = self.bus.lock().send(self.server, request, Some(waiting));
        if let Err(Some(waiting)) = sent {
            waiting.answer(Err(Failure::Unavailable))();
        }
    }
}

impl Engine for BusEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            total_order: true,
            history: true,
            presence: true,
            store: true,
            durable: true,
            remote: true,
        }
    }

    fn publish(&self, publication: Publication) -> Result<(), Failure> {
        // The bounds are those of this server's configuration, which the broker has as well.
        self.bus.lock().broker.check_kept(&publication)?;
        self.tell(Request::Publish(publication))
    }

    fn publish_acked(&self, publication: Publication, done: Done<StreamPosition>) {
        self.ask(Request::PublishAcked(publication), Waiting::Position(done));
    }

    fn subscribe(&self, topic: &TopicName, done: Done<Start>) {
        self.ask(Request::Subscribe(topic.clone()), Waiting::Start(done));
    }

    fn unsubscribe(&self, topic: &TopicName) {
        // A server that is not connected has no subscription.
        let _ = self.tell(Request::Unsubscribe(topic.clone()));
    }

    fn history(&self, topic: &TopicName, from: HistoryFrom, limit: PageLimit, done: Done<Page>) {
        let request = Request::History(topic.clone(), from, limit);
        self.ask(request, Waiting::Page(done));
    }

    fn enter(&self, topic: &TopicName, member: Member, done: Done<u64>) {
        let request = Request::Enter(topic.clone(), member);
        self.ask(request, Waiting::Version(done));
    }

    fn leave(&self, topic: &TopicName, id: u64) {
        // The member of a server that is not connected ends with its lease, unless it enters again.
        let _ = self.tell(Request::Leave(topic.clone(), id));
    }

    fn present(
        &self,
        topic: &TopicName,
        after: Option<u64>,
        limit: PageLimit,
        done: Done<MembersPage>,
    ) {
        let request = Request::Present(topic.clone(), after, limit);
        self.ask(request, Waiting::Members(done));
    }

    fn store(&self, handler: &Arc<str>, request: StoreRequest, done: Done<StoreAnswer>) {
        // All requests of one handler go one way, so they keep their order.
        let of = TopicName {
            owner: handler.clone(),
            name: "store".into(),
        };
        self.ask(Request::Store(of, request), Waiting::Store(done));
    }

    fn usage(&self, _handler: &str) -> Usage {
        Usage::default()
    }

    fn total_usage(&self) -> Usage {
        Usage::default()
    }

    fn status(&self) -> EngineStatus {
        EngineStatus {
            kind: "test",
            is_reachable: self.bus.lock().servers[self.server].is_up,
        }
    }
}
