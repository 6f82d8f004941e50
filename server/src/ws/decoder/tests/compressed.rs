//! Messages that come compressed.

use proptest::prelude::*;

use super::*;
use crate::config::Deflate;
use crate::ws::deflate::deflation::{Deflation, PartPosition};
use crate::ws::deflate::tests::halves;

const TAKEOVER: Deflate = Deflate {
    level: 1,
    enabled: true,
    context_takeover: true,
    window_bits: 15,
    bytes_min: 0,
};

fn negotiated(limits: DecoderLimits, policy: &Deflate) -> (Decoder, Box<Deflation>) {
    let (inflation, deflation) = halves("permessage-deflate", policy);
    (Decoder::new(limits, Some(inflation)), deflation)
}

/// The payload of a compressed message.
fn compress(deflation: &mut Deflation, payload: &[u8]) -> Vec<u8> {
    let (mut output, whole) = (Vec::new(), PartPosition::WHOLE);
    deflation.compress(whole, payload, &mut output);
    output
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(oracle::CASES))]

    /// A message arrives as it was sent, compressed or not, in any frames and reads, with Pings between.
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

    /// The outcome of any bytes that claim to be compressed does not depend on how they are cut.
    #[test]
    fn arbitrary_bytes_inflate_alike_in_any_pieces(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        bfinal in any::<u8>(),
        first in prop_oneof![Just(0xc1), Just(0xc2)],
        reads in prop::collection::vec(1usize..50, 1..8),
        parts in any::<bool>(),
    ) {
        let limits = DecoderLimits { message_bytes_max: 1000, parts, ..LIMITS };
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

    // A message that ends inside a character is bad too.
    let cut = compress(&mut negotiated(LIMITS, &TAKEOVER).1, &"é".as_bytes()[..1]);
    let (decoder, _) = negotiated(LIMITS, &TAKEOVER);
    let outcome = oracle::decode(decoder, &frame(0xc1, &cut), &[99]);
    assert_eq!(outcome, (Vec::new(), Some(Violation::Utf8)));
}

#[test]
fn a_bomb_is_too_big_and_so_are_blocks_that_never_inflate_to_anything() {
    let limits = DecoderLimits {
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
    let long = DecoderLimits {
        message_bytes_max: 1 << 30,
        ..PARTS
    };
    let bomb = compress(&mut negotiated(PARTS, &TAKEOVER).1, &[0; 1 << 20]);
    for (limits, longest) in [(PARTS, 1000), (long, 64 * 1024)] {
        let (decoder, _) = negotiated(limits, &TAKEOVER);

        let lengths = part_lengths(decoder, &mut frame(0xc2, &bomb));

        assert_eq!(lengths.iter().sum::<usize>(), 1 << 20);
        assert_eq!(lengths.iter().max(), Some(&longest));
    }
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
            Ok(DecoderStep::Message { .. })
        ));
        assert_eq!(decoder.step(&mut bytes, &mut at), Ok(DecoderStep::Starved));
        assert_eq!((decoder.assembly.capacity(), decoder.is_lent), (0, false));
    }

    // An incomplete message takes no more memory than has come of it.
    let mut bytes = frame(0xc2, &long);
    bytes.truncate(20);
    assert_eq!(decoder.step(&mut bytes, &mut 0), Ok(DecoderStep::Starved));
    assert!(!decoder.is_lent && decoder.assembly.capacity() == decoder.assembly.len());
}
