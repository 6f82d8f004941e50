//! How many connections, opening handshakes and downloads there may be, and which connection gives
//! way to a newcomer when a limit is reached.

mod handshake_rate;

use std::sync::Arc;

use tracing::warn;

use self::handshake_rate::HandshakeRate;
use crate::auth::network::Network;
use crate::config::Limits;
use crate::connection::eviction::{EvictionQueue, QueueEntry};
use crate::connection::log_rate::LogRateLimit;
use crate::connection::reply::{FullOf, Reply};
use crate::metrics::Meters;
use crate::sessions::address_permits::{AddressPermit, AddressPermits};
use crate::sessions::descriptors::Descriptors;
use crate::sessions::peer::Peer;
use crate::sessions::permits::{Permit, Permits};

/// The permits of a server, and the connections that may lose theirs to a newcomer.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Connections and the files that are sent to them take descriptors of these.
    descriptors: Arc<Descriptors>,
    /// Connections that are open.
    connections: Permits,
    /// Those of each address.
    by_address: AddressPermits,
    /// Files that are being sent.
    files: Permits,
    /// Opening handshakes that are under way.
    handshakes: Permits,
    /// How fast they may begin.
    rate: HandshakeRate,
    /// Connections over the limit that are being answered 503.
    refused: Permits,
    /// Those connections, of which one may be evicted for another.
    turned_away: EvictionQueue,
    /// Connections whose request head is not whole, or whose password is not compared.
    unjudged: EvictionQueue,
    /// Connections that have their answer and do not close.
    answered: EvictionQueue,
    evictions: Arc<LogRateLimit>,
    meters: Arc<Meters>,
}

impl Admission {
    pub(crate) fn new(descriptors: Arc<Descriptors>, meters: Arc<Meters>) -> Admission {
        Admission {
            descriptors,
            connections: Permits::default(),
            by_address: AddressPermits::default(),
            files: Permits::default(),
            handshakes: Permits::default(),
            rate: HandshakeRate::new(),
            refused: Permits::default(),
            turned_away: EvictionQueue::default(),
            unjudged: EvictionQueue::default(),
            answered: EvictionQueue::default(),
            evictions: LogRateLimit::new(1),
            meters,
        }
    }

    /// The number of open connections, and the most that were open since the last such call.
    pub(crate) fn taken(&self) -> (usize, usize) {
        (self.connections.taken(), self.connections.take_most())
    }

    /// The number of open connections.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.taken()
    }

    /// The number of opening handshakes that are under way.
    pub(crate) fn pending_handshakes(&self) -> usize {
        self.handshakes.taken()
    }

    /// A permit for a connection that was accepted, if one is free.
    pub(crate) fn connection(&self, limits: &Limits) -> Option<Permit> {
        self.connections.take(self.connections_max(limits))
    }

    /// Connections that there may be now, as the configuration and the limit of open files allow.
    pub(crate) fn connections_max(&self, limits: &Limits) -> usize {
        let room = self
            .descriptors
            .capacity()
            .saturating_sub(self.files.taken());
        limits.connections_max.min(room)
    }

    /// Judges the address of a connection, once the connection's true peer is known. Returns the permit that the
    /// connection keeps. There is none for a Unix socket, which has no address.
    ///
    /// # Errors
    ///
    /// What the peer is answered, where its address has too much already.
    pub(crate) fn address(
        &self,
        peer: &Peer,
        limits: &Limits,
    ) -> Result<Option<AddressPermit>, Reply> {
        let Some(ip) = peer.ip() else {
            return Ok(None);
        };
        let max = limits.connections_per_address_max.unwrap_or_else(|| {
            let all = self.connections_max(limits);
            default_share(ip.is_loopback(), all, self.kept(all))
        });
        let network = Network::of(Some(ip));
        let Some(permit) = self.by_address.take(network, max) else {
            return Err(Reply::Full(FullOf::Address { network, max }));
        };
        if let Some(per_s) = limits.handshakes_per_address_per_s_max
            && !self.rate.take_of(network, per_s)
        {
            return Err(Reply::TooManyHandshakes);
        }
        Ok(Some(permit))
    }

    /// The number of open connections, without those that give way to another one. While many of `all` are free, which
    /// they are does not matter.
    fn kept(&self, all: usize) -> usize {
        let taken = self.connections.taken();
        if taken < all - all / 4 {
            return taken;
        }
        taken.saturating_sub(self.unjudged.len() + self.answered.len())
    }

    /// A permit for a connection of this network. Where none is free, an older connection is evicted for it.
    ///
    /// The evicted connection closes its descriptor in its next poll.
    pub(crate) fn make_room(&self, newcomer: Network, limits: &Limits) -> Option<Permit> {
        self.connection(limits).or_else(|| {
            let is_evicted = self.evict_any(newcomer);
            is_evicted.then(|| self.connections.take_anyway())
        })
    }

    /// Evicts the oldest connection that waits and loses least; false when there is none.
    pub(crate) fn evict_any(&self, newcomer: Network) -> bool {
        // A connection that has its answer loses nothing.
        let evicted = self.answered.evict(newcomer);
        let evicted = evicted.or_else(|| self.unjudged.evict(newcomer));
        if evicted.is_some() {
            self.tell_eviction("connections_max");
        }
        evicted.is_some()
    }

    /// A permit for an opening handshake. Where none is free, a connection whose request is not judged yet is
    /// evicted for it.
    ///
    /// # Errors
    ///
    /// What there is too much of.
    pub(crate) fn handshake(&self, network: Network, limits: &Limits) -> Result<Permit, FullOf> {
        if let Some(per_s) = limits.handshakes_per_s_max
            && !self.rate.take(per_s)
        {
            return Err(FullOf::HandshakeRate);
        }
        let permit = self.handshakes.take(limits.pending_handshakes_max);
        let permit = permit.or_else(|| {
            let evicted = self.unjudged.evict(network)?;
            self.tell_eviction("pending_handshakes_max");
            evicted
        });
        permit.ok_or(FullOf::Handshakes)
    }

    /// A permit for a file that is sent, which takes one more descriptor.
    pub(crate) fn file(&self) -> Option<Permit> {
        self.files.take(
            self.descriptors
                .capacity()
                .saturating_sub(self.connections.taken()),
        )
    }

    /// The number of files that are being sent.
    pub(crate) fn downloads(&self) -> usize {
        self.files.taken()
    }

    /// A place among the connections over the limit that are answered. Where all are taken, one of them is evicted.
    pub(crate) fn refusal(&self, network: Network) -> Option<QueueEntry> {
        let permit = self.refused.take(REFUSED_MAX);
        let permit = permit.or_else(|| self.turned_away.evict(network).flatten())?;
        Some(self.turned_away.enter(network, Some(permit)))
    }

    /// The queue of connections whose request is not judged yet: its head is not whole, or its password is not
    /// compared.
    pub(crate) fn unjudged(&self) -> &EvictionQueue {
        &self.unjudged
    }

    /// Waits for the end of `answer`, which sends a peer of `network` its answer. Meanwhile the connection may be
    /// evicted, since a peer that has its answer and does not close loses nothing. `None` if it was.
    pub(crate) async fn unless_evicted<T>(
        &self,
        network: Network,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let mut entry = self.answered.enter(network, None);
        tokio::select! {
            biased;
            answered = answer => Some(answered),
            () = entry.evicted() => None,
        }
    }

    fn tell_eviction(&self, limit: &'static str) {
        self.meters.limits.count(limit);
        self.evictions.log(
            || {
                warn!(
                    limit,
                    "places are short: an older connection that only waited was closed for a new one"
                );
            },
            |evicted| warn!(evicted, "more connections that only waited were closed for new ones"),
        );
    }
}

/// Connections that one address may have where the configuration does not say it: `kept` of at most `all` are open,
/// one that is judged now included, and give no way.
///
/// A quarter of all, and no more than are still free. So several addresses that each take what they can get always
/// leave some for others: with ten of them, an eleventh of all.
fn default_share(is_loopback: bool, all: usize, kept: usize) -> usize {
    match is_loopback {
        true => usize::MAX,
        false => (all / 4).min(all.saturating_sub(kept)).max(1),
    }
}

/// Connections over the limit that are answered at a time. Each takes one of the reserved descriptors.
const REFUSED_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_quarter_and_no_more_than_are_free() {
        for (is_loopback, all, kept, share) in [
            (false, 1000, 1, 250),
            (false, 1000, 750, 250),
            (false, 1000, 751, 249),
            (false, 1000, 990, 10),
            // The first connection of an address is refused by other limits only.
            (false, 1000, 1000, 1),
            (false, 1000, 2000, 1),
            (false, 2, 1, 1),
            (true, 1000, 999, usize::MAX),
        ] {
            assert_eq!(default_share(is_loopback, all, kept), share, "{all} {kept}");
        }
    }

    /// Addresses that each take all they get, one connection at a time.
    #[test]
    fn greedy_addresses_leave_room_for_those_that_come_later() {
        let all = 10_000;
        for addresses in [1, 4, 10, 100] {
            let mut taken = vec![0; addresses];
            loop {
                let mut is_any_taken = false;
                for at in 0..addresses {
                    let sum: usize = taken.iter().sum();
                    if taken[at] < default_share(false, all, sum + 1) {
                        taken[at] += 1;
                        is_any_taken = true;
                    }
                }
                if !is_any_taken {
                    break;
                }
            }
            let free = all - taken.iter().sum::<usize>();
            assert!(free >= all / (addresses + 2), "{addresses}: {free}");
        }
    }
}
