//! Finds every session of this server by its id.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use crate::config::OutboundLimit;
use crate::sessions::alarms::Alarms;
use crate::sessions::inquiry::{OperatorClose, OperatorOrders, Orders, SessionReport};
use crate::sessions::mailbox::{Mailbox, Undelivered};
use crate::sessions::trace::{TraceId, Traces};
use crate::sessions::traffic::{TrafficByHandler, TrafficCounts};

/// The mailboxes of all open sessions.
#[derive(Debug)]
pub(crate) struct Registry {
    next_id: AtomicU64,
    shards: [Mutex<Shard>; SHARDS],
    alarms: Alarms,
    orders: Orders,
    /// The traces of sessions that have one, and of handshakes.
    pub(crate) traces: Traces,
}

#[derive(Debug, Default)]
struct Shard {
    open: HashMap<u64, Arc<Mailbox>, BuildHasherDefault<IdHasher>>,
    /// What the sessions of each handler have counted that are over. It lies beside those that are open, so that each
    /// session is in one of the two whenever the lock is held, and a sum never falls.
    ended: Vec<(Arc<str>, TrafficCounts)>,
}

/// Spreads ids over the bits that a hash table looks at. No peer chooses an id, so nothing more is needed.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_u64(&mut self, id: u64) {
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// An entry in the registry. Dropping it closes the mailbox, and the id is gone for ever.
#[derive(Debug)]
pub(crate) struct Registration {
    mailbox: Arc<Mailbox>,
    registry: Arc<Registry>,
}

impl Registry {
    pub(crate) fn new() -> Arc<Registry> {
        Registry::of_node(0)
    }

    /// A registry whose ids are those of no other node. A server that works alone is node 0.
    pub(crate) fn of_node(node: u32) -> Arc<Registry> {
        Arc::new(Registry {
            next_id: AtomicU64::new((u64::from(node) << NODE_SHIFT) + 1),
            shards: std::array::from_fn(|_| Mutex::default()),
            alarms: Alarms::default(),
            orders: Orders::default(),
            traces: Traces::default(),
        })
    }

    /// Registers a new mailbox with a new id, for a session of the handler `owner`.
    pub(crate) fn register(
        self: &Arc<Self>,
        owner: &Arc<str>,
        generation: u64,
        outbound: impl Into<OutboundLimit>,
    ) -> Registration {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mailbox = Arc::new(Mailbox::new(id, owner.clone(), generation, outbound));
        self.shard(id).open.insert(id, mailbox.clone());
        Registration {
            mailbox,
            registry: self.clone(),
        }
    }

    /// The mailbox of an open session of the handler `owner`.
    pub(crate) fn find(&self, owner: &str, id: u64) -> Option<Arc<Mailbox>> {
        let mailbox = self.shard(id).open.get(&id)?.clone();
        (**mailbox.owner() == *owner).then_some(mailbox)
    }

    /// The mailbox of an open session, of whatever handler.
    pub(crate) fn find_any(&self, id: u64) -> Option<Arc<Mailbox>> {
        self.shard(id).open.get(&id).cloned()
    }

    /// Has a session send a report of itself. False if it is over.
    pub(crate) fn inquire(&self, mailbox: &Mailbox, to: UnboundedSender<SessionReport>) -> bool {
        self.orders
            .give(mailbox, |orders| orders.report_to = Some(to))
    }

    /// Has a session close for an operator, if it is meant. False if it is over.
    pub(crate) fn close_for_operator(&self, mailbox: &Mailbox, close: OperatorClose) -> bool {
        self.orders
            .give(mailbox, |orders| orders.closes.push(close))
    }

    /// Has the session's `wake` run after `ms` milliseconds. A later call replaces an earlier one.
    pub(crate) fn wake_after(&self, mailbox: &Mailbox, ms: u64) -> Result<(), Undelivered> {
        mailbox.note_alarm();
        self.alarms.set(mailbox.id, ms);
        // The session may have ended before it could see that it has an alarm.
        if mailbox.is_over() {
            self.alarms.forget(mailbox.id);
            return Err(Undelivered::Gone);
        }
        Ok(())
    }

    /// Runs the alarms that [`wake_after`](Self::wake_after) set, for as long as the server runs.
    pub(crate) async fn run_alarms(&self) {
        let wake = |id| {
            let mailbox = self.shard(id).open.get(&id).cloned();
            // An error means that the session is over.
            let _ = mailbox.map(|mailbox| mailbox.wake());
        };
        self.alarms.run(wake).await;
    }

    /// Wakes the session `id` for its deadlines at `tick`, if it is open. Returns the tick at which to try
    /// again, if the deadlines are later by now.
    pub(crate) fn wake_for_deadline(&self, id: u64, tick: u32) -> Option<u32> {
        let mailbox = self.shard(id).open.get(&id).cloned();
        mailbox?.wake_for_deadline(tick)
    }

    /// The mailboxes of all open sessions that `is_wanted` selects, by the name of their handler and the
    /// number of their generation.
    pub(crate) fn list(&self, is_wanted: impl Fn(&str, u64) -> bool) -> Vec<Arc<Mailbox>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = shard
                .open
                .values()
                .filter(|mailbox| is_wanted(mailbox.owner(), mailbox.generation()));
            found.extend(wanted.cloned());
        }
        found
    }

    /// Adds the traffic of a part of all sessions to `traffic`. False if there is no such part.
    pub(crate) fn add_traffic(&self, part: usize, traffic: &mut TrafficByHandler) -> bool {
        let Some(shard) = self.shards.get(part) else {
            return false;
        };
        let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        for (owner, counts) in &shard.ended {
            traffic
                .entry(owner.clone())
                .or_default()
                .counts
                .add(*counts);
        }
        for mailbox in shard.open.values() {
            let handler = match traffic.get_mut(mailbox.owner()) {
                Some(handler) => handler,
                None => traffic.entry(mailbox.owner().clone()).or_default(),
            };
            handler.counts.add(mailbox.traffic.counts());
            handler.queue_bytes += mailbox.queue_bytes();
        }
        true
    }

    /// The number of open sessions, and of handshakes that may become sessions.
    pub(crate) fn count(&self) -> usize {
        let open = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.open.len()
        };
        self.shards.iter().map(open).sum()
    }

    fn shard(&self, id: u64) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[(id % SHARDS as u64) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Takes what an operator wants of the session.
    #[inline]
    pub(crate) fn take_orders(&self) -> Option<OperatorOrders> {
        self.registry.orders.take(self.mailbox.id)
    }

    /// Notes the trace that the session's request is part of.
    pub(crate) fn set_trace(&self, trace: TraceId) {
        self.registry.traces.insert(self.mailbox.id, trace);
    }

    /// The trace that the session's request is part of.
    pub(crate) fn trace(&self) -> Option<TraceId> {
        self.registry.traces.get(self.mailbox.id)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.shard(self.mailbox.id).end(&self.mailbox);
        self.registry.traces.remove(self.mailbox.id);
        self.mailbox.close();
        self.registry.orders.take(self.mailbox.id);
        if self.mailbox.has_alarm() {
            self.registry.alarms.forget(self.mailbox.id);
        }
    }
}

impl Shard {
    /// Removes a session, and keeps what it has counted.
    fn end(&mut self, mailbox: &Mailbox) {
        self.open.remove(&mailbox.id);
        let counts = mailbox.traffic.counts();
        if counts == TrafficCounts::default() {
            return;
        }
        let owner = mailbox.owner();
        match self.ended.iter_mut().find(|(known, _)| known == owner) {
            Some((_, ended)) => ended.add(counts),
            None => self.ended.push((owner.clone(), counts)),
        }
    }
}

/// An id has the number of its node above so many bits, which last for 500,000 sessions a second in a year.
const NODE_SHIFT: u32 = 44;
/// Ids follow one another, so they spread evenly over the shards.
const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::mailbox::Undelivered;

    #[test]
    fn a_session_counts_for_its_handler_while_it_is_open_and_afterwards() {
        let registry = Registry::new();
        let traffic = || {
            let mut traffic = TrafficByHandler::new();
            let parts = (0..).take_while(|part| registry.add_traffic(*part, &mut traffic));
            assert_eq!(parts.count(), SHARDS);
            traffic
        };
        let sessions = ["chat", "echo", "chat"].map(|owner| {
            let registration = registry.register(&Arc::from(owner), 1, 10);
            let counts = &registration.mailbox().traffic;
            counts.add_messages_in(2);
            counts.add_messages_out(3);
            counts.set_bytes(50, 70);
            counts.add_messages_dropped(1);
            registration.mailbox().set_buffered(9);
            registration
        });

        let open = traffic();
        drop(sessions);
        let ended = traffic();

        let chat = TrafficCounts {
            messages_in: 4,
            messages_out: 6,
            bytes_in: 100,
            bytes_out: 140,
            messages_dropped: 2,
        };
        assert_eq!((open["chat"].counts, open["chat"].queue_bytes), (chat, 18));
        assert_eq!((ended["chat"].counts, ended["chat"].queue_bytes), (chat, 0));
        assert_eq!(ended["echo"].counts.bytes_out, 70);
    }

    #[test]
    fn an_id_is_gone_once_its_session_is_over_and_for_other_handlers_always() {
        let registry = Registry::new();
        let registration = registry.register(&Arc::from("chat"), 1, 10);
        let id = registration.mailbox().id;
        let mailbox = registry.find("chat", id).unwrap();

        assert!(registry.find("echo", id).is_none());
        assert_eq!(registry.count(), 1);
        drop(registration);
        assert_eq!(registry.count(), 0);

        assert!(registry.find("chat", id).is_none());
        assert_eq!(mailbox.wake(), Err(Undelivered::Gone));
    }
}
