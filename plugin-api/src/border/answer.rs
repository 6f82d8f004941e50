//! The answer to an ask, and what `envelope` and `presence` are told: tables of the host's, made safe to read.

use std::{fmt, mem::MaybeUninit, ptr};

use crate::{
    abi::{self, Status, answer},
    border::read,
};

/// An answer that can be read for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct AnswerTable<'a> {
    table: &'a answer::Answer,
}

/// One item of an answer.
#[derive(Debug)]
pub(crate) struct AnswerItem<'a> {
    pub(crate) id: u64,
    pub(crate) version: u64,
    pub(crate) kind: u32,
    pub(crate) name: &'a str,
    pub(crate) value: &'a [u8],
    pub(crate) position: &'a [u8],
}

/// A change of the members of a topic, as the host tells it.
#[derive(Debug)]
pub(crate) struct ChangeTable<'a> {
    pub(crate) kind: u32,
    pub(crate) version: u64,
    pub(crate) id: u64,
    pub(crate) topic: &'a str,
    pub(crate) value: &'a [u8],
}

/// Lends `call` the answer of a callback.
///
/// # Safety
/// `answer` is the argument of a callback that is running.
pub(crate) unsafe fn with_answer<T>(
    answer: *const answer::Answer,
    call: impl FnOnce(AnswerTable<'_>) -> T,
) -> T {
    // SAFETY: the caller's promise.
    let table = unsafe { read::copy(answer) };
    call(AnswerTable { table: &table })
}

/// The change that a callback is told.
///
/// # Safety
/// `change` is the argument of a callback, which does not return in `'a`.
pub(crate) unsafe fn change<'a>(change: *const answer::PresenceChange) -> ChangeTable<'a> {
    // SAFETY: the caller's promise.
    let table = unsafe { read::copy(change) };
    // SAFETY: by the ABI, the topic is UTF-8, and both can be read until the callback returns.
    let (topic, value) = unsafe {
        let value = read::bytes(table.value.ptr, table.value.len);
        (read::text(table.topic), value)
    };
    ChangeTable {
        kind: table.kind,
        version: table.version,
        id: table.id,
        topic,
        value,
    }
}

impl<'a> AnswerTable<'a> {
    pub(crate) fn status(self) -> Status {
        self.table.status
    }

    pub(crate) fn is_recovered(self) -> bool {
        self.table.flags & answer::RECOVERED != 0
    }

    pub(crate) fn version(self) -> u64 {
        self.table.version
    }

    pub(crate) fn follows(self) -> u64 {
        self.table.follows
    }

    pub(crate) fn position(self) -> &'a [u8] {
        bytes(self.table.position, self)
    }

    pub(crate) fn next(self) -> &'a [u8] {
        bytes(self.table.next, self)
    }

    /// The items. An item of a newer host is longer than this library knows, one of an older host may be shorter.
    pub(crate) fn items(self) -> impl Iterator<Item = AnswerItem<'a>> {
        let size = self.table.item_size as usize;
        let first = self.table.items.cast::<u8>();
        let len = if first.is_null() || size == 0 {
            0
        } else {
            self.table.n_items
        };
        (0..len).map(move |index| {
            let mut own = MaybeUninit::<answer::Item>::zeroed();
            // SAFETY: by the ABI, there are `n_items` items, each `item_size` bytes behind the one before. Zero bytes are an
            // item, and fields are only ever appended whole.
            let item = unsafe {
                let from = first.add(index * size);
                let to = own.as_mut_ptr().cast::<u8>();
                ptr::copy_nonoverlapping(from, to, size.min(size_of::<answer::Item>()));
                own.assume_init()
            };
            AnswerItem {
                id: item.id,
                version: item.version,
                kind: item.kind,
                // SAFETY: by the ABI, a `Str` is UTF-8, and can be read until the callback returns.
                name: unsafe { read::text(item.name) },
                value: bytes(item.value, self),
                position: bytes(item.position, self),
            }
        })
    }
}

/// Bytes of an answer, which can be read for as long as the answer.
fn bytes<'a>(of_table: abi::Bytes, _: AnswerTable<'a>) -> &'a [u8] {
    // SAFETY: by the ABI, they can be read until the callback returns, and `with_answer` lends the table no longer.
    unsafe { read::bytes(of_table.ptr, of_table.len) }
}

impl fmt::Debug for AnswerTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status())
            .field("version", &self.version())
            .field("items", &self.table.n_items)
            .finish_non_exhaustive()
    }
}
