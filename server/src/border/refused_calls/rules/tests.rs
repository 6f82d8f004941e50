//! The rule that each refused call broke.

use wsh::abi::Bytes;

use super::*;
use crate::border::refused_calls::RawCall;

fn lent(bytes: &[u8]) -> LentBytes<'_> {
    let raw = Bytes {
        ptr: bytes.as_ptr(),
        len: bytes.len(),
    };
    LentBytes::new(raw, Some(bytes))
}

fn unreadable(len: usize) -> LentBytes<'static> {
    let ptr = std::ptr::null();
    LentBytes::new(Bytes { ptr, len }, None)
}

/// One byte more than a message may have. Only the first of them are there, and nothing reads the others.
fn too_long() -> LentBytes<'static> {
    let bytes = b"the first";
    let raw = Bytes {
        ptr: bytes.as_ptr(),
        len: PAYLOAD_BYTES_MAX + 1,
    };
    LentBytes::new(raw, Some(bytes))
}

fn send(kind: u32, payload: LentBytes<'_>, open: Option<u8>) -> HostCall<'_> {
    HostCall::Send {
        kind,
        payload,
        open,
    }
}

#[test]
fn each_refusal_names_the_argument_and_its_rule() {
    let (text, bytes) = (lent(b"text"), lent(b"\xff"));
    let (code, reason) = (1000, unreadable(4));
    let header = |name, is_token, is_the_servers, value| HostCall::ResponseHeader {
        name,
        value,
        is_token,
        is_the_servers,
    };
    let publish = |topic, kind| HostCall::Publish {
        topic,
        kind,
        payload: text,
    };
    let commit = |kind, is_reserved| HostCall::Commit {
        kind,
        len: 4,
        is_reserved,
        open: None,
    };
    let write = |bytes| HostCall::Raw(RawCall::Write { bytes });
    let answer = |bytes, then| HostCall::Raw(RawCall::Answer { bytes, then });
    let plain = HostCall::Plain {
        name: "reads",
        rule: "`on` is 0 or 1",
    };
    for (call, status, told) in [
        (write(unreadable(1)), abi::INVALID, UNREADABLE),
        (write(too_long()), abi::TOO_BIG, TOO_LONG),
        (write(text), abi::UNSUPPORTED, "`raw = true`"),
        (answer(text, 3), abi::UNSUPPORTED, "`then` is WSH_RAW_CLOSE"),
        (answer(text, 0), abi::UNSUPPORTED, "`raw = true`"),
        (answer(text, 0), abi::TOO_BIG, "1 MiB"),
        (answer(text, 1), abi::INVALID, "`linger` is 0"),
        (answer(unreadable(1), 1), abi::INVALID, UNREADABLE),
        (HostCall::Raw(RawCall::Accept), abi::INVALID, "`out` is not"),
        (send(9, text, None), abi::INVALID, "`kind` is WSH_TEXT or"),
        (send(abi::TEXT, bytes, None), abi::INVALID, "UTF-8"),
        (
            send(abi::TEXT, unreadable(1), None),
            abi::INVALID,
            UNREADABLE,
        ),
        (
            send(abi::BINARY, text, Some(abi::TEXT as u8)),
            abi::INVALID,
            "that of the message's first part",
        ),
        (
            send(abi::TEXT, bytes, Some(abi::TEXT as u8)),
            abi::INVALID,
            "UTF-8",
        ),
        (
            send(abi::BINARY | 1 << 30, text, None),
            abi::UNSUPPORTED,
            "`kind` has no other bits",
        ),
        (send(abi::BINARY, too_long(), None), abi::TOO_BIG, TOO_LONG),
        (
            HostCall::Reserve { max: usize::MAX },
            abi::TOO_BIG,
            "`max` is at",
        ),
        (commit(abi::BINARY, false), abi::INVALID, "`reserve`"),
        (commit(abi::TEXT, true), abi::INVALID, "UTF-8"),
        (commit(0, true), abi::INVALID, "`kind` is"),
        (
            HostCall::Ping {
                payload: lent(&[0; 126]),
            },
            abi::TOO_BIG,
            "125",
        ),
        (HostCall::Close { code, reason }, abi::INVALID, UNREADABLE),
        (
            HostCall::Close {
                code: 1005,
                reason: text,
            },
            abi::INVALID,
            "`code` is 1000",
        ),
        (
            HostCall::CloseTo {
                code: 0,
                reason: text,
            },
            abi::INVALID,
            "`code` 0",
        ),
        (
            HostCall::Close {
                code,
                reason: bytes,
            },
            abi::INVALID,
            "`reason` is UTF-8",
        ),
        (
            HostCall::Subscribe {
                topic: lent(b""),
                on: 1,
            },
            abi::INVALID,
            "not empty",
        ),
        (
            HostCall::Subscribe {
                topic: bytes,
                on: 1,
            },
            abi::INVALID,
            "`topic` is UTF-8",
        ),
        (
            HostCall::Subscribe { topic: text, on: 1 },
            abi::TOO_BIG,
            "`topics_max`",
        ),
        (publish(bytes, abi::TEXT), abi::INVALID, "`topic` is UTF-8"),
        (
            publish(text, abi::TEXT | abi::MORE),
            abi::INVALID,
            "WSH_MORE",
        ),
        (
            header(text, false, false, text),
            abi::INVALID,
            "`name` is a token",
        ),
        (
            header(text, true, true, text),
            abi::INVALID,
            "the server writes",
        ),
        (
            header(text, true, false, bytes),
            abi::INVALID,
            "`value` has no",
        ),
        (header(text, true, false, text), abi::TOO_BIG, "16 KiB"),
        (
            HostCall::ResponseProtocol { protocol: text },
            abi::INVALID,
            "offered",
        ),
        (
            HostCall::ResponseReject {
                code: 200,
                body: text,
            },
            abi::INVALID,
            "300 to 599",
        ),
        (plain, abi::INVALID, "`on` is 0 or 1"),
        (HostCall::named("new"), abi::TOO_BIG, "wsh.h says"),
        (HostCall::named("new"), abi::UNSUPPORTED, "wsh.h says"),
    ] {
        let rule = call.broken_rule(status).unwrap_or_default();
        assert!(rule.contains(told), "{call:?} {status}: {rule}");
    }
}

#[test]
fn what_a_peer_is_the_reason_of_is_no_fault_of_the_handler() {
    let text = lent(b"text");
    for (call, status) in [
        // The peer's outgoing queue is full.
        (send(abi::TEXT, text, None), abi::TOO_BIG),
        (send(abi::TEXT, text, None), abi::GONE),
        (HostCall::named("wake"), abi::AGAIN),
        (HostCall::named("wake"), abi::GONE),
        (HostCall::named("spawn"), abi::ERROR),
    ] {
        assert_eq!(call.broken_rule(status), None, "{call:?} {status}");
    }
}
