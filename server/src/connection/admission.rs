//! The places for connections and opening handshakes, up to their limits, and which connection gives
//! way to a newcomer when a limit is reached.

use std::net::SocketAddr;
use std::sync::Arc;

use tracing::warn;

use crate::config::Limits;
use crate::connection::eviction::EvictionQueue;
use crate::connection::log_rate::LogRateLimit;
use crate::sessions::descriptors::Descriptors;
use crate::sessions::permits::{Permit, Permits};

/// The places of a server, and the connections that may have to give theirs up.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Whose room connections take, with the files that they are sent.
    descriptors: Arc<Descriptors>,
    /// Connections that are open.
    connections: Permits,
    /// Files that are being sent.
    files: Permits,
    /// Opening handshakes that are under way.
    handshakes: Permits,
    /// Connections beyond the limit that are told so.
    refused: Permits,
    /// Connections without a whole request head.
    silent: EvictionQueue,
    /// Connections that have their answer and do not close.
    answered: EvictionQueue,
    evictions: Arc<LogRateLimit>,
}

impl Admission {
    pub(crate) fn new(descriptors: Arc<Descriptors>) -> Admission {
        Admission {
            descriptors,
            connections: Permits::default(),
            files: Permits::default(),
            handshakes: Permits::default(),
            refused: Permits::default(),
            silent: EvictionQueue::default(),
            answered: EvictionQueue::default(),
            evictions: LogRateLimit::new(1),
        }
    }

    /// Connections that have a place, and the most that had one since the last such call.
    pub(crate) fn taken(&self) -> (usize, usize) {
        (self.connections.taken(), self.connections.take_most())
    }

    /// A place for a connection that was accepted, if one is free.
    pub(crate) fn connection(&self, limits: &Limits) -> Option<Permit> {
        let room = self
            .descriptors
            .capacity()
            .saturating_sub(self.files.taken());
        self.connections.take(limits.connections_max.min(room))
    }

    /// A place for a connection, of another one that gives way if none is free.
    ///
    /// What gives way is gone, descriptor and all, after its next poll.
    pub(crate) fn make_room(&self, newcomer: SocketAddr, limits: &Limits) -> Option<Permit> {
        self.connection(limits).or_else(|| {
            let is_evicted = self.evict_any(newcomer, limits);
            is_evicted.then(|| self.connections.take_anyway())
        })
    }

    /// Lets the oldest connection go that only holds a place; false when there is none.
    pub(crate) fn evict_any(&self, newcomer: SocketAddr, limits: &Limits) -> bool {
        let share = share(limits);
        // Those that have their answer lose nothing.
        let evicted = self.answered.evict(newcomer, share);
        let evicted = evicted.or_else(|| self.silent.evict(newcomer, share));
        if evicted.is_some() {
            self.tell_eviction("connections_max");
        }
        evicted.is_some()
    }

    /// A place for an opening handshake.
    pub(crate) fn handshake(&self, peer: SocketAddr, limits: &Limits) -> Option<Permit> {
        let place = self.handshakes.take(limits.pending_handshakes_max);
        place.or_else(|| {
            let evicted = self.silent.evict(peer, share(limits))?;
            self.tell_eviction("pending_handshakes_max");
            evicted
        })
    }

    /// A place for a file that is sent: it is one more descriptor.
    pub(crate) fn file(&self) -> Option<Permit> {
        self.files.take(
            self.descriptors
                .capacity()
                .saturating_sub(self.connections.taken()),
        )
    }

    /// Files that are being sent.
    pub(crate) fn downloads(&self) -> usize {
        self.files.taken()
    }

    /// A place for a connection that is to be told that there is none.
    pub(crate) fn refusal(&self) -> Option<Permit> {
        self.refused.take(REFUSED_MAX)
    }

    /// Where a connection stands while its head is not whole.
    pub(crate) fn silent(&self) -> &EvictionQueue {
        &self.silent
    }

    /// Waits for the end of `answer`, which sends `peer` its answer. Meanwhile the connection may be
    /// evicted, since a peer that has its answer and does not close loses nothing.
    pub(crate) async fn unless_evicted(&self, peer: SocketAddr, answer: impl Future<Output = ()>) {
        let mut entry = self.answered.enter(peer, None);
        tokio::select! {
            biased;
            () = answer => {}
            () = entry.evicted() => {}
        }
    }

    fn tell_eviction(&self, limit: &'static str) {
        self.evictions.log(
            || {
                warn!(
                    limit,
                    "places are short: the oldest connection that asked for nothing was closed for a new one"
                );
            },
            |evicted| warn!(evicted, "more connections that asked for nothing were closed for new ones"),
        );
    }
}

/// Connections that one network may have in a queue while any has to give way.
fn share(limits: &Limits) -> usize {
    limits.connections_max.min(limits.pending_handshakes_max) / 4
}

/// Each of them takes a descriptor of those that are reserved.
const REFUSED_MAX: usize = 16;
