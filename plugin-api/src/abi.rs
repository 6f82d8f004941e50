//! The border: what a plugin and the server agree on, byte for byte. No logic lives here.
//!
//! Words: a *plugin* is a library file, a *handler* is its code, a *session* is one open
//! WebSocket, a *generation* is one loaded version of a plugin.
//!
//! # Rules
//!
//! Each has a name, by which comments cite it.
//!
//! 1. *One symbol.* The server looks for one symbol, the static [`WSH_HANDLER`](SYMBOL). The
//!    head of that [`Descriptor`], up to `init`, holds no pointer, so the server reads it from
//!    the file and runs nothing of a plugin that it is going to refuse.
//! 2. *Sizes.* A table starts with its `size`. A reader of a table reads `min(size, mine)` bytes
//!    of it; an absent field is NULL and means the default. A writer that fills a table writes
//!    nothing past the `size` found in it. Fields are appended, never moved, never reused, and no
//!    table ends in padding. A table of a plugin's that ends before a field of 1.0 is refused.
//! 3. *Versions.* `abi_major` must match; `min_host_minor` must not be above the server's
//!    minor. A descriptor flag that the server does not know is ignored: a plugin that must be
//!    understood raises `min_host_minor`.
//! 4. *Lent memory.* Memory passed in lives until the call returns. The exceptions: [`Host`],
//!    its `ctx` and `log_level` live as long as the process, and a [`Request`] stays where it
//!    is, with all it points to, from the first `handshake` call until `open` or `abandon`
//!    returned. `abandon` comes only where an attempt was left: a handler that reads the Request
//!    between two calls of `handshake` leaves one. Each side frees only what it allocated. A pointer and a length are a pair: with
//!    length 0 the pointer may be NULL or dangling.
//! 5. *Order of callbacks.* Callbacks of one session never overlap and keep their order, but
//!    may run on different threads. `handshake`, `open`, `restore` and different sessions run
//!    concurrently; `init`, `self_test`, `serving` and `shutdown` of one generation follow one
//!    another.
//! 6. *The Conn.* A `*mut Conn` or `*mut Response` means something only inside the callback it
//!    was given to, on the thread of that callback. Any other pointer (NULL, another session's,
//!    one of an earlier callback, freed or made up) is answered [`MISUSE`], and nothing behind it
//!    is read.
//! 7. *No way back.* No function of 1.0 enters the plugin before it returns. `send`, `ping`,
//!    `close` take effect in call order; `send_to`, `close_to`, `notify` and `publish` are
//!    messages, applied between callbacks. What one thread sends to one id, by the first three,
//!    keeps its order, and so does what it publishes to one topic. No other order is promised:
//!    none between `send`, `send_to` and `publish`, and none between two topics or two threads.
//! 8. *No unwinding.* Nothing unwinds across, and nothing calls `longjmp` across.
//! 9. *Nothing of the server's own.* A plugin depends on no address, thread, descriptor or process
//!    id of the server. Several processes may have the image at once (a trial, a worker): statics
//!    are each process's own.
//!
//! # The life of a session
//!
//! `handshake`, again after each `wake` with the request's id while it answers [`PENDING`], with the
//! Response as earlier calls left it: a header line that each of them appends is there several times.
//! Then `open`, or `abandon` if an attempt was left and no `open` will come. Then `message`, `ping`,
//! `pong`, `drain`, `timer`, `wake`, `note` in any order, and `snapshot` between any two of them;
//! `closing` if the peer closes first; `closed` once; `destroy`. After `close`, `abort`, [`DONE`] or
//! an error only `closed`, `wake` after a `closed` that answered [`PENDING`], and `destroy` follow.
//! A failed `open` or `restore` leaves no session: no `closed`, no `destroy`. A NULL session is
//! legal.
//!
//! In `snapshot` and `restore` the functions that take a Conn answer [`MISUSE`], and in `closed`
//! [`GONE`]; `check` answers [`OK`] in all three, where the table may be read. `destroy`, `abandon` and `shutdown` may call `[any thread]` functions only. `closed`, `destroy`,
//! `abandon` and `shutdown` come at most once, and exactly once unless the process ends.
//! `serving(1)` of a new generation comes before `serving(0)` of the one before it.
//!
//! What a callback returns, and what that means:
//!
//! | callback | [`OK`] | [`DONE`] | [`PENDING`] | [`AGAIN`] | below 0 |
//! |---|---|---|---|---|---|
//! | `init`, `self_test` | fit | | | | refused, with the words of `fail` |
//! | `handshake` | accepted | | asked again after a `wake` | | a 500; also [`REJECT`], [`ABORT`] |
//! | `open` | a session | closes with 1000 | | | no session; closes with 1011 |
//! | `message` `ping` `pong` `drain` `timer` `wake` `note` | go on | closes with 1000 | | | closes with 1011 |
//! | `closing` | the code is echoed unless `close` or `abort` was called | as OK | answered later: other callbacks but `message` go on until `close`, `abort` or DONE, which echoes the code, as the close timeout does | | closes with 1011 |
//! | `closed` | over | over | `wake` goes on until it answers otherwise, or a deadline | | over |
//! | `snapshot` | the state is written | | | not now: asked again after the next callback | the session stays in this generation; a later callback may have changed that, so it can be asked again |
//! | `restore` | a session | | | | it stays in the older generation, and may be tried again |
//!
//! A status that stands for nothing in its callback, known or not, counts as [`ERROR`] and is
//! logged.
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
//! - *A move.* To the session of a newer generation the server gives the same socket, id, timers,
//!   topics, compression contexts, and everything that waits in either direction. `snapshot` may be
//!   called between any two callbacks, as often as after each, also when no move follows; it changes
//!   nothing outside the session. `restore` gets state that an older generation or the same one
//!   wrote, perhaps in another process that has ended.
//! - *Ids and generations.* An id is never 0, and opaque: no two sessions have the same one, on all
//!   servers that work together and across an upgrade that keeps sessions open. All 64 bits may be
//!   used, more than a number of JSON holds in a browser. A server that works alone counts from 1 when it
//!   starts, so an id that was kept outside the process may be another session's after a restart. A
//!   generation's number is opaque, and newer is larger. [`GONE`] for an id: the session is known to
//!   be over, or the calling generation is, whose sessions may go on in a newer one.
//! - *Numbers that come back.* The token of a timer and the number of a note, as every token of a later
//!   minor, come to the session wherever it has moved, and so to code that may be newer; to a session
//!   that is over they do not come. So they are numbers that each generation understands, and never a
//!   pointer.
//! - *Topics.* A topic is 1 to 255 bytes of UTF-8 without NUL, and equal to another byte for byte; no
//!   byte in it is a pattern. It belongs to the handler's name, and all its generations share it; one
//!   that begins with `/` belongs to the server, and any handler may use it. `subscribe` answering
//!   [`OK`] means asked: for what is published in the same server it holds at once, for what comes
//!   from another one soon. `publish` answers how many subscribers of this server it was left for, as
//!   last known and without `except`: 0 says nothing of other servers. A subscriber that has no room
//!   for it is closed as past its outbound limit. The publisher, if it is a subscriber, may hear it after
//!   what it sends next. `except` is the id of one session, as a rule the publisher's own, on
//!   whatever server it is. What arrives may have been published by another version of the handler.
//! - *Versions and positions*, which 1.0 has no function for. The version of something that is kept is
//!   a `u64`, 0 where there is nothing, and only grows. A position in what was published is at most
//!   64 opaque bytes, which any server that works with the one that gave it, and any later version of
//!   it, understands or answers as unknown.
//! - *Queues.* `buffered` and every count of bytes is as last known, and still held by the server.
//!   [`TOO_BIG`] may also show as a close after the callback.
//! - *After `shutdown` returned* every `[any thread]` function answers [`GONE`], or NULL, but `log`,
//!   `fail` and `check`, which know no session: so a thread that never ends stays harmless.
//!
//! # What is survived
//!
//! The server survives, and answers by a status: any pointer that is no Conn or Response of the
//! running callback, and any `ctx` of a Sink but that of the running `snapshot` ([`MISUSE`]); NULL
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
//! - *Is appended with a minor*: fields at the end of [`Descriptor`], [`Init`], [`Instance`],
//!   [`Conn`], [`Request`], [`Sink`], [`Host`] and [`Vtable`], each told by `size`; statuses, kind
//!   bits and flags, none of which is sent to a side of an older minor; values under [`CAUSE`]. Each has
//!   its dated line in the log below. An old plugin does not see them, and loses nothing by that.
//! - *Works the other way, too*: a plugin of a newer minor is served by an older server as long as
//!   its [`Descriptor::min_host_minor`] allows it; else it is refused with both versions named.
//! - *Needs a new major*: anything else. A server of another major refuses the file in one sentence
//!   and runs none of its code. `magic`, `abi_major`, `abi_minor` and `size` keep their places in
//!   every major, so that the sentence can be said for ever.
//! - *Is not promised*: limits and defaults, which belong to the configuration; the texts of log
//!   lines; timing; what a plugin does that breaks a rule; and the Rust items of this crate
//!   outside this module, which follow the crate's own version.
//!
//! # Log of the ABI
//!
//! - 1.0, 2026-11-23: the first. Mended until 1.0.0 is tagged; last on 2026-11-29: codes of 32 bits,
//!   [`FULL`], [`IF_ROOM`], [`FOLLOWED`], [`ORIGIN_ANY`], [`CAUSE`], `client_addr`, `check`, `wake_after`,
//!   `notify` and `note`; fields that are 0 must be 0.

mod layout;
pub mod raw;

use std::ffi::c_void;

/// The name of the one symbol that a plugin exports, a static [`Descriptor`].
pub const SYMBOL: &str = "WSH_HANDLER";
/// The first bytes of every [`Descriptor`], shaped like PNG's: a transfer in text mode breaks them.
pub const MAGIC: [u8; 8] = *b"\x89WSH\r\n\x1a\n";
/// The border described by this file.
pub const ABI_MAJOR: u32 = 1;
/// How many times [`ABI_MAJOR`] was appended to.
pub const ABI_MINOR: u32 = 0;

/// What a call answers: 0 and above is an outcome, below 0 a failure.
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
/// Called at the wrong time, on the wrong thread or with a pointer that means nothing; nothing was done.
pub const MISUSE: Status = -7;
/// The queue is full; nothing was done, and it may be tried again.
pub const FULL: Status = -8;

/// Message kind: text. The low byte of a kind is the opcode of RFC 6455 §5.2.
pub const TEXT: u32 = 1;
/// Message kind: binary.
pub const BINARY: u32 = 2;
/// Kind bit: another part of this message follows; every part repeats the opcode.
pub const MORE: u32 = 1 << 8;
/// Kind bit: do not compress this message; in its first part, where it has several.
pub const NO_COMPRESS: u32 = 1 << 9;
/// Kind bit: the sender vouches for UTF-8, and the host need not look: text that is none may reach the
/// peer. Never a reason for unchecked code in the host.
pub const TRUSTED_UTF8: u32 = 1 << 10;
/// Kind bit of `send` and `commit`: [`FULL`] where the message does not fit beside what waits, in the
/// place of [`TOO_BIG`] and the limit's policy. Nothing was done; `drain` says when there is room. By
/// id it is [`UNSUPPORTED`].
pub const IF_ROOM: u32 = 1 << 11;
/// Kind bit of the callback `message`, for handlers with [`BATCHES`]: another whole message follows at
/// once. A hint: one that does not say so may be followed all the same, and what follows may break the
/// protocol, so that `closed` comes in its place. Where a message is sent it is [`UNSUPPORTED`]: an
/// echo takes it away.
pub const FOLLOWED: u32 = 1 << 12;

/// [`Descriptor::flags`]: compiled with `panic = "abort"`. Refused where the plugin would share the
/// server's process.
pub const PANIC_ABORT: u32 = 1;
/// [`Descriptor::flags`]: sessions can move to a newer generation.
pub const MIGRATES: u32 = 2;
/// [`Descriptor::flags`]: the plugin runs every session on a thread of its own, and the server limits
/// how many there are.
pub const BLOCKING: u32 = 4;
/// [`Descriptor::flags`]: sessions are futures.
pub const ASYNC: u32 = 8;
/// [`Descriptor::flags`]: the handler's own `handshake` judges the `Origin`. The server lets any in,
/// unless the configuration has a rule for this very handler.
pub const ORIGIN_ANY: u32 = 16;
/// [`Vtable::flags`]: `message` takes parts of messages. A message may be of any length then, in any number
/// of frames; what the configuration says of a message's bytes is the most that a part has.
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
/// [`Conn::flags`]: the bits that say in `closing` and `closed` what ended the session first, one of
/// the values below. 0, and a value that is not known: something else did.
pub const CAUSE: u32 = 0xff << 8;
/// [`CAUSE`]: the peer closed.
pub const CAUSE_PEER: u32 = 1 << 8;
/// [`CAUSE`]: the handler closed, dropped the connection or was done.
pub const CAUSE_HANDLER: u32 = 2 << 8;
/// [`CAUSE`]: a callback failed or panicked.
pub const CAUSE_FAILED: u32 = 3 << 8;
/// [`CAUSE`]: the connection was lost, or the peer gave no sign of life any more.
pub const CAUSE_LOST: u32 = 4 << 8;
/// [`CAUSE`]: the peer, or what was sent to it, passed a limit of the server's.
pub const CAUSE_LIMIT: u32 = 5 << 8;
/// [`CAUSE`]: the peer broke a rule of the protocol.
pub const CAUSE_PROTOCOL: u32 = 6 << 8;
/// [`CAUSE`]: newer code has replaced this generation, and the session could not go there.
pub const CAUSE_REPLACED: u32 = 7 << 8;
/// [`CAUSE`]: the server stops.
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

/// Text: UTF-8 without NUL. With `len` 0, `ptr` may be NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Str {
    /// The first byte.
    pub ptr: *const u8,
    /// Length in bytes.
    pub len: usize,
}

/// Any bytes, in the layout of [`Str`].
pub type Bytes = Str;

/// A name and what it stands for: a header line, a cookie, a route's parameter, a log field.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// The name.
    pub name: Str,
    /// The value.
    pub value: Bytes,
}

/// What a plugin says of itself. Everything before `init` is read from the file, without running it.
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
    /// Builds the handler, and acts on nothing outside before `serving`. Called once per loaded image:
    /// first in a process of its own, with [`CHECK`], then in the server.
    pub init: Option<unsafe extern "C" fn(*const Host, *const Init, *mut Instance) -> Status>,
}

#[allow(unsafe_code)] // a static must be `Sync`, and its last field is a pointer
// SAFETY: the only pointer is to a function, which any thread may call.
unsafe impl Sync for Descriptor {}

/// What `init` is told.
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

/// What `init` fills in; `size` is set by the server.
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

/// One session as its callback sees it. Owned by the host, read in place, never past `size`.
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
    /// The client: what a proxy that the server trusts says of it, or else `remote_addr`.
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

/// The answer to the opening handshake, opaque to the plugin; valid inside a `handshake` call only.
#[repr(C)]
#[derive(Debug)]
pub struct Response {
    _opaque: [u8; 0],
}

/// Where `snapshot` writes the state.
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

/// What the server offers a plugin. `ctx` is this handler in this generation.
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
    /// `[callback]` Queues a message, or a part of one with [`MORE`]; at once, in call order.
    /// Answers the bytes buffered after it; [`GONE`] when closing; [`INVALID`] for text that is not
    /// UTF-8 or an opcode that is neither [`TEXT`] nor [`BINARY`]; [`UNSUPPORTED`] for an unknown
    /// kind bit; [`TOO_BIG`] past the outbound limit: nothing was queued and the limit's policy
    /// applies, unless [`IF_ROOM`] asks for [`FULL`]. A message that is longer than any may be is
    /// [`TOO_BIG`] as well, and nothing else comes of it.
    pub send: Option<unsafe extern "C" fn(*mut Conn, kind: u32, *const u8, usize) -> i64>,
    /// `[callback]` Room for `max` bytes, uninitialised; NULL if not to be had. It lives until the
    /// next call with this Conn or the end of the callback; uncommitted, it was nothing.
    pub reserve: Option<unsafe extern "C" fn(*mut Conn, max: usize) -> *mut u8>,
    /// `[callback]` Queues the first `len` bytes of what was reserved; as `send` otherwise.
    /// [`INVALID`] unless `reserve`, for as many bytes, was the call with this Conn before it; `check`
    /// is none. Whatever it answers, the room is gone.
    pub commit: Option<unsafe extern "C" fn(*mut Conn, kind: u32, len: usize) -> i64>,
    /// `[callback]` Queues a Ping. Over 125 bytes: [`TOO_BIG`].
    pub ping: Option<unsafe extern "C" fn(*mut Conn, *const u8, usize) -> Status>,
    /// `[callback]` Starts the closing handshake, also between two parts of a message, which then
    /// stays incomplete. Code 0 is an empty body, without a reason. A code that the transport may
    /// not send is [`INVALID`] (over WebSocket every one but 1000 to 1003, 1007 to 1014, 3000 to
    /// 4999); a reason over the transport's limit, 123 bytes for WebSocket, is [`TOO_BIG`]. A reason
    /// is UTF-8 and may hold NUL. From now on what needs an open session is [`GONE`], and what was
    /// sent by id and has not left does not leave; `reads`, `watermark` and `subscribe` are [`OK`] and
    /// mean nothing.
    pub close: Option<unsafe extern "C" fn(*mut Conn, code: u32, reason: Bytes) -> Status>,
    /// `[callback]` Drops the connection without a Close frame.
    pub abort: Option<unsafe extern "C" fn(*mut Conn) -> Status>,
    /// `[callback]` One shot; the same token replaces; `u64::MAX` as `after_ms` cancels. The token is
    /// a number of the handler's own, see *numbers that come back*.
    pub timer: Option<unsafe extern "C" fn(*mut Conn, token: u64, after_ms: u64) -> Status>,
    /// `[callback]` Inbound backpressure: 0 holds the peer's messages back at once, and all that comes
    /// after them (its Pings, its Close); 1 lets them in. A connection that is lost meanwhile ends the
    /// session, though not before a Ping of the server's. Anything else is [`INVALID`].
    pub reads: Option<unsafe extern "C" fn(*mut Conn, on: u32) -> Status>,
    /// `[callback]` `drain` fires each time that `buffered`, having been above `high`, is at most `low`,
    /// once for each. [`INVALID`] if `low` is above `high`.
    pub watermark: Option<unsafe extern "C" fn(*mut Conn, low: u64, high: u64) -> Status>,
    /// `[callback]` Joins (1) or leaves (0) a topic, see *topics*; any other `on` is [`INVALID`].
    /// [`TOO_BIG`] for a topic that is too long, and for one more than a session may have.
    pub subscribe: Option<unsafe extern "C" fn(*mut Conn, topic: Str, on: u32) -> Status>,
    /// `[any thread]` Sends a whole message to a session of this handler, also from inside its own
    /// callback. Answers the bytes buffered; [`FULL`] when the session's inbox is full. What is sent
    /// to a handshake that is [`PENDING`] waits until after `open`.
    pub send_to:
        Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64, kind: u32, *const u8, usize) -> i64>,
    /// `[any thread]` Closes a session of this handler, behind what was sent to it before; code and
    /// reason as for `close`. Afterwards `send_to`, `notify` and `close_to` answer [`GONE`]. A
    /// handshake that is [`PENDING`] is refused: 503 for the codes 1001, 1012 and 1013, else 403.
    pub close_to:
        Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64, code: u32, reason: Bytes) -> Status>,
    /// `[any thread]` Sends a whole message to the subscribers of a topic, but not to `except` (0 =
    /// none), see *topics*. Answers how many of them this server has, as last known, or [`FULL`].
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
    /// `[any thread]` Calls the session's `wake`, or its `handshake` again.
    pub wake: Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64) -> Status>,
    /// `[any thread]` As `wake`, after a while. A session or handshake has one such alarm: a later
    /// call replaces it, and `u64::MAX` cancels it.
    pub wake_after: Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64, ms: u64) -> Status>,
    /// `[any thread]` Calls the session's `note` with a number of the handler's own, never a
    /// pointer, once for each call, in order with what is sent by id. [`FULL`] when the session's
    /// inbox is full. A note to a handshake that is [`PENDING`] waits until after `open`.
    pub notify: Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64, note: u64) -> Status>,
    /// `[any thread]` Runs `run(arg)` once on a thread of the host's, which keeps the image mapped until
    /// it returns; `shutdown` waits for none. Unless [`OK`], `arg` is still the caller's.
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
    /// `[any thread]` One line of log; `id` is the session it is about. 0 is that of the callback which
    /// runs on this thread, a `handshake` included, if there is one.
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
    /// `[handshake]` The status, 300 to 599, and body of a refusal; then answer [`REJECT`]. A body that
    /// the status may not have (304) is left out.
    pub response_reject:
        Option<unsafe extern "C" fn(*mut Response, status: u32, body: Bytes) -> Status>,
    /// `[handshake]` Extensions that may be negotiated: bit 0 permessage-deflate. Unknown bits are
    /// ignored.
    pub response_extensions: Option<unsafe extern "C" fn(*mut Response, allow: u32) -> Status>,
    /// `[any thread]` An optional table by its id, `wsh.NAME/REV`, or NULL; see [`raw`].
    pub extension: Option<unsafe extern "C" fn(ctx: *mut c_void, id: Str) -> *const c_void>,
}

/// What a handler can do. `open`, `message`, `destroy` and `shutdown` must be there. Where another is
/// NULL: `handshake` accepts, `closing` echoes the code, `closed` is over, without `snapshot` and
/// `restore` sessions stay in their generation, `self_test` finds the handler fit, and the others do
/// nothing.
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
    /// Makes the session, after the 101 was written; takes `attempt`, also when it fails.
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
    /// To look on: the host has answered the Ping.
    pub ping:
        Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, *const u8, usize) -> Status>,
    /// A Pong came.
    pub pong:
        Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, *const u8, usize) -> Status>,
    /// There is room again, see [`Host::watermark`].
    pub drain: Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn) -> Status>,
    /// A timer ran out.
    pub timer: Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, token: u64) -> Status>,
    /// [`Host::wake`] was called, or the alarm of [`Host::wake_after`] rang; may come without cause.
    pub wake: Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn) -> Status>,
    /// [`Host::notify`] was called with this number.
    pub note: Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, note: u64) -> Status>,
    /// The peer closes first. Code 1005: none came. The reason is UTF-8 and may hold NUL. [`OK`]
    /// echoes the code unless `close` or `abort` was called; [`PENDING`]: answered later.
    pub closing:
        Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, code: u32, Bytes) -> Status>,
    /// The session is over; comes exactly once. Code 1006: no Close was received. [`PENDING`]: `wake`
    /// goes on for as long as it answers [`PENDING`], or until a deadline.
    pub closed:
        Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, code: u32, Bytes) -> Status>,
    /// Frees the session: exactly once for each that exists.
    pub destroy: Option<unsafe extern "C" fn(session: *mut c_void)>,
    /// Writes the session's state, and changes nothing outside it; the session can go on afterwards.
    pub snapshot:
        Option<unsafe extern "C" fn(session: *mut c_void, *mut Conn, *const Sink) -> Status>,
    /// Makes a session from state that an older generation or the same one wrote, perhaps in a
    /// process that has ended.
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
    /// 1: connections come now. 0: superseded or removed; sessions may remain, background work stops.
    pub serving: Option<unsafe extern "C" fn(handler: *mut c_void, on: u32)>,
    /// The last session is gone; frees the handler.
    pub shutdown: Option<unsafe extern "C" fn(handler: *mut c_void)>,
    /// What the server asks of the plugin by id, `wsh.NAME/REV`, or NULL.
    pub extension: Option<unsafe extern "C" fn(handler: *mut c_void, id: Str) -> *const c_void>,
}
