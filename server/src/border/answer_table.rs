//! An answer to an ask in the ABI's form, which a callback reads.

use std::marker::PhantomData;

use wsh::abi::answer::{Answer as AnswerFields, Item};

use super::lent_memory::{lend, lend_bytes};
use crate::sessions::answer::{Answer, AnswerItem};

/// The table of an answer. It borrows the answer.
pub(super) struct AnswerTable<'a> {
    fields: AnswerFields,
    /// What `fields.items` points to.
    _items: Vec<Item>,
    answer: PhantomData<&'a Answer>,
}

impl AnswerTable<'_> {
    pub(super) fn new(answer: &Answer) -> AnswerTable<'_> {
        let items: Vec<Item> = answer.items.iter().map(item).collect();
        AnswerTable {
            fields: AnswerFields {
                size: size_of::<AnswerFields>() as u32,
                status: answer.status,
                flags: answer.flags,
                item_size: size_of::<Item>() as u32,
                version: answer.version,
                follows: answer.follows,
                position: lend_bytes(&answer.position),
                items: items.as_ptr(),
                n_items: items.len(),
                next: lend_bytes(&answer.next),
            },
            _items: items,
            answer: PhantomData,
        }
    }

    /// The pointer that the plugin gets. It is valid as long as the table.
    pub(super) fn fields(&self) -> *const AnswerFields {
        &raw const self.fields
    }
}

/// One item in the ABI's form.
fn item(item: &AnswerItem) -> Item {
    let empty = Item {
        id: 0,
        version: 0,
        kind: 0,
        flags: 0,
        name: lend(""),
        value: lend(""),
        position: lend(""),
    };
    match item {
        AnswerItem::Publication { message, position } => Item {
            kind: message.kind(),
            value: lend_bytes(message.payload()),
            position: lend_bytes(position),
            ..empty
        },
        AnswerItem::Member { id, value } => Item {
            id: *id,
            value: lend_bytes(value),
            ..empty
        },
        AnswerItem::KeptValue {
            key,
            value,
            version,
        } => Item {
            version: *version,
            name: lend(key),
            value: lend_bytes(value),
            ..empty
        },
    }
}
