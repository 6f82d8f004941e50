//! What a far engine has not answered, and is asked once more: publications with an answer, and members of this server.
//!
//! It is not known whether the first ask was carried out. A publication is known by its number, and a member by its
//! session, so neither is there twice.

use std::sync::{Mutex, PoisonError};

use crate::engine::{Done, Failure, Publication, StreamPosition, TopicName};

/// See the [module](self).
#[derive(Default)]
pub(super) struct Repeats(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    publications: Vec<Repeat>,
    members: Vec<(TopicName, u64)>,
}

/// A publication that was not answered.
pub(super) struct Repeat {
    pub(super) publication: Publication,
    pub(super) done: Done<StreamPosition>,
    /// It is published again up to this time, and never later.
    pub(super) until_ms: u64,
}

impl Repeats {
    /// Keeps a publication. Fails it if too many wait already.
    pub(super) fn push(&self, repeat: Repeat) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.publications.len() < PUBLICATIONS_MAX {
            return waiting.publications.push(repeat);
        }
        drop(waiting);
        (repeat.done)(Err(Failure::Unavailable));
    }

    /// Keeps a member.
    pub(super) fn push_member(&self, topic: TopicName, id: u64) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.members.push((topic, id));
    }

    /// Takes what is to be asked now, and fails the publications whose time is over.
    pub(super) fn take(
        &self,
        is_reachable: bool,
        now_ms: u64,
    ) -> (Vec<Repeat>, Vec<(TopicName, u64)>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |it: &mut Repeat| it.until_ms <= now_ms;
        let over: Vec<_> = waiting.publications.extract_if(.., is_over).collect();
        let taken = match is_reachable {
            true => std::mem::take(&mut *waiting),
            false => Waiting::default(),
        };
        drop(waiting);
        over.into_iter()
            .for_each(|it| (it.done)(Err(Failure::Unavailable)));
        (taken.publications, taken.members)
    }
}

/// Each waits with its message.
const PUBLICATIONS_MAX: usize = 4_096;
/// How long a publication is repeated.
pub(super) const REPEAT_MS: u64 = 10_000;
