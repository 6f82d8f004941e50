//! What the receiving half makes of right and of malformed messages.

use super::*;

/// The bytes of the examples in RFC 7692 §7.2.3.1 to §7.2.3.5.
#[test]
fn the_examples_of_the_rfc_inflate() {
    let (mut inflation, _) = halves("permessage-deflate", &KEEPS);
    let one_block = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let sharing_the_window = b"\xf2\x00\x11\x00\x00";
    let no_compression = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    let with_bfinal = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    let two_blocks = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    for (name, bytes) in [
        ("one block", &one_block[..]),
        ("sharing the window", sharing_the_window),
        ("no compression", no_compression),
        ("two blocks", two_blocks),
        ("with BFINAL", with_bfinal),
    ] {
        assert_eq!(
            inflate(&mut inflation, bytes),
            Ok(b"Hello".to_vec()),
            "{name}"
        );
    }

    // Without context takeover the second message refers to nothing.
    let offer = "permessage-deflate; client_no_context_takeover";
    let (mut inflation, _) = halves(offer, &Deflate::default());
    assert_eq!(inflate(&mut inflation, one_block), Ok(b"Hello".to_vec()));
    assert_eq!(
        inflate(&mut inflation, sharing_the_window),
        Err(Violation::Compression)
    );
}

#[test]
fn a_block_that_ends_the_stream_does_not_end_the_message() {
    let (mut inflation, _) = halves("permessage-deflate", &KEEPS);
    let hello = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
    for (bytes, text) in [
        (
            [&hello[..], &hello[..], b"\x00"].concat(),
            &b"HelloHello"[..],
        ),
        (hello.to_vec(), b"Hello"),
        (b"\x03\x00".to_vec(), b""),
        (b"\x01".to_vec(), b""),
    ] {
        assert_eq!(
            inflate(&mut inflation, &bytes),
            Ok(text.to_vec()),
            "{bytes:02x?}"
        );
    }

    // No later block may refer to what stands before it, however the bytes came and are given out.
    let back_to_hello = [&hello[..], b"\x02\x13\x00\x00"].concat();
    for pieces in [1, 7, 99] {
        let (mut inflation, _) = halves("permessage-deflate", &KEEPS);
        let (mut output, mut left) = (Vec::new(), 100);
        let mut pieces = back_to_hello.chunks(pieces);
        let outcome =
            pieces.try_for_each(|piece| inflation.inflate(piece, false, &mut output, &mut left));
        assert_eq!(outcome, Err(Violation::Compression));
    }
}

#[test]
fn a_message_that_stops_short_of_its_end_does_not_inflate() {
    let whole = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    for bytes in [
        &whole[..1],
        &whole[..3],
        &whole[..5],
        &whole[..6],
        b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", // with the tail that has to be left out
        b"\x00\x05\x00\xfa\xff\x48\x65",
        b"\x07",
        b"\xff\xff\xff",
    ] {
        let (mut inflation, _) = halves("permessage-deflate", &KEEPS);
        assert_eq!(
            inflate(&mut inflation, bytes),
            Err(Violation::Compression),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn an_empty_message_is_an_empty_block_or_nothing() {
    for policy in [KEEPS, Deflate::default()] {
        let (mut inflation, mut deflation) = halves("permessage-deflate", &policy);
        assert_eq!(inflate(&mut inflation, b"\x00"), Ok(Vec::new()));
        assert_eq!(inflate(&mut inflation, b""), Ok(Vec::new()));
        for last in [false, true] {
            let mut output = Vec::new();
            deflation.compress(PartPosition { first: !last, last }, b"", &mut output);
            if last {
                assert_eq!(output, b"\x00");
            }
        }
    }
}

#[test]
fn a_bomb_fails_at_the_limit_and_takes_no_more_than_the_limit() {
    // Under Miri the larger bomb takes minutes.
    let (bomb_bytes, bytes_max) = if cfg!(miri) {
        (20_000, 5_000)
    } else {
        (8 << 20, 100_000)
    };
    let mut bomb = Vec::new();
    let (mut inflation, mut deflation) = halves("permessage-deflate", &KEEPS);
    deflation.compress(PartPosition::WHOLE, &vec![0; bomb_bytes], &mut bomb);
    assert!(bomb.len() < bytes_max, "{}", bomb.len());

    for pieces in [1, 7, 4096, bomb.len()] {
        let (mut output, mut left) = (Vec::new(), bytes_max);
        let mut outcome = Ok(());
        for piece in bomb.chunks(pieces) {
            outcome = inflation.inflate(piece, false, &mut output, &mut left);
            if outcome.is_err() {
                break;
            }
        }
        assert_eq!(outcome, Err(Violation::TooBig));
        assert!(output.capacity() <= bytes_max + 1, "{}", output.capacity());
        (inflation, _) = halves("permessage-deflate", &KEEPS);
    }
}

#[test]
fn of_too_big_and_malformed_the_first_counts_whatever_the_pieces() {
    let (_, mut deflation) = halves("permessage-deflate", &KEEPS);
    let mut bytes = Vec::new();
    deflation.compress(PartPosition::WHOLE, &[0; 50], &mut bytes);
    bytes.extend_from_slice(b"\x00\x00\xff\xff\x07");
    for (limit, expected) in [
        (49, Violation::TooBig),
        (50, Violation::Compression),
        (usize::MAX, Violation::Compression),
    ] {
        for pieces in [1, 5, bytes.len()] {
            let (mut inflation, _) = halves("permessage-deflate", &KEEPS);
            let (mut output, mut left) = (Vec::new(), limit);
            let mut pieces = bytes.chunks(pieces);
            let outcome = pieces
                .try_for_each(|piece| inflation.inflate(piece, false, &mut output, &mut left));
            assert_eq!((outcome, output.len()), (Err(expected), limit.min(50)));
        }
    }
}

#[test]
fn a_message_that_is_incomplete_takes_its_decompressor_from_the_budget_or_waits_as_it_came() {
    const MODEST: &str = "permessage-deflate; client_no_context_takeover";
    let budget = Budget::new(inflation::BYTES);
    let inflation = || reach(MODEST, &KEEPS, &budget).unwrap().into_halves().0;
    let (mut first, mut second, mut third) = (inflation(), inflation(), inflation());
    let text = b"whatever it is".repeat(99);
    let mut wire = Vec::new();
    let effort = deflation::Effort {
        window_bits: 15,
        level: 1,
    };
    assert!(deflation::compress_alone(effort, &text, &mut wire));
    let (begin, end) = wire.split_at(20);

    for n in 0..3 {
        let mut outputs = [Vec::new(), Vec::new()];
        let mut lefts = [1 << 20; 2];
        for (index, inflation) in [&mut first, &mut second].into_iter().enumerate() {
            let (output, left) = (&mut outputs[index], &mut lefts[index]);
            inflation.inflate(begin, false, output, left).unwrap();
        }
        assert!(!outputs[0].is_empty(), "it is inflated while it comes");
        assert!(outputs[1].is_empty(), "the budget is spent");
        assert!(reach("permessage-deflate", &KEEPS, &budget).is_none());
        // A message that comes whole needs nothing of the budget.
        assert_eq!(inflate(&mut third, &wire).as_ref(), Ok(&text));
        for (index, inflation) in [&mut first, &mut second].into_iter().enumerate() {
            let (output, left) = (&mut outputs[index], &mut lefts[index]);
            inflation.inflate(end, true, output, left).unwrap();
            assert_eq!(*output, text, "message {n}");
        }
    }
    assert!(reach("permessage-deflate", &KEEPS, &budget).is_some());
}
