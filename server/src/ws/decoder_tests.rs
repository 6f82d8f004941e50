use proptest::prelude::*;

use super::*;
use crate::testing::client_frame::frame;
use crate::ws::oracle::{self, Said};

const LIMITS: Limits = Limits {
    message_bytes_max: 1 << 20,
    fragments_max: 100,
    parts: false,
};

/// Where messages come in parts these are the limits of one part.
const PARTS: Limits = Limits {
    message_bytes_max: 1000,
    fragments_max: 1,
    parts: true,
};

/// The longest random inputs: Miri takes milliseconds for a byte.
const BYTES_MAX: usize = if cfg!(miri) { 200 } else { 2000 };
/// The longest script of [`oracle::stream`].
const SCRIPT_BYTES_MAX: usize = if cfg!(miri) { 100 } else { 400 };
const MESSAGES_MAX: usize = if cfg!(miri) { 3 } else { 6 };

fn decode(bytes: &[u8], reads: &[usize], limits: Limits) -> (Vec<Said>, Option<Violation>) {
    oracle::decode(Decoder::new(limits, None), bytes, reads)
}

/// Payloads of frames with a short, a medium and (Miri would take minutes) a long length.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let long = if cfg!(miri) { 200..300 } else { 70_000..70_100 };
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(any::<u8>(), long),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(oracle::CASES))]

    /// Any fragmentation, any control frames between, any split of reads: the same messages.
    #[test]
    fn fragments_reads_and_interleaved_pings_do_not_change_what_was_said(
        messages in prop::collection::vec(
            (prop_oneof![payloads().prop_map(Said::Binary), "\\PC{0,200}".prop_map(|text: String| Said::Text(text.into_bytes()))],
             prop::collection::vec(0usize..400, 0..5)),
            0..MESSAGES_MAX,
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
        let limits = if parts { PARTS } else { LIMITS };
        prop_assert_eq!(decode(&bytes, &reads, limits), (expected, None));
    }

    /// tungstenite hears the same, but for the differences that the oracle lists.
    #[test]
    fn a_stream_of_frames_means_what_it_means_to_tungstenite(
        script in prop::collection::vec(any::<u8>(), 0..SCRIPT_BYTES_MAX),
        reads in prop::collection::vec(1usize..100, 1..8),
    ) {
        oracle::compare(&oracle::stream(&script), &reads);
        oracle::compare(&script, &reads);
    }

    /// Whatever bytes come, in whatever pieces, the outcome is the same and nothing panics.
    #[test]
    fn arbitrary_bytes_decode_alike_in_any_pieces(
        bytes in prop::collection::vec(any::<u8>(), 0..BYTES_MAX),
        reads in prop::collection::vec(1usize..50, 1..8),
        parts in any::<bool>(),
    ) {
        let limits = if parts { PARTS } else { LIMITS };
        let masked: Vec<u8> = frame(0x82, &bytes).into_iter().chain(bytes.clone()).collect();
        prop_assert_eq!(decode(&masked, &reads, limits), decode(&masked, &[usize::MAX], limits));
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

/// The lengths of the parts that a message of zeros comes in, which `bytes` is.
fn part_lengths(mut decoder: Decoder, bytes: &mut [u8]) -> Vec<usize> {
    let (mut lengths, mut at, mut is_last) = (Vec::new(), 0, false);
    while !is_last {
        match decoder.step(bytes, &mut at) {
            Ok(Step::Message { place, last, .. }) => {
                let part = match place {
                    PayloadLocation::Input(range) => &bytes[range],
                    PayloadLocation::Assembly => decoder.assembled(),
                };
                assert!(part.iter().all(|byte| *byte == 0));
                lengths.push(part.len());
                is_last = last;
            }
            other => panic!("{other:?} after {lengths:?}"),
        }
    }
    assert!(!decoder.has_placed() && at == bytes.len());
    lengths
}

#[test]
fn a_message_in_parts_may_be_of_any_length_and_no_part_is_longer_than_a_message_may_be() {
    let mut bytes = frame(0x02, &[0; 2500]);
    for _ in 0..200 {
        bytes.extend(frame(0x00, &[0; 7]));
    }
    bytes.extend(frame(0x80, &[0; 2500]));

    let lengths = part_lengths(Decoder::new(PARTS, None), &mut bytes);

    assert_eq!(lengths.iter().sum::<usize>(), 2500 + 200 * 7 + 2500);
    assert_eq!(lengths.iter().max(), Some(&1000));
    // One that lies in the input whole is no exception.
    let lengths = part_lengths(Decoder::new(PARTS, None), &mut frame(0x82, &[0; 1001]));
    assert_eq!(lengths, [1000, 1]);
}

mod compressed {
    use super::*;
    use crate::config::Deflate;
    use crate::ws::deflate::deflation::{Deflation, Part};
    use crate::ws::deflate::tests::halves;

    const TAKEOVER: Deflate = Deflate {
        level: 1,
        enabled: true,
        context_takeover: true,
        window_bits: 15,
        bytes_min: 0,
    };

    fn negotiated(limits: Limits, policy: &Deflate) -> (Decoder, Box<Deflation>) {
        let (inflation, deflation) = halves("permessage-deflate", policy);
        (Decoder::new(limits, Some(inflation)), deflation)
    }

    /// A compressed message as it travels, without frames.
    fn compress(deflation: &mut Deflation, payload: &[u8]) -> Vec<u8> {
        let (mut output, whole) = (Vec::new(), Part::WHOLE);
        deflation.compress(whole, payload, &mut output);
        output
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(oracle::CASES))]

        /// Compressed or not, in any frames and reads, with Pings between: the same messages.
        #[test]
        fn messages_arrive_as_they_were_said(
            messages in prop::collection::vec(
                (prop_oneof![
                    payloads().prop_map(Said::Binary),
                    "[a-zé]{0,60}".prop_map(|text| Said::Text(text.repeat(9).into_bytes())),
                ],
                any::<bool>(),
                prop::collection::vec(0usize..400, 0..5)),
                0..MESSAGES_MAX,
            ),
            reads in prop::collection::vec(1usize..5000, 1..8),
            parts in any::<bool>(),
            context_takeover in any::<bool>(),
        ) {
            let policy = Deflate { context_takeover, ..TAKEOVER };
            let (decoder, mut deflation) = negotiated(if parts { PARTS } else { LIMITS }, &policy);
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for (message, is_compressed, cuts) in &messages {
                let (opcode, payload) = match message {
                    Said::Text(payload) => (1, payload),
                    Said::Binary(payload) => (2, payload),
                    _ => unreachable!(),
                };
                let wire = if *is_compressed {
                    compress(&mut deflation, payload)
                } else {
                    payload.clone()
                };
                let mut rest = &wire[..];
                let mut first = opcode | if *is_compressed { 0x40 } else { 0 };
                for cut in cuts {
                    let (now, later) = rest.split_at((*cut).min(rest.len()));
                    bytes.extend(frame(first, now));
                    bytes.extend(frame(0x89, b"between"));
                    expected.push(Said::Ping(b"between".to_vec()));
                    (rest, first) = (later, 0);
                }
                bytes.extend(frame(0x80 | first, rest));
                expected.push(message.clone());
            }
            prop_assert_eq!(oracle::decode(decoder, &bytes, &reads), (expected, None));
        }

        /// Whatever bytes claim to be compressed, the outcome does not depend on the reads.
        #[test]
        fn arbitrary_bytes_inflate_alike_in_any_pieces(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            bfinal in any::<u8>(),
            first in prop_oneof![Just(0xc1), Just(0xc2)],
            reads in prop::collection::vec(1usize..50, 1..8),
            parts in any::<bool>(),
        ) {
            let limits = Limits { message_bytes_max: 1000, parts, ..LIMITS };
            let mut payload = vec![bfinal];
            payload.extend(bytes);
            let stream = frame(first, &payload);
            let decoded = |reads: &[usize]| {
                oracle::decode(negotiated(limits, &TAKEOVER).0, &stream, reads)
            };
            prop_assert_eq!(decoded(&reads), decoded(&[usize::MAX]));
        }
    }

    #[test]
    fn the_bit_that_marks_compression_stands_on_the_first_frame_of_a_message_only() {
        let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        let mut continuation = frame(0x41, &hello[..3]);
        continuation.extend(frame(0xc0, &hello[3..]));
        let reserved = Some(Violation::ReservedBit);
        for (name, bytes) in [
            ("a continuation", continuation),
            ("a Ping", frame(0xc9, b"")),
            ("a Pong", frame(0xca, b"")),
            ("a Close", frame(0xc8, b"")),
            ("RSV2 beside it", frame(0xe1, hello)),
            ("RSV3 beside it", frame(0xd1, hello)),
        ] {
            let (decoder, _) = negotiated(LIMITS, &TAKEOVER);
            assert_eq!(oracle::decode(decoder, &bytes, &[99]).1, reserved, "{name}");
        }
        assert_eq!(
            decode(&frame(0xc1, hello), &[99], LIMITS).1,
            reserved,
            "not agreed on"
        );

        let (decoder, _) = negotiated(LIMITS, &TAKEOVER);
        let said = vec![Said::Text(b"Hello".to_vec())];
        assert_eq!(
            oracle::decode(decoder, &frame(0xc1, hello), &[99]),
            (said, None)
        );
    }

    #[test]
    fn compressed_text_fails_at_its_first_bad_byte_wherever_the_frames_were_split() {
        let mut text = "κόσμε".as_bytes().to_vec();
        text.extend_from_slice(b"\xed\xa0\x80edited");
        let whole = compress(&mut negotiated(LIMITS, &TAKEOVER).1, &text);
        for split in 0..whole.len() {
            let mut bytes = frame(0x41, &whole[..split]);
            bytes.extend(frame(0x00, &whole[split..]));
            let (decoder, _) = negotiated(LIMITS, &TAKEOVER);
            let outcome = oracle::decode(decoder, &bytes, &[1]);
            assert_eq!(
                outcome,
                (Vec::new(), Some(Violation::Utf8)),
                "split at {split}"
            );
        }

        // Cut inside a character, the message is as bad.
        let cut = compress(&mut negotiated(LIMITS, &TAKEOVER).1, &"é".as_bytes()[..1]);
        let (decoder, _) = negotiated(LIMITS, &TAKEOVER);
        let outcome = oracle::decode(decoder, &frame(0xc1, &cut), &[99]);
        assert_eq!(outcome, (Vec::new(), Some(Violation::Utf8)));
    }

    #[test]
    fn a_bomb_is_too_big_and_so_are_blocks_that_never_inflate_to_anything() {
        let limits = Limits {
            message_bytes_max: 1000,
            ..LIMITS
        };
        let bomb = compress(&mut negotiated(limits, &TAKEOVER).1, &[0; 1001]);
        let too_big = (Vec::new(), Some(Violation::TooBig));
        for reads in [[1], [99]] {
            let (decoder, _) = negotiated(limits, &TAKEOVER);
            assert_eq!(
                oracle::decode(decoder, &frame(0xc2, &bomb), &reads),
                too_big
            );
        }
        let mut decoder = negotiated(limits, &TAKEOVER).0;
        let mut bytes = frame(0x42, b"");
        for _ in 0..50 {
            bytes.extend(frame(0x00, &b"\x00\x00\x00\xff\xff".repeat(20)));
        }
        assert_eq!(oracle::decode(decoder, &bytes, &[99]), too_big);

        decoder = negotiated(limits, &TAKEOVER).0;
        let fits = compress(&mut negotiated(limits, &TAKEOVER).1, &[0; 1000]);
        let said = vec![Said::Binary(vec![0; 1000])];
        assert_eq!(
            oracle::decode(decoder, &frame(0xc2, &fits), &[1]),
            (said, None)
        );
    }

    #[test]
    fn a_bomb_in_parts_comes_in_parts_that_are_as_long_as_others() {
        let bomb = compress(&mut negotiated(PARTS, &TAKEOVER).1, &[0; 1 << 20]);
        let (decoder, _) = negotiated(PARTS, &TAKEOVER);

        let lengths = part_lengths(decoder, &mut frame(0xc2, &bomb));

        assert_eq!(lengths.iter().sum::<usize>(), 1 << 20);
        assert_eq!(lengths.iter().max(), Some(&1000));
    }

    #[test]
    fn between_two_events_and_two_messages_nothing_of_the_thread_is_kept() {
        let (mut decoder, mut deflation) = negotiated(LIMITS, &Deflate::default());
        let long = compress(&mut deflation, &b"long ".repeat(2000));
        for payload in [&long[..], b"\x00"] {
            let mut bytes = frame(0xc2, payload);
            let mut at = 0;
            assert!(matches!(
                decoder.step(&mut bytes, &mut at),
                Ok(Step::Message { .. })
            ));
            assert_eq!(decoder.step(&mut bytes, &mut at), Ok(Step::Starved));
            assert_eq!((decoder.assembly.capacity(), decoder.is_lent), (0, false));
        }

        // What is incomplete is kept at its size.
        let mut bytes = frame(0xc2, &long);
        bytes.truncate(20);
        assert_eq!(decoder.step(&mut bytes, &mut 0), Ok(Step::Starved));
        assert!(!decoder.is_lent && decoder.assembly.capacity() == decoder.assembly.len());
    }
}
