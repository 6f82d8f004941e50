//! The border: what a plugin and the server agree on, byte for byte. This file has no logic.
//!
//! Words: a *plugin* is a library file, a *handler* is its code, a *session* is one open
//! WebSocket, a *generation* is one loaded version of a plugin.
//!
//! # Rules
//!
//! Each has a name, by which comments cite it.
//!
//! 1. *One symbol.* The server looks for one symbol, the static [`WSH_HANDLER`](SYMBOL). The head of that
//!    [`Descriptor`], up to `init`, holds no pointer, nor does what follows `init`. So the server reads both from the
//!    file, and runs no code of a plugin that it refuses.
//! 2. *Sizes.* A table starts with its `size`. A reader reads at most `size` bytes of a table, and no more than it
//!    knows. An absent field is NULL and means the default. A writer that fills a table of the other side writes
//!    nothing past the `size` found in it. Fields are appended, never moved and never reused, and no table ends in
//!    padding. A plugin's table that ends before a field of 1.0 is refused, unless that field is
//!    [`description`](Descriptor::description).
//! 3. *Versions.* `abi_major` must match; `min_host_minor` must not be above the server's minor. The server ignores a
//!    descriptor flag that it does not know. A plugin that depends on such a flag raises `min_host_minor`.
//! 4. *Lent memory.* Memory that is passed to a call can be read until the call returns. There are two exceptions.
//!    [`Host`], its `ctx` and `log_level` live as long as the process. A [`Request`], with all that it points to, stays
//!    where it is from the first call of `handshake` until `open` or `abandon` has returned. `abandon` comes only if an
//!    attempt was left, so a handler that reads the Request between two calls of `handshake` leaves one. Each side
//!    frees only what it allocated. A pointer and a length are a pair: with length 0 the pointer may be NULL or
//!    dangling.
//! 5. *Order of callbacks.* Callbacks of one session never overlap and keep their order, but
//!    may run on different threads. `handshake`, `open`, `restore`, `answered`, `envelope`, `presence` and different
//!    sessions run concurrently; `init`, `self_test`, `serving` and `shutdown` of one generation follow one
//!    another.
//! 6. *The Conn.* A `*mut Conn` or `*mut Response` is valid only inside the callback that it was given to, on the
//!    thread of that callback. Any other pointer (NULL, another session's, one of an earlier callback, freed or made
//!    up) is answered [`MISUSE`], and nothing behind it is read.
//! 7. *No way back.* No function of 1.0 enters the plugin before it returns. `send`, `ping`,
//!    `close` take effect in call order; `send_to`, `close_to`, `notify` and `publish` are
//!    messages, applied between callbacks. What one thread sends to one id, by the first three,
//!    keeps its order, and so does what it publishes to one topic. No other order is promised:
//!    none between `send`, `send_to` and `publish`, and none between two topics or two threads.
//! 8. *No unwinding.* No panic or exception leaves its side, and no `longjmp` crosses the border.
//! 9. *Nothing of the server's own.* A plugin depends on no address, thread, descriptor or process
//!    id of the server. Several processes may have the image at once (a trial, a worker): statics
//!    are each process's own.
//!
//! # The life of a session
//!
//! First comes `handshake`. While it answers [`PENDING`], it is called again after each `wake` with the request's id.
//! The Response is then as earlier calls left it, so a header line that each call appends is sent several times. Next
//! comes `open`, or `abandon` if an attempt was left and no `open` follows. Then `message`, `ping`, `pong`, `drain`,
//! `timer`, `wake`, `note` and `answer` come in any order, and `snapshot` between any two of them. `closing` comes if the peer
//! closes first. At the end come `closed`, once, and `destroy`. After `close`, `abort`, [`DONE`] or an error there are
//! only `closed`, `wake` after a `closed` that answered [`PENDING`], and `destroy`. A failed `open` or `restore` leaves
//! no session, so neither `closed` nor `destroy` follows. A session may be NULL.
//!
//! Functions that take a Conn answer [`MISUSE`] in `snapshot` and `restore`, and [`GONE`] in `closed`. `check` answers
//! [`OK`] in all three, and the table of the Conn may be read there. `destroy`, `abandon` and `shutdown` may call `[any
//! thread]` functions only. `closed`, `destroy`, `abandon` and `shutdown` come at most once, and exactly once unless
//! the process ends. `serving(1)` of a new generation comes before `serving(0)` of the one before it.
//!
//! What a callback returns, and what that means:
//!
//! | callback | [`OK`] | [`DONE`] | [`PENDING`] | [`AGAIN`] | below 0 |
//! |---|---|---|---|---|---|
//! | `init`, `self_test` | fit | | | | refused, with the words of `fail` |
//! | `handshake` | accepted | | asked again after a `wake` | | a 500; also [`REJECT`], [`ABORT`] |
//! | `open` | a session | closes with 1000 | | | no session; closes with 1011 |
//! | `message` `ping` `pong` `drain` `timer` `wake` `note` `answer` | go on | closes with 1000 | | | closes with 1011; [`DROPPED`] is as OK |
//! | `closing` | the code is echoed unless `close` or `abort` was called | as OK | answered later: other callbacks but `message` go on until `close`, `abort` or DONE, which echoes the code, as the close timeout does | | closes with 1011 |
//! | `closed` | over | over | `wake` goes on until it answers otherwise, or a deadline | | over |
//! | `snapshot` | the state is written | | | not now: asked again after the next callback | the session stays in this generation; a later callback may have changed that, so it can be asked again |
//! | `restore` | a session | | | | it stays in the older generation, and may be tried again |
//! | `envelope` | what was written is sent | the message is sent as it is | | | as DONE, and logged |
//! | `presence` | what was written is sent | nothing is sent | | | as DONE, and logged |
//!
//! A status that has no meaning in its callback counts as [`ERROR`] and is logged.
//!
//! # What more is promised
//!
//! - *Wakes.* Calls of `wake` may be merged, and a `wake` callback may come without a call. After any
//!   call of `wake`, also one made during a callback, a `wake` callback begins, unless the session
//!   ends first.
//! - *Parts.* A message sent with [`MORE`] stays open until a part without it. Each part repeats the
//!   opcode, and a part of text is whole characters. Until then another `send` with another opcode is
//!   [`INVALID`], and what was sent by id waits; `ping` and `close` pass. A handler with [`STREAM`]
//!   gets messages in parts of any length, every one but the last with [`MORE`]; a part of text is
//!   whole characters.
//! - *A move.* A session that moves to a newer generation keeps its socket, id, timers, topics, compression contexts,
//!   and everything that waits in either direction. `snapshot` may be called between any two callbacks, as often as
//!   after each, also when no move follows. It changes nothing outside the session. `restore` gets state that an older
//!   generation or this one wrote, perhaps in a process that has ended.
//! - *Ids and generations.* An id is opaque and never 0. No two sessions have the same id, on all servers that work
//!   together and across an upgrade that keeps sessions open. All 64 bits may be used, which is more than a number of
//!   JSON holds in a browser. A server that works alone counts from 1 when it starts, so an id that was kept outside
//!   the process may belong to another session after a restart. A generation's number is opaque, and that of a newer
//!   one is larger. [`GONE`] for an id means that the session is known to be over, or that the calling generation is,
//!   whose sessions may go on in a newer one.
//! - *Numbers that come back.* The token of a timer and the number of a note come to the session wherever it has moved,
//!   and so to code that may be newer. They do not come to a session that is over. So they are numbers that each
//!   generation understands, and never a pointer. Every token of a later minor comes back in this way, too.
//! - *Topics.* A topic is 1 to 255 bytes of UTF-8 without NUL. Topics are compared byte for byte, and no byte is a
//!   wildcard. A topic belongs to the handler's name, and all generations of the handler share it. A topic that begins
//!   with `/` belongs to the server, and any handler may use it. Once `subscribe` has answered [`OK`], publications of
//!   this server arrive at once, and those of other servers soon. `publish` answers how many subscribers of this server
//!   the message is for, as last known and without `except`; 0 says nothing of other servers. A subscriber for which
//!   the message does not fit is closed as past its outbound limit. A publisher that is a subscriber may get the
//!   message after what it sends next. `except` is the id of one session on any server, as a rule the publisher's own.
//!   A message that arrives may have been published by another version of the handler.
//! - *Versions and positions.* The version of a kept value is a `u64`, which is 0 where there is no value and only grows,
//!   also over a deletion. A position among publications is at most 64 opaque bytes. Every server that works with the
//!   one that gave it, in this version or a later one, understands the position or recovers nothing from it.
//! - *What servers share.* Histories, members and kept values belong to the handler's name, and outlive its generations.
//!   [`answer`] says how they are asked for. A reload, a move or a crash of a session leaves no member behind.
//! - *Queues.* `buffered` and every count of bytes say what the server still holds, as last known. [`TOO_BIG`] may also
//!   show as a close after the callback.
//! - *After `shutdown` returned* every `[any thread]` function answers [`GONE`] or NULL, except `log`, `fail` and
//!   `check`, which need no session. So a thread that never ends does no harm.
//!
//! # What is survived
//!
//! The server survives, and answers by a status: any pointer that is no Conn or Response of the
//! running callback, and any `ctx` of a Sink but that of the running callback ([`MISUSE`]); NULL
//! with a length, however long ([`INVALID`]); a length above `isize::MAX` ([`TOO_BIG`]); a Response after its `handshake` returned ([`MISUSE`]); `commit` of room that a
//! later call or the end of the callback took back ([`INVALID`]); ids that are stale, foreign, or 0
//! ([`GONE`]); texts that are not UTF-8, unless [`TRUSTED_UTF8`] vouches for them, or hold a NUL where
//! none may be ([`INVALID`]).
//!
//! It does not survive, and promises nothing about: writes into memory that is not the plugin's; a
//! pointer to fewer bytes than its length says; a `ctx` that is neither the host table's nor NULL;
//! signal handlers; `pthread_exit`, cancellation or `longjmp` out of a callback; `fork` without
//! `exec`; more stack than a callback has, which is at least 1 MiB.
//!
//! # What is promised
//!
//! **A plugin that is built against 1.x is served by every later server of major 1**, without being
//! built again: the library's file, whatever compiler and language it came from. What was built
//! against 1.0 is kept as files in `tests/golden`, which every server must load and pass.
//!
//! - *Stays as it is in major 1*: the name and the meaning of [`WSH_HANDLER`](SYMBOL); the place,
//!   the type and the meaning of every field and every constant; what a NULL means; the layout of
//!   [`Str`] and [`Pair`] as a whole; the rules above; which callback follows which; `init` once per
//!   loaded image, unless a flag of a later minor allows more.
//! - *Is appended with a minor*: fields at the end of [`Descriptor`], [`Init`], [`Instance`], [`Conn`], [`Request`],
//!   [`Sink`], [`Host`] and [`Vtable`], each told by `size`; statuses, kind bits and flags, none of which is sent to a
//!   side of an older minor; values under [`CAUSE`]. Each has its dated line in the log below. A plugin of an older
//!   minor does not see them, and works as it did.
//! - *Works the other way, too*: a plugin of a newer minor is served by an older server as long as its
//!   [`Descriptor::min_host_minor`] allows it. Otherwise it is refused, and the log names both versions.
//! - *Needs a new major*: anything else. A server of another major refuses the file in one sentence and runs none of
//!   its code. `magic`, `abi_major`, `abi_minor` and `size` keep their places in every major, so that every server can
//!   read them and say this sentence.
//! - *Is not promised*: limits and defaults, which belong to the configuration; the texts of log
//!   lines; timing; what a plugin does that breaks a rule; and the Rust items of this crate
//!   outside this module, which follow the crate's own version.
//!
//! # How to append
//!
//! *The minor.* Until 1.0.0 is tagged, [`ABI_MINOR`] is 0. Afterwards a release that appends anything raises it by one,
//! however much it appends. A plugin raises its `min_host_minor` only if it cannot work without the new item.
//!
//! Paths without a folder of the repository are below `plugin-api`. Each list is in the order of the work.
//!
//! *Whatever is appended:*
//!
//! 1. `src/abi.rs`: the item at the end of its table or group, with its meaning, what NULL or 0 means (an older side
//!    sends that), and the thread it belongs to. Then [`ABI_MINOR`], and a dated line in the log below. `table!` does
//!    not compile where a field leaves padding.
//! 2. `include/wsh.h`: the item in C, and `WSH_ABI_MINOR`. `tests/c/layout.rs` fails until both files say one thing. It
//!    lists each constant with its value. The offsets of new fields are added there before the next minor.
//!
//! *A host function*, after these two files:
//!
//! 3. `server/src/border/host_table.rs`: its place in the table, and its code, which turns raw arguments into safe
//!    ones. The server does not compile without. What sends a message is in `host_table/messages.rs`, what asks in
//!    `host_table/asks.rs`, what shapes the answer to a handshake in `host_table/response.rs`. A refusal is logged with
//!    the name that `HostCall::named` gets.
//! 4. What it does: `server/src/outbound/controls.rs` with a Conn, `server/src/border/handler_context.rs` with `ctx`,
//!    `server/src/border/asks.rs` for an ask, `server/src/border/response_draft.rs` with a Response.
//! 5. `src/test/host_table.rs`: its place and its code in the host of `wsh::test`. This crate does not compile without.
//! 6. What it does there: `src/test/controls.rs`, `src/test/context.rs` or `src/test/response_draft.rs`.
//! 7. `src/border/host.rs`: a safe function, which answers [`UNSUPPORTED`] where the field is NULL.
//! 8. The author's method: `src/handle.rs` for `[any thread]`, `src/styles/events/conn.rs` for `[callback]`,
//!    `src/handshake/response.rs` for `[handshake]`. `tests/documented.rs` fails for a method without an example.
//!    Nothing fails without 7 and 8, but only a plugin in C can call the function then.
//!
//! What an ask asks is said once for all styles, in `src/asks/questions.rs` or `src/asks/store.rs`, and what its answer means
//! in `src/asks/results.rs`. In the host of `wsh::test`, `src/test/hub/asks.rs` carries it out.
//!
//! A method of the other styles is in their `conn.rs` as well. The blocking style needs a variant of `Command`, too, in
//! `src/styles/blocking/command.rs`, which `src/styles/blocking/channel/callbacks.rs` runs.
//!
//! Where it is worth it: a check that both hosts make, in `src/rules.rs`; a sentence for a refusal, in
//! `server/src/border/refused_calls/rules.rs` and `src/error/rule.rs`; the host in C, `include/wsh_test_host.h`, whose
//! table ends before the function until then. `tests/conformance/table.txt` says what both hosts answer to a script,
//! and `tests/fixtures/c/script.c` has the function's word in it.
//!
//! *A callback of a session*, after the first two files. A NULL does what servers did before.
//!
//! 3. `server/src/border/calls.rs` calls it, or `server/src/border/state_transfer.rs` for a move. It names the callback
//!    by a variant of `Callback` in `server/src/border/watchdog.rs`, which does not compile without its name.
//! 4. The code in `server/src/session` that has the reason for the call.
//! 5. `src/test/plugin_session.rs` calls it for `wsh::test`, and does not compile where a variant of `CallbackEvent`
//!    has no call. `src/test/session.rs` has the reason for the call.
//! 6. `src/border/shims.rs` has it in the vtable, which does not compile without, and `src/border/shims/session.rs` its
//!    function; for one of the handler `src/border/shims/handshake.rs` or `topics.rs` beside it.
//! 7. `src/styles/adapter.rs`: a variant of `Event`. What each style makes of it is in `events/adapter.rs`,
//!    `asynchronous/session.rs` and `blocking/adapter.rs` below `src/styles`, which do not compile without.
//! 8. `include/wsh_test.h` calls it in a test in C. Nothing fails without.
//!
//! *A status*, after the first two files: its name in `src/rules.rs`, and in `wsh_status_name` of the header; what
//! authors get for it in `src/error.rs`. *A kind bit*: `src/rules.rs`, which refuses it otherwise. *A flag*: where the
//! flag of its table is read. Neither side sends a status or a bit to a side of an older minor.
//!
//! The plugins in `tests/golden` stay as they are, and still load.
//!
//! # Log of the ABI
//!
//! - 1.0, 2026-11-23: the first. Mended until 1.0.0 is tagged; last on 2026-11-29: codes of 32 bits,
//!   [`FULL`], [`IF_ROOM`], [`FOLLOWED`], [`ORIGIN_ANY`], [`CAUSE`], `client_addr`, `check`, `wake_after`,
//!   `notify` and `note`; fields that are 0 must be 0. On 2026-11-30: the functions of [`answer`], `answer`,
//!   `answered`, `envelope`, `presence`, [`CONFLICT`], [`UNAVAILABLE`], [`DROPPED`], `description`.

pub mod answer;
pub mod raw;
mod table;

use std::ffi::c_void;

use self::answer::{Answer, PresenceChange};
use self::table::table;

/// The name of the one symbol that a plugin exports, a static [`Descriptor`].
pub const SYMBOL: &str = "WSH_HANDLER";
/// The first bytes of every [`Descriptor`], shaped like PNG's: a transfer in text mode breaks them.
pub const MAGIC: [u8; 8] = *b"\x89WSH\r\n\x1a\n";
/// The major that this file describes.
pub const ABI_MAJOR: u32 = 1;
/// How many releases since 1.0 have appended to [`ABI_MAJOR`]: see *how to append*.
pub const ABI_MINOR: u32 = 0;

/// The answer of a call: 0 and above is an outcome, below 0 a failure.
pub type Status = i32;
/// Done as asked.
pub const OK: Status = 0;
/// Not now; asked again later.
pub const AGAIN: Status = 1;
/// `handshake`: refuse with the status of the response, else 403.
pub const REJECT: Status = 2;
/// The handler is done with the session: close 1000.
pub const DONE: Status = 3;
/// The answer comes later, after a `wake`.
pub const PENDING: Status = 4;
/// `handshake`: close the connection without sending a byte.
pub const ABORT: Status = 5;
/// Failed.
pub const ERROR: Status = -1;
/// The handler panicked; the panic was caught on the plugin's side.
pub const PANIC: Status = -2;
/// The session, or its generation, is over.
pub const GONE: Status = -3;
/// Past a limit; nothing was done.
pub const TOO_BIG: Status = -4;
/// Not known to the side that was asked.
pub const UNSUPPORTED: Status = -5;
/// An argument breaks its rule; nothing was done.
pub const INVALID: Status = -6;
/// Called at the wrong time, on the wrong thread or with a pointer that is not valid; nothing was done.
pub const MISUSE: Status = -7;
/// The queue is full; nothing was done, and it may be tried again.
pub const FULL: Status = -8;
/// In an [`Answer`]: the value does not have the version that was named; nothing was done.
pub const CONFLICT: Status = -9;
/// In an [`Answer`]: what the servers share cannot be reached, or did not answer in time. Whether it was done is unknown.
pub const UNAVAILABLE: Status = -10;
/// `send`, `commit`: the message passes the outbound limit, whose policy is to drop messages. It was dropped, and the
/// session goes on. `message` and the callbacks that go on like it may answer it, in the place of [`OK`].
pub const DROPPED: Status = -11;

/// Message kind: text. The low byte of a kind is the opcode of RFC 6455 §5.2.
pub const TEXT: u32 = 1;
/// Message kind: binary.
pub const BINARY: u32 = 2;
/// Kind bit: another part of this message follows; every part repeats the opcode.
pub const MORE: u32 = 1 << 8;
/// Kind bit: do not compress this message; in its first part, where it has several.
pub const NO_COMPRESS: u32 = 1 << 9;
/// Kind bit: the sender vouches for UTF-8, and the host need not check it, so text that is not UTF-8 may reach the
/// peer. Never a reason for unchecked code in the host.
pub const TRUSTED_UTF8: u32 = 1 << 10;
/// Kind bit of `send` and `commit`: a message that does not fit beside what waits is answered with [`FULL`], in the
/// place of [`TOO_BIG`] and the limit's policy. Nothing was done; `drain` says when to try again. By id the bit is
/// [`UNSUPPORTED`].
pub const IF_ROOM: u32 = 1 << 11;
/// Kind bit of the callback `message`, for handlers with [`BATCHES`]: another whole message follows at once. It is a
/// hint: a message without it may be followed by another one, too, and what follows may break the protocol, so that
/// `closed` comes instead. In a send the bit is [`UNSUPPORTED`], so an echo clears it.
pub const FOLLOWED: u32 = 1 << 12;

/// [`Descriptor::flags`]: compiled with `panic = "abort"`. Such a plugin is refused where it would share the server's
/// process.
pub const PANIC_ABORT: u32 = 1;
/// [`Descriptor::flags`]: sessions can move to a newer generation.
pub const MIGRATES: u32 = 2;
/// [`Descriptor::flags`]: the plugin runs every session on a thread of its own. The server limits how many there are.
pub const BLOCKING: u32 = 4;
/// [`Descriptor::flags`]: sessions are futures.
pub const ASYNC: u32 = 8;
/// [`Descriptor::flags`]: the handler's own `handshake` judges the `Origin`. The server admits any origin, unless the
/// configuration has a rule for this handler.
pub const ORIGIN_ANY: u32 = 16;
/// [`Vtable::flags`]: `message` takes parts of messages. A message may then be of any length, in any number of frames.
/// The configuration's limit for the bytes of a message limits a part instead.
pub const STREAM: u32 = 1;
/// [`Vtable::flags`]: `message` may be told that another message follows, see [`FOLLOWED`].
pub const BATCHES: u32 = 2;
/// [`Init::flags`]: loaded to be checked; no traffic will follow.
pub const CHECK: u32 = 1;
/// [`Request::flags`]: the request came over TLS that ended at this server.
pub const TLS: u32 = 1;
/// [`Request::flags`]: the request came over HTTP/2.
pub const HTTP2: u32 = 2;
/// [`Conn::flags`]: a Close frame was sent or received.
pub const CLOSING: u32 = 1;
/// [`Conn::flags`]: the session was restored from an older generation.
pub const RESTORED: u32 = 2;
/// [`Conn::flags`]: permessage-deflate was negotiated.
pub const DEFLATE: u32 = 4;
/// [`Conn::flags`]: the bits that say in `closing` and `closed` what ended the session first: one of the values below.
/// 0 or a value that is not known stands for something else.
pub const CAUSE: u32 = 0xff << 8;
/// [`CAUSE`]: the peer closed.
pub const CAUSE_PEER: u32 = 1 << 8;
/// [`CAUSE`]: the handler closed, dropped the connection or was done.
pub const CAUSE_HANDLER: u32 = 2 << 8;
/// [`CAUSE`]: a callback failed or panicked.
pub const CAUSE_FAILED: u32 = 3 << 8;
/// [`CAUSE`]: the connection was lost, or the peer gave no sign of life for too long.
pub const CAUSE_LOST: u32 = 4 << 8;
/// [`CAUSE`]: the session passed a limit of the server's: of what its peer sends or is sent, of time without a message, or of
/// memory, which all sessions share.
pub const CAUSE_LIMIT: u32 = 5 << 8;
/// [`CAUSE`]: the peer broke a rule of the protocol.
pub const CAUSE_PROTOCOL: u32 = 6 << 8;
/// [`CAUSE`]: newer code has replaced this generation, and the session could not move to it.
pub const CAUSE_REPLACED: u32 = 7 << 8;
/// [`CAUSE`]: the server stops, or an operator has closed the session or drains the handler.
pub const CAUSE_STOPPING: u32 = 8 << 8;

/// Log level: nothing at all.
pub const LOG_OFF: u32 = 0;
/// Log level: someone must act.
pub const LOG_ERROR: u32 = 1;
/// Log level: refused, or went on without.
pub const LOG_WARN: u32 = 2;
/// Log level: what an operator wants to know.
pub const LOG_INFO: u32 = 3;
/// Log level: the steps of one session.
pub const LOG_DEBUG: u32 = 4;
/// Log level: the steps of one message.
pub const LOG_TRACE: u32 = 5;

table! {
/// Text: UTF-8 without NUL. With `len` 0, `ptr` may be NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Str {
    /// The first byte.
    pub ptr: *const u8,
    /// Length in bytes.
    pub len: usize,
}
}

/// Any bytes, in the layout of [`Str`].
pub type Bytes = Str;

table! {
/// A name and its value: a header line, a cookie, a route's parameter, a log field.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The name.
    pub name: Str,
    /// The value.
    pub value: Bytes,
}
}

table! {
/// The description of a plugin. Everything but `init` is read from the file, without running it.
#[repr(C)]
#[derive(Debug)]
pub struct Descriptor {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// The major of the ABI it was built with.
    pub abi_major: u32,
    /// The minor of the ABI it was built with.
    pub abi_minor: u32,
    /// The oldest host minor that the plugin can live with.
    pub min_host_minor: u32,
    /// The size of this table in bytes.
    pub size: u32,
    /// [`PANIC_ABORT`], [`MIGRATES`], [`BLOCKING`], [`ASYNC`], [`ORIGIN_ANY`].
    pub flags: u32,
    /// The schema of the state that `snapshot` writes; 0 as a rule where it writes none.
    pub state_schema: u32,
    /// The oldest schema that `restore` reads; not above `state_schema`.
    pub state_schema_min: u32,
    /// 0; refused otherwise.
    pub reserved: u32,
    /// The handler's own name, UTF-8, NUL-padded; for people only.
    pub name: [u8; 64],
    /// The handler's own version, UTF-8, NUL-padded; for people only.
    pub version: [u8; 32],
    /// What it was compiled with, UTF-8, NUL-padded; for people only.
    pub toolchain: [u8; 64],
    /// Builds the handler. It changes nothing outside before `serving`. Called once per loaded image: first in a
    /// process of its own, with [`CHECK`], then in the server.
    pub init: Option<unsafe extern "C" fn(*const Host, *const Init, *mut Instance) -> Status>,
    /// What the handler is, in a sentence, UTF-8, NUL-padded; for people only. It is read from the file as well. A table that
    /// ends before it is that of a handler without a description.
    pub description: [u8; 256],
}
}

#[allow(unsafe_code)] // a static must be `Sync`, and one of its fields is a pointer
// SAFETY: the only pointer is to a function, which any thread may call.
unsafe impl Sync for Descriptor {}

table! {
/// The table that `init` gets.
#[repr(C)]
#[derive(Debug)]
pub struct Init {
    /// The size of this table in bytes.
    pub size: u32,
    /// [`CHECK`].
    pub flags: u32,
    /// The number of the generation, from 1.
    pub generation: u64,
    /// The handler's table of the configuration as a JSON object.
    pub config_json: Str,
    /// The handler's name, `chat`; its topics belong to it.
    pub name: Str,
}
}

table! {
/// The table that `init` fills in; `size` is set by the server.
#[repr(C)]
#[derive(Debug)]
pub struct Instance {
    /// The size of this table in bytes.
    pub size: u32,
    /// 0; refused otherwise.
    pub flags: u32,
    /// The handler: the first argument of the vtable's handler functions.
    pub handler: *mut c_void,
    /// The handler's functions; lives as long as the image is mapped.
    pub vtable: *const Vtable,
}
}

table! {
/// One session, as its callbacks see it. Owned by the host, read in place, never past `size`.
#[repr(C)]
#[derive(Debug)]
pub struct Conn {
    /// The size of this table in bytes.
    pub size: u32,
    /// [`CLOSING`], [`RESTORED`], [`DEFLATE`], and what is under [`CAUSE`].
    pub flags: u32,
    /// The session's number: never 0, never reused.
    pub id: u64,
    /// Bytes accepted for sending that the server still holds.
    pub buffered: u64,
    /// The chosen subprotocol, or empty.
    pub protocol: Str,
}
}

table! {
/// The opening handshake's request (RFC 6455 §4.1), with what the server made of it.
#[repr(C)]
#[derive(Debug)]
pub struct Request {
    /// The size of this table in bytes.
    pub size: u32,
    /// [`TLS`], [`HTTP2`].
    pub flags: u32,
    /// The id that the session will have.
    pub id: u64,
    /// The request target, verbatim.
    pub target: Bytes,
    /// The path, percent-decoded once.
    pub path: Str,
    /// What follows the first `?`, raw.
    pub query: Bytes,
    /// The `Host` header, or `:authority`.
    pub host: Str,
    /// The `Origin` header, or empty.
    pub origin: Str,
    /// The other end of the transport: as a rule `address:port`; may be empty or of another form
    /// (`unix:…`).
    pub remote_addr: Str,
    /// The client: what a proxy that the server trusts says of it, `unknown` where that proxy names no address, or else
    /// `remote_addr`.
    pub client_addr: Str,
    /// The user that the server found the client to be, or empty.
    pub user: Str,
    /// The header lines in order, repeated ones repeated; no pseudo-headers.
    pub headers: *const Pair,
    /// How many header lines.
    pub n_headers: usize,
    /// The cookies of every `Cookie` line.
    pub cookies: *const Pair,
    /// How many cookies.
    pub n_cookies: usize,
    /// The subprotocols that the client offers, in its order.
    pub protocols: *const Str,
    /// How many subprotocols.
    pub n_protocols: usize,
    /// The parameters of a route such as `/rooms/{room}`, percent-decoded: `{*path}` can be
    /// `../../etc/passwd`.
    pub params: *const Pair,
    /// How many parameters.
    pub n_params: usize,
    /// `TLSv1.3`, or empty.
    pub tls_version: Str,
    /// The server name that the client asked for, or empty.
    pub tls_sni: Str,
    /// The client's certificate in DER, or empty.
    pub tls_client_cert: Bytes,
}
}

/// The answer to the opening handshake. It is opaque to the plugin, and valid inside a call of `handshake` only.
#[repr(C)]
#[derive(Debug)]
pub struct Response {
    _opaque: [u8; 0],
}

table! {
/// The destination of what `snapshot`, `envelope` or `presence` writes; valid inside that call only.
#[repr(C)]
#[derive(Debug)]
pub struct Sink {
    /// The size of this table in bytes.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// The first argument of `write`.
    pub ctx: *mut c_void,
    /// Appends bytes; [`TOO_BIG`] past the limit.
    pub write: Option<unsafe extern "C" fn(*mut c_void, *const u8, usize) -> Status>,
}
}

table! {
/// The functions that the server offers a plugin. `ctx` stands for this handler in this generation.
///
/// `[callback]` functions are for the Conn of the running callback, on its thread; `[any thread]`
/// functions may be called at any time from anywhere; `[handshake]` inside `handshake` only.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// The size of this table in bytes.
    pub size: u32,
    /// The server's ABI minor.
    pub abi_minor: u32,
    /// This handler in this generation; the first argument of the functions that take `ctx`.
    pub ctx: *mut c_void,
    /// The level that is logged now; atomic, relaxed.
    pub log_level: *const u32,
    /// `[any thread]` Whether this is the Conn of the callback that runs on this thread, so that its
    /// table may be read: [`OK`], or [`MISUSE`] for any other pointer.
    pub check: Option<unsafe extern "C" fn(*const Conn) -> Status>,
    /// `[callback]` Queues a message, or with [`MORE`] a part of one, at once and in call order. Answers how many bytes
    /// are buffered afterwards. [`GONE`]: the session is closing. [`INVALID`]: text that is not UTF-8, or an opcode
    /// that is neither [`TEXT`] nor [`BINARY`]. [`UNSUPPORTED`]: an unknown kind bit. [`TOO_BIG`]: the message passes
    /// the outbound limit. Nothing was queued then, and the session closes, unless [`IF_ROOM`] asks for [`FULL`].
    /// [`DROPPED`] in the place of TOO_BIG: the limit's policy drops messages, and the session goes on. A message that is longer than any may be is [`TOO_BIG`] as well, without further effect.
    pub send: Option<unsafe extern "C" fn(*mut Conn, kind: u32, *const u8, usize) -> i64>,
    /// `[callback]` Reserves `max` bytes, uninitialised; NULL if there are none. They can be written until the next
    /// call with this Conn or the end of the callback. Without a `commit` nothing is sent.
    pub reserve: Option<unsafe extern "C" fn(*mut Conn, max: usize) -> *mut u8>,
    /// `[callback]` Queues the first `len` bytes of those that were reserved, like `send`. [`INVALID`] unless the call
    /// with this Conn before it was a `reserve` of at least as many bytes; a `check` in between does not count. The
    /// reserved bytes are gone afterwards, whatever the answer is.
    pub commit: Option<unsafe extern "C" fn(*mut Conn, kind: u32, len: usize) -> i64>,
    /// `[callback]` Queues a Ping. Over 125 bytes: [`TOO_BIG`].
    pub ping: Option<unsafe extern "C" fn(*mut Conn, *const u8, usize) -> Status>,
    /// `[callback]` Starts the closing handshake, also between two parts of a message, which then stays incomplete.
    /// Code 0 is an empty body, without a reason. A code that the transport may not send is [`INVALID`] (over WebSocket
    /// every one but 1000 to 1003, 1007 to 1014 and 3000 to 4999). A reason over the transport's limit, 123 bytes for
    /// WebSocket, is [`TOO_BIG`]. A reason is UTF-8 and may hold NUL. Afterwards a call that needs an open session
    /// answers [`GONE`], and messages that were sent by id and have not left are dropped. `reads`, `watermark` and
    /// `subscribe` answer [`OK`] and have no effect.
    pub close: Option<unsafe extern "C" fn(*mut Conn, code: u32, reason: Bytes) -> Status>,
    /// `[callback]` Drops the connection without a Close frame.
    pub abort: Option<unsafe extern "C" fn(*mut Conn) -> Status>,
    /// `[callback]` Sets a timer, which runs out once. It replaces a timer with its token; `u64::MAX` as `after_ms`
    /// cancels that. The token is a number of the handler's own, see *numbers that come back*.
    pub timer: Option<unsafe extern "C" fn(*mut Conn, token: u64, after_ms: u64) -> Status>,
    /// `[callback]` Inbound backpressure: 0 holds the peer's messages back at once, and all that comes after them (its
    /// Pings, its Close); 1 lets them in. Any other number is [`INVALID`]. A connection that is lost while it is held
    /// back ends the session, though not before a Ping of the server's.
    pub reads: Option<unsafe extern "C" fn(*mut Conn, on: u32) -> Status>,
    /// `[callback]` Has `drain` called once each time that `buffered`, having been above `high`, is at most `low`.
    /// [`INVALID`] if `low` is above `high`.
    pub watermark: Option<unsafe extern "C" fn(*mut Conn, low: u64, high: u64) -> Status>,
    /// `[callback]` Joins (1) or leaves (0) a topic, see *topics*; any other `on` is [`INVALID`].
    /// [`TOO_BIG`] for a topic that is too long, and for one more than a session may have.
    pub subscribe: Option<unsafe extern "C" fn(*mut Conn, topic: Str, on: u32) -> Status>,
    /// `[any thread]` Sends a whole message to a session of this handler, also from inside the session's own callback.
    /// Answers how many bytes are buffered; [`FULL`] if the session's inbox is full. A message to a handshake that is
    /// [`PENDING`] waits until after `open`.
    pub send_to:
        Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64, kind: u32, *const u8, usize) -> i64>,
    /// `[any thread]` Closes a session of this handler, after the messages that were sent to it before. For the code
    /// and the reason see `close`. Afterwards `send_to`, `notify` and `close_to` answer [`GONE`]. A handshake that is
    /// [`PENDING`] is refused: 503 for the codes 1001, 1012 and 1013, else 403.
    pub close_to:
        Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64, code: u32, reason: Bytes) -> Status>,
    /// `[any thread]` Sends a whole message to the subscribers of a topic but `except` (0 is none); see *topics*.
    /// Answers how many of them this server has, as last known, or [`FULL`]. [`TOO_BIG`]: the topic's history could never
    /// have it, by its `bytes` or `history_bytes_max`. Nothing was published then, and the history keeps what it has.
    pub publish: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            topic: Str,
            kind: u32,
            *const u8,
            usize,
            except: u64,
        ) -> i64,
    >,
    /// `[any thread]` Has the session's `wake` called, or its `handshake` called again.
    pub wake: Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64) -> Status>,
    /// `[any thread]` Like `wake`, but `ms` milliseconds later. A session or handshake has one such alarm: a later call
    /// replaces it, and `u64::MAX` cancels it.
    pub wake_after: Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64, ms: u64) -> Status>,
    /// `[any thread]` Has the session's `note` called with a number of the handler's own, never a pointer: once for
    /// each call, in order with what is sent by id. [`FULL`] if the session's inbox is full. A note to a handshake that
    /// is [`PENDING`] waits until after `open`.
    pub notify: Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64, note: u64) -> Status>,
    /// `[any thread]` Runs `run(arg)` once on a thread of the host's, which keeps the image mapped until it returns.
    /// `shutdown` does not wait for such threads. With any answer but [`OK`], `arg` is still the caller's.
    pub spawn: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            run: Option<unsafe extern "C" fn(*mut c_void)>,
            arg: *mut c_void,
        ) -> Status,
    >,
    /// `[any thread]` Says why the callback running on this thread is about to fail. Answers
    /// [`ERROR`], so that a callback may return the answer.
    pub fail: Option<unsafe extern "C" fn(ctx: *mut c_void, why: Str) -> Status>,
    /// `[any thread]` Writes one line of log; `id` is the session that it is about. 0 stands for the session of the
    /// callback or the `handshake` that runs on this thread, if there is one.
    pub log: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            id: u64,
            level: u32,
            target: Str,
            message: Str,
            fields: *const Pair,
            n_fields: usize,
        ),
    >,
    /// `[handshake]` Appends a header line to the 101 or the refusal. Control characters but the tab,
    /// and the handshake's own names: [`INVALID`]. More than 16 KiB in all: [`TOO_BIG`].
    pub response_header: Option<unsafe extern "C" fn(*mut Response, Str, Bytes) -> Status>,
    /// `[handshake]` Chooses the subprotocol; one that the client did not offer is [`INVALID`].
    pub response_protocol: Option<unsafe extern "C" fn(*mut Response, Str) -> Status>,
    /// `[handshake]` Sets the status, 300 to 599, and the body of a refusal; the callback then answers [`REJECT`]. A
    /// body that the status may not have (304) is left out.
    pub response_reject:
        Option<unsafe extern "C" fn(*mut Response, status: u32, body: Bytes) -> Status>,
    /// `[handshake]` Extensions that may be negotiated: bit 0 permessage-deflate. Unknown bits are
    /// ignored.
    pub response_extensions: Option<unsafe extern "C" fn(*mut Response, allow: u32) -> Status>,
    /// `[any thread]` The optional table with this id, `wsh.NAME/REV`, or NULL; see [`raw`].
    pub extension: Option<unsafe extern "C" fn(ctx: *mut c_void, id: Str) -> *const c_void>,
    /// `[callback]` Asks to join a topic behind a position, or with its last messages; see [`answer`]. With a position,
    /// everything since then follows. Without one, and where that cannot be, the last `last` messages do. [`INVALID`]:
    /// the session has joined the topic already, or the position is longer than any. [`TOO_BIG`]: as for `subscribe`,
    /// which leaves the topic again.
    pub subscribe_from: Option<
        unsafe extern "C" fn(
            *mut Conn,
            token: u64,
            topic: Str,
            position: Bytes,
            last: u64,
        ) -> Status,
    >,
    /// `[callback]` Asks to be a member of a topic, with a small value for those who ask for its members. A member that
    /// enters again has the new value. A session is a member until `leave` or its end, over every move. It need not be a
    /// subscriber.
    pub enter: Option<
        unsafe extern "C" fn(*mut Conn, token: u64, topic: Str, value: Bytes) -> Status,
    >,
    /// `[callback]` Ends what `enter` began. It is no ask.
    pub leave: Option<unsafe extern "C" fn(*mut Conn, topic: Str) -> Status>,
    /// `[any thread]` Like `publish`, and asks for the publication's position, which comes once the history has it.
    /// The answer is [`TOO_BIG`] for a message that alone is larger than the history may be; nothing was published then.
    pub publish_acked: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            id: u64,
            token: u64,
            topic: Str,
            kind: u32,
            *const u8,
            usize,
            except: u64,
        ) -> Status,
    >,
    /// `[any thread]` Asks for publications of a topic, the oldest first: at most `limit` behind a position, or without
    /// one the last `limit`. A page may have fewer: it begins with the oldest of them, and says where the next one begins.
    /// [`answer::RECOVERED`] says that nothing is missing behind the position; without it there are no items.
    pub history: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            id: u64,
            token: u64,
            topic: Str,
            position: Bytes,
            limit: u64,
        ) -> Status,
    >,
    /// `[any thread]` Asks for members of a topic, at most `limit`, in no promised order. `after` is `next` of the page
    /// before, or empty.
    pub present: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            id: u64,
            token: u64,
            topic: Str,
            after: Bytes,
            limit: u64,
        ) -> Status,
    >,
    /// `[any thread]` Asks for a value that this handler keeps, in all its generations.
    pub store_get:
        Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64, token: u64, key: Str) -> Status>,
    /// `[any thread]` Asks to keep a value, if the value of the key has the version `version`: 0 is no value,
    /// [`answer::ANY_VERSION`] any. The value is kept for `ttl_ms` milliseconds from when this is carried out, give or take
    /// some 10 ms; 0 is until it is deleted.
    pub store_put: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            id: u64,
            token: u64,
            key: Str,
            value: Bytes,
            version: u64,
            ttl_ms: u64,
        ) -> Status,
    >,
    /// `[any thread]` Asks to delete a value, if it has the version `version`; see `store_put`.
    pub store_delete: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            id: u64,
            token: u64,
            key: Str,
            version: u64,
        ) -> Status,
    >,
    /// `[any thread]` Asks for the values whose keys begin with `prefix`, at most `limit`, in no promised order. `after`
    /// is `next` of the page before, or empty. A key that is there from the first page to the last comes exactly once.
    pub store_list: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            id: u64,
            token: u64,
            prefix: Str,
            after: Bytes,
            limit: u64,
        ) -> Status,
    >,
}
}

table! {
/// The callbacks of a handler. `open`, `message`, `destroy` and `shutdown` must not be NULL. For the others NULL means:
/// `handshake` accepts, `closing` echoes the code, `closed` is over, `self_test` finds the handler fit, `envelope` sends
/// messages as they are, and the rest do nothing. Without `snapshot` and `restore` sessions stay in their generation.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Vtable {
    /// The size of this table in bytes.
    pub size: u32,
    /// [`STREAM`], [`BATCHES`].
    pub flags: u32,
    /// Accepts or refuses: [`OK`], [`REJECT`], [`PENDING`], [`ABORT`]; below 0 is a 500. What it
    /// leaves in `attempt` is taken by `open` or freed by `abandon`.
    pub handshake: Option<
        unsafe extern "C" fn(
            handler: *mut c_void,
            *const Request,
            *mut Response,
            attempt: *mut *mut c_void,
        ) -> Status,
    >,
    /// Frees an attempt that no `open` will take.
    pub abandon: Option<unsafe extern "C" fn(handler: *mut c_void, attempt: *mut c_void)>,
    /// Makes the session after the 101 was written. It takes `attempt`, also when it fails.
    pub open: Option<
        unsafe extern "C" fn(
            handler: *mut c_void,
            *mut Conn,
            *const Request,
            attempt: *mut c_void,
            session: *mut *mut c_void,
        ) -> Status,
    >,
    /// One message, or with [`STREAM`] one part.
    pub message: Option<
        unsafe extern "C" fn(
            session: *mut c_void,
            *mut Conn,
            kind: u32,
            *const u8,
            usize,
        ) -> Status,
    >,
    /// A Ping came, which the host has answered.
    pub ping:
        Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, *const u8, usize) -> Status>,
    /// A Pong came.
    pub pong:
        Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, *const u8, usize) -> Status>,
    /// Most of what waited for the peer is gone; see [`Host::watermark`].
    pub drain: Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn) -> Status>,
    /// A timer ran out.
    pub timer: Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, token: u64) -> Status>,
    /// [`Host::wake`] was called, or the alarm of [`Host::wake_after`] rang; may come without cause.
    pub wake: Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn) -> Status>,
    /// [`Host::notify`] was called with this number.
    pub note: Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, note: u64) -> Status>,
    /// The peer closes first. Code 1005: its Close had none. The reason is UTF-8 and may hold NUL. [`OK`] echoes the
    /// code unless `close` or `abort` was called; [`PENDING`] answers later.
    pub closing:
        Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, code: u32, Bytes) -> Status>,
    /// The session is over. It comes exactly once. Code 1006: no Close was received. [`PENDING`]: `wake` goes on for as
    /// long as it answers [`PENDING`], or until a deadline.
    pub closed:
        Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, code: u32, Bytes) -> Status>,
    /// Frees the session: exactly once for each that exists.
    pub destroy: Option<unsafe extern "C" fn(session: *mut c_void)>,
    /// Writes the session's state, and changes nothing outside the session, which may go on afterwards.
    pub snapshot:
        Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, *const Sink) -> Status>,
    /// Makes a session from state that an older generation or this one wrote, perhaps in a process that has ended.
    pub restore: Option<
        unsafe extern "C" fn(
            handler: *mut c_void,
            *mut Conn,
            schema: u32,
            *const u8,
            usize,
            session: *mut *mut c_void,
        ) -> Status,
    >,
    /// Whether the handler is fit to serve.
    pub self_test: Option<unsafe extern "C" fn(handler: *mut c_void) -> Status>,
    /// 1: clients come from now on. 0: the generation is superseded or removed; sessions may remain, and background
    /// work stops.
    pub serving: Option<unsafe extern "C" fn(handler: *mut c_void, on: u32)>,
    /// Frees the handler, after its last session.
    pub shutdown: Option<unsafe extern "C" fn(handler: *mut c_void)>,
    /// The plugin's table with this id, `wsh.NAME/REV`, or NULL.
    pub extension: Option<unsafe extern "C" fn(handler: *mut c_void, id: Str) -> *const c_void>,
    /// The answer to an ask of the session, see [`answer`].
    pub answer: Option<
        unsafe extern "C" fn(session: *mut c_void, *mut Conn, token: u64, *const Answer) -> Status,
    >,
    /// The answer to an ask with id 0. It may run beside any other callback, between `serving(1)` and `shutdown`.
    pub answered: Option<unsafe extern "C" fn(handler: *mut c_void, token: u64, *const Answer)>,
    /// Makes the form in which a publication goes to the peers, with its position in it. It is called for each
    /// publication of a topic with history, once on each server and again for each session that it is sent to later,
    /// beside any other callback, though for one topic in order. [`OK`]: what was written is sent in the place of the
    /// message, as the kind that the message has. [`DONE`], and a failure: the message is sent as it is. The history
    /// keeps the message as it was published. After [`PANIC`] a generation may not be called for that message again.
    /// While a call does not return, the topic waits, and `publish` answers [`FULL`] in the end. Newer code then makes
    /// the form of that message, too.
    pub envelope: Option<
        unsafe extern "C" fn(
            handler: *mut c_void,
            topic: Str,
            position: Bytes,
            kind: u32,
            *const u8,
            usize,
            *const Sink,
        ) -> Status,
    >,
    /// Hears how the members of a topic of this handler change, once on each server, for one topic in order. [`OK`]: what
    /// was written, if anything, is sent to the topic's subscribers of this server, as the kind that the callback has
    /// left in `kind`, [`TEXT`] unless it says otherwise.
    pub presence: Option<
        unsafe extern "C" fn(
            handler: *mut c_void,
            *const PresenceChange,
            kind: *mut u32,
            *const Sink,
        ) -> Status,
    >,
}
}
