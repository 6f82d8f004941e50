//! The connections of servers to the broker of the test bus: what is sent on one, and how one is cut and made anew.

use std::collections::HashMap;
use std::sync::Weak;

use super::Inner;
use super::events::{Effect, Event};
use super::message::Request;
use super::reply::Waiting;
use crate::engine::{Failure, Sink, TopicName};

/// The connection of one server.
pub(super) struct Server {
    pub(super) sink: Weak<dyn Sink>,
    /// Whether the server believes that it is connected.
    pub(super) is_up: bool,
    /// Rises with each connection. What belongs to an earlier one is lost.
    pub(super) connection: u64,
    /// The connection that is cut. Nothing arrives on it, whether the server knows or not.
    pub(super) is_cut: bool,
    pub(super) cut_until: u64,
    pub(super) is_gone: bool,
    pub(super) waiting: HashMap<u64, Waiting>,
    pub(super) next_request: u64,
    /// When the last thing that was sent for a topic arrives, in each direction.
    pub(super) last_out: HashMap<TopicName, u64>,
    pub(super) last_in: HashMap<TopicName, u64>,
    pub(super) stalled_until: u64,
}

impl Server {
    pub(super) fn new(sink: Weak<dyn Sink>) -> Server {
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
    pub(super) fn send(
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

    pub(super) fn cut(&mut self, server: usize, ms: u64) {
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
    pub(super) fn arrives(&self, server: usize, connection: u64) -> bool {
        let it = &self.servers[server];
        it.connection == connection && !it.is_cut && !it.is_gone
    }

    /// When something that is sent to a server now arrives there.
    pub(super) fn arrival(&mut self, server: usize, topic: &TopicName) -> u64 {
        let delay = self.faults.delay(&mut self.random);
        let it = &mut self.servers[server];
        let last = it.last_in.entry(topic.clone()).or_default();
        *last = (*last).max(self.now_ms + delay).max(it.stalled_until);
        *last
    }

    /// A server finds that its connection is cut: it hears it, and what it has asked is not answered.
    pub(super) fn notice(&mut self, server: usize, connection: u64) -> Vec<Effect> {
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

    pub(super) fn reconnect(&mut self, server: usize) -> Vec<Effect> {
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

/// A request that is not answered by then has failed.
const TIMEOUT_MS: u64 = 3_000;
/// By then, a server finds that its connection is cut.
const NOTICE_MS: u64 = 3_000;
/// So long after its connection was cut, a server counts as gone.
const LEASE_MS: u64 = 15_000;
