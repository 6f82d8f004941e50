//! Counts the references to a generation, and finds the one moment when there is none and will be none.
//!
//! The tests walk every interleaving of a few threads: under `cfg(test)` the atomics are loom's.

#[cfg(test)]
use loom::sync::atomic::{AtomicUsize, Ordering};
#[cfg(not(test))]
use std::sync::atomic::{AtomicUsize, Ordering};

/// A counter that can be closed. Once it is closing, it is closed for ever when it reaches zero.
#[derive(Debug, Default)]
pub(super) struct ClosableCounter(AtomicUsize);

impl ClosableCounter {
    /// Counts one more. False once it is closed.
    pub(super) fn enter(&self) -> bool {
        let enter = |word| (word & CLOSED == 0).then_some(word + 1);
        // Acquire in the failure too: after it, a new table of routes is seen.
        let entered = self
            .0
            .fetch_update(Ordering::Acquire, Ordering::Acquire, enter);
        entered.is_ok()
    }

    /// Counts one less. True for the one call that closes it.
    pub(super) fn leave(&self) -> bool {
        let before = self.0.fetch_sub(1, Ordering::AcqRel);
        before == CLOSING + 1 && self.try_close()
    }

    /// Begins to close it. True if it was at zero, so that this very call has closed it.
    pub(super) fn close(&self) -> bool {
        let before = self.0.fetch_or(CLOSING, Ordering::AcqRel);
        before == 0 && self.try_close()
    }

    /// The count.
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed) & !(CLOSING | CLOSED)
    }

    #[cfg(test)]
    pub(super) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Closes it if it is still at zero. A handshake by the old route may have entered in between; then the
    /// last one to leave closes it.
    fn try_close(&self) -> bool {
        let closed = CLOSING | CLOSED;
        let finished =
            self.0
                .compare_exchange(CLOSING, closed, Ordering::AcqRel, Ordering::Relaxed);
        finished.is_ok()
    }
}

const CLOSED: usize = 1 << (usize::BITS - 1);
const CLOSING: usize = 1 << (usize::BITS - 2);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize as Plain, Ordering::SeqCst};

    use loom::sync::Mutex;
    use loom::thread;

    use super::*;

    /// One generation, and how many calls saw its end, which must be one.
    #[derive(Default)]
    struct Generation {
        count: ClosableCounter,
        ends: Plain,
    }

    impl Generation {
        fn saw(&self, is_the_end: bool) {
            if is_the_end {
                assert_eq!(self.count.get(), 0, "the count is zero at the end");
                assert_eq!(self.ends.fetch_add(1, SeqCst), 0, "it ends once");
            }
        }

        fn leave(&self) {
            assert_eq!(
                self.ends.load(SeqCst),
                0,
                "it has not ended while one is there"
            );
            self.saw(self.count.leave());
        }

        fn end(&self) {
            self.saw(self.count.close());
        }
    }

    #[test]
    fn a_count_is_closed_when_it_was_ended_and_the_last_has_left() {
        loom::model(|| {
            let count = ClosableCounter::default();
            assert!(count.enter());
            assert!(!count.close());
            assert!(count.enter(), "a handshake in flight still gets in");
            assert!(!count.leave());
            assert!(!count.is_closed());
            assert!(count.leave());
            assert!(count.is_closed());
            assert!(!count.enter());
            assert_eq!(count.get(), 0);
        });
    }

    #[test]
    fn an_empty_count_is_closed_at_once_and_only_once() {
        loom::model(|| {
            let count = ClosableCounter::default();
            assert!(count.close());
            assert!(!count.close());
        });
    }

    #[test]
    fn a_session_that_comes_during_a_swap_gets_in_somewhere_and_each_generation_ends_once() {
        let mut model = loom::model::Builder::new();
        // Every interleaving of three threads that loop takes twenty minutes, and holds; those with
        // up to three preemptions take seconds.
        model.preemption_bound = Some(3);
        model.check(|| {
            let generations: Arc<[Generation; 2]> = Arc::default();
            // The generation that the table of routes leads to.
            let table = Arc::new(AtomicUsize::new(0));
            let comers: Vec<_> = (0..2)
                .map(|_| {
                    let (generations, table) = (generations.clone(), table.clone());
                    thread::spawn(move || {
                        loop {
                            let generation = &generations[table.load(Ordering::Acquire)];
                            if generation.count.enter() {
                                return generation.leave();
                            }
                            // As in `Router::enter`: it is closed, so the table is another by now.
                            assert_eq!(table.load(Ordering::Acquire), 1);
                        }
                    })
                })
                .collect();

            table.store(1, Ordering::Release);
            generations[0].end();
            for comer in comers {
                comer.join().unwrap();
            }

            assert!(generations[0].count.is_closed());
            assert!(!generations[1].count.is_closed());
            assert_eq!(generations[0].ends.load(SeqCst), 1);
        });
    }

    #[test]
    fn a_session_that_moves_while_its_new_generation_is_superseded_is_on_one_that_lives() {
        loom::model(|| {
            let generations: Arc<[Generation; 3]> = Arc::default();
            assert!(generations[0].count.enter());
            generations[0].end();
            let moving = generations.clone();
            let session = thread::spawn(move || {
                // As in `Session::move_to`: the new one is entered before the old one is left.
                let [old, newer, newest] = &*moving;
                let to = if newer.count.enter() { newer } else { newest };
                assert!(std::ptr::eq(to, newer) || newest.count.enter());
                old.leave();
                to.leave();
            });

            generations[1].end();
            session.join().unwrap();

            for (generation, ends) in generations.iter().zip([1, 1, 0]) {
                assert_eq!(generation.ends.load(SeqCst), ends);
            }
        });
    }

    /// A model of the rule, not the code: the newest generation is made known before the sessions
    /// are listed, and a session that begins is listed before it looks for the newest.
    #[test]
    fn a_session_that_begins_during_a_swap_is_asked_to_move_or_sees_for_itself() {
        loom::model(|| {
            let newest = Arc::new(AtomicUsize::new(0));
            let registry = Arc::new(Mutex::new(Vec::<Arc<AtomicUsize>>::new()));
            let (its_newest, its_registry) = (newest.clone(), registry.clone());
            let session = thread::spawn(move || {
                let asked = Arc::new(AtomicUsize::new(0));
                its_registry.lock().unwrap().push(asked.clone());
                (its_newest.load(Ordering::Acquire) == 1, asked)
            });

            newest.store(1, Ordering::Release);
            for asked in registry.lock().unwrap().iter() {
                asked.store(1, Ordering::Release);
            }

            let (saw, asked) = session.join().unwrap();
            assert!(saw || asked.load(Ordering::Acquire) == 1);
        });
    }

    /// A model of the rule, not the code. The handler is replaced a second time while a session moves to
    /// its first replacement, and sessions are looked for only on generations that are not closed.
    #[test]
    fn a_session_that_moves_during_a_swap_is_asked_to_move_on_or_sees_for_itself() {
        // Whether the sessions of all old generations are asked, or only those of the latest: an older
        // one may have state that the new code does not read.
        for are_all_movable in [true, false] {
            loom::model(move || {
                let generations: Arc<[Generation; 2]> = Arc::default();
                assert!(generations[0].count.enter());
                generations[0].end();
                let newest = Arc::new(AtomicUsize::new(1));
                // Where the mailbox says that the session is, and whether it was asked to move.
                let mailbox = Arc::new(Mutex::new((0, false)));
                let (its_generations, its_newest) = (generations.clone(), newest.clone());
                let its_mailbox = mailbox.clone();
                let session = thread::spawn(move || {
                    // As in `Session::move_to`.
                    let [old, newer] = &*its_generations;
                    assert!(newer.count.enter());
                    its_mailbox.lock().unwrap().0 = 1;
                    old.leave();
                    its_newest.load(Ordering::Acquire) == 2
                });

                newest.store(2, Ordering::Release);
                // As in `Reconciler::advance_generations` and `RollingMove::run`.
                let is_listed = |generation: &usize| {
                    *generation == 1 || are_all_movable && !generations[0].count.is_closed()
                };
                let from: Vec<usize> = (0..2).filter(is_listed).collect();
                let mut it = mailbox.lock().unwrap();
                it.1 = from.contains(&it.0);
                drop(it);

                let saw = session.join().unwrap();
                assert!(saw || mailbox.lock().unwrap().1);
            });
        }
    }
}
