//! Why a session ends: the first reason that the peer, the handler, the server or a limit gave.
//!
//! One table says what each cause is to the peer (a close code, and perhaps a reason), to the handler
//! and in the log.

use wsh::{abi, close_codes};

use crate::config::SessionLimits;
use crate::ws::violation::Violation;

/// What ended a session, or began its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The peer began the closing handshake.
    PeerClosed,
    /// The handler closed, by its Conn or by the session's id.
    HandlerClosed,
    /// The handler said that it is done.
    HandlerDone,
    /// The handler dropped the connection.
    HandlerAborted,
    /// A callback failed, or answered what it may not.
    HandlerFailed,
    /// A callback panicked.
    HandlerPanicked,
    /// The server is stopping.
    Stopping,
    /// The server is stopping, and another process has taken its place.
    Restarting,
    /// An operator has closed it, or drains its handler.
    OperatorClosed,
    /// Newer code has replaced the session's generation, and the session could not move.
    Replaced,
    /// The connection was closed or reset without a Close frame.
    ConnectionLost,
    /// The peer broke a rule of the protocol, or exceeded a limit of the decoder.
    Violation(Violation),
    /// A Ping was not answered.
    NoPong,
    /// The peer acknowledges nothing of what is sent to it.
    NoProgress,
    /// The peer has not completed a message in time.
    MessageTimeout,
    /// The peer sends more messages in a second than the limit allows.
    MessageRate,
    /// The peer sends more bytes in a second than the limit allows.
    ByteRate,
    /// No message has come or gone for too long.
    Idle,
    /// All sessions together hold as much of incomplete and unsent messages as they may.
    MemorySpent,
    /// The memory of the process is nearly spent.
    Overloaded,
    /// More bytes wait to be sent than the limit allows.
    OutboundFull,
    /// The peer has not done its part of the closing handshake in time.
    NoClose,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CauseRow {
    /// The code of the server's Close frame. 0 where it sends none, or where the handler or the peer
    /// chooses the code.
    code: u16,
    /// The word in the log; for a limit, its configuration key.
    word: &'static str,
    is_limit: bool,
    /// The value of the limit that was exceeded, where a session knows it.
    limit: Option<u64>,
}

impl Cause {
    /// The code of the Close frame that the server sends for this cause. 0 where it sends none of its own.
    pub(crate) fn code(self) -> u16 {
        self.row(None).code
    }

    /// The reason in the Close frame. Empty where the code says it all.
    ///
    /// A peer can do something about a limit (1001, 1008 or 1009), so its reason names the limit. One that is to come back (1012
    /// or 1013) is told a random time to wait, so that not all come back at one moment.
    pub(crate) fn reason(self, limits: &SessionLimits) -> String {
        let CauseRow {
            code, word, limit, ..
        } = self.row(Some(limits));
        match (code, limit) {
            (
                close_codes::POLICY_VIOLATION | close_codes::TOO_BIG | close_codes::GOING_AWAY,
                Some(limit),
            ) => {
                format!("{}: {word} = {limit}", self.complaint())
            }
            (close_codes::SERVICE_RESTART | close_codes::TRY_AGAIN_LATER, _) => {
                format!("retry-after-ms={}", fastrand::u64(1..=RETRY_MS_MAX))
            }
            _ => String::new(),
        }
    }

    /// The bits that the handler is told, within [`abi::CAUSE`].
    pub(crate) fn flag(self) -> u32 {
        match self {
            Cause::PeerClosed => abi::CAUSE_PEER,
            Cause::HandlerClosed | Cause::HandlerDone | Cause::HandlerAborted => abi::CAUSE_HANDLER,
            Cause::HandlerFailed | Cause::HandlerPanicked => abi::CAUSE_FAILED,
            Cause::Stopping | Cause::Restarting | Cause::OperatorClosed => abi::CAUSE_STOPPING,
            Cause::Replaced => abi::CAUSE_REPLACED,
            Cause::ConnectionLost | Cause::NoPong | Cause::NoProgress | Cause::NoClose => {
                abi::CAUSE_LOST
            }
            Cause::Violation(Violation::TooBig | Violation::TooManyFragments)
            | Cause::MessageTimeout
            | Cause::MessageRate
            | Cause::ByteRate
            | Cause::Idle
            | Cause::MemorySpent
            | Cause::Overloaded
            | Cause::OutboundFull => abi::CAUSE_LIMIT,
            Cause::Violation(_) => abi::CAUSE_PROTOCOL,
        }
    }

    /// The side that began the end, as a word for the log: `peer`, `handler`, `server`, or `network` for a connection that
    /// was lost.
    pub(crate) fn side(self) -> &'static str {
        match self {
            Cause::PeerClosed => "peer",
            Cause::HandlerClosed
            | Cause::HandlerDone
            | Cause::HandlerAborted
            | Cause::HandlerFailed
            | Cause::HandlerPanicked => "handler",
            Cause::ConnectionLost => "network",
            _ => "server",
        }
    }

    /// The word for this cause in the log.
    pub(crate) fn word(self) -> &'static str {
        self.row(None).word
    }

    /// Whether the word is the key of a limit.
    pub(crate) fn is_limit(self) -> bool {
        self.row(None).is_limit
    }

    /// The value of the limit that was exceeded, if the word is the key of one that a session knows.
    pub(crate) fn limit(self, limits: &SessionLimits) -> Option<u64> {
        self.row(Some(limits)).limit
    }

    /// What the peer did wrong, in words for the peer.
    fn complaint(self) -> &'static str {
        match self {
            Cause::Violation(Violation::TooBig) => "message too big",
            Cause::Violation(Violation::TooManyFragments) => "too many fragments",
            Cause::MessageTimeout => "message not completed in time",
            Cause::MessageRate => "too many messages",
            Cause::ByteRate => "too many bytes",
            Cause::Idle => "no message for too long",
            _ => "reads too slowly",
        }
    }

    /// The table. A row has the value of its limit if `limits` are given.
    fn row(self, limits: Option<&SessionLimits>) -> CauseRow {
        let plain = |code, word| CauseRow {
            code,
            word,
            is_limit: false,
            limit: None,
        };
        // The limit of all sessions together.
        let shared_limit = |code, word| CauseRow {
            is_limit: true,
            ..plain(code, word)
        };
        let limit = |code, word, of: fn(&SessionLimits) -> u64| CauseRow {
            code,
            word,
            is_limit: true,
            limit: limits.map(of),
        };
        match self {
            Cause::PeerClosed => plain(0, "peer_closed"),
            Cause::HandlerClosed => plain(0, "handler_closed"),
            Cause::HandlerDone => plain(close_codes::NORMAL, "handler_done"),
            Cause::HandlerAborted => plain(0, "handler_aborted"),
            Cause::HandlerFailed => plain(close_codes::INTERNAL_ERROR, "handler_failed"),
            Cause::HandlerPanicked => plain(close_codes::INTERNAL_ERROR, "handler_panicked"),
            Cause::Stopping => plain(close_codes::GOING_AWAY, "server_stops"),
            Cause::Restarting => plain(close_codes::SERVICE_RESTART, "server_restarts"),
            Cause::OperatorClosed => plain(close_codes::GOING_AWAY, "operator_closed"),
            Cause::Replaced => plain(close_codes::SERVICE_RESTART, "handler_replaced"),
            Cause::ConnectionLost => plain(0, "connection_lost"),
            Cause::Violation(Violation::TooBig) => {
                limit(close_codes::TOO_BIG, "message_bytes_max", |limits| {
                    limits.message_bytes_max as u64
                })
            }
            Cause::Violation(Violation::TooManyFragments) => {
                limit(close_codes::POLICY_VIOLATION, "fragments_max", |limits| {
                    limits.fragments_max as u64
                })
            }
            Cause::Violation(violation) => plain(violation.close_code(), "protocol_error"),
            Cause::NoPong => limit(0, "pong_timeout_ms", |limits| limits.pong_timeout_ms),
            Cause::NoProgress => limit(0, "outbound_timeout_ms", |limits| {
                limits.outbound_timeout_ms
            }),
            Cause::MessageTimeout => limit(
                close_codes::POLICY_VIOLATION,
                "message_timeout_ms",
                |limits| limits.message_timeout_ms,
            ),
            Cause::MessageRate => limit(
                close_codes::POLICY_VIOLATION,
                "messages_per_s_max",
                |limits| limits.messages_per_s_max,
            ),
            Cause::ByteRate => limit(close_codes::POLICY_VIOLATION, "bytes_per_s_max", |limits| {
                limits.bytes_per_s_max
            }),
            Cause::MemorySpent => shared_limit(close_codes::TRY_AGAIN_LATER, "buffered_bytes_max"),
            Cause::Overloaded => shared_limit(close_codes::TRY_AGAIN_LATER, "memory_bytes_max"),
            Cause::Idle => limit(close_codes::GOING_AWAY, "idle_timeout_ms", |limits| {
                limits.idle_timeout_ms
            }),
            Cause::OutboundFull => limit(
                close_codes::POLICY_VIOLATION,
                "outbound_bytes_max",
                |limits| limits.outbound_bytes_max as u64,
            ),
            Cause::NoClose => limit(0, "close_timeout_ms", |limits| limits.close_timeout_ms),
        }
    }
}

/// The longest time that a client is asked to wait before it comes back.
const RETRY_MS_MAX: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_code_its_reason_and_its_word() {
        let limits = SessionLimits::default();
        let too_big = "message too big: message_bytes_max = 1048576";
        let fragments = "too many fragments: fragments_max = 4096";
        let unfinished = "message not completed in time: message_timeout_ms = 60000";
        let outbound = "reads too slowly: outbound_bytes_max = 1048576";
        for (cause, code, reason, word, limit) in [
            (Cause::PeerClosed, 0, "", "peer_closed", None),
            (Cause::HandlerClosed, 0, "", "handler_closed", None),
            (Cause::HandlerDone, 1000, "", "handler_done", None),
            (Cause::HandlerAborted, 0, "", "handler_aborted", None),
            (Cause::HandlerFailed, 1011, "", "handler_failed", None),
            (Cause::HandlerPanicked, 1011, "", "handler_panicked", None),
            (Cause::Stopping, 1001, "", "server_stops", None),
            (
                Cause::Restarting,
                1012,
                "retry-after-ms",
                "server_restarts",
                None,
            ),
            (
                Cause::Replaced,
                1012,
                "retry-after-ms",
                "handler_replaced",
                None,
            ),
            (Cause::OperatorClosed, 1001, "", "operator_closed", None),
            (Cause::ConnectionLost, 0, "", "connection_lost", None),
            (
                Cause::Violation(Violation::Unmasked),
                1002,
                "",
                "protocol_error",
                None,
            ),
            (
                Cause::Violation(Violation::Utf8),
                1007,
                "",
                "protocol_error",
                None,
            ),
            (
                Cause::Violation(Violation::TooBig),
                1009,
                too_big,
                "message_bytes_max",
                Some(1_048_576),
            ),
            (
                Cause::Violation(Violation::TooManyFragments),
                1008,
                fragments,
                "fragments_max",
                Some(4_096),
            ),
            (Cause::NoPong, 0, "", "pong_timeout_ms", Some(10_000)),
            (
                Cause::NoProgress,
                0,
                "",
                "outbound_timeout_ms",
                Some(90_000),
            ),
            (
                Cause::MessageTimeout,
                1008,
                unfinished,
                "message_timeout_ms",
                Some(60_000),
            ),
            (
                Cause::OutboundFull,
                1008,
                outbound,
                "outbound_bytes_max",
                Some(1_048_576),
            ),
            (
                Cause::MessageRate,
                1008,
                "too many messages: messages_per_s_max = 0",
                "messages_per_s_max",
                Some(0),
            ),
            (
                Cause::ByteRate,
                1008,
                "too many bytes: bytes_per_s_max = 0",
                "bytes_per_s_max",
                Some(0),
            ),
            (
                Cause::Idle,
                1001,
                "no message for too long: idle_timeout_ms = 0",
                "idle_timeout_ms",
                Some(0),
            ),
            (
                Cause::MemorySpent,
                1013,
                "retry-after-ms",
                "buffered_bytes_max",
                None,
            ),
            (
                Cause::Overloaded,
                1013,
                "retry-after-ms",
                "memory_bytes_max",
                None,
            ),
            (Cause::NoClose, 0, "", "close_timeout_ms", Some(5_000)),
        ] {
            assert_eq!(cause.code(), code, "{cause:?}");
            let found = cause.reason(&limits);
            match found.strip_prefix("retry-after-ms=") {
                Some(ms) => {
                    assert_eq!(reason, "retry-after-ms", "{cause:?}");
                    assert!((1..=RETRY_MS_MAX).contains(&ms.parse().unwrap()), "{ms}");
                }
                None => assert_eq!(found, reason, "{cause:?}"),
            }
            assert_eq!(cause.word(), word, "{cause:?}");
            assert_eq!(cause.limit(&limits), limit, "{cause:?}");
            let is_key = word.ends_with("_max") || word.ends_with("_ms");
            assert_eq!(cause.is_limit(), is_key, "{cause:?}");
            assert!(cause.reason(&limits).len() <= wsh::rules::REASON_BYTES_MAX);
        }
    }

    #[test]
    fn a_handler_is_told_who_ended_its_session() {
        for (cause, flag) in [
            (Cause::PeerClosed, abi::CAUSE_PEER),
            (Cause::HandlerClosed, abi::CAUSE_HANDLER),
            (Cause::HandlerDone, abi::CAUSE_HANDLER),
            (Cause::HandlerAborted, abi::CAUSE_HANDLER),
            (Cause::HandlerFailed, abi::CAUSE_FAILED),
            (Cause::HandlerPanicked, abi::CAUSE_FAILED),
            (Cause::ConnectionLost, abi::CAUSE_LOST),
            (Cause::NoPong, abi::CAUSE_LOST),
            (Cause::NoProgress, abi::CAUSE_LOST),
            (Cause::NoClose, abi::CAUSE_LOST),
            (Cause::Violation(Violation::TooBig), abi::CAUSE_LIMIT),
            (
                Cause::Violation(Violation::TooManyFragments),
                abi::CAUSE_LIMIT,
            ),
            (Cause::MessageTimeout, abi::CAUSE_LIMIT),
            (Cause::OutboundFull, abi::CAUSE_LIMIT),
            (Cause::MessageRate, abi::CAUSE_LIMIT),
            (Cause::ByteRate, abi::CAUSE_LIMIT),
            (Cause::Idle, abi::CAUSE_LIMIT),
            (Cause::MemorySpent, abi::CAUSE_LIMIT),
            (Cause::Overloaded, abi::CAUSE_LIMIT),
            (Cause::Violation(Violation::Utf8), abi::CAUSE_PROTOCOL),
            (Cause::Replaced, abi::CAUSE_REPLACED),
            (Cause::Stopping, abi::CAUSE_STOPPING),
            (Cause::Restarting, abi::CAUSE_STOPPING),
            (Cause::OperatorClosed, abi::CAUSE_STOPPING),
        ] {
            assert_eq!(cause.flag(), flag, "{cause:?}");
        }
    }
}
