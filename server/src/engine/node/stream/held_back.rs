//! Publications that wait until it is known what stands before them.

use std::collections::VecDeque;

use super::Action;
use crate::engine::StreamPosition;

/// Publications in the order in which they came.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine::node) struct Held<P> {
    publications: VecDeque<(P, Option<StreamPosition>, usize)>,
    bytes: usize,
}

impl<P> Default for Held<P> {
    fn default() -> Held<P> {
        Held {
            publications: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<P> Held<P> {
    pub(super) fn push(&mut self, publication: P, at: Option<StreamPosition>, bytes: usize) {
        self.publications.push_back((publication, at, bytes));
        self.bytes += bytes;
    }

    pub(super) fn pop(&mut self) -> Option<(P, Option<StreamPosition>)> {
        let (publication, at, bytes) = self.publications.pop_front()?;
        self.bytes -= bytes;
        Some((publication, at))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.publications.is_empty()
    }

    pub(super) fn is_too_much(&self) -> bool {
        self.bytes + self.publications.len() * size_of::<P>() > HELD_BYTES_MAX
    }

    /// Lets what is held go on behind `last`. Answers what went on last, and what stands behind a hole.
    pub(super) fn splice(
        mut self,
        mut last: Option<StreamPosition>,
        actions: &mut Vec<Action<P>>,
    ) -> (Option<StreamPosition>, Held<P>) {
        while let Some((_, at, _)) = self.publications.front() {
            let place = place(last, *at);
            if place == Place::BehindHole {
                break;
            }
            let Some((publication, at)) = self.pop() else {
                break;
            };
            match place {
                Place::Before | Place::BehindHole => continue,
                Place::Elsewhere => actions.push(Action::TellGap),
                Place::Next => {}
            }
            actions.push(Action::Deliver(publication, at));
            last = at;
        }
        (last, self)
    }
}

/// Where a publication stands to what went on last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Next,
    /// It went on already.
    Before,
    /// Others are missing between.
    BehindHole,
    /// It is of another stream, so what is missing between cannot be known.
    Elsewhere,
}

pub(super) fn place(last: Option<StreamPosition>, at: Option<StreamPosition>) -> Place {
    match (last, at) {
        (Some(last), Some(at)) if last.epoch != at.epoch => Place::Elsewhere,
        (Some(last), Some(at)) if at.offset <= last.offset => Place::Before,
        (Some(last), Some(at)) if at.offset > last.offset + 1 => Place::BehindHole,
        _ => Place::Next,
    }
}

/// How much is held while a hole is filled or the engine is asked.
const HELD_BYTES_MAX: usize = 1024 * 1024;
