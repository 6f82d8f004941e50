//! What a server checks before it does what a handler asks.

use crate::abi::{self, Status};

/// Bytes that may wait for a peer, and in the inbox of its session.
pub(super) const OUTBOUND_BYTES_MAX: u64 = 1024 * 1024;
/// Timers of a session.
pub(super) const TIMERS_MAX: usize = 64;
/// Topics of a session.
pub(super) const TOPICS_MAX: usize = 256;
/// Threads of a handler.
pub(super) const THREADS_MAX: usize = 1024;
/// Bytes of a session's state.
pub(super) const SNAPSHOT_BYTES_MAX: usize = 1024 * 1024;
/// The largest message that is written in place.
pub(super) const RESERVE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A kind's opcode, and whether the message ends here.
pub(super) fn check_kind(kind: u32, bytes: &[u8]) -> Result<(u32, bool), Status> {
    let opcode = kind & 0xff;
    if opcode != abi::TEXT && opcode != abi::BINARY {
        return Err(abi::INVALID);
    }
    if kind & !(0xff | abi::MORE | abi::NO_COMPRESS | abi::TRUSTED_UTF8) != 0 {
        return Err(abi::UNSUPPORTED);
    }
    // Looked at whether or not the sender vouches for it: here a lie should be found.
    if opcode == abi::TEXT && str::from_utf8(bytes).is_err() {
        return Err(abi::INVALID);
    }
    Ok((opcode, kind & abi::MORE == 0))
}

pub(super) fn check_close(code: u16, reason: &str) -> Result<(), Status> {
    let is_sendable = code == 0 && reason.is_empty() || may_be_sent(code);
    if is_sendable && reason.len() <= 123 {
        Ok(())
    } else {
        Err(abi::INVALID)
    }
}

/// Whether a code may stand in a Close frame: those that IANA registered for it, and 3000–4999.
pub(super) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

pub(super) fn check_header(name: &str, value: &[u8]) -> Result<(), Status> {
    const OURS: [&str; 9] = [
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
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_name = !name.is_empty() && name.bytes().all(is_token);
    let is_value = value
        .iter()
        .all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    let is_ours = OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name));
    if is_name && is_value && !is_ours {
        Ok(())
    } else {
        Err(abi::INVALID)
    }
}

/// The bytes of a server's frame with this payload (RFC 6455 §5.2).
pub(super) fn frame_len(payload: usize) -> u64 {
    let header = match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    header + payload as u64
}
