use super::*;

const RULE: Rule = Rule {
    panics_max: 2,
    window: Duration::from_secs(10),
    pause: Duration::from_secs(5),
};
const KNOCK: Event = Event::Knock { is_held: false };

/// The outcomes of these events, each so many milliseconds after the start.
fn outcomes(events: &[(u64, Event)]) -> Vec<Outcome> {
    let begin = Instant::now();
    let mut circuit = Circuit::default();
    let step = |(after_ms, event): &(u64, Event)| {
        let now = begin + Duration::from_millis(*after_ms);
        let (next, outcome) = std::mem::take(&mut circuit).after(*event, now, &RULE);
        circuit = next;
        outcome
    };
    events.iter().map(step).collect()
}

#[test]
fn panics_within_the_window_open_it_and_after_the_pause_a_few_sessions_are_let_in() {
    let refused = |ms| Outcome::Refused(Duration::from_millis(ms));
    for (events, wanted) in [
        // Too far apart.
        (
            vec![(0, Event::Panic), (10_001, Event::Panic), (10_001, KNOCK)],
            vec![Outcome::Nothing, Outcome::Nothing, Outcome::LetIn],
        ),
        // The pause, then one session, which is given its time.
        (
            vec![
                (0, Event::Panic),
                (1, Event::Panic),
                (2, Event::Panic),
                (1001, KNOCK),
                (5001, KNOCK),
                (5002, KNOCK),
                (6001, KNOCK),
                (6002, KNOCK),
                (6003, KNOCK),
            ],
            vec![
                Outcome::Nothing,
                Outcome::Opened,
                Outcome::Nothing,
                refused(4000),
                Outcome::LetInFirst,
                refused(999),
                Outcome::LetIn,
                Outcome::LetIn,
                refused(998),
            ],
        ),
        // A failure while it is tried doubles the pause, as often as it comes.
        (
            vec![
                (0, Event::Stuck),
                (5_000, KNOCK),
                (5_100, Event::Panic),
                (15_099, KNOCK),
                (15_100, KNOCK),
                (15_200, Event::Stuck),
                (15_200, KNOCK),
            ],
            vec![
                Outcome::Opened,
                Outcome::LetInFirst,
                Outcome::Reopened,
                refused(1),
                Outcome::LetInFirst,
                Outcome::Reopened,
                refused(20_000),
            ],
        ),
        // One that still holds the workers is not tried.
        (
            vec![
                (0, Event::Stuck),
                (5_000, Event::Knock { is_held: true }),
                (9_999, KNOCK),
                (10_000, KNOCK),
            ],
            vec![
                Outcome::Opened,
                refused(5_000),
                refused(1),
                Outcome::LetInFirst,
            ],
        ),
        // Five good seconds with sessions, and it is back; soon after, its next pause is longer.
        (
            vec![
                (0, Event::Stuck),
                (5_000, KNOCK),
                (6_000, KNOCK),
                (7_000, KNOCK),
                (8_000, KNOCK),
                (9_000, KNOCK),
                (9_500, Event::Look),
                (10_000, Event::Look),
                (10_000, KNOCK),
                (11_000, Event::Panic),
                (11_000, Event::Panic),
                (11_000, KNOCK),
            ],
            vec![
                Outcome::Opened,
                Outcome::LetInFirst,
                Outcome::LetIn,
                Outcome::LetIn,
                Outcome::LetIn,
                Outcome::LetIn,
                Outcome::Nothing,
                Outcome::Closed,
                Outcome::LetIn,
                Outcome::Nothing,
                Outcome::Opened,
                refused(10_000),
            ],
        ),
    ] {
        assert_eq!(outcomes(&events), wanted, "{events:?}");
    }
}

#[test]
fn a_pause_has_an_upper_bound() {
    assert_eq!(RULE.pause_after(3), RULE.pause * 8);
    assert_eq!(RULE.pause_after(100), RULE.pause * 64);
}
