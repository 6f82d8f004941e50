//! What the engine has answered, as the answer that a handler gets.

use wsh::abi;
use wsh::abi::answer::RECOVERED;
use wsh::rules::asks::next_after_member;

use super::Ask;
use crate::border::refused_calls::{self, CalledWith, HostCall};
use crate::engine::node::{HistoryPage, Joined};
use crate::engine::position::Position;
use crate::engine::{Failure, KeptValue, MembersPage, StoreAnswer};
use crate::sessions::answer::{Answer, AnswerItem};

impl Ask {
    /// The answer after a failure. Where it is a limit's, the log says which.
    pub(super) fn failed(&self, failure: Failure) -> Answer {
        let status = match failure {
            Failure::Full => abi::FULL,
            Failure::TooBig { limit } => {
                let (name, rule) = (self.function, rule_of(limit));
                let with = CalledWith::Ctx(Some(self.context), self.session_id());
                refused_calls::log_refusal(with, &HostCall::Plain { name, rule }, abi::TOO_BIG);
                abi::TOO_BIG
            }
            Failure::Conflict { current } => {
                return Answer {
                    version: current,
                    ..Answer::failed(abi::CONFLICT)
                };
            }
            Failure::Unavailable => abi::UNAVAILABLE,
            Failure::Unsupported => abi::UNSUPPORTED,
        };
        Answer::failed(status)
    }
}

/// Of `subscribe_from`.
pub(super) fn joined(joined: &Joined) -> Answer {
    Answer {
        flags: recovered(joined.is_recovered),
        position: bytes_of(joined.position.as_ref()),
        follows: joined.missed as u64,
        ..Answer::default()
    }
}

/// Of `publish_acked`.
pub(super) fn published(position: Position) -> Answer {
    Answer {
        position: bytes_of(Some(&position)),
        ..Answer::default()
    }
}

/// Of `history`.
pub(super) fn of_history(page: HistoryPage) -> Answer {
    let last = page.publications.last().map(|(position, _)| position);
    let next = bytes_of(last.filter(|_| page.has_more));
    let items = page.publications.into_iter();
    Answer {
        flags: recovered(page.is_complete),
        position: bytes_of(page.head.as_ref()),
        items: items
            .map(|(position, message)| AnswerItem::Publication {
                message,
                position: bytes_of(Some(&position)),
            })
            .collect(),
        next,
        ..Answer::default()
    }
}

/// Of `enter`: the version of the members.
pub(super) fn changed(version: u64) -> Answer {
    Answer {
        version,
        ..Answer::default()
    }
}

/// Of `present`.
pub(super) fn of_members(page: MembersPage) -> Answer {
    let last = page.members.last().filter(|_| page.has_more);
    let next = last.map_or_else(Box::default, |member| next_after_member(member.id).into());
    let items = page.members.into_iter();
    Answer {
        version: page.version,
        items: items
            .map(|member| AnswerItem::Member {
                id: member.id,
                value: member.value,
            })
            .collect(),
        next,
        ..Answer::default()
    }
}

/// Of the functions of the store.
pub(super) fn of_store(answer: StoreAnswer) -> Answer {
    match answer {
        StoreAnswer::Value(value) => Answer {
            version: value.as_ref().map_or(0, |value| value.version),
            items: value.into_iter().map(kept).collect(),
            ..Answer::default()
        },
        StoreAnswer::Changed(version) => changed(version),
        StoreAnswer::Keys { values, has_more } => {
            let last = values.last().filter(|_| has_more);
            let next = last.map_or_else(Box::default, |value| value.key.as_bytes().into());
            Answer {
                items: values.into_iter().map(kept).collect(),
                next,
                ..Answer::default()
            }
        }
    }
}

fn kept(value: KeptValue) -> AnswerItem {
    AnswerItem::KeptValue {
        key: value.key,
        value: value.value,
        version: value.version,
    }
}

fn recovered(is_recovered: bool) -> u32 {
    if is_recovered { RECOVERED } else { 0 }
}

fn bytes_of(position: Option<&Position>) -> Box<[u8]> {
    position.map_or_else(Box::default, |position| position.as_bytes().into())
}

/// The rule of a limit of the configuration that an engine has found passed.
fn rule_of(limit: &'static str) -> &'static str {
    match limit {
        "history_bytes_max" => "the histories of all topics have at most `history_bytes_max` bytes",
        "bytes" => "the history of a topic has at most its `bytes` in `[topics]`",
        "presence_bytes_max" => "the members of all topics have at most `presence_bytes_max` bytes",
        "presence_value_bytes_max" => {
            "the value of a member has at most `presence_value_bytes_max` bytes"
        }
        "store_bytes_max" => "the store of a handler has at most `store_bytes_max` bytes",
        "store_value_bytes_max" => "a value has at most `store_value_bytes_max` bytes",
        limit => limit,
    }
}
