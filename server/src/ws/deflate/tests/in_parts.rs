//! Messages that are inflated a part at a time.

use super::*;

#[test]
fn a_message_in_parts_waits_as_it_came_while_the_budget_is_spent_but_no_longer_than_a_whole_one() {
    const MODEST: &str = "permessage-deflate; client_no_context_takeover";
    let budget = Budget::new(inflation::BYTES);
    let mut inflation = reach(MODEST, &KEEPS, &budget).unwrap().into_halves().0;
    let text: Vec<u8> = (0..9_000_u32)
        .flat_map(|n| format!("{} ", n * n).into_bytes())
        .collect();
    let mut wire = Vec::new();
    let effort = deflation::Effort {
        window_bits: 15,
        level: 1,
    };
    assert!(deflation::compress_alone(effort, &text, &mut wire));

    // The budget is spent, and there is some again in time: what waited comes first.
    let (mut all, mut part) = (Vec::new(), Vec::new());
    let spent = budget.take(inflation::BYTES);
    let (begin, end) = wire.split_at(500);
    inflation
        .inflate_part(begin, false, &mut part, 1000)
        .unwrap();
    assert!(part.is_empty() && !inflation.has_rest());
    drop(spent);
    let mut piece = end;
    loop {
        let mut part = Vec::new();
        inflation
            .inflate_part(piece, true, &mut part, 1000)
            .unwrap();
        assert!(part.len() <= 1000);
        all.extend_from_slice(&part);
        piece = b"";
        if !inflation.has_rest() {
            break;
        }
    }
    assert!(all == text);

    // The budget is spent for longer.
    let _spent = budget.take(inflation::BYTES);
    let piece = &wire[..700];
    let mut outcome = Ok(());
    let mut pieces = 0;
    while outcome.is_ok() {
        outcome = inflation.inflate_part(piece, false, &mut Vec::new(), 5000);
        pieces += 1;
    }
    assert_eq!((outcome, pieces), (Err(Violation::TooBig), 8));
}
