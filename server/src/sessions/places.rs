//! How many there may be of something: a limit that may change while there are some.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// Counts who is there.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: Arc<AtomicUsize>,
    /// The most that were taken since it was last asked.
    most: AtomicUsize,
}

/// One who is there, for as long as it lasts.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

/// A connection that is there: it has a place, and the server waits for it when it stops.
#[derive(Debug)]
pub(crate) struct Guest {
    place: Option<Place>,
    _alive: mpsc::Sender<()>,
}

impl Guest {
    pub(crate) fn new(place: Place, alive: mpsc::Sender<()>) -> Guest {
        Guest {
            place: Some(place),
            _alive: alive,
        }
    }

    /// The socket is closed, so another connection may have the place. The server still waits for
    /// what the handler has to finish.
    pub(crate) fn give_up_place(&mut self) {
        self.place = None;
    }
}

impl Places {
    /// A place, if fewer than `max` are taken now.
    pub(crate) fn take(&self, max: usize) -> Option<Place> {
        let one_more = |taken| (taken < max).then_some(taken + 1);
        let took = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        took.ok().map(|before| self.place(before + 1))
    }

    /// A place beyond any limit, for one whose predecessor is on its way out.
    pub(crate) fn take_anyway(&self) -> Place {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        self.place(before + 1)
    }

    fn place(&self, taken: usize) -> Place {
        if self.most.load(Ordering::Relaxed) < taken {
            self.most.fetch_max(taken, Ordering::Relaxed);
        }
        Place(self.taken.clone())
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// The most that were taken at a time since the last such call.
    pub(crate) fn take_most(&self) -> usize {
        self.most.swap(self.taken(), Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_lowered_lets_nobody_in_until_enough_have_left() {
        let places = Places::default();
        let first = places.take(2).unwrap();
        let second = places.take(2).unwrap();
        assert!(places.take(2).is_none());
        assert!(places.take(1).is_none());

        drop(first);
        assert!(places.take(1).is_none());
        drop(second);

        assert!(places.take(1).is_some());
    }
}
