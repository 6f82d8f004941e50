//! Which rule of which argument a refused call broke.

use wsh::abi::{self, Status};
use wsh::rules;

use super::asks::LETS_USE;
use super::{HostCall, LentBytes};
use crate::outbound::controls::outgoing::PAYLOAD_BYTES_MAX;

impl HostCall<'_> {
    /// The rule that an argument of the call broke, in a sentence. `None` where a peer or the system is the reason of the
    /// refusal.
    pub(super) fn broken_rule(&self, status: Status) -> Option<&'static str> {
        match (self, status) {
            (HostCall::Ask(call), _) => call.broken_rule(status),
            (_, abi::INVALID | abi::TOO_BIG | abi::UNSUPPORTED) => self.argument_rule(status),
            _ => None,
        }
    }

    /// Whether the rule says what the configuration lets a handler do.
    pub(super) fn is_about_configuration(&self, rule: &str) -> bool {
        rule.starts_with("`[topics]`")
    }

    /// The rule of the argument that the call broke.
    fn argument_rule(&self, status: Status) -> Option<&'static str> {
        match *self {
            HostCall::Plain { rule, .. } => Some(rule),
            HostCall::Send {
                kind,
                payload,
                open,
            } => message_rule(status, kind, Some(payload), Parts::Allowed { open }),
            HostCall::Reserve { max } => {
                (max > PAYLOAD_BYTES_MAX).then_some("`max` is at most 1 GiB")
            }
            HostCall::Commit {
                is_reserved: false, ..
            } => Some("`reserve`, for as many bytes, is the call with this Conn before `commit`"),
            HostCall::Commit {
                kind, len, open, ..
            } if len <= PAYLOAD_BYTES_MAX => {
                message_rule(status, kind, None, Parts::Allowed { open })
            }
            HostCall::Commit { .. } => Some(TOO_LONG),
            HostCall::Ping { payload } => Some(match payload.is_readable() {
                true => "`len` is at most 125",
                false => UNREADABLE,
            }),
            HostCall::Close { code, reason } | HostCall::CloseTo { code, reason } => {
                Some(close_rule(code, reason))
            }
            HostCall::Subscribe { topic, on } => Some(match topic_rule(status, topic) {
                Some(rule) => rule,
                None if on > 1 => "`on` is 0 or 1",
                None if status == abi::UNSUPPORTED => LETS_USE,
                None => "a session joins at most `topics_max` topics",
            }),
            HostCall::SendTo { kind, payload } => whole_message_rule(status, kind, payload),
            HostCall::Publish {
                topic,
                kind,
                payload,
            } => topic_rule(status, topic).or_else(|| match rules::kind_by_id(kind) {
                // The kind is good, so the topic is what is not for the handler.
                Ok(_) if status == abi::UNSUPPORTED => Some(LETS_USE),
                Ok(_) if status == abi::TOO_BIG && payload.len <= PAYLOAD_BYTES_MAX => {
                    Some(LONGER_THAN_HISTORY)
                }
                _ => whole_message_rule(status, kind, payload),
            }),
            HostCall::ResponseHeader { .. }
            | HostCall::ResponseProtocol { .. }
            | HostCall::ResponseReject { .. } => self.response_rule(status),
            HostCall::Raw(call) => call.broken_rule(status),
            HostCall::Ask(call) => call.broken_rule(status),
        }
    }

    /// The rule of the argument that a call about the answer to a handshake broke.
    fn response_rule(&self, status: Status) -> Option<&'static str> {
        match *self {
            HostCall::ResponseHeader {
                name,
                value,
                is_token,
                is_the_servers,
            } => Some(if !name.is_readable() || !value.is_readable() {
                UNREADABLE
            } else if status == abi::TOO_BIG {
                "the headers of an answer have at most 16 KiB together"
            } else if !is_token {
                "`name` is a token of RFC 9110: letters, digits and !#$%&'*+-.^_`|~"
            } else if is_the_servers {
                "`name` is no header that the server writes itself"
            } else {
                "`value` has no control characters"
            }),
            HostCall::ResponseProtocol { protocol } => Some(match protocol.is_readable() {
                true => "`protocol` is one that the client offered",
                false => UNREADABLE,
            }),
            HostCall::ResponseReject { code, body } => Some(if !body.is_readable() {
                UNREADABLE
            } else if !(300..=599).contains(&code) {
                "`status` is 300 to 599"
            } else {
                "`body` has at most 1 MiB"
            }),
            _ => None,
        }
    }
}

/// Whether a message may be sent in parts.
#[derive(Clone, Copy)]
enum Parts {
    /// It may. `open` is the kind of the message whose first part was sent.
    Allowed {
        open: Option<u8>,
    },
    Refused,
}

/// The rule of a message that is sent by id or to a topic.
pub(super) fn whole_message_rule(
    status: Status,
    kind: u32,
    payload: LentBytes<'_>,
) -> Option<&'static str> {
    message_rule(status, kind, Some(payload), Parts::Refused)
}

/// The rule that a message broke. `payload` is `None` where its bytes are gone.
fn message_rule(
    status: Status,
    kind: u32,
    payload: Option<LentBytes<'_>>,
    parts: Parts,
) -> Option<&'static str> {
    let opcode = kind & 0xff;
    if payload.is_some_and(|payload| !payload.is_readable()) {
        return Some(UNREADABLE);
    }
    match status {
        // A shorter message is too big only together with what a slow peer has not taken.
        abi::TOO_BIG => payload
            .is_some_and(|payload| payload.len > PAYLOAD_BYTES_MAX)
            .then_some(TOO_LONG),
        abi::UNSUPPORTED if matches!(parts, Parts::Refused) => {
            Some("`kind` has no other bits than WSH_NO_COMPRESS and WSH_TRUSTED_UTF8")
        }
        abi::UNSUPPORTED => Some(
            "`kind` has no other bits than WSH_MORE, WSH_NO_COMPRESS, WSH_TRUSTED_UTF8 and WSH_IF_ROOM",
        ),
        _ if opcode != abi::TEXT && opcode != abi::BINARY => {
            Some("`kind` is WSH_TEXT or WSH_BINARY, with or without flags")
        }
        _ => Some(match parts {
            Parts::Refused if kind & abi::MORE != 0 => {
                "`kind` is without WSH_MORE: what is sent by id or topic is a whole message"
            }
            Parts::Allowed { open: Some(open) }
                if u32::from(open) != opcode
                    && (opcode != abi::TEXT
                        || kind & abi::TRUSTED_UTF8 != 0
                        || payload.is_none_or(LentBytes::is_text)) =>
            {
                "`kind` is that of the message's first part"
            }
            _ => "the bytes of WSH_TEXT are UTF-8, in each part by itself",
        }),
    }
}

/// The rule that a close code or a reason broke.
fn close_rule(code: u32, reason: LentBytes<'_>) -> &'static str {
    if !reason.is_readable() {
        UNREADABLE
    } else if reason.len > rules::REASON_BYTES_MAX {
        "`reason` has at most 123 bytes"
    } else if !reason.is_text() {
        "`reason` is UTF-8"
    } else if code == 0 {
        "`code` 0 is for an empty `reason`"
    } else {
        "`code` is 1000 to 1003, 1007 to 1014 or 3000 to 4999, or 0 with an empty `reason`"
    }
}

/// The rule that a topic's name broke, if it broke one.
pub(super) fn topic_rule(status: Status, topic: LentBytes<'_>) -> Option<&'static str> {
    match status {
        abi::INVALID if !topic.is_readable() => Some(UNREADABLE),
        abi::TOO_BIG if topic.len > rules::TOPIC_BYTES_MAX => Some("`topic` has at most 255 bytes"),
        abi::INVALID if topic.len == 0 => Some("`topic` is not empty"),
        abi::INVALID if !topic.is_text() => Some("`topic` is UTF-8"),
        abi::INVALID if topic.has_nul() => Some("`topic` holds no NUL"),
        _ => None,
    }
}

pub(super) const UNREADABLE: &str =
    "a pointer with a length above 0 is not NULL, and no length is more than memory has";
/// The rule of a message that its history can never have.
const LONGER_THAN_HISTORY: &str = "a message to a topic with history is shorter than the `bytes` of the history, and \
                                   than `history_bytes_max`";
pub(super) const TOO_LONG: &str = "`len` is at most 1 GiB";

#[cfg(test)]
mod tests;
