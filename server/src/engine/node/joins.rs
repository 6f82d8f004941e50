//! The sessions that wait to join a topic with history, and what is read for them.
//!
//! Each one gets everything behind its position up to what went on last, or is told that it does not. One read at a
//! time serves all sessions that wait.

use std::sync::Arc;

use super::run::Run;
use super::{Joined, OnJoined};
use crate::engine::{Failure, HistoryFrom, Page, PastPublication, StreamPosition};
use crate::sessions::mailbox::Mailbox;

/// A session that wants to join.
pub(super) struct Join {
    /// Rises from one join of the topic to the next.
    pub(super) number: u64,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) wish: Wish,
    /// With so many of the last messages, where the position recovers nothing.
    pub(super) last: u64,
    /// Whether the session has named a position.
    pub(super) has_position: bool,
    /// Whether the position that was named, if one was, still recovers everything.
    pub(super) is_recovered: bool,
    /// `None`: nothing is answered, and the join does not fail.
    pub(super) answer: Option<OnJoined>,
}

/// Where a session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// With what is new.
    Now,
    /// With the last messages.
    Last(u64),
    /// Behind this position.
    After(StreamPosition),
    /// Behind this position, which the topic has, and which this server does not know yet.
    Reached(StreamPosition),
}

/// A session that joins now.
pub(super) struct Ready {
    pub(super) join: Join,
    /// What went on last before it.
    pub(super) at: Option<StreamPosition>,
    pub(super) missed: Vec<PastPublication>,
}

/// All sessions that wait to join one topic.
#[derive(Default)]
pub(super) struct Joins {
    waiting: Vec<Join>,
    reading: Option<Reading>,
    /// The number of the last read.
    reads: u64,
    /// The last read has found that not everything is there, so the next one reads what is.
    is_incomplete: bool,
    /// How far behind the end of the history this server was when a read of the last messages has missed what it was
    /// for.
    behind: u64,
}

/// A read that is under way.
struct Reading {
    from: HistoryFrom,
    /// It is for the joins up to this number.
    up_to: u64,
    run: Run,
    /// How many publications have come.
    count: u64,
    /// The oldest were dropped, because they were too many for a session.
    has_dropped: bool,
}

/// What comes of a page that was read for the joins.
pub(super) enum PageOutcome {
    /// More has to be read.
    More(HistoryFrom),
    Ready(Vec<Ready>),
    /// The engine has not answered. These joins fail.
    Failed(Vec<Join>, Failure),
}

impl Joins {
    pub(super) fn push(&mut self, join: Join) {
        self.waiting.push(join);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the history is read now.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// The furthest position that a session has and this server does not know.
    pub(super) fn reached(&self) -> Option<StreamPosition> {
        let positions = self.waiting.iter().filter_map(|join| match join.wish {
            Wish::Reached(at) => Some(at),
            _ => None,
        });
        positions.max_by_key(|at| at.offset)
    }

    /// Takes out the join of a session that does not want it any more.
    pub(super) fn remove(&mut self, id: u64) -> Option<Join> {
        let index = self.waiting.iter().position(|it| it.mailbox.id == id)?;
        Some(self.waiting.remove(index))
    }

    /// Forgets the read that is under way.
    pub(super) fn stop_reading(&mut self) {
        self.reading = None;
    }

    /// Takes out all joins that can fail.
    pub(super) fn fail(&mut self) -> Vec<Join> {
        self.reading = None;
        let can_fail = |join: &mut Join| join.answer.is_some();
        self.waiting.extract_if(.., can_fail).collect()
    }

    /// Takes out the joins that need no read. `last` is what went on last, and `window` what went on up to it.
    pub(super) fn settle(&mut self, last: Option<StreamPosition>, window: &Run) -> Vec<Ready> {
        self.take_ready(last, window, None)
    }

    /// What has to be read now, if no read is under way and a session needs one.
    ///
    /// Its pages come with the number that is answered.
    pub(super) fn next_read(&mut self, last: StreamPosition) -> Option<(u64, HistoryFrom)> {
        if self.reading.is_some() {
            return None;
        }
        let (mut oldest, mut count) = (None, None);
        for join in &self.waiting {
            match join.wish {
                Wish::After(at) => oldest = Some(at.offset.min(oldest.unwrap_or(u64::MAX))),
                Wish::Last(wished) => count = count.max(Some(wished)),
                Wish::Now | Wish::Reached(_) => {}
            }
        }
        let from = match (oldest, count) {
            (None, None) => return None,
            (Some(offset), None) if !self.is_incomplete => HistoryFrom::After(StreamPosition {
                epoch: last.epoch,
                offset,
            }),
            // One read of what is there serves all.
            (oldest, count) => {
                let missed = oldest.map_or(0, |oldest| last.offset.saturating_sub(oldest));
                let needed = missed.max(count.unwrap_or(0));
                // Some more, since publications come while it is read. A server that falls behind falls further behind
                // meanwhile.
                let newer = READ_MORE.saturating_add(self.behind.saturating_mul(2));
                HistoryFrom::Last(needed.saturating_add(newer))
            }
        };
        self.is_incomplete = false;
        self.behind = 0;
        self.reads += 1;
        self.reading = Some(Reading {
            from,
            up_to: self.waiting.iter().map(|join| join.number).max()?,
            run: match from {
                HistoryFrom::After(start) => Run::behind(start),
                HistoryFrom::Last(_) => Run::default(),
            },
            count: 0,
            has_dropped: false,
        });
        Some((self.reads, from))
    }

    /// Takes a page of the read with this number, if that is still under way.
    pub(super) fn page(
        &mut self,
        read: u64,
        page: Result<Page, Failure>,
        last: Option<StreamPosition>,
        window: &Run,
    ) -> PageOutcome {
        let is_of_it = |_: &mut Reading| read == self.reads;
        let Some(mut reading) = self.reading.take_if(is_of_it) else {
            return PageOutcome::Ready(Vec::new());
        };
        let page = match page {
            Ok(page) => page,
            Err(failure) => {
                let failed =
                    |join: &mut Join| join.number <= reading.up_to && join.answer.is_some();
                return PageOutcome::Failed(self.waiting.extract_if(.., failed).collect(), failure);
            }
        };
        if !page.is_complete {
            self.is_incomplete = true;
            self.lower(&reading);
            return PageOutcome::Ready(self.take_ready(last, window, None));
        }
        let is_empty = page.publications.is_empty();
        for publication in page.publications {
            reading.run.push(publication);
            reading.count += 1;
            reading.has_dropped |= reading.run.trim(usize::MAX, RUN_BYTES_MAX);
        }
        reading.run.extend_from(window);
        let is_behind = last.is_some_and(|last| !reading.run.reaches(last));
        let is_of_stream = |end: &StreamPosition| last.is_some_and(|last| last.epoch == end.epoch);
        if (page.has_more || is_behind)
            && !is_empty
            && let Some(end) = reading.run.end().filter(is_of_stream)
        {
            self.reading = Some(reading);
            return PageOutcome::More(HistoryFrom::After(end));
        }
        let run = std::mem::take(&mut reading.run);
        if let (HistoryFrom::Last(_), Some(end), Some(last)) = (reading.from, run.end(), last) {
            self.behind = end.offset.saturating_sub(last.offset);
        }
        PageOutcome::Ready(self.take_ready(last, &run, Some(&reading)))
    }

    /// Notes that nothing is known of what came after the position that was read from.
    fn lower(&mut self, reading: &Reading) {
        let of_it = (self.waiting.iter_mut()).filter(|join| join.number <= reading.up_to);
        match reading.from {
            HistoryFrom::After(from) => {
                let from_there = of_it.filter(|join| join.wish == Wish::After(from));
                from_there.for_each(Join::lower);
            }
            // The history has dropped what it had given just before, so it has too little for any of them.
            HistoryFrom::Last(_) => of_it.for_each(|join| {
                join.lower();
                join.wish = Wish::Now;
            }),
        }
    }

    fn take_ready(
        &mut self,
        last: Option<StreamPosition>,
        run: &Run,
        read: Option<&Reading>,
    ) -> Vec<Ready> {
        let mut ready = Vec::new();
        for mut join in std::mem::take(&mut self.waiting) {
            let read = read.filter(|read| join.number <= read.up_to);
            match join.settle(last, run, read) {
                Some(missed) => ready.push(Ready {
                    join,
                    at: last,
                    missed,
                }),
                None => self.waiting.push(join),
            }
        }
        ready
    }
}

impl Join {
    /// What the session has missed up to `last`. `None` while it is not known.
    ///
    /// `run` is a part of the history, and `read` the read that has brought it for this join.
    fn settle(
        &mut self,
        last: Option<StreamPosition>,
        run: &Run,
        read: Option<&Reading>,
    ) -> Option<Vec<PastPublication>> {
        let Some(last) = last else {
            // Nothing is kept, so nothing is known of what came after a position.
            self.is_recovered &= matches!(self.wish, Wish::Now | Wish::Last(_));
            return Some(Vec::new());
        };
        loop {
            match self.wish {
                Wish::Now | Wish::Last(0) => return Some(Vec::new()),
                Wish::Last(count) => return latest(count, last, run, read),
                Wish::After(at) | Wish::Reached(at) if at.epoch != last.epoch => self.lower(),
                Wish::After(at) | Wish::Reached(at) if at.offset == last.offset => {
                    return Some(Vec::new());
                }
                Wish::After(at) | Wish::Reached(at) if at.offset < last.offset => {
                    if let Some(missed) = run.between(at, last) {
                        return Some(missed);
                    }
                    if !read.is_some_and(|read| read.has_all_behind(at)) {
                        self.wish = Wish::After(at);
                        return None;
                    }
                    self.lower();
                }
                Wish::Reached(_) => return None,
                Wish::After(at) => {
                    let read = read?;
                    if run.reaches(at) {
                        self.wish = Wish::Reached(at);
                        return None;
                    }
                    if !read.has_all_behind(at) {
                        return None;
                    }
                    self.lower();
                }
            }
        }
    }

    /// The answer to a session that has left the topic before it could join. Without a position, it has nothing to recover.
    pub(super) fn given_up(&self) -> Joined {
        Joined {
            is_recovered: !self.has_position,
            ..Joined::default()
        }
    }

    /// Has the session begin with the last messages, since its position recovers nothing.
    fn lower(&mut self) {
        self.is_recovered = false;
        self.wish = Wish::Last(self.last);
    }
}

impl Reading {
    /// Whether everything behind this position has come that is there.
    fn has_all_behind(&self, at: StreamPosition) -> bool {
        match self.from {
            HistoryFrom::After(from) => from.epoch == at.epoch && from.offset <= at.offset,
            HistoryFrom::Last(count) => self.count < count || self.has_dropped,
        }
    }

    /// Whether so many of the last publications have come, or all.
    fn has_last(&self, count: u64) -> bool {
        match self.from {
            HistoryFrom::After(_) => false,
            HistoryFrom::Last(asked) => asked >= count && (self.count < asked || self.has_dropped),
        }
    }
}

/// The last `count` publications up to `last`. `None` if there may be more than `run` has.
fn latest(
    count: u64,
    last: StreamPosition,
    run: &Run,
    read: Option<&Reading>,
) -> Option<Vec<PastPublication>> {
    if last.offset == 0 {
        return Some(Vec::new());
    }
    let first = StreamPosition {
        offset: last.offset.saturating_sub(count),
        ..last
    };
    if let Some(missed) = run.between(first, last) {
        return Some(missed);
    }
    read.filter(|read| read.has_last(count))?;
    // Fewer are there, or none any more.
    let all = run.start().and_then(|start| run.between(start, last));
    Some(all.unwrap_or_default())
}

/// How many more publications are read than are needed now.
const READ_MORE: u64 = 64;
/// How many bytes of missed messages a session can get. More take too long to send, while new ones wait behind them.
const RUN_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests;
