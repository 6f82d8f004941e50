//! Finds every session of this server by its id.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sessions::alarms::Alarms;
use crate::sessions::mailbox::{Mailbox, Undelivered};

/// The mailboxes of all open sessions.
#[derive(Debug)]
pub(crate) struct Registry {
    next_id: AtomicU64,
    shards: [Mutex<Shard>; SHARDS],
    alarms: Alarms,
}

type Shard = HashMap<u64, Arc<Mailbox>, BuildHasherDefault<IdHasher>>;

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
        })
    }

    /// Registers a new mailbox with a new id, for a session of the handler `owner`.
    pub(crate) fn register(
        self: &Arc<Self>,
        owner: &Arc<str>,
        generation: u64,
        bytes_max: usize,
    ) -> Registration {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mailbox = Arc::new(Mailbox::new(id, owner.clone(), generation, bytes_max));
        self.shard(id).insert(id, mailbox.clone());
        Registration {
            mailbox,
            registry: self.clone(),
        }
    }

    /// The mailbox of an open session of the handler `owner`.
    pub(crate) fn find(&self, owner: &str, id: u64) -> Option<Arc<Mailbox>> {
        let mailbox = self.shard(id).get(&id)?.clone();
        (**mailbox.owner() == *owner).then_some(mailbox)
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
            let mailbox = self.shard(id).get(&id).cloned();
            // An error means that the session is over.
            let _ = mailbox.map(|mailbox| mailbox.wake());
        };
        self.alarms.run(wake).await;
    }

    /// Wakes the session `id` for its deadlines at `tick`, if it is open. Returns the tick at which to try
    /// again, if the deadlines are later by now.
    pub(crate) fn wake_for_deadline(&self, id: u64, tick: u32) -> Option<u32> {
        let mailbox = self.shard(id).get(&id).cloned();
        mailbox?.wake_for_deadline(tick)
    }

    /// The mailboxes of all open sessions that `is_wanted` selects, by the name of their handler and the
    /// number of their generation.
    pub(crate) fn list(&self, is_wanted: impl Fn(&str, u64) -> bool) -> Vec<Arc<Mailbox>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = shard
                .values()
                .filter(|mailbox| is_wanted(mailbox.owner(), mailbox.generation()));
            found.extend(wanted.cloned());
        }
        found
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
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry
            .shard(self.mailbox.id)
            .remove(&self.mailbox.id);
        self.mailbox.close();
        if self.mailbox.has_alarm() {
            self.registry.alarms.forget(self.mailbox.id);
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
    fn an_id_is_gone_once_its_session_is_over_and_for_other_handlers_always() {
        let registry = Registry::new();
        let registration = registry.register(&Arc::from("chat"), 1, 10);
        let id = registration.mailbox().id;
        let mailbox = registry.find("chat", id).unwrap();

        assert!(registry.find("echo", id).is_none());
        drop(registration);

        assert!(registry.find("chat", id).is_none());
        assert_eq!(mailbox.wake(), Err(Undelivered::Gone));
    }
}
