//! `wsh.raw/1`: bytes past the framing, for handlers that test how browsers and clients treat a server that misbehaves.
//!
//! [`Host::extension`](super::Host::extension) with [`RAW`] answers a [`Raw`], or NULL unless the handler's table in
//! the server's configuration says `raw = true`. The rules of [`abi`](super) apply, *the Conn* above all: a Conn or a
//! Response that is not the running callback's is [`MISUSE`]. In a generation that was loaded without `raw = true`
//! every function answers [`UNSUPPORTED`]. Fields are appended to the table as to any other table. A change that needs
//! more than that is another revision, `wsh.raw/2`.
//!
//! # What the server still does
//!
//! It sends the bytes without interpreting them: a Close frame among them does not close the session, and half a frame
//! does not hold back the next one. So it goes on as if nothing had been written. It answers a Ping with a Pong, and
//! the peer's Close with a Close. It sends Pings of its own after `ping_interval_ms` of silence (0 is never), each
//! after the write before it, even if that was half a frame. It judges the peer's frames by RFC 6455, and closes with
//! 1002 and the like. Its timeouts and limits apply. After `close`, [`DONE`] or an error nothing follows its Close
//! frame. `abort` ends the connection without one.
//!
//! A write does not pass the compressor, so the context of permessage-deflate is what the frames
//! before it left.

use std::ffi::c_void;

use super::{Bytes, Conn, Response, Status, table::table};
#[cfg(doc)]
use super::{DONE, FULL, GONE, INVALID, MISUSE, OK, PENDING, TOO_BIG, UNSUPPORTED};

/// The id of the extension.
pub const RAW: &str = "wsh.raw/1";

/// [`Raw::answer`]: then the connection is closed.
pub const RAW_CLOSE: u32 = 0;
/// [`Raw::answer`]: then the server's own 101 follows, and the session begins.
pub const RAW_CONTINUE: u32 = 1;
/// [`Raw::answer`]: then the session begins, as if the bytes were the 101.
pub const RAW_OPEN: u32 = 2;

/// How many bytes [`Raw::accept`] writes.
pub const RAW_ACCEPT_BYTES: u32 = 28;

table! {
/// The functions for a handler that may write past the framing. The table lives as long as the process.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Raw {
    /// The size of this table in bytes.
    pub size: u32,
    /// 0.
    pub flags: u32,
    /// `[callback]` Queues bytes as they are, after what was queued before and before what comes next, also between two
    /// parts of a message. Answers how many bytes are buffered afterwards. [`GONE`]: the session is closing.
    /// [`TOO_BIG`]: the bytes pass the outbound limit; nothing was queued, and the limit's policy applies, as for
    /// `send`.
    pub write: Option<unsafe extern "C" fn(*mut Conn, *const u8, usize) -> i64>,
    /// `[any thread]` Like `write`, for a session of this handler by its id, in order with what else is sent by id, and
    /// never between two parts of a message. Answers how many bytes are buffered; [`FULL`] if the session's inbox is
    /// full.
    pub write_to: Option<unsafe extern "C" fn(ctx: *mut c_void, id: u64, *const u8, usize) -> i64>,
    /// `[handshake]` Answers the client with these bytes, once `handshake` answers [`OK`]. Any other answer of
    /// `handshake` but [`PENDING`] drops them. A later call replaces an earlier one.
    ///
    /// `then` is [`RAW_CLOSE`]: there is no session. The connection is closed when the client has sent `linger` bytes
    /// after its request, which are dropped, or has ended its side, at the latest when the time for the handshake is
    /// over. If the client sends more, the end may become a reset, which can destroy the bytes on their way.
    /// [`RAW_CONTINUE`]: the server's own 101 follows, with all that belongs to it. [`RAW_OPEN`]: the bytes replace the
    /// 101 and the response's header lines. The session begins after them, with the response's subprotocol and without
    /// any extension, whatever the bytes say.
    ///
    /// Any other `then` is [`UNSUPPORTED`]. `linger` with another `then` than [`RAW_CLOSE`] is
    /// [`INVALID`]. More than 1 MiB, of bytes or of `linger`, is [`TOO_BIG`].
    pub answer:
        Option<unsafe extern "C" fn(*mut Response, bytes: Bytes, then: u32, linger: u32) -> Status>,
    /// `[handshake]` Writes the value of `Sec-WebSocket-Accept` for this request (RFC 6455 §4.2.2):
    /// [`RAW_ACCEPT_BYTES`] bytes of ASCII, without NUL. NULL is [`INVALID`].
    pub accept: Option<unsafe extern "C" fn(*mut Response, out: *mut u8) -> Status>,
}
}
