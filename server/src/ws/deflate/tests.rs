mod in_parts;
mod round_trips;

use super::deflation::Part;
use super::*;
use crate::ws::extension;
use crate::ws::violation::Violation;

const KEEPS: Deflate = Deflate {
    enabled: true,
    context_takeover: true,
    window_bits: 15,
    bytes_min: 0,
    level: 1,
};

fn reach(offer: &str, policy: &Deflate, budget: &Arc<Budget>) -> Option<Agreement> {
    let offers = extension::parse([offer.as_bytes()].into_iter()).expect("the grammar");
    Agreement::reach(&offers, policy, budget)
}

fn rich() -> Arc<Budget> {
    Budget::new(usize::MAX)
}

/// Both halves as they are after this offer.
pub(crate) fn halves(offer: &str, policy: &Deflate) -> (Box<Inflation>, Box<Deflation>) {
    reach(offer, policy, &rich())
        .expect("an agreement")
        .into_halves()
}

fn inflate(inflation: &mut Inflation, bytes: &[u8]) -> Result<Vec<u8>, Violation> {
    let (mut output, mut left) = (Vec::new(), 1 << 20);
    inflation.inflate(bytes, true, &mut output, &mut left)?;
    assert_eq!(left, (1 << 20) - output.len());
    Ok(output)
}

#[test]
fn what_is_answered_to_each_offer() {
    let plain = Deflate::default();
    let small = Deflate {
        window_bits: 10,
        ..KEEPS
    };
    let cases = [
        // What browsers send.
        (
            &plain,
            "permessage-deflate; client_max_window_bits",
            Some("permessage-deflate".to_owned()),
        ),
        // Nothing is said that was not asked for.
        (
            &plain,
            "permessage-deflate",
            Some("permessage-deflate".to_owned()),
        ),
        (
            &plain,
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            Some(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
                    .to_owned(),
            ),
        ),
        (
            &plain,
            "permessage-deflate; server_max_window_bits=15",
            Some("permessage-deflate; server_max_window_bits=15".to_owned()),
        ),
        (
            &plain,
            "permessage-deflate; client_max_window_bits=\"9\"; server_max_window_bits=10",
            Some(
                "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9"
                    .to_owned(),
            ),
        ),
        (
            &KEEPS,
            "permessage-deflate",
            Some("permessage-deflate".to_owned()),
        ),
        (
            &KEEPS,
            "permessage-deflate; server_no_context_takeover",
            Some("permessage-deflate; server_no_context_takeover".to_owned()),
        ),
        (
            &KEEPS,
            "permessage-deflate; client_no_context_takeover",
            Some("permessage-deflate; client_no_context_takeover".to_owned()),
        ),
        (
            &KEEPS,
            "permessage-deflate; client_max_window_bits=8",
            Some("permessage-deflate; client_max_window_bits=8".to_owned()),
        ),
        // A client that does not say that it can limit its window is not asked to.
        (
            &small,
            "permessage-deflate",
            Some("permessage-deflate; server_max_window_bits=10".to_owned()),
        ),
        (
            &small,
            "permessage-deflate; client_max_window_bits",
            Some(
                "permessage-deflate; server_max_window_bits=10; client_max_window_bits=10"
                    .to_owned(),
            ),
        ),
        // The first that can be kept, in order.
        (
            &KEEPS,
            "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=8, \
             permessage-deflate; server_max_window_bits=9, permessage-deflate",
            Some("permessage-deflate; server_max_window_bits=9".to_owned()),
        ),
    ];
    for (policy, offer, expected) in cases {
        let agreement = reach(offer, policy, &rich());
        let found = agreement.map(|agreement| agreement.response().to_owned());
        assert_eq!(found, expected, "{offer}");
    }
}

#[test]
fn an_offer_with_a_parameter_that_is_unknown_repeated_or_ill_valued_is_declined() {
    for parameters in [
        "x",
        "server_no_context_takeover=1",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover=true",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=8",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=09",
        "server_max_window_bits=010",
        "server_max_window_bits=+9",
        "server_max_window_bits=abc",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=1000000000000000000000",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits; client_max_window_bits=9",
    ] {
        let offer = format!("permessage-deflate; {parameters}");
        assert!(reach(&offer, &KEEPS, &rich()).is_none(), "{offer}");
    }
    let off = Deflate {
        enabled: false,
        ..KEEPS
    };
    assert!(reach("permessage-deflate", &off, &rich()).is_none());
    assert!(reach("Permessage-Deflate", &KEEPS, &rich()).is_none());
}

#[test]
fn a_spent_budget_declines_a_client_that_keeps_its_context_and_sends_without_one() {
    let budget = Budget::new(inflation::BYTES);
    let first = reach("permessage-deflate", &KEEPS, &budget).unwrap();
    assert_eq!(first.response(), "permessage-deflate");
    assert!(reach("permessage-deflate", &KEEPS, &budget).is_none());
    // A later offer of the same client can be kept, and takes nothing.
    let modest = "permessage-deflate; client_max_window_bits, \
                  permessage-deflate; client_no_context_takeover";
    for _ in 0..3 {
        let second = reach(modest, &KEEPS, &budget).unwrap();
        assert_eq!(
            second.response(),
            "permessage-deflate; client_no_context_takeover"
        );
    }

    // Nothing is left for what the server sends: each message inflates by itself.
    let (_, mut deflation) = first.into_halves();
    let whole = Part::WHOLE;
    for _ in 0..2 {
        let mut output = Vec::new();
        assert!(deflation.compress(whole, &b"context".repeat(9), &mut output));
        let (mut fresh, _) = halves("permessage-deflate", &KEEPS);
        assert_eq!(inflate(&mut fresh, &output), Ok(b"context".repeat(9)));
    }

    // The client's context is the session's for its whole life.
    drop(deflation);
    let third = reach("permessage-deflate", &KEEPS, &budget).unwrap();
    assert_eq!(third.response(), "permessage-deflate");
}

#[test]
fn a_lowered_budget_takes_a_senders_context_between_two_messages_and_the_peer_reads_on() {
    let budget = rich();
    let (_, mut deflation) = reach("permessage-deflate", &KEEPS, &budget)
        .unwrap()
        .into_halves();
    let (mut peer, _) = halves("permessage-deflate", &KEEPS);
    let numbers = if cfg!(miri) { 200 } else { 2000 };
    let message: Vec<u8> = (0..numbers)
        .flat_map(|n: u32| format!("{n};").into_bytes())
        .collect();
    let whole = Part::WHOLE;
    let mut lengths = Vec::new();
    for n in 0..4 {
        if n == 2 {
            budget.set_max(0);
        }
        let mut output = Vec::new();
        assert!(deflation.compress(whole, &message, &mut output));
        assert_eq!(inflate(&mut peer, &output).as_ref(), Ok(&message));
        lengths.push(output.len());
    }
    assert!(
        lengths[1] < lengths[0],
        "the second message refers to the first: {lengths:?}"
    );
    assert_eq!([lengths[2], lengths[3]], [lengths[0]; 2]);
}

/// RFC 7692 §7.2.3.1 to §7.2.3.5, what the wire has in each example.
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

    // Without context takeover the second one refers to nothing.
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

    // What stands before it is out of reach, however the bytes came and the message is given out.
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
        b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", // what was to be left out
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
            deflation.compress(Part { first: !last, last }, b"", &mut output);
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
    deflation.compress(Part::WHOLE, &vec![0; bomb_bytes], &mut bomb);
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
    deflation.compress(Part::WHOLE, &[0; 50], &mut bytes);
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
        // What comes whole needs nothing of it.
        assert_eq!(inflate(&mut third, &wire).as_ref(), Ok(&text));
        for (index, inflation) in [&mut first, &mut second].into_iter().enumerate() {
            let (output, left) = (&mut outputs[index], &mut lefts[index]);
            inflation.inflate(end, true, output, left).unwrap();
            assert_eq!(*output, text, "message {n}");
        }
    }
    assert!(reach("permessage-deflate", &KEEPS, &budget).is_some());
}

#[test]
fn a_higher_level_makes_a_message_smaller() {
    let numbers = if cfg!(miri) { 100 } else { 1000 };
    let text: Vec<u8> = (0..numbers)
        .flat_map(|n: u32| format!("{{\"number\":{n},\"square\":{}}}", n * n).into_bytes())
        .collect();
    let lengths = [1, 2, 6].map(|level| {
        let policy = Deflate {
            level,
            ..Deflate::default()
        };
        let (mut inflation, mut deflation) = halves("permessage-deflate", &policy);
        let mut wire = Vec::new();
        assert!(deflation.compress(Part::WHOLE, &text, &mut wire));
        assert_eq!(inflate(&mut inflation, &wire).as_ref(), Ok(&text));
        wire.len()
    });
    assert!(
        lengths[0] > lengths[1] && lengths[1] > lengths[2],
        "{lengths:?}"
    );
}
