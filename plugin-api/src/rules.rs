//! The checks that a host makes before it does what a plugin asks: the rules of [`abi`](crate::abi) as functions.
//!
//! Both hosts use them, the server and that of [`test`](crate::test), so that they agree. Authors do not use this module.

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
/// The longest message that can be sent, unless the outbound limit is higher.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

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
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_an_opcode_and_known_bits() {
        assert_eq!(kind(abi::TEXT).map(|it| it.is_unproven_text), Ok(true));
        let trusted = kind(abi::TEXT | abi::TRUSTED_UTF8 | abi::MORE);
        assert_eq!(
            trusted.map(|it| (it.is_last, it.is_unproven_text)),
            Ok((false, false))
        );
        for opcode in [0, 3, 8, 9, 10, 255] {
            assert_eq!(kind(opcode), Err(abi::INVALID), "{opcode}");
        }
        for bit in 12..32 {
            assert_eq!(kind(abi::BINARY | 1 << bit), Err(abi::UNSUPPORTED), "{bit}");
        }
    }

    #[test]
    fn what_a_later_minor_may_give_a_meaning_to_is_0() {
        for (reserved, schema, schema_min, word) in [
            (0, 0, 0, None),
            (0, 3, 3, None),
            (0, 3, 0, None),
            (1, 0, 0, Some("`reserved`")),
            (0, 1, 2, Some("`state_schema_min`")),
            (0, 0, u32::MAX, Some("`state_schema_min`")),
        ] {
            let why = descriptor(reserved, schema, schema_min).err();
            let has_word = |why: String| why.contains(word.unwrap_or("no fault"));
            assert_eq!(why.map(has_word), word.map(|_| true), "{reserved} {schema}");
        }
        assert_eq!(instance(0), Ok(()));
        assert!(instance(1).is_err_and(|why| why.contains("`WshInstance.flags`")));
    }

    #[test]
    fn what_is_sent_by_id_does_not_ask_for_room() {
        for (bits, expected) in [
            (abi::TEXT | abi::TRUSTED_UTF8, None),
            (abi::BINARY | abi::NO_COMPRESS, None),
            (abi::BINARY | abi::IF_ROOM, Some(abi::UNSUPPORTED)),
            (abi::BINARY | abi::FOLLOWED, Some(abi::UNSUPPORTED)),
            (abi::IF_ROOM, Some(abi::INVALID)),
        ] {
            assert_eq!(kind_by_id(bits).err(), expected, "{bits}");
        }
    }

    #[test]
    fn codes_that_may_not_be_sent_are_invalid_and_long_reasons_are_too_big() {
        let long = "x".repeat(REASON_BYTES_MAX + 1);
        for (code, reason, expected) in [
            (0, "", Ok(0)),
            (1000, "bye", Ok(1000)),
            (1000, "a\0b", Ok(1000)),
            (4999, &long[1..], Ok(4999)),
            (0, "bye", Err(abi::INVALID)),
            (999, "", Err(abi::INVALID)),
            (1005, "", Err(abi::INVALID)),
            (1006, "", Err(abi::INVALID)),
            (5000, "", Err(abi::INVALID)),
            (65_536 + 1000, "", Err(abi::INVALID)),
            (u32::MAX, "", Err(abi::INVALID)),
            (1000, &long, Err(abi::TOO_BIG)),
        ] {
            assert_eq!(close(code, reason), expected, "{code} {reason}");
        }
    }

    #[test]
    fn a_close_before_the_101_is_a_503_if_the_client_may_try_again() {
        for (code, status) in [
            (1001, 503),
            (1012, 503),
            (1013, 503),
            (0, 403),
            (1000, 403),
            (1008, 403),
            (1011, 403),
            (65_536 + 1001, 403),
        ] {
            assert_eq!(status_of_close(code), status, "{code}");
        }
    }

    #[test]
    fn what_follows_a_raw_answer_is_one_of_three_and_only_an_end_lingers() {
        const MOST: u32 = RAW_BYTES_MAX as u32;
        for (bytes, then, linger, expected) in [
            (0, RAW_CLOSE, 0, Ok(RawThen::Close { linger: 0 })),
            (1, RAW_CLOSE, 8, Ok(RawThen::Close { linger: 8 })),
            (
                RAW_BYTES_MAX,
                RAW_CLOSE,
                MOST,
                Ok(RawThen::Close {
                    linger: RAW_BYTES_MAX,
                }),
            ),
            (1, RAW_CLOSE, MOST + 1, Err(abi::TOO_BIG)),
            (1, RAW_CLOSE, u32::MAX, Err(abi::TOO_BIG)),
            (RAW_BYTES_MAX + 1, RAW_CLOSE, 0, Err(abi::TOO_BIG)),
            (1, RAW_CONTINUE, 0, Ok(RawThen::Continue)),
            (1, RAW_CONTINUE, 1, Err(abi::INVALID)),
            (1, RAW_OPEN, 0, Ok(RawThen::Open)),
            (1, RAW_OPEN, 1, Err(abi::INVALID)),
            (RAW_BYTES_MAX + 1, RAW_OPEN, 0, Err(abi::TOO_BIG)),
            (1, 3, 0, Err(abi::UNSUPPORTED)),
            (1, u32::MAX, 1, Err(abi::UNSUPPORTED)),
        ] {
            let found = raw_answer(bytes, then, linger);
            assert_eq!(found, expected, "{bytes} {then} {linger}");
        }
    }

    #[test]
    fn topics_are_short_and_hold_no_nul() {
        let long = "x".repeat(TOPIC_BYTES_MAX + 1);
        assert_eq!(topic(&long[1..]), Ok(&long[1..]));
        assert_eq!(topic(&long), Err(abi::TOO_BIG));
        assert_eq!(topic(""), Err(abi::INVALID));
        assert_eq!(topic("a\0b"), Err(abi::INVALID));
    }

    #[test]
    fn headers_that_would_split_the_answer_or_are_the_servers_own_are_invalid() {
        for (name, value) in [
            ("X-A", "b\r\nX-C: d"),
            ("X-A\r\nX-C", "d"),
            ("X A", "b"),
            ("", "b"),
            ("X-A", "b\0"),
            ("sec-websocket-accept", "b"),
            ("Connection", "close"),
        ] {
            assert_eq!(
                header(name, value.as_bytes(), 0),
                Err(abi::INVALID),
                "{name}: {value}"
            );
        }
        assert_eq!(header("Set-Cookie", b"a=b; Path=/", 0), Ok(()));
        assert_eq!(header("X-A", b"b", HEADER_BYTES_MAX - 4), Ok(()));
        assert_eq!(header("X-A", b"b", HEADER_BYTES_MAX - 3), Err(abi::TOO_BIG));
    }

    #[test]
    fn refusals_are_300_to_599() {
        for (status, expected) in [
            (299, Err(abi::INVALID)),
            (300, Ok(300)),
            (599, Ok(599)),
            (600, Err(abi::INVALID)),
            (65_536 + 403, Err(abi::INVALID)),
        ] {
            assert_eq!(rejection(status, 0), expected, "{status}");
        }
        assert_eq!(rejection(403, REJECTION_BYTES_MAX + 1), Err(abi::TOO_BIG));
    }
}
