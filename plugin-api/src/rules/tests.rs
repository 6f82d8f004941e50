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
