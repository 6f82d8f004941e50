//! Permits: counts things such as connections against a limit that may change meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::address_permits::AddressPermit;

/// Gives out permits and counts those that are out.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    taken: Arc<AtomicUsize>,
    /// The most that were out at a time since `take_most` was last called.
    most: AtomicUsize,
}

/// One of the things that are counted. Dropping it gives the permit back.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicUsize>);

/// What an open connection holds: its permits, and the reason why a server that stops waits for it.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    permit: Option<Permit>,
    /// `None` where its peer has no address that counts, or the address is not known yet.
    address: Option<AddressPermit>,
    _alive: mpsc::Sender<()>,
}

impl ConnectionGuard {
    pub(crate) fn new(permit: Permit, alive: mpsc::Sender<()>) -> ConnectionGuard {
        ConnectionGuard {
            permit: Some(permit),
            address: None,
            _alive: alive,
        }
    }

    /// Keeps the permit of the peer's address, in place of one of another address.
    pub(crate) fn count_for_address(&mut self, address: Option<AddressPermit>) {
        self.address = address;
    }

    /// Gives the permits back, since the socket is closed. A server that stops still waits for what the
    /// handler has to finish.
    pub(crate) fn give_up_permits(&mut self) {
        self.permit = None;
        self.address = None;
    }
}

impl Permits {
    /// A permit, if fewer than `max` are out now.
    pub(crate) fn take(&self, max: usize) -> Option<Permit> {
        let one_more = |taken| (taken < max).then_some(taken + 1);
        let took = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        took.ok().map(|before| self.permit(before + 1))
    }

    /// A permit over any limit, for a connection that takes the place of an evicted one.
    pub(crate) fn take_anyway(&self) -> Permit {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        self.permit(before + 1)
    }

    fn permit(&self, taken: usize) -> Permit {
        if self.most.load(Ordering::Relaxed) < taken {
            self.most.fetch_max(taken, Ordering::Relaxed);
        }
        Permit(self.taken.clone())
    }

    /// The number of permits that are out.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// The most that were out at a time since the last such call.
    pub(crate) fn take_most(&self) -> usize {
        self.most.swap(self.taken(), Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_lowered_gives_no_permit_until_enough_are_back() {
        let permits = Permits::default();
        let first = permits.take(2).unwrap();
        let second = permits.take(2).unwrap();
        assert!(permits.take(2).is_none());
        assert!(permits.take(1).is_none());

        drop(first);
        assert!(permits.take(1).is_none());
        drop(second);

        assert!(permits.take(1).is_some());
    }
}
