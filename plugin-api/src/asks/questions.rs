//! What a session or a handler asks about a topic, in the words of the ABI.

use crate::{
    asks::{
        asker::{Asker, Read},
        position::Position,
        results::{self, History, Members, Next},
    },
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
        |_| Rule::publish(topic, bytes),
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
        |status| Rule::page_of_topic(status, topic, limit),
    )
}

pub(crate) fn present<A: Asker>(
    asker: &A,
    topic: &str,
    after: Option<&Next>,
    limit: u64,
) -> A::Answer<Members> {
    let after = Next::bytes_of(after);
    asker.ask(
        Read(results::members),
        |call| {
            let (id, token) = (call.id, call.token);
            call.host.present(id, token, topic, after, limit)
        },
        |status| Rule::page_of_topic(status, topic, limit),
    )
}
