//! The history of one topic: its last publications, and the position of each.
//!
//! What was published first is dropped first, so that offsets have no holes. A payload is copied into memory of its own
//! size: a prepared message has more than it needs, and what sessions make of it would be kept as well.

use std::collections::VecDeque;

use tungstenite::protocol::frame::coding::OpCode;

use super::footprint::{allocated, with_gaps};
use crate::config::HistoryBounds;
use crate::engine::{
    HistoryFrom, Origin, Page, PageLimit, PastPublication, Publication, StreamPosition,
};
use crate::process::clock::Moment;
use crate::sessions::prepared_message::PreparedMessage;

/// The publications of one topic since it has this history.
#[derive(Debug)]
pub(super) struct Stream {
    epoch: u64,
    /// The offset of the last publication; 0 before the first.
    head: u64,
    /// The oldest first. Their offsets end with `head`.
    kept: VecDeque<Kept>,
    /// The memory of what is kept, without unused places of the queue.
    bytes: usize,
    /// As of the last publication. They hold until the next one, or until the configuration changes.
    bounds: HistoryBounds,
    /// The origin of the last publication, and the highest of its numbers among the known ones.
    highest: Option<(Origin, u64)>,
}

/// A publication in a history.
#[derive(Debug)]
struct Kept {
    payload: Box<[u8]>,
    at: Moment,
    // The parts of an `Origin`, which by itself has four unused bytes.
    incarnation: u64,
    node: u32,
    number: u64,
    except: u64,
    opcode: OpCode,
    may_compress: bool,
}

/// What [`Stream::append`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    New(StreamPosition),
    /// The publication is known. This is its position.
    Repeated(StreamPosition),
}

impl Stream {
    pub(super) fn new(epoch: u64, bounds: HistoryBounds) -> Stream {
        Stream {
            epoch,
            head: 0,
            kept: VecDeque::new(),
            bytes: 0,
            bounds,
            highest: None,
        }
    }

    /// Gives a publication the next position. It is kept, unless it alone is beyond the bounds.
    pub(super) fn append(&mut self, publication: &Publication, now: Moment) -> Appended {
        let Publication { origin, number, .. } = *publication;
        if let Some(offset) = self.find(origin, number) {
            return Appended::Repeated(self.position(offset));
        }
        self.head += 1;
        let bytes = kept_bytes(publication.message.payload().len());
        self.drop_until(|stream| {
            stream.kept.len() < stream.bounds.count && stream.bytes + bytes <= stream.bounds.bytes
        });
        if self.bounds.count > 0 && bytes <= self.bounds.bytes {
            // A clock that is read by several threads may go back a little.
            let at = self.kept.back().map_or(now, |last| last.at.max(now));
            self.reserve();
            self.kept.push_back(Kept::new(publication, at));
            self.bytes += bytes;
        }
        self.note(origin, number);
        self.drop_old(now, DROPPED_BY_ONE);
        self.shrink();
        Appended::New(self.position(self.head))
    }

    /// Sets bounds. If they are other ones, what is beyond them is dropped.
    pub(super) fn bound(&mut self, bounds: HistoryBounds, now: Moment) {
        if bounds != self.bounds {
            // What was too old does not come back if a higher age is allowed from now on.
            self.drop_old(now, usize::MAX);
            self.bounds = bounds;
            self.drop_until(|it| it.kept.len() <= bounds.count && it.bytes <= bounds.bytes);
            self.drop_old(now, usize::MAX);
            self.shrink();
        }
    }

    /// Drops publications that are too old, at most so many. Returns how many were dropped.
    pub(super) fn drop_old(&mut self, now: Moment, at_most: usize) -> usize {
        // Nearly every call ends here.
        if !self.kept.front().is_some_and(|kept| self.is_old(kept, now)) {
            return 0;
        }
        let old = self.first_young(now).min(at_most);
        let left = self.kept.len() - old;
        self.drop_until(|stream| stream.kept.len() == left);
        self.shrink();
        old
    }

    /// Drops the oldest publication.
    pub(super) fn drop_oldest(&mut self) {
        let len = self.kept.len();
        self.drop_until(|stream| stream.kept.len() < len);
        self.shrink();
    }

    /// Reads publications, the oldest first. What is too old counts as dropped.
    pub(super) fn page(&self, from: HistoryFrom, limit: PageLimit, now: Moment) -> Page {
        let mut page = Page {
            head: Some(self.head()),
            ..Page::default()
        };
        let Some(first) = self.index_of(from, now) else {
            return page;
        };
        page.is_complete = true;
        let mut bytes = 0;
        for (index, kept) in self.kept.iter().enumerate().skip(first) {
            bytes += kept.payload.len();
            let is_first = page.publications.is_empty();
            if !is_first && (page.publications.len() >= limit.items || bytes > limit.bytes) {
                page.has_more = true;
                break;
            }
            let offset = self.first_offset() + index as u64;
            page.publications.push(kept.told(self.position(offset)));
        }
        page
    }

    /// The position of the last publication.
    pub(super) fn head(&self) -> StreamPosition {
        self.position(self.head)
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The memory of what is kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + (self.kept.capacity() - self.kept.len()) * PLACE_BYTES
    }

    /// When the oldest publication that is kept was published.
    pub(super) fn oldest(&self) -> Option<Moment> {
        self.kept.front().map(|kept| kept.at)
    }

    /// When a look for what is too old pays: when a 64th of the age has passed since the oldest publication came to its
    /// end. So a topic with many publications is not looked at for each of them.
    pub(super) fn look_at(&self) -> Option<Moment> {
        let age_ms = self.bounds.age_ms;
        let late_ms = (age_ms / 64).min(LATE_MS_MAX);
        let oldest = self.oldest().filter(|_| age_ms < u64::MAX)?;
        Some(oldest.after(age_ms.saturating_add(late_ms).saturating_add(1)))
    }

    /// Where a page begins in what is kept. `None` if something is missing before it.
    fn index_of(&self, from: HistoryFrom, now: Moment) -> Option<usize> {
        let (len, first_young) = (self.kept.len(), self.first_young(now));
        match from {
            HistoryFrom::Last(count) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                Some(len.saturating_sub(count).max(first_young))
            }
            HistoryFrom::After(at) if at.epoch == self.epoch => {
                let missed = usize::try_from(self.head.checked_sub(at.offset)?).ok()?;
                let index = len.checked_sub(missed)?;
                (index >= first_young).then_some(index)
            }
            HistoryFrom::After(_) => None,
            HistoryFrom::UpTo { last, count, bytes } => {
                let end = self.index_of(HistoryFrom::After(last), now)?;
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let newest = self.kept.range(first_young..end).rev().take(count);
                let mut sum = 0;
                let fit = newest.take_while(|kept| {
                    sum += kept.payload.len();
                    sum <= bytes
                });
                Some(end - fit.count())
            }
        }
    }

    /// The index of the first publication that is not too old.
    fn first_young(&self, now: Moment) -> usize {
        self.kept.partition_point(|kept| self.is_old(kept, now))
    }

    fn is_old(&self, kept: &Kept, now: Moment) -> bool {
        now.ms_since(kept.at) > self.bounds.age_ms
    }

    /// The offset of a publication that is known.
    fn find(&self, origin: Origin, number: u64) -> Option<u64> {
        // Numbers of one origin nearly always rise.
        if self
            .highest
            .is_some_and(|(last, highest)| last == origin && number > highest)
        {
            return None;
        }
        let known = self.kept.iter().rev().take(KNOWN);
        let mut known = known.zip(0_u64..);
        let (_, back) = known.find(|(kept, _)| kept.number == number && kept.is_of(origin))?;
        Some(self.head - back)
    }

    /// Notes the number of the last publication.
    fn note(&mut self, origin: Origin, number: u64) {
        let highest = match self.highest {
            Some((last, highest)) if last == origin => highest.max(number),
            _ => {
                let known = self.kept.iter().rev().take(KNOWN);
                let numbers = known.filter(|kept| kept.is_of(origin));
                numbers.fold(number, |highest, kept| highest.max(kept.number))
            }
        };
        self.highest = Some((origin, highest));
    }

    /// Drops the oldest publications until a condition holds or nothing is kept.
    fn drop_until(&mut self, is_enough: impl Fn(&Stream) -> bool) {
        while !is_enough(self) {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= kept_bytes(oldest.payload.len());
        }
    }

    /// Gives back memory of the queue, where half of it and more is not used.
    fn shrink(&mut self) {
        let (len, capacity) = (self.kept.len(), self.kept.capacity());
        if len < capacity.div_ceil(2) {
            self.kept.shrink_to(len + len / 4);
        }
    }

    /// Makes a place in the queue. It grows by a quarter, because all places count as memory of the history.
    fn reserve(&mut self) {
        let len = self.kept.len();
        if len == self.kept.capacity() {
            let more = (len / 4 + 1).min(self.bounds.count - len);
            self.kept.reserve_exact(more);
        }
    }

    fn first_offset(&self) -> u64 {
        self.head + 1 - self.kept.len() as u64
    }

    fn position(&self, offset: u64) -> StreamPosition {
        StreamPosition {
            epoch: self.epoch,
            offset,
        }
    }
}

impl Kept {
    fn new(publication: &Publication, at: Moment) -> Kept {
        let message = &publication.message;
        Kept {
            payload: message.payload().into(),
            at,
            incarnation: publication.origin.incarnation,
            node: publication.origin.node,
            number: publication.number,
            except: publication.except,
            opcode: message.opcode(),
            may_compress: message.may_compress(),
        }
    }

    fn is_of(&self, origin: Origin) -> bool {
        self.incarnation == origin.incarnation && self.node == origin.node
    }

    fn told(&self, at: StreamPosition) -> PastPublication {
        PastPublication {
            at,
            except: self.except,
            message: PreparedMessage::new(self.opcode, &self.payload, self.may_compress),
        }
    }
}

/// What a publication takes, with its place in the queue.
pub(super) fn kept_bytes(len: usize) -> usize {
    with_gaps(allocated(len) + PLACE_BYTES)
}

/// A place in the queue of a history.
const PLACE_BYTES: usize = size_of::<Kept>();
/// One publication drops at most so many that are too old, so that none takes long. A sweep drops the others.
const DROPPED_BY_ONE: usize = 16;
/// The publications of a history among which a repeated one is found.
const KNOWN: usize = 256;
const LATE_MS_MAX: u64 = 60_000;

#[cfg(test)]
mod tests;
