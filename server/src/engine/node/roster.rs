//! The members of a topic as this server has told them to its subscribers, so that what it has missed itself is told too.
//!
//! An engine that is far away tells each change once, and not while it is away. Afterwards the members are listed, and what
//! is different is told. Several changes that are told so have one version, that of the list.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::{ChangeKind, Failure, Member, MembersPage, PresenceChange, TopicName};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Roster {
    topic: TopicName,
    /// What the subscribers know. `None` before the first list.
    told: Option<Members>,
    state: State,
    /// The number of the last list that was asked for.
    lists: u64,
}

type Members = BTreeMap<u64, Arc<[u8]>>;

#[derive(Debug)]
enum State {
    /// No change is missed after this version.
    Known { version: u64 },
    /// The members are to be listed at this time. Changes that come meanwhile are kept.
    Waiting {
        at_ms: u64,
        changes: Vec<PresenceChange>,
    },
    Listing {
        listed: Members,
        /// Of the first page. What has changed after it is in the changes.
        version: Option<u64>,
        changes: Vec<PresenceChange>,
    },
    /// The engine tells nothing.
    Away,
}

/// A page of members to be asked for: the number of the list, and the member that it follows.
pub(super) type List = (u64, Option<u64>);

impl Roster {
    pub(super) fn new(topic: TopicName) -> Roster {
        Roster {
            topic,
            told: None,
            state: State::Away,
            lists: 0,
        }
    }

    /// The engine tells of changes from now on.
    pub(super) fn begin(&mut self, now_ms: u64) {
        // After an outage, the members of other servers need a moment to enter again. They have not left.
        let wait_ms = if self.told.is_some() {
            ENTER_AGAIN_MS
        } else {
            0
        };
        self.state = State::Waiting {
            at_ms: now_ms + wait_ms,
            changes: Vec::new(),
        };
    }

    /// The engine tells nothing any more.
    pub(super) fn cut(&mut self) {
        self.state = State::Away;
    }

    pub(super) fn is_away(&self) -> bool {
        matches!(self.state, State::Away)
    }

    /// When the members are to be listed.
    pub(super) fn due_ms(&self) -> Option<u64> {
        match self.state {
            State::Waiting { at_ms, .. } => Some(at_ms),
            _ => None,
        }
    }

    /// What is to be listed now.
    pub(super) fn next_list(&mut self, now_ms: u64) -> Option<List> {
        let State::Waiting { at_ms, changes } = &mut self.state else {
            return None;
        };
        if *at_ms > now_ms {
            return None;
        }
        self.state = State::Listing {
            listed: Members::new(),
            version: None,
            changes: std::mem::take(changes),
        };
        self.lists += 1;
        Some((self.lists, None))
    }

    /// A change has come. Answers what to tell.
    pub(super) fn change(&mut self, change: PresenceChange, now_ms: u64) -> Option<PresenceChange> {
        match &mut self.state {
            State::Away => None,
            State::Waiting { changes, .. } | State::Listing { changes, .. } => {
                changes.push(change.clone());
                // Before the first list nothing was missed, so the change is news.
                self.told.is_none().then_some(change)
            }
            State::Known { version } if change.version <= *version => None,
            State::Known { version } if change.version == *version + 1 => {
                *version = change.version;
                apply(self.told.get_or_insert_default(), &change);
                Some(change)
            }
            State::Known { .. } => {
                let changes = vec![change];
                let at_ms = now_ms;
                self.state = State::Waiting { at_ms, changes };
                None
            }
        }
    }

    /// A page of the list with this number has come. Answers what to tell, and which page to ask for.
    pub(super) fn page(
        &mut self,
        list: u64,
        page: Result<MembersPage, Failure>,
        now_ms: u64,
    ) -> (Vec<PresenceChange>, Option<List>) {
        let nothing = (Vec::new(), None);
        let State::Listing {
            listed,
            version,
            changes,
        } = &mut self.state
        else {
            return nothing;
        };
        if list != self.lists {
            return nothing;
        }
        let Ok(page) = page else {
            let changes = std::mem::take(changes);
            let at_ms = now_ms + AGAIN_MS;
            self.state = State::Waiting { at_ms, changes };
            return nothing;
        };
        let first = *version.get_or_insert(page.version);
        let last = page.members.last().map(|member| member.id);
        listed.extend(page.members.into_iter().map(|it| (it.id, it.value)));
        if page.has_more {
            return (Vec::new(), Some((list, last)));
        }
        let mut members = std::mem::take(listed);
        let later = changes.iter().filter(|change| change.version > first);
        later.clone().for_each(|change| apply(&mut members, change));
        let version = later.map(|change| change.version).max().unwrap_or(first);
        self.state = State::Known { version };
        let told = self.told.replace(members);
        let changes = match (told, &self.told) {
            (Some(told), Some(members)) => self.differences(&told, members, version),
            _ => Vec::new(),
        };
        (changes, None)
    }

    fn differences(&self, told: &Members, members: &Members, version: u64) -> Vec<PresenceChange> {
        let change = |kind, id: u64, value: &Arc<[u8]>| PresenceChange {
            topic: self.topic.clone(),
            version,
            kind,
            member: Member {
                id,
                value: value.clone(),
            },
        };
        let left = told.iter().filter(|(id, _)| !members.contains_key(id));
        let left = left.map(|(id, value)| change(ChangeKind::Left, *id, value));
        let others = members.iter().filter_map(|(id, value)| match told.get(id) {
            None => Some(change(ChangeKind::Joined, *id, value)),
            Some(before) if before != value => Some(change(ChangeKind::Changed, *id, value)),
            Some(_) => None,
        });
        left.chain(others).collect()
    }
}

fn apply(members: &mut Members, change: &PresenceChange) {
    let Member { id, value } = &change.member;
    match change.kind {
        ChangeKind::Left => members.remove(id),
        ChangeKind::Joined | ChangeKind::Changed => members.insert(*id, value.clone()),
    };
}

/// By then, the servers that have lost the engine have it again, and their members have entered.
const ENTER_AGAIN_MS: u64 = 3_500;
/// A list that is not answered is asked for again.
const AGAIN_MS: u64 = 1_000;

#[cfg(test)]
mod tests;
