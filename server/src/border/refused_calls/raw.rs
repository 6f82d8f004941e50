//! Calls of the extension `wsh.raw/1`, and the rules of their arguments.

use wsh::abi::raw::RAW_OPEN;
use wsh::abi::{self, Status};

use super::LentBytes;
use super::rules::{TOO_LONG, UNREADABLE};
use crate::outbound::controls::outgoing::PAYLOAD_BYTES_MAX;

/// A call of a function of the extension, with the arguments that have rules.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RawCall<'a> {
    Write { bytes: LentBytes<'a> },
    WriteTo { bytes: LentBytes<'a> },
    Answer { bytes: LentBytes<'a>, then: u32 },
    Accept,
}

impl RawCall<'_> {
    pub(super) fn name(self) -> &'static str {
        match self {
            RawCall::Write { .. } => "wsh.raw/1 write",
            RawCall::WriteTo { .. } => "wsh.raw/1 write_to",
            RawCall::Answer { .. } => "wsh.raw/1 answer",
            RawCall::Accept => "wsh.raw/1 accept",
        }
    }

    /// The rule of the argument that the call broke, for a refusal as INVALID, TOO_BIG or UNSUPPORTED.
    pub(super) fn broken_rule(self, status: Status) -> Option<&'static str> {
        if status == abi::UNSUPPORTED {
            return Some(match self {
                RawCall::Answer { then, .. } if then > RAW_OPEN => {
                    "`then` is WSH_RAW_CLOSE, WSH_RAW_CONTINUE or WSH_RAW_OPEN"
                }
                _ => "the handler's table says `raw = true`",
            });
        }
        match self {
            RawCall::Write { bytes }
            | RawCall::WriteTo { bytes }
            | RawCall::Answer { bytes, .. }
                if !bytes.is_readable() =>
            {
                Some(UNREADABLE)
            }
            // Fewer bytes are too big only together with what a slow peer has not taken.
            RawCall::Write { bytes } | RawCall::WriteTo { bytes } => {
                (bytes.len > PAYLOAD_BYTES_MAX).then_some(TOO_LONG)
            }
            RawCall::Answer { .. } if status == abi::TOO_BIG => {
                Some("`bytes` and `linger` are 1 MiB at most")
            }
            RawCall::Answer { .. } => Some("`linger` is 0, but for WSH_RAW_CLOSE"),
            RawCall::Accept => Some("`out` is not NULL"),
        }
    }
}
