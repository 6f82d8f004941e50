//! The memory for compression contexts that are kept between two messages, in all sessions together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that the whole process may take for such contexts.
#[derive(Debug)]
pub(crate) struct Budget {
    max: AtomicUsize,
    taken: AtomicUsize,
}

/// Bytes that were taken of the budget. Dropping a share gives them back.
#[derive(Debug)]
pub(crate) struct BudgetShare {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Budget> {
        Arc::new(Budget {
            max: AtomicUsize::new(bytes_max),
            taken: AtomicUsize::new(0),
        })
    }

    /// Sets how many bytes may be taken from now on. What was taken before stays taken.
    pub(crate) fn set_max(&self, bytes_max: usize) {
        self.max.store(bytes_max, Ordering::Relaxed);
    }

    /// Takes so many bytes; `None` if the budget is spent.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<BudgetShare> {
        let max = self.max.load(Ordering::Relaxed);
        let more = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= max);
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_| BudgetShare {
            budget: self.clone(),
            bytes,
        })
    }

    /// A share of no bytes, which may [grow](BudgetShare::grow).
    pub(crate) fn nothing(self: &Arc<Self>) -> BudgetShare {
        BudgetShare {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// Whether more is taken than is allowed since the budget was lowered. Contexts that can be given up
    /// are given up then.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.max.load(Ordering::Relaxed)
    }
}

impl BudgetShare {
    /// Takes so many bytes more; false if the budget is spent.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let Some(mut more) = self.budget.take(bytes) else {
            return false;
        };
        self.bytes += std::mem::take(&mut more.bytes);
        true
    }

    /// Gives all its bytes back.
    pub(crate) fn shrink(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes > 0 {
            self.budget.taken.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        self.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_taken_once_and_given_back_when_dropped() {
        let budget = Budget::new(100);
        let first = budget.take(60);
        assert!(first.is_some() && budget.take(60).is_none());

        budget.set_max(50);
        assert!(budget.is_overdrawn());

        drop(first);
        assert!(!budget.is_overdrawn() && budget.take(50).is_some());
    }

    #[test]
    fn a_share_grows_as_far_as_the_budget_goes_and_shrinks_to_nothing() {
        let budget = Budget::new(100);
        let (mut first, mut second) = (budget.nothing(), budget.nothing());
        assert!(first.grow(60) && !second.grow(60) && second.grow(40));

        first.shrink();
        assert!(second.grow(60) && !first.grow(1));
        drop(second);
        assert!(first.grow(100));
    }
}
