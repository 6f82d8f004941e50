//! The publications of one topic, as the broker of the test bus keeps them.

use std::collections::{HashMap, VecDeque};

use crate::config;
use crate::engine::{
    HistoryFrom, Origin, Page, PageLimit, PastPublication, Publication, StreamPosition,
};

/// See the [module](self).
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) epoch: u64,
    pub(super) offset: u64,
    pub(super) history: VecDeque<(u64, PastPublication)>,
    /// Where each publication is that has come.
    pub(super) seen: HashMap<(Origin, u64), StreamPosition>,
}

impl Stream {
    pub(super) fn head(&self) -> StreamPosition {
        StreamPosition {
            epoch: self.epoch,
            offset: self.offset,
        }
    }

    pub(super) fn append(&mut self, publication: &Publication, now_ms: u64) -> StreamPosition {
        self.offset += 1;
        let at = self.head();
        let past = PastPublication {
            at,
            except: publication.except,
            message: publication.message.clone(),
        };
        self.history.push_back((now_ms, past));
        let source = (publication.origin, publication.number);
        self.seen.insert(source, at);
        at
    }

    pub(super) fn bound(&mut self, bounds: config::HistoryBounds, now_ms: u64) {
        let bytes = |history: &VecDeque<(u64, PastPublication)>| -> usize {
            let lengths = history.iter().map(|(_, it)| it.message.payload().len());
            lengths.sum()
        };
        while let Some((time, _)) = self.history.front() {
            let is_over = self.history.len() > bounds.count
                || now_ms - time > bounds.age_ms
                || bytes(&self.history) > bounds.bytes;
            if !is_over {
                break;
            }
            self.history.pop_front();
        }
    }

    pub(super) fn read(&self, from: HistoryFrom, limit: PageLimit) -> Page {
        let head = self.head();
        let oldest = head.offset - self.history.len() as u64;
        let after = match from {
            HistoryFrom::Last(count) => head.offset.saturating_sub(count).max(oldest),
            HistoryFrom::After(at) if at.epoch != head.epoch => u64::MAX,
            HistoryFrom::After(at) => at.offset,
            HistoryFrom::UpTo { last, .. } if last.epoch != head.epoch => u64::MAX,
            HistoryFrom::UpTo { last, .. } if last.offset < oldest || last.offset > head.offset => {
                u64::MAX
            }
            HistoryFrom::UpTo { last, count, bytes } => {
                let kept = self.history.iter().take((last.offset - oldest) as usize);
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let mut sum = 0;
                let fit = kept.rev().take(count).take_while(|(_, past)| {
                    sum += past.message.payload().len();
                    sum <= bytes
                });
                last.offset - fit.count() as u64
            }
        };
        if after < oldest || after > head.offset {
            let head = Some(head);
            return Page {
                head,
                ..Page::default()
            };
        }
        let left = self.history.iter().skip((after - oldest) as usize);
        let mut bytes = 0;
        let fits = |past: &PastPublication| {
            bytes += past.message.payload().len();
            bytes <= limit.bytes || bytes == past.message.payload().len()
        };
        let left = left.map(|(_, past)| past.clone());
        let publications: Vec<_> = left.take(limit.items.max(1)).take_while(fits).collect();
        Page {
            is_complete: true,
            has_more: after + (publications.len() as u64) < head.offset,
            publications,
            head: Some(head),
        }
    }
}
