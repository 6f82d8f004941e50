//! What the handler of a test shares between its sessions and generations: histories, members and kept values.
//!
//! It is plain data. Every function gets the time of the test's clock, and nothing waits.

mod history;
mod members;
mod store;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use self::{history::History, members::Members, store::Store};
pub(super) use self::{
    history::{HistoryBounds, Kept},
    store::Condition,
};
use crate::{
    abi::{self, Status, answer},
    rules::asks,
    test::limits,
};

/// The shared state of one test server.
#[derive(Debug)]
pub(super) struct Engine {
    topics: HashMap<String, Topic>,
    pub(super) store: Store,
    /// What tests said of topics, the last word first.
    policies: Vec<Policy>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Topic {
    history: History,
    members: Members,
}

/// What a test said of the topics that match a pattern.
#[derive(Debug)]
struct Policy {
    pattern: String,
    rule: TopicRule,
}

/// What may be kept of a topic.
#[derive(Clone, Copy, Debug)]
pub(super) enum TopicRule {
    History(HistoryBounds),
    Presence(bool),
    /// Whether the handler may use the topic.
    Use(bool),
}

/// An answer with memory of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct AnswerBuf {
    pub(super) status: Status,
    pub(super) flags: u32,
    pub(super) version: u64,
    pub(super) follows: u64,
    pub(super) position: Vec<u8>,
    pub(super) items: Vec<ItemBuf>,
    pub(super) next: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ItemBuf {
    pub(super) id: u64,
    pub(super) version: u64,
    pub(super) kind: u32,
    pub(super) name: String,
    pub(super) value: Vec<u8>,
    pub(super) position: Vec<u8>,
}

/// What a session that joins a topic gets.
#[derive(Debug)]
pub(super) struct Join {
    /// No other join of the server has it.
    pub(super) number: u64,
    pub(super) answer: AnswerBuf,
    pub(super) missed: Vec<(Vec<u8>, Kept)>,
    /// The session has named a position.
    pub(super) has_position: bool,
    /// So many of the last publications, where the position recovers nothing.
    pub(super) last: u64,
}

/// A change of the members of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberChange {
    pub(super) topic: String,
    /// [`answer::JOINED`] and its like.
    pub(super) kind: u32,
    pub(super) version: u64,
    pub(super) id: u64,
    pub(super) value: Vec<u8>,
}

impl Default for Engine {
    fn default() -> Self {
        Engine {
            topics: HashMap::new(),
            store: Store::default(),
            policies: Vec::new(),
            hasher: RandomState::new(),
        }
    }
}

impl Engine {
    pub(super) fn set(&mut self, pattern: &str, rule: TopicRule, now: Duration) {
        let pattern = pattern.into();
        self.policies.insert(0, Policy { pattern, rule });
        let names: Vec<String> = self.topics.keys().cloned().collect();
        for name in names {
            let bounds = self.history_bounds(&name);
            let history = &mut self.topic(&name).history;
            match bounds {
                // A smaller bound drops the oldest at once.
                Some(bounds) => history.trim(now, bounds),
                // What is published from now on lies behind none of its positions.
                None => *history = History::default(),
            }
        }
    }

    /// How much of a topic's history is kept; `None` if nothing is.
    pub(super) fn history_bounds(&self, topic: &str) -> Option<HistoryBounds> {
        let of_topic = self.policies.iter().find_map(|policy| match policy.rule {
            TopicRule::History(bounds) if policy.matches(topic) => Some(bounds),
            _ => None,
        });
        let bounds = of_topic.unwrap_or(HistoryBounds::DEFAULT);
        (bounds.count > 0).then_some(bounds)
    }

    /// Whether a topic may have members.
    pub(super) fn has_presence(&self, topic: &str) -> bool {
        let of_topic = self.policies.iter().find_map(|policy| match policy.rule {
            TopicRule::Presence(is_allowed) if policy.matches(topic) => Some(is_allowed),
            _ => None,
        });
        of_topic.unwrap_or(true)
    }

    /// Whether the handler may use a topic.
    pub(super) fn allows(&self, topic: &str) -> bool {
        let of_topic = self.policies.iter().find_map(|policy| match policy.rule {
            TopicRule::Use(is_allowed) if policy.matches(topic) => Some(is_allowed),
            _ => None,
        });
        of_topic.unwrap_or(true)
    }

    /// Adds a publication to a topic's history; answers its position.
    pub(super) fn publish(
        &mut self,
        topic: &str,
        kind: u32,
        bytes: &[u8],
        now: Duration,
    ) -> Option<Vec<u8>> {
        let bounds = self.history_bounds(topic)?;
        let kept = Kept {
            at: now,
            kind,
            bytes: bytes.into(),
        };
        let offset = self.topic(topic).history.push(kept, now, bounds);
        Some(self.position(topic, offset))
    }

    /// What the session gets that joins a topic by its join `number`, behind a position or with the last publications.
    pub(super) fn join(
        &mut self,
        number: u64,
        topic: &str,
        after: &[u8],
        last: u64,
        now: Duration,
    ) -> Join {
        let mut answer = AnswerBuf::default();
        let mut missed = Vec::new();
        if let Some(bounds) = self.history_bounds(topic) {
            let offset = self.offset(topic, after);
            let history = &mut self.topic(topic).history;
            history.trim(now, bounds);
            let since = offset.and_then(|offset| history.after(offset));
            let is_recovered = since.is_some();
            let found = since.unwrap_or_else(|| history.last(last));
            let head = history.head();
            answer.position = self.position(topic, head);
            missed = self.with_positions(topic, found);
            answer.follows = missed.len() as u64;
            if is_recovered || after.is_empty() {
                answer.flags = answer::RECOVERED;
            }
        } else if after.is_empty() {
            answer.flags = answer::RECOVERED;
        }
        Join {
            number,
            answer,
            missed,
            has_position: !after.is_empty(),
            last,
        }
    }

    pub(super) fn history(
        &mut self,
        topic: &str,
        after: &[u8],
        last: u64,
        limit: usize,
        now: Duration,
    ) -> AnswerBuf {
        let Some(bounds) = self.history_bounds(topic) else {
            return AnswerBuf::failed(abi::UNSUPPORTED);
        };
        let offset = self.offset(topic, after);
        let history = &mut self.topic(topic).history;
        history.trim(now, bounds);
        let head = history.head();
        let found = match (after, offset) {
            ([], _) => Some(history.last(last)),
            (_, Some(offset)) => history.after(offset),
            (_, None) => None,
        };
        let is_complete = found.is_some();
        let found = self.with_positions(topic, found.unwrap_or_default());
        let (items, has_more) = page(found, limit, |(position, kept)| ItemBuf {
            kind: kept.kind,
            value: kept.bytes.to_vec(),
            position,
            ..ItemBuf::default()
        });
        AnswerBuf {
            flags: if is_complete { answer::RECOVERED } else { 0 },
            // A topic without a publication has no last one.
            position: match head {
                0 => Vec::new(),
                head => self.position(topic, head),
            },
            next: match items.last() {
                Some(last) if has_more => last.position.clone(),
                _ => Vec::new(),
            },
            items,
            ..AnswerBuf::default()
        }
    }

    /// Makes a session a member of a topic. `None` as a change: it is one already, with this value.
    pub(super) fn enter(
        &mut self,
        topic: &str,
        id: u64,
        value: &[u8],
    ) -> (AnswerBuf, Option<MemberChange>) {
        let held: usize = (self.topics.values())
            .map(|topic| topic.members.bytes())
            .sum();
        if held + value.len() > limits::PRESENCE_BYTES_MAX {
            return (AnswerBuf::failed(abi::TOO_BIG), None);
        }
        let members = &mut self.topic(topic).members;
        let kind = members.enter(id, value);
        let version = members.version();
        let change = kind.map(|kind| MemberChange {
            topic: topic.into(),
            kind,
            version,
            id,
            value: value.into(),
        });
        (AnswerBuf::version(version), change)
    }

    /// Ends a membership. `None`: there was none.
    pub(super) fn leave(&mut self, topic: &str, id: u64) -> Option<MemberChange> {
        let members = &mut self.topics.get_mut(topic)?.members;
        let value = members.leave(id)?;
        Some(MemberChange {
            topic: topic.into(),
            kind: answer::LEFT,
            version: members.version(),
            id,
            value,
        })
    }

    /// The topics that a session is a member of.
    pub(super) fn memberships(&self, id: u64) -> Vec<String> {
        let has = |topic: &&String| self.topics[*topic].members.has(id);
        let mut found: Vec<String> = self.topics.keys().filter(has).cloned().collect();
        found.sort_unstable();
        found
    }

    pub(super) fn present(&self, topic: &str, after: Option<u64>, limit: usize) -> AnswerBuf {
        if !self.has_presence(topic) {
            return AnswerBuf::failed(abi::UNSUPPORTED);
        }
        let Some(topic) = self.topics.get(topic) else {
            return AnswerBuf::default();
        };
        let (items, has_more) = page(topic.members.after(after), limit, |(id, value)| ItemBuf {
            id,
            value,
            ..ItemBuf::default()
        });
        AnswerBuf {
            version: topic.members.version(),
            next: match items.last() {
                Some(last) if has_more => asks::next_after_member(last.id).to_vec(),
                _ => Vec::new(),
            },
            items,
            ..AnswerBuf::default()
        }
    }

    fn topic(&mut self, name: &str) -> &mut Topic {
        self.topics.entry(name.into()).or_default()
    }

    fn with_positions(&self, topic: &str, found: Vec<(u64, Kept)>) -> Vec<(Vec<u8>, Kept)> {
        found
            .into_iter()
            .map(|(offset, kept)| (self.position(topic, offset), kept))
            .collect()
    }

    /// The position of an offset: the topic, the history and the offset, so that no other topic or history takes it for its
    /// own.
    fn position(&self, topic: &str, offset: u64) -> Vec<u8> {
        let history = self.topics.get(topic).map(|topic| topic.history.number());
        let words = [self.hasher.hash_one(topic), history.unwrap_or(0), offset];
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// The offset of a position; `None` if it is none of this topic and its history.
    fn offset(&self, topic: &str, position: &[u8]) -> Option<u64> {
        let offset = position
            .get(16..)?
            .try_into()
            .ok()
            .map(u64::from_be_bytes)?;
        (self.position(topic, offset) == position).then_some(offset)
    }
}

impl Join {
    /// The answer to a session that has left the topic before it could join. Without a position, it has nothing to recover.
    pub(super) fn given_up(&self) -> AnswerBuf {
        AnswerBuf {
            flags: match self.has_position {
                true => 0,
                false => answer::RECOVERED,
            },
            ..AnswerBuf::default()
        }
    }
}

impl AnswerBuf {
    pub(super) fn failed(status: Status) -> Self {
        AnswerBuf {
            status,
            ..AnswerBuf::default()
        }
    }

    fn version(version: u64) -> Self {
        AnswerBuf {
            version,
            ..AnswerBuf::default()
        }
    }
}

impl Policy {
    /// Whether the pattern is the topic's name, or ends in `*` and begins it.
    fn matches(&self, topic: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(prefix) => topic.starts_with(prefix),
            None => self.pattern == topic,
        }
    }
}

/// The items of a page, one at least, and whether more follow.
fn page<T>(
    found: impl IntoIterator<Item = T>,
    limit: usize,
    item: impl Fn(T) -> ItemBuf,
) -> (Vec<ItemBuf>, bool) {
    let (mut items, mut bytes) = (Vec::<ItemBuf>::new(), 0);
    for item in found.into_iter().map(item) {
        bytes += item.name.len() + item.value.len() + item.position.len();
        if !items.is_empty() && (items.len() == limit || bytes > asks::PAGE_BYTES_MAX) {
            return (items, true);
        }
        items.push(item);
    }
    (items, false)
}

#[cfg(test)]
mod tests;
