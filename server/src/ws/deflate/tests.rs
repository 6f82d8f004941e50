mod in_parts;
mod inflating;
mod round_trips;

use super::deflation::PartPosition;
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

/// Both halves of a session, as this offer has them.
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
        // The offer of browsers.
        (
            &plain,
            "permessage-deflate; client_max_window_bits",
            Some("permessage-deflate".to_owned()),
        ),
        // The answer says only what was asked for.
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
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
            Some(
                "permessage-deflate; server_max_window_bits=10; server_no_context_takeover"
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
        // A client that does not offer to limit its window is not asked to.
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
        // The first offer that can be kept is taken.
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

    // Nothing is left for a context of the server, so each message inflates by itself.
    let (_, mut deflation) = first.into_halves();
    let whole = PartPosition::WHOLE;
    for _ in 0..2 {
        let mut output = Vec::new();
        assert!(deflation.compress(whole, &b"context".repeat(9), &mut output));
        let (mut fresh, _) = halves("permessage-deflate", &KEEPS);
        assert_eq!(inflate(&mut fresh, &output), Ok(b"context".repeat(9)));
    }

    // The session keeps the client's context for its whole life.
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
    let whole = PartPosition::WHOLE;
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
        assert!(deflation.compress(PartPosition::WHOLE, &text, &mut wire));
        assert_eq!(inflate(&mut inflation, &wire).as_ref(), Ok(&text));
        wire.len()
    });
    assert!(
        lengths[0] > lengths[1] && lengths[1] > lengths[2],
        "{lengths:?}"
    );
}
