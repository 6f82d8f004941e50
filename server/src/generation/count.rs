//! How many are on a generation, and the one moment when nobody is and nobody will be.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A count that can be ended: once it is, it stays at zero when it gets there.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicUsize);

impl Count {
    /// One more; false once it is over.
    pub(super) fn enter(&self) -> bool {
        let enter = |word| (word & OVER == 0).then_some(word + 1);
        let entered = self
            .0
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, enter);
        entered.is_ok()
    }

    /// One less. True for the one call that leaves it at zero for ever.
    pub(super) fn leave(&self) -> bool {
        let before = self.0.fetch_sub(1, Ordering::AcqRel);
        before == ENDING + 1 && self.finish()
    }

    /// Nobody is expected any more. True if nobody is there: then it is over, by this very call.
    pub(super) fn end(&self) -> bool {
        let before = self.0.fetch_or(ENDING, Ordering::AcqRel);
        before == 0 && self.finish()
    }

    /// Who is there.
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed) & !(ENDING | OVER)
    }

    pub(super) fn is_ending(&self) -> bool {
        self.0.load(Ordering::Relaxed) & ENDING != 0
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire) & OVER != 0
    }

    /// Somebody who still came by the old route may have entered in between; then he is the last.
    fn finish(&self) -> bool {
        let over = ENDING | OVER;
        let finished = self
            .0
            .compare_exchange(ENDING, over, Ordering::AcqRel, Ordering::Relaxed);
        finished.is_ok()
    }
}

const OVER: usize = 1 << (usize::BITS - 1);
const ENDING: usize = 1 << (usize::BITS - 2);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_count_is_over_when_it_was_ended_and_the_last_has_left() {
        let count = Count::default();
        assert!(count.enter());
        assert!(!count.end());
        assert!(count.enter(), "a handshake in flight still gets in");
        assert!(!count.leave());
        assert!(!count.is_over());
        assert!(count.leave());
        assert!(count.is_over());
        assert!(!count.enter());
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn an_empty_count_is_over_at_once_and_only_once() {
        let count = Count::default();
        assert!(count.end());
        assert!(!count.end());
    }

    #[test]
    fn among_many_threads_exactly_one_sees_the_end() {
        for _ in 0..200 {
            let (count, ends) = (Count::default(), AtomicUsize::new(0));
            let saw = |end: bool| ends.fetch_add(usize::from(end), Ordering::Relaxed);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        while count.enter() {
                            saw(count.leave());
                        }
                    });
                }
                scope.spawn(|| saw(count.end()));
            });
            assert_eq!(ends.load(Ordering::Relaxed), 1);
        }
    }
}
