//! The checks that a host makes before it does what a plugin asks: the rules of [`abi`](crate::abi) as functions.
//!
//! Both hosts use them, the server and that of [`test`](crate::test), so that they agree. Authors do not use this module.

pub mod asks;

use crate::{
    abi::{
        self, Status,
        raw::{RAW_CLOSE, RAW_CONTINUE, RAW_OPEN},
    },
    close_codes,
};

/// The longest reason of a Close frame (RFC 6455 §5.5).
pub const REASON_BYTES_MAX: usize = 123;
/// The longest payload of a Ping (RFC 6455 §5.5).
pub const PING_BYTES_MAX: usize = 125;
/// The longest name of a topic.
pub const TOPIC_BYTES_MAX: usize = 255;
/// The most bytes of all header lines that a handler adds to the answer, names and values together.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// The longest body of a refusal.
pub const REJECTION_BYTES_MAX: usize = 1024 * 1024;
/// The longest answer in bytes of the handler's own, and the most that the client may send after its request then.
pub const RAW_BYTES_MAX: usize = 1024 * 1024;
/// The longest message that can be sent, whatever the outbound limit is.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// The longest message that a handler may make of a publication, or of a change of members, in bytes: 64 MiB, or twice
/// the `payload` if that is more. A callback that writes without an end takes no more memory than this.
#[must_use]
pub fn form_bytes_max(payload: usize) -> usize {
    let twice = payload.saturating_mul(2).min(MESSAGE_BYTES_MAX);
    twice.max(64 * 1024 * 1024)
}

/// The kind of a message or of a part, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedKind {
    /// [`abi::TEXT`] or [`abi::BINARY`].
    pub opcode: u32,
    /// No part follows.
    pub is_last: bool,
    /// The message may be compressed.
    pub may_compress: bool,
    /// A message that does not fit is answered with [`abi::FULL`], and the limit's policy does not apply.
    pub if_room: bool,
    /// The message is text, and the sender does not vouch for UTF-8, so its bytes have to be checked.
    pub is_unproven_text: bool,
}

/// Checks that a descriptor's reserved field is 0, and that its schemas are in order. A later minor may give other values
/// a meaning.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn descriptor(reserved: u32, schema: u32, schema_min: u32) -> Result<(), String> {
    if reserved != 0 {
        return Err(format!(
            "its descriptor has {reserved} in `reserved`, which must be 0"
        ));
    }
    if schema_min > schema {
        return Err(format!(
            "it reads state from schema {schema_min} on and writes schema {schema}; \
             `state_schema_min` must not be above `state_schema`"
        ));
    }
    Ok(())
}

/// Checks the flags that `init` has filled in. A later minor may give other values than 0 a meaning.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn instance(flags: u32) -> Result<(), String> {
    if flags != 0 {
        return Err(format!(
            "its `init` left {flags} in `WshInstance.flags`, which must be 0"
        ));
    }
    Ok(())
}

/// Reads the kind of a message, or of a part of a message.
///
/// # Errors
/// [`abi::INVALID`]: another opcode. [`abi::UNSUPPORTED`]: an unknown bit.
pub fn kind(kind: u32) -> Result<ParsedKind, Status> {
    let opcode = kind & OPCODE;
    if opcode != abi::TEXT && opcode != abi::BINARY {
        return Err(abi::INVALID);
    }
    if kind & !(OPCODE | abi::MORE | abi::NO_COMPRESS | abi::TRUSTED_UTF8 | abi::IF_ROOM) != 0 {
        return Err(abi::UNSUPPORTED);
    }
    Ok(ParsedKind {
        opcode,
        is_last: kind & abi::MORE == 0,
        may_compress: kind & abi::NO_COMPRESS == 0,
        if_room: kind & abi::IF_ROOM != 0,
        is_unproven_text: kind & (OPCODE | abi::TRUSTED_UTF8) == abi::TEXT,
    })
}

/// Reads the kind of a message to a session by its id, or to a topic.
///
/// # Errors
/// Those of [`kind`]. Also [`abi::UNSUPPORTED`] for [`abi::IF_ROOM`]: the limit's policy does not apply by id.
pub fn kind_by_id(bits: u32) -> Result<ParsedKind, Status> {
    let kind = kind(bits)?;
    if kind.if_room {
        return Err(abi::UNSUPPORTED);
    }
    Ok(kind)
}

/// What follows an answer in bytes of the handler's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawThen {
    /// The end of the connection. There is no session.
    Close {
        /// How many more bytes the client may send before.
        linger: usize,
    },
    /// The server's own 101, and then the session.
    Continue,
    /// The session.
    Open,
}

/// Reads what follows an answer in `bytes` bytes of the handler's own.
///
/// # Errors
/// [`abi::UNSUPPORTED`]: an unknown `then`. [`abi::INVALID`]: `linger` before a session.
/// [`abi::TOO_BIG`]: above [`RAW_BYTES_MAX`].
pub fn raw_answer(bytes: usize, then: u32, linger: u32) -> Result<RawThen, Status> {
    let linger = linger as usize;
    let then = match then {
        RAW_CLOSE => RawThen::Close { linger },
        RAW_CONTINUE => RawThen::Continue,
        RAW_OPEN => RawThen::Open,
        _ => return Err(abi::UNSUPPORTED),
    };
    if linger != 0 && !matches!(then, RawThen::Close { .. }) {
        return Err(abi::INVALID);
    }
    if bytes > RAW_BYTES_MAX || linger > RAW_BYTES_MAX {
        return Err(abi::TOO_BIG);
    }
    Ok(then)
}

/// Reads an argument that is 1 for yes and 0 for no.
///
/// # Errors
/// [`abi::INVALID`]: anything else.
pub fn switch(on: u32) -> Result<bool, Status> {
    match on {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(abi::INVALID),
    }
}

/// Checks the name of a topic.
///
/// # Errors
/// [`abi::TOO_BIG`]: above [`TOPIC_BYTES_MAX`]. [`abi::INVALID`]: empty, or with a NUL.
pub fn topic(name: &str) -> Result<&str, Status> {
    if name.len() > TOPIC_BYTES_MAX {
        return Err(abi::TOO_BIG);
    }
    if name.is_empty() || name.contains('\0') {
        return Err(abi::INVALID);
    }
    Ok(name)
}

/// Checks the code and the reason of a Close frame. Code 0 is an empty frame.
///
/// # Errors
/// [`abi::INVALID`]: a code that may not be sent, or a reason without a code. [`abi::TOO_BIG`]: a
/// reason above [`REASON_BYTES_MAX`].
pub fn close(code: u32, reason: &str) -> Result<u16, Status> {
    let code = u16::try_from(code).map_err(|_| abi::INVALID)?;
    if !(code == 0 && reason.is_empty() || may_be_sent(code)) {
        return Err(abi::INVALID);
    }
    if reason.len() > REASON_BYTES_MAX {
        return Err(abi::TOO_BIG);
    }
    Ok(code)
}

/// Whether a code may be in a Close frame: the codes that IANA has registered for it, and 3000 to 4999 (RFC 6455 §7.4).
#[must_use]
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The HTTP status for a client whose session is closed with this code before its 101 was sent: 503 for the codes that
/// say *try again*, else 403.
#[must_use]
pub fn status_of_close(code: u32) -> u16 {
    let again = [
        close_codes::GOING_AWAY,
        close_codes::SERVICE_RESTART,
        close_codes::TRY_AGAIN_LATER,
    ];
    if again.map(u32::from).contains(&code) {
        503
    } else {
        403
    }
}

/// Checks a header line of the answer to an opening handshake. `bytes` is the length of the lines before it.
///
/// # Errors
/// [`abi::INVALID`]: it is no header line, or its name belongs to the handshake itself. [`abi::TOO_BIG`]: all lines
/// together have more than [`HEADER_BYTES_MAX`].
pub fn header(name: &str, value: &[u8], bytes: usize) -> Result<(), Status> {
    let is_plain = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if !is_token(name) || !value.iter().all(is_plain) || is_the_servers(name) {
        return Err(abi::INVALID);
    }
    if bytes + name.len() + value.len() > HEADER_BYTES_MAX {
        return Err(abi::TOO_BIG);
    }
    Ok(())
}

/// Whether a header can have this name (RFC 9110 §5.1).
#[must_use]
pub fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_token_byte)
}

/// Whether a header of this name belongs to the handshake itself, so that only the server writes it.
#[must_use]
pub fn is_the_servers(name: &str) -> bool {
    let mut ours = OUR_HEADERS.iter();
    ours.any(|ours| ours.eq_ignore_ascii_case(name))
}

/// Whether a byte may be in a token (RFC 9110 §5.6.2).
#[must_use]
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Checks the status and the length of the body of a refusal.
///
/// # Errors
/// [`abi::INVALID`]: the status is not from 300 to 599. [`abi::TOO_BIG`]: the body is above [`REJECTION_BYTES_MAX`].
pub fn rejection(status: u32, body_bytes: usize) -> Result<u16, Status> {
    let status = u16::try_from(status).map_err(|_| abi::INVALID)?;
    if !(300..=599).contains(&status) {
        return Err(abi::INVALID);
    }
    if body_bytes > REJECTION_BYTES_MAX {
        return Err(abi::TOO_BIG);
    }
    Ok(status)
}

/// Whether an answer with this status has a body (RFC 9110 §15.2.5 and §15.4.5).
#[must_use]
pub fn has_body(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

/// The name of a status in abi.rs.
#[must_use]
pub fn status_name(status: Status) -> Option<&'static str> {
    Some(match status {
        abi::OK => "OK",
        abi::AGAIN => "AGAIN",
        abi::REJECT => "REJECT",
        abi::DONE => "DONE",
        abi::PENDING => "PENDING",
        abi::ABORT => "ABORT",
        abi::ERROR => "ERROR",
        abi::PANIC => "PANIC",
        abi::GONE => "GONE",
        abi::TOO_BIG => "TOO_BIG",
        abi::UNSUPPORTED => "UNSUPPORTED",
        abi::INVALID => "INVALID",
        abi::MISUSE => "MISUSE",
        abi::FULL => "FULL",
        abi::CONFLICT => "CONFLICT",
        abi::UNAVAILABLE => "UNAVAILABLE",
        abi::DROPPED => "DROPPED",
        _ => return None,
    })
}

/// What a callback answered, in words for a log line: ``it answered `PENDING` (4)``.
#[must_use]
pub fn answered(status: Status) -> String {
    match status_name(status) {
        Some(name) => format!("it answered `{name}` ({status})"),
        None => format!("it answered {status}, which is no status"),
    }
}

/// The part of a kind that is the opcode.
const OPCODE: u32 = 0xff;
/// The headers of an answer to an opening handshake that only the server writes.
const OUR_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests;
