//! What a session or a handler asks about a topic, in the words of the ABI.

use crate::{
    abi,
    asks::{
        asker::{Asker, Page, Read},
        pages::PAGE_ITEMS_MAX,
        position::Position,
        results::{self, History, Member, Members, Next},
    },
    border::answer::AnswerTable,
    error::rule::Rule,
    message::payload::Payload,
};

pub(crate) fn publish_acked<A: Asker, P: Payload>(
    asker: &A,
    topic: &str,
    message: &P,
    except: u64,
) -> A::Answer<Position> {
    let (kind, bytes) = (message.kind(), message.bytes());
    asker.ask(
        Read(results::published),
        |call| {
            let (id, token) = (call.id, call.token);
            call.host
                .publish_acked(id, token, topic, kind, bytes, except)
        },
        |status| Rule::publish_acked(status, topic, bytes),
    )
}

pub(crate) fn history<A: Asker>(
    asker: &A,
    topic: &str,
    after: Option<&Position>,
    limit: u64,
) -> A::Answer<History> {
    let after = after.map_or(&[][..], Position::as_bytes);
    asker.ask(
        Read(results::history),
        |call| {
            let (id, token) = (call.id, call.token);
            call.host.history(id, token, topic, after, limit)
        },
        |status| match status {
            abi::UNSUPPORTED => Rule::history(topic),
            _ => Rule::page_of_topic(status, topic, limit),
        },
    )
}

pub(crate) fn present<A: Asker>(
    asker: &A,
    topic: &str,
    after: Option<&Next>,
    limit: u64,
) -> A::Answer<Members> {
    page_of_members(asker, Read(results::members), topic, after, limit)
}

/// Asks for the next of all members of a topic.
pub(crate) fn members<A: Asker>(
    asker: &A,
    topic: &str,
    after: Option<&Next>,
) -> A::Answer<Page<Member>> {
    let read = |answer: AnswerTable<'_>| {
        results::members(answer).map(|page| Page {
            items: page.members,
            next: page.next,
        })
    };
    page_of_members(asker, Read(read), topic, after, PAGE_ITEMS_MAX)
}

fn page_of_members<A: Asker, T: Send + 'static>(
    asker: &A,
    read: Read<T>,
    topic: &str,
    after: Option<&Next>,
    limit: u64,
) -> A::Answer<T> {
    let after = Next::bytes_of(after);
    asker.ask(
        read,
        |call| {
            let (id, token) = (call.id, call.token);
            call.host.present(id, token, topic, after, limit)
        },
        |status| match status {
            abi::UNSUPPORTED => Rule::presence(topic),
            _ => Rule::page_of_topic(status, topic, limit),
        },
    )
}
