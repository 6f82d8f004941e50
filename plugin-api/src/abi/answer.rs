//! What a handler asks of the state that servers share, and what it is answered: histories, members, kept values.
//!
//! # Asks
//!
//! A function of [`Host`](super::Host) with a `token` is an *ask*. It answers [`OK`](super::OK) when the ask is accepted.
//! The answer comes later, once, by a callback with the token, and never before the function returns. A function that
//! answers below 0 has asked nothing, and no callback follows. The token is a number of the handler's own; it comes to
//! the session wherever that has moved, see *numbers that come back*.
//!
//! `subscribe_from` and `enter` take a Conn, and the session's [`answer`](super::Vtable::answer) hears. The others take
//! `ctx` and an id. With the id of a session of this handler, that session's `answer` hears. With id 0 the handler itself
//! hears, by [`answered`](super::Vtable::answered). A session that is over, a generation that is over and a vtable
//! without the callback hear nothing. A session's answers come between callbacks, in order with what is sent to it by id.
//! They do not wait for the rest of a message in parts, as what is sent does.
//!
//! What one session, or one thread with id 0, asks of the store is carried out in the order of the calls. Answers come in no
//! promised order: that of `subscribe_from` may come after those of later asks.
//!
//! A page has at most as many items as its `limit`, which is 1 at least, and no more than 1,024. It ends before that if its
//! values would have more than 1 MiB, and has one item in any case, if there is one.
//!
//! A function answers [`FULL`](super::FULL) when as many asks wait as may, [`TOO_BIG`](super::TOO_BIG) for a name or a
//! value over its limit, and [`INVALID`](super::INVALID) for bytes that are not what they should be.
//!
//! [`UNSUPPORTED`](super::UNSUPPORTED) is about the topic's table of `[topics]` in config.toml: `history` and `publish_acked` want a
//! `history` in it, `enter` and `present` no `presence = false`. Each of them, and `subscribe_from`, wants a topic that begins
//! with `/` to be for this handler (`handlers`). Where the configuration changes meanwhile, it is the status of the answer.
//! On a topic without a history `subscribe_from` is answered, with [`RECOVERED`] unless a position was named, and without a position; what is
//! published from then on follows.
//!
//! A version only grows. Those of the store are counted over all keys, and those of members over more than one topic, so the
//! first one of a key or topic may be any number. `store_delete` of a key without a value is [`OK`](super::OK), and has a new
//! version.
//!
//! | ask | items | version | position | follows | next |
//! |---|---|---|---|---|---|
//! | `subscribe_from` | none | 0 | the last publication before the new ones, or the place before the first one | how many missed messages follow | empty |
//! | `publish_acked` | none | 0 | the publication | 0 | empty |
//! | `history` | publications: kind, value, position | 0 | the last publication of the topic; empty if there was none, or if it is dropped and the topic is forgotten | 0 | the position of the last item, if there are more |
//! | `enter` | none | of the members after it | empty | 0 | empty |
//! | `present` | members: id, value | of the members | empty | 0 | where the next page begins |
//! | `store_get` | the value, if there is one: name, value, version | as the item's, else 0 | empty | 0 | empty |
//! | `store_put`, `store_delete` | none | of the change; with [`CONFLICT`](super::CONFLICT) the value's, 0 if there is none | empty | 0 | empty |
//! | `store_list` | values: name, value, version | 0 | empty | 0 | where the next page begins |
//!
//! # Joining a topic with a history
//!
//! After `subscribe_from` the session first hears its answer. Then the missed messages go to the peer, and then what is
//! published from now on: nothing is left out, and nothing comes twice. All servers have one order of a topic with
//! history. With a position, [`RECOVERED`] says that everything since then follows. Otherwise the last messages follow
//! that were asked for in its place, and there may be others before them that the peer has not seen. Without a position
//! nothing is to be recovered, and [`RECOVERED`] is set.
//!
//! A session that leaves the topic before it has heard the answer hears it all the same. Then missed messages follow, or the join
//! was given up: nothing follows, there is no position, and [`RECOVERED`] is set unless a position was named. Nothing new
//! comes in either case.
//!
//! A position recovers nothing any more once the configuration has taken the history of its topic, also if it gives it one
//! again. Other bounds leave positions as they are.
//!
//! Missed messages follow as far as the session may have them waiting: at most what its limit of outbound bytes has room
//! for (`outbound_bytes_max`), and at most 1 MiB. A position from which more is missed is not recovered. Of the last
//! messages the newest follow that fit, and `follows` says how many. A handler that wants all reads them by `history`.
//!
//! A position comes with an answer, or by [`envelope`](super::Vtable::envelope), by which a handler tells its peers. It is
//! at most [`POSITION_BYTES_MAX`] opaque bytes, for any server that works with this one. A position of another topic, one
//! that is forged, and one whose messages are gone or too many recovers nothing.

use super::table::table;
use super::{Bytes, Status, Str};

/// The longest position.
pub const POSITION_BYTES_MAX: usize = 64;
/// The longest key of a kept value. A key is 1 byte at least, UTF-8, without NUL.
pub const KEY_BYTES_MAX: usize = 255;
/// A version that every value has, and none: the change is made in any case. A handler that takes versions from its peers
/// refuses this one.
pub const ANY_VERSION: u64 = u64::MAX;

/// [`Answer::flags`]: everything since the position that was named follows, or none was named. Of a page of a history: nothing
/// is missing before it.
pub const RECOVERED: u32 = 1;

/// [`PresenceChange::kind`]: a session has become a member.
pub const JOINED: u32 = 1;
/// [`PresenceChange::kind`]: a member has left, its session is over, or its server is gone.
pub const LEFT: u32 = 2;
/// [`PresenceChange::kind`]: a member has another value.
pub const CHANGED: u32 = 3;

table! {
/// The answer to an ask. It can be read until the callback returns.
#[repr(C)]
#[derive(Debug)]
pub struct Answer {
    /// The size of this table in bytes.
    pub size: u32,
    /// [`OK`](super::OK), or why it was not done: [`CONFLICT`](super::CONFLICT), [`TOO_BIG`](super::TOO_BIG),
    /// [`FULL`](super::FULL), [`UNAVAILABLE`](super::UNAVAILABLE), [`UNSUPPORTED`](super::UNSUPPORTED).
    pub status: Status,
    /// [`RECOVERED`].
    pub flags: u32,
    /// The size of one item in bytes: the next one begins so far behind it.
    pub item_size: u32,
    /// See the table of the module.
    pub version: u64,
    /// How many missed messages follow.
    pub follows: u64,
    /// See the table of the module; empty where there is none.
    pub position: Bytes,
    /// The first item.
    pub items: *const Item,
    /// How many items.
    pub n_items: usize,
    /// Where the next page begins, for the same function; empty after the last page.
    pub next: Bytes,
}
}

table! {
/// One publication, member or kept value. A list of items is read in steps of [`Answer::item_size`].
#[repr(C)]
#[derive(Debug)]
pub struct Item {
    /// The session of a member; else 0.
    pub id: u64,
    /// The version of a kept value; else 0.
    pub version: u64,
    /// The kind of a publication, [`TEXT`](super::TEXT) or [`BINARY`](super::BINARY); else 0.
    pub kind: u32,
    /// 0.
    pub flags: u32,
    /// The key of a kept value; else empty.
    pub name: Str,
    /// What was published, or kept, or what a member says of itself.
    pub value: Bytes,
    /// The position of a publication; else empty.
    pub position: Bytes,
}
}

table! {
/// A change of the members of a topic.
#[repr(C)]
#[derive(Debug)]
pub struct PresenceChange {
    /// The size of this table in bytes.
    pub size: u32,
    /// [`JOINED`], [`LEFT`], [`CHANGED`]. A handler ignores a kind that it does not know.
    pub kind: u32,
    /// The version of the members after the change. Versions of one topic have no holes.
    pub version: u64,
    /// The session of the member.
    pub id: u64,
    /// The topic.
    pub topic: Str,
    /// The member's value; the last one if it left.
    pub value: Bytes,
}
}
