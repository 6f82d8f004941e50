//! What happens on the test bus, each thing at its time.

use super::Inner;
use super::message::{Delivery, Request};
use super::reply::{Reply, Waiting};
use crate::engine::Failure;

/// Something that happens at a time.
pub(super) enum Event {
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
pub(super) type Effect = Box<dyn FnOnce() + Send>;

impl Inner {
    pub(super) fn schedule(&mut self, at: u64, event: Event) {
        let number = self.next_event;
        self.next_event += 1;
        self.events.insert((at, number), event);
    }

    pub(super) fn happen(&mut self, event: Event) -> Vec<Effect> {
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

    pub(super) fn deliver(&mut self, deliveries: Vec<(usize, Delivery)>) {
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
}
