use proptest::prelude::*;

use super::*;

/// What a peer can be seen to have said, whatever the frames and reads were.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Vec<u8>),
}

const LIMITS: Limits = Limits {
    message_bytes_max: 1 << 20,
    fragments_max: 100,
    parts: false,
};

/// One masked frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | short as u8),
        medium @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    bytes.extend_from_slice(&mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

/// Feeds `bytes` in reads of the given sizes, as a session does: what is unused is held.
fn decode(bytes: &[u8], reads: &[usize], limits: Limits) -> (Vec<Said>, Option<Violation>) {
    let mut decoder = Decoder::new(limits);
    let (mut said, mut open) = (Vec::new(), Vec::new());
    let (mut held, mut from, mut reads) = (Vec::new(), 0, reads.iter().cycle());
    while from < bytes.len() {
        let read = (*reads.next().unwrap_or(&usize::MAX)).clamp(1, bytes.len() - from);
        held.extend_from_slice(&bytes[from..from + read]);
        from += read;
        let mut at = 0;
        loop {
            match decoder.step(&mut held, &mut at) {
                Ok(Step::Starved) => break,
                Ok(Step::Message { kind, place, last }) => {
                    open.extend_from_slice(match place {
                        Place::Input(range) => &held[range],
                        Place::Assembly => decoder.assembled(),
                    });
                    if kind == Kind::Text {
                        assert!(
                            std::str::from_utf8(&open).is_ok(),
                            "each part is whole text"
                        );
                    }
                    if last {
                        let message = std::mem::take(&mut open);
                        said.push(match kind {
                            Kind::Text => Said::Text(message),
                            Kind::Binary => Said::Binary(message),
                        });
                    }
                }
                Ok(Step::Ping(range)) => said.push(Said::Ping(held[range].to_vec())),
                Ok(Step::Pong(range)) => said.push(Said::Pong(held[range].to_vec())),
                Ok(Step::Close(range)) => said.push(Said::Close(held[range].to_vec())),
                Err(violation) => return (said, Some(violation)),
            }
        }
        held.drain(..at);
    }
    (said, None)
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(any::<u8>(), 70_000..70_100),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any fragmentation, any control frames between, any split of reads: the same messages.
    #[test]
    fn fragments_reads_and_interleaved_pings_do_not_change_what_was_said(
        messages in prop::collection::vec(
            (prop_oneof![payloads().prop_map(Said::Binary), "\\PC{0,200}".prop_map(|text: String| Said::Text(text.into_bytes()))],
             prop::collection::vec(0usize..400, 0..5)),
            0..6,
        ),
        reads in prop::collection::vec(1usize..5000, 1..8),
        parts in any::<bool>(),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (message, cuts) in &messages {
            let (opcode, payload) = match message {
                Said::Text(payload) => (1, payload),
                Said::Binary(payload) => (2, payload),
                _ => unreachable!(),
            };
            let mut rest = &payload[..];
            let mut first = opcode;
            for cut in cuts {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                bytes.extend(frame(first, now));
                bytes.extend(frame(0x89, &now[..now.len().min(125)]));
                expected.push(Said::Ping(now[..now.len().min(125)].to_vec()));
                (rest, first) = (later, 0);
            }
            bytes.extend(frame(0x80 | first, rest));
            expected.push(message.clone());
        }
        let limits = Limits { parts, ..LIMITS };
        prop_assert_eq!(decode(&bytes, &reads, limits), (expected, None));
    }

    /// Whatever bytes come, in whatever pieces, the outcome is the same and nothing panics.
    #[test]
    fn arbitrary_bytes_decode_alike_in_any_pieces(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        reads in prop::collection::vec(1usize..50, 1..8),
    ) {
        let masked: Vec<u8> = frame(0x82, &bytes).into_iter().chain(bytes.clone()).collect();
        prop_assert_eq!(decode(&masked, &reads, LIMITS), decode(&masked, &[usize::MAX], LIMITS));
    }
}

#[test]
fn bad_text_fails_at_its_first_bad_byte_wherever_the_frame_was_split() {
    let good = "κόσμε".as_bytes();
    let mut text = good.to_vec();
    text.extend_from_slice(b"\xed\xa0\x80edited");
    for split in 0..text.len() {
        let mut bytes = frame(0x01, &text[..split]);
        bytes.extend(frame(0x00, &text[split..]));
        let (said, violation) = decode(&bytes, &[1], LIMITS);
        assert_eq!(
            (said, violation),
            (Vec::new(), Some(Violation::Utf8)),
            "split at {split}"
        );
    }

    // The frame promises more, but its text is beyond repair already.
    let mut bytes = frame(0x81, &[b'x'; 100]);
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    bytes[6..8].copy_from_slice(&[0xff ^ mask[0], b'x' ^ mask[1]]);
    assert_eq!(
        decode(&bytes[..8], &[1], LIMITS),
        (Vec::new(), Some(Violation::Utf8))
    );
}

#[test]
fn a_message_larger_than_the_limit_fails_at_its_header_and_reserves_nothing() {
    let limits = Limits {
        message_bytes_max: 10,
        ..LIMITS
    };
    let declared = b"\x82\xff\x00\x00\x00\x00\x40\x00\x00\x00abcd";
    assert_eq!(
        decode(declared, &[1], limits),
        (Vec::new(), Some(Violation::TooBig))
    );

    let mut fragments = frame(0x02, b"123456");
    fragments.extend(frame(0x80, b"12345"));
    assert_eq!(
        decode(&fragments, &[99], limits),
        (Vec::new(), Some(Violation::TooBig))
    );
    assert_eq!(decode(&frame(0x82, b"1234567890"), &[99], limits).1, None);
}

#[test]
fn endless_fragments_fail_at_the_limit() {
    let mut bytes = frame(0x02, b"");
    for _ in 0..200 {
        bytes.extend(frame(0x00, b""));
    }
    assert_eq!(
        decode(&bytes, &[7], LIMITS),
        (Vec::new(), Some(Violation::TooManyFragments))
    );
}

#[test]
fn order_of_fragments_is_kept() {
    assert_eq!(
        decode(&frame(0x80, b"x"), &[9], LIMITS).1,
        Some(Violation::NothingToContinue)
    );
    let mut bytes = frame(0x01, b"x");
    bytes.extend(frame(0x81, b"y"));
    assert_eq!(
        decode(&bytes, &[99], LIMITS).1,
        Some(Violation::MessageInsideMessage)
    );
}
