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
}

/// A read that is under way. When it is over, each of its joins is settled or waits to be reached, so none is read for
/// twice.
struct Reading {
    /// It is for the joins up to this number.
    up_to: u64,
    /// How many publications these need.
    count: u64,
    /// What went on last when it began. The window has what goes on meanwhile.
    begin: StreamPosition,
    /// The end of the history, as the last page has told it.
    head: Option<StreamPosition>,
    run: Run,
    /// How often it was begun, because the history has dropped what was to be read next.
    tries: u32,
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
        let counts = self.waiting.iter().filter_map(|join| match join.wish {
            Wish::Last(count) => Some(count),
            Wish::After(at) => Some(last.offset.saturating_sub(at.offset)),
            Wish::Now | Wish::Reached(_) => None,
        });
        // One read serves all.
        let count = counts.max()?;
        self.reads += 1;
        let reading = self.reading.insert(Reading {
            up_to: self.waiting.iter().map(|join| join.number).max()?,
            count,
            begin: last,
            head: None,
            run: Run::default(),
            tries: 1,
        });
        Some((self.reads, reading.from()))
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
        let next = last.and_then(|last| reading.take(page, last, window));
        if let Some(from) = next {
            self.reading = Some(reading);
            return PageOutcome::More(from);
        }
        PageOutcome::Ready(self.take_ready(last, &reading.run, Some(&reading)))
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
    /// `run` is a part of the history. `read` is the read that has brought it for this join, if one has: then there is no
    /// more than `run` has.
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
                Wish::Last(count) => return latest(count, last, run, read.is_some()),
                Wish::After(at) | Wish::Reached(at) if at.epoch != last.epoch => self.lower(),
                Wish::After(at) | Wish::Reached(at) if at.offset == last.offset => {
                    return Some(Vec::new());
                }
                Wish::After(at) | Wish::Reached(at) if at.offset < last.offset => {
                    if let Some(missed) = run.between(at, last) {
                        return Some(missed);
                    }
                    if read.is_none() {
                        self.wish = Wish::After(at);
                        return None;
                    }
                    self.lower();
                }
                Wish::Reached(_) => return None,
                Wish::After(at) => {
                    let head = read?.head;
                    let is_there =
                        |head: StreamPosition| head.epoch == at.epoch && head.offset >= at.offset;
                    if head.is_some_and(is_there) {
                        self.wish = Wish::Reached(at);
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
    /// Where the read begins: no earlier than with what one session can get, however much the history has.
    fn from(&self) -> HistoryFrom {
        HistoryFrom::UpTo {
            last: self.begin,
            count: self.count.min(MISSED_COUNT_MAX),
            bytes: MISSED_BYTES_MAX,
        }
    }

    /// Takes a page. Answers from where the next one is read, until the run reaches `last`.
    ///
    /// What is beyond `last` comes to the sessions as it goes on, so it is not kept: the rest would not have its place.
    fn take(&mut self, page: Page, last: StreamPosition, window: &Run) -> Option<HistoryFrom> {
        self.head = page.head.or(self.head);
        let before = self.run.end();
        if page.is_complete {
            let publications = page.publications.into_iter();
            publications
                .take_while(|past| past.at.epoch == last.epoch && past.at.offset <= last.offset)
                .for_each(|past| {
                    self.run.push(past);
                    self.run.trim(usize::MAX, MISSED_BYTES_MAX);
                });
            if self.run.end().is_none() {
                // Nothing before it is there, or nothing that a session can get.
                self.run = Run::behind(self.begin);
            }
        }
        self.run.extend_from(window);
        self.run.trim(usize::MAX, MISSED_BYTES_MAX);
        if self.run.reaches(last) {
            return None;
        }
        if window.has_dropped_behind(self.begin) && window.reaches(last) {
            // More has gone on meanwhile than a session can get.
            self.run = window.clone();
            return None;
        }
        let end = self.run.end().filter(|end| end.epoch == last.epoch);
        if page.is_complete && end.is_some() && end != before {
            return end.map(HistoryFrom::After);
        }
        // The history has dropped what follows. What it still has is read, unless it drops that as well.
        if self.begin == last || self.tries == TRIES_MAX {
            return None;
        }
        self.run = Run::default();
        self.begin = last;
        self.tries += 1;
        Some(self.from())
    }
}

/// The last `count` publications up to `last`. `None` if there may be more than `run` has, unless it has `all`.
fn latest(
    count: u64,
    last: StreamPosition,
    run: &Run,
    has_all: bool,
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
    // Fewer are there, or none any more.
    let all = || run.start().and_then(|start| run.between(start, last));
    has_all.then(|| all().unwrap_or_default())
}

/// How many bytes of missed messages a session can get. More take too long to send, while new ones wait behind them.
pub(super) const MISSED_BYTES_MAX: usize = 1024 * 1024;
/// No more publications than these are within `MISSED_BYTES_MAX`.
const MISSED_COUNT_MAX: u64 = (MISSED_BYTES_MAX / size_of::<PastPublication>()) as u64;
/// How often a read begins where the history drops publications sooner than they are read.
const TRIES_MAX: u32 = 3;

#[cfg(test)]
mod tests;
