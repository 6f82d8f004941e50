mod compressed;

use proptest::prelude::*;

use super::*;
use crate::testing::client_frame::frame;
use crate::ws::oracle::{self, Said};

const LIMITS: DecoderLimits = DecoderLimits {
    message_bytes_max: 1 << 20,
    fragments_max: 100,
    parts: false,
};

/// The limits of one part, where messages come in parts.
const PARTS: DecoderLimits = DecoderLimits {
    message_bytes_max: 1000,
    fragments_max: 1,
    parts: true,
};

/// The longest random inputs: Miri takes milliseconds for a byte.
const BYTES_MAX: usize = if cfg!(miri) { 200 } else { 2000 };
/// The longest script of [`oracle::stream`].
const SCRIPT_BYTES_MAX: usize = if cfg!(miri) { 100 } else { 400 };
const MESSAGES_MAX: usize = if cfg!(miri) { 3 } else { 6 };

fn decode(bytes: &[u8], reads: &[usize], limits: DecoderLimits) -> (Vec<Said>, Option<Violation>) {
    oracle::decode(Decoder::new(limits, None), bytes, reads)
}

/// Payloads whose length takes a frame the short, the medium and, but for Miri, the long form.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let long = if cfg!(miri) { 200..300 } else { 70_000..70_100 };
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(any::<u8>(), long),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(oracle::CASES))]

    /// A message arrives as it was sent, in any fragments and reads, with any control frames between.
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

    /// The decoder and tungstenite agree, but for the differences that the oracle lists.
    #[test]
    fn a_stream_of_frames_means_what_it_means_to_tungstenite(
        script in prop::collection::vec(any::<u8>(), 0..SCRIPT_BYTES_MAX),
        reads in prop::collection::vec(1usize..100, 1..8),
    ) {
        oracle::compare(&oracle::stream(&script), &reads);
        oracle::compare(&script, &reads);
    }

    /// The outcome of any bytes does not depend on how they are cut, and nothing panics.
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

    // More of the frame is to come, but its text is bad already.
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
    let limits = DecoderLimits {
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
fn a_long_message_may_have_a_frame_more_for_each_16_kib_of_it() {
    let limits = DecoderLimits {
        fragments_max: 2,
        ..LIMITS
    };
    let piece = [7; 16 * 1024];
    let mut bytes = frame(0x02, &piece);
    for _ in 0..20 {
        bytes.extend(frame(0x00, &piece));
    }
    let mut whole = bytes.clone();
    whole.extend(frame(0x80, b"end"));
    let (said, violation) = decode(&whole, &[50_000], limits);
    assert_eq!((said.len(), violation), (1, None));

    // There are 21 frames, and there may be 23.
    for _ in 0..3 {
        bytes.extend(frame(0x00, b""));
    }
    let violation = decode(&bytes, &[50_000], limits).1;
    assert_eq!(violation, Some(Violation::TooManyFragments));
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

/// The lengths of the parts in which the frames in `bytes`, a message of zeros, are given out.
fn part_lengths(mut decoder: Decoder, bytes: &mut [u8]) -> Vec<usize> {
    let (mut lengths, mut at, mut is_last) = (Vec::new(), 0, false);
    while !is_last {
        match decoder.step(bytes, &mut at) {
            Ok(DecoderStep::Message { place, last, .. }) => {
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
    // Nor is a message given out whole that lies whole in the input.
    let lengths = part_lengths(Decoder::new(PARTS, None), &mut frame(0x82, &[0; 1001]));
    assert_eq!(lengths, [1000, 1]);
}

#[test]
fn a_limit_of_long_messages_makes_no_long_parts() {
    let limits = DecoderLimits {
        message_bytes_max: 1 << 30,
        ..PARTS
    };
    let lengths = part_lengths(Decoder::new(limits, None), &mut frame(0x82, &[0; 200_000]));

    assert_eq!(lengths, [65_536, 65_536, 65_536, 3392]);
}
