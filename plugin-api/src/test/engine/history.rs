//! The publications of one topic that are still kept.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How much of a topic's history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::test) struct HistoryBounds {
    pub(in crate::test) count: usize,
    pub(in crate::test) age: Duration,
}

/// One publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::test) struct Kept {
    pub(in crate::test) at: Duration,
    pub(in crate::test) kind: u32,
    pub(in crate::test) bytes: Arc<[u8]>,
}

#[derive(Debug)]
pub(super) struct History {
    /// No other history of the process has it.
    number: u64,
    kept: VecDeque<Kept>,
    /// The number of the last publication, counted from 1.
    head: u64,
}

impl HistoryBounds {
    /// Enough for a test that says nothing.
    pub(super) const DEFAULT: HistoryBounds = HistoryBounds {
        count: 1000,
        age: Duration::from_secs(24 * 3600),
    };
}

impl Default for History {
    fn default() -> Self {
        History {
            number: HISTORIES.fetch_add(1, Ordering::Relaxed) + 1,
            kept: VecDeque::new(),
            head: 0,
        }
    }
}

impl History {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn push(&mut self, kept: Kept, now: Duration, bounds: HistoryBounds) -> u64 {
        self.kept.push_back(kept);
        self.head += 1;
        self.trim(now, bounds);
        self.head
    }

    /// Drops what is past the bounds.
    pub(super) fn trim(&mut self, now: Duration, bounds: HistoryBounds) {
        while let Some(oldest) = self.kept.front()
            && (self.kept.len() > bounds.count || now.saturating_sub(oldest.at) >= bounds.age)
        {
            self.kept.pop_front();
        }
    }

    /// The number of the last publication, kept or not; 0 if there was none.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Everything after a publication; `None` if some of it is not kept any more, or if the publication is not there yet.
    pub(super) fn after(&self, offset: u64) -> Option<Vec<(u64, Kept)>> {
        let wanted = self.head.checked_sub(offset)?;
        (wanted <= self.kept.len() as u64).then(|| self.last(wanted))
    }

    /// The last publications.
    pub(super) fn last(&self, count: u64) -> Vec<(u64, Kept)> {
        let first = self.head - self.kept.len() as u64 + 1;
        let skipped = self.kept.len() - count.min(self.kept.len() as u64) as usize;
        (first..)
            .zip(self.kept.iter().cloned())
            .skip(skipped)
            .collect()
    }
}

static HISTORIES: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_after_a_position_comes_or_nothing() {
        let bounds = HistoryBounds {
            count: 2,
            age: Duration::from_secs(10),
        };
        let mut history = History::default();
        for second in 1..=3 {
            let at = Duration::from_secs(second);
            let kept = Kept {
                at,
                kind: 1,
                bytes: [second as u8][..].into(),
            };
            history.push(kept, at, bounds);
        }
        let offsets = |found: Option<Vec<(u64, Kept)>>| {
            found.map(|found| found.iter().map(|(offset, _)| *offset).collect::<Vec<_>>())
        };

        assert_eq!(offsets(history.after(0)), None);
        assert_eq!(offsets(history.after(1)), Some(vec![2, 3]));
        assert_eq!(offsets(history.after(3)), Some(vec![]));
        assert_eq!(offsets(history.after(4)), None);
        assert_eq!(offsets(Some(history.last(9))), Some(vec![2, 3]));
        assert_eq!(offsets(Some(history.last(1))), Some(vec![3]));

        history.trim(Duration::from_secs(12), bounds);
        assert_eq!(offsets(history.after(1)), None);
        assert_eq!(offsets(history.after(2)), Some(vec![3]));
    }
}
