//! Publications of a topic that follow one another without a hole.

use std::collections::VecDeque;

use crate::engine::{PastPublication, StreamPosition};

/// A part of a topic's history: everything behind its start, up to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    /// `None` only if there is no publication.
    start: Option<StreamPosition>,
    publications: VecDeque<PastPublication>,
    bytes: usize,
}

impl Run {
    /// An empty run, which goes on behind a position.
    pub(super) fn behind(start: StreamPosition) -> Run {
        Run {
            start: Some(start),
            ..Run::default()
        }
    }

    /// Adds the next publication. One that does not follow the end begins another run.
    pub(super) fn push(&mut self, publication: PastPublication) {
        let at = publication.at;
        let before = StreamPosition {
            offset: at.offset.saturating_sub(1),
            ..at
        };
        if self.end() != Some(before) {
            *self = Run::behind(before);
        }
        self.bytes += size_of(&publication);
        self.publications.push_back(publication);
    }

    /// Drops the oldest publications beyond a number and a size.
    pub(super) fn trim(&mut self, count: usize, bytes: usize) {
        while self.publications.len() > count || self.bytes > bytes {
            let Some(oldest) = self.publications.pop_front() else {
                break;
            };
            self.bytes -= size_of(&oldest);
            self.start = Some(oldest.at);
        }
    }

    /// The place before the first publication.
    pub(super) fn start(&self) -> Option<StreamPosition> {
        self.start
    }

    /// The last publication, or the start.
    pub(super) fn end(&self) -> Option<StreamPosition> {
        let last = self.publications.back().map(|last| last.at);
        last.or(self.start)
    }

    /// Whether the run goes up to this position or further.
    pub(super) fn reaches(&self, at: StreamPosition) -> bool {
        self.end()
            .is_some_and(|end| end.epoch == at.epoch && end.offset >= at.offset)
    }

    /// Whether a part of what followed this position is dropped.
    pub(super) fn has_dropped_behind(&self, at: StreamPosition) -> bool {
        self.start
            .is_some_and(|start| start.epoch == at.epoch && start.offset > at.offset)
    }

    /// Everything behind `after`, up to and with `last`. `None` if a part of it is not here.
    pub(super) fn between(
        &self,
        after: StreamPosition,
        last: StreamPosition,
    ) -> Option<Vec<PastPublication>> {
        let start = self.start?;
        let is_here = start.epoch == after.epoch
            && start.offset <= after.offset
            && after.epoch == last.epoch
            && after.offset <= last.offset
            && self.reaches(last);
        if !is_here {
            return None;
        }
        let skipped = (after.offset - start.offset) as usize;
        let count = (last.offset - after.offset) as usize;
        let found = self.publications.iter().skip(skipped).take(count);
        Some(found.cloned().collect())
    }

    /// Appends what another run has behind the end of this one.
    pub(super) fn extend_from(&mut self, other: &Run) {
        let (Some(end), Some(last)) = (self.end(), other.end()) else {
            return;
        };
        for publication in other.between(end, last).unwrap_or_default() {
            self.push(publication);
        }
    }
}

/// What a publication takes, about.
fn size_of(publication: &PastPublication) -> usize {
    publication.message.plain().len() + std::mem::size_of::<PastPublication>()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sessions::prepared_message::PreparedMessage;
    use crate::ws::frame;

    /// The publications with these offsets in epoch 1.
    pub(in crate::engine::node) fn run(offsets: impl IntoIterator<Item = u64>) -> Run {
        let mut run = Run::default();
        offsets
            .into_iter()
            .for_each(|offset| run.push(past(offset)));
        run
    }

    pub(in crate::engine::node) fn past(offset: u64) -> PastPublication {
        PastPublication {
            at: at(offset),
            except: 0,
            message: PreparedMessage::new(frame::TEXT, offset.to_string().as_bytes(), false),
        }
    }

    pub(in crate::engine::node) fn at(offset: u64) -> StreamPosition {
        StreamPosition { epoch: 1, offset }
    }

    pub(in crate::engine::node) fn offsets(publications: &[PastPublication]) -> Vec<u64> {
        publications.iter().map(|it| it.at.offset).collect()
    }

    #[test]
    fn a_run_gives_all_of_what_is_asked_or_nothing() {
        let run = run(4..=9);
        let between = |after, last| run.between(at(after), at(last)).map(|it| offsets(&it));

        assert_eq!(between(3, 9), Some(vec![4, 5, 6, 7, 8, 9]));
        assert_eq!(between(5, 7), Some(vec![6, 7]));
        assert_eq!(between(9, 9), Some(vec![]));
        assert_eq!(between(2, 9), None);
        assert_eq!(between(5, 10), None);
        let elsewhere = StreamPosition {
            epoch: 2,
            offset: 5,
        };
        assert!(run.between(elsewhere, at(9)).is_none());
    }

    #[test]
    fn what_does_not_follow_begins_another_run_and_what_is_too_much_goes_first() {
        let mut run = run([1, 2, 3, 7, 8]);
        assert_eq!((run.start(), run.end()), (Some(at(6)), Some(at(8))));

        run.trim(1, usize::MAX);
        assert_eq!(run.start(), Some(at(7)));
        run.trim(usize::MAX, 0);
        run.trim(0, 0);
        assert_eq!(
            (run.start(), run.end(), run.bytes),
            (Some(at(8)), Some(at(8)), 0)
        );
    }

    #[test]
    fn a_run_is_extended_only_without_a_hole() {
        for (other, end) in [(5..=8, 8), (2..=8, 8), (6..=8, 4), (1..=3, 4)] {
            let mut first = run(1..=4);
            first.extend_from(&run(other.clone()));
            assert_eq!(first.end(), Some(at(end)), "{other:?}");
        }
    }
}
