//! The table of an answer, and that of a change of members, as a plugin reads them.

use crate::{
    abi::answer::{Answer, Item, PresenceChange},
    border::read,
    test::engine::{AnswerBuf, ItemBuf, MemberChange},
};

/// Lends `call` the table of an answer.
pub(super) fn with_answer<T>(from: &AnswerBuf, call: impl FnOnce(*const Answer) -> T) -> T {
    let items: Vec<Item> = from.items.iter().map(item).collect();
    let table = Answer {
        size: size_of::<Answer>() as u32,
        status: from.status,
        flags: from.flags,
        item_size: size_of::<Item>() as u32,
        version: from.version,
        follows: from.follows,
        position: read::lend(&from.position),
        items: items.as_ptr(),
        n_items: items.len(),
        next: read::lend(&from.next),
    };
    call(&raw const table)
}

fn item(from: &ItemBuf) -> Item {
    Item {
        id: from.id,
        version: from.version,
        kind: from.kind,
        flags: 0,
        name: read::lend(from.name.as_bytes()),
        value: read::lend(&from.value),
        position: read::lend(&from.position),
    }
}

/// Lends `call` the table of a change.
pub(super) fn with_change<T>(
    from: &MemberChange,
    call: impl FnOnce(*const PresenceChange) -> T,
) -> T {
    let table = PresenceChange {
        size: size_of::<PresenceChange>() as u32,
        kind: from.kind,
        version: from.version,
        id: from.id,
        topic: read::lend(from.topic.as_bytes()),
        value: read::lend(&from.value),
    };
    call(&raw const table)
}
