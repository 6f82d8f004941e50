use super::*;

const RULE: Rule = Rule {
    panics_max: 2,
    window: Duration::from_secs(10),
    pause: Duration::from_secs(5),
};
const NEW_SESSION: BreakerEvent = BreakerEvent::NewSession {
    is_throttled: false,
};

/// The outcomes of events, each some milliseconds after the start.
fn outcomes(events: &[(u64, BreakerEvent)]) -> Vec<BreakerOutcome> {
    let begin = Instant::now();
    let mut breaker = Breaker::default();
    let step = |(after_ms, event): &(u64, BreakerEvent)| {
        let now = begin + Duration::from_millis(*after_ms);
        let (next, outcome) = std::mem::take(&mut breaker).after(*event, now, &RULE);
        breaker = next;
        outcome
    };
    events.iter().map(step).collect()
}

#[test]
fn panics_within_the_window_open_it_and_after_the_pause_a_few_sessions_are_let_in() {
    let refused = |ms| BreakerOutcome::Refused(Duration::from_millis(ms));
    for (events, wanted) in [
        // Too far apart.
        (
            vec![
                (0, BreakerEvent::Panic),
                (10_001, BreakerEvent::Panic),
                (10_001, NEW_SESSION),
            ],
            vec![
                BreakerOutcome::Nothing,
                BreakerOutcome::Nothing,
                BreakerOutcome::LetIn,
            ],
        ),
        // The pause, then one session, which is given its time.
        (
            vec![
                (0, BreakerEvent::Panic),
                (1, BreakerEvent::Panic),
                (2, BreakerEvent::Panic),
                (1001, NEW_SESSION),
                (5001, NEW_SESSION),
                (5002, NEW_SESSION),
                (6001, NEW_SESSION),
                (6002, NEW_SESSION),
                (6003, NEW_SESSION),
            ],
            vec![
                BreakerOutcome::Nothing,
                BreakerOutcome::Opened,
                BreakerOutcome::Nothing,
                refused(4000),
                BreakerOutcome::LetInFirst,
                refused(999),
                BreakerOutcome::LetIn,
                BreakerOutcome::LetIn,
                refused(998),
            ],
        ),
        // Each failure while it is tried doubles the pause.
        (
            vec![
                (0, BreakerEvent::Stuck),
                (5_000, NEW_SESSION),
                (5_100, BreakerEvent::Panic),
                (15_099, NEW_SESSION),
                (15_100, NEW_SESSION),
                (15_200, BreakerEvent::Stuck),
                (15_200, NEW_SESSION),
            ],
            vec![
                BreakerOutcome::Opened,
                BreakerOutcome::LetInFirst,
                BreakerOutcome::Reopened,
                refused(1),
                BreakerOutcome::LetInFirst,
                BreakerOutcome::Reopened,
                refused(20_000),
            ],
        ),
        // A handler that still holds the workers is not tried.
        (
            vec![
                (0, BreakerEvent::Stuck),
                (5_000, BreakerEvent::NewSession { is_throttled: true }),
                (9_999, NEW_SESSION),
                (10_000, NEW_SESSION),
            ],
            vec![
                BreakerOutcome::Opened,
                refused(5_000),
                refused(1),
                BreakerOutcome::LetInFirst,
            ],
        ),
        // Five good seconds with sessions, and it is back; soon after, its next pause is longer.
        (
            vec![
                (0, BreakerEvent::Stuck),
                (5_000, NEW_SESSION),
                (6_000, NEW_SESSION),
                (7_000, NEW_SESSION),
                (8_000, NEW_SESSION),
                (9_000, NEW_SESSION),
                (9_500, BreakerEvent::StatusRead),
                (10_000, BreakerEvent::StatusRead),
                (10_000, NEW_SESSION),
                (11_000, BreakerEvent::Panic),
                (11_000, BreakerEvent::Panic),
                (11_000, NEW_SESSION),
            ],
            vec![
                BreakerOutcome::Opened,
                BreakerOutcome::LetInFirst,
                BreakerOutcome::LetIn,
                BreakerOutcome::LetIn,
                BreakerOutcome::LetIn,
                BreakerOutcome::LetIn,
                BreakerOutcome::Nothing,
                BreakerOutcome::Closed,
                BreakerOutcome::LetIn,
                BreakerOutcome::Nothing,
                BreakerOutcome::Opened,
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

#[test]
fn what_an_operator_takes_out_of_service_comes_back_by_the_operator_only() {
    use BreakerEvent::{NewSession, Panic, Release, StatusRead, Stuck, Withdraw};
    let now = Instant::now();
    let rule = Rule {
        panics_max: 1,
        window: Duration::from_secs(60),
        pause: Duration::from_secs(1),
    };
    let session = NewSession {
        is_throttled: false,
    };
    let after = |events: &[BreakerEvent]| {
        let mut state = (Breaker::default(), BreakerOutcome::Nothing);
        for event in events {
            state = state.0.after(*event, now, &rule);
        }
        state
    };
    let out = Breaker::Withdrawn;
    let serves = Breaker::default();
    for (events, state, outcome) in [
        (&[Withdraw][..], out.clone(), BreakerOutcome::Withdrawn),
        (&[Panic, Withdraw], out.clone(), BreakerOutcome::Withdrawn),
        (
            &[Panic, session, Withdraw],
            out.clone(),
            BreakerOutcome::Withdrawn,
        ),
        (&[Withdraw, Withdraw], out.clone(), BreakerOutcome::Nothing),
        (&[Withdraw, Panic], out.clone(), BreakerOutcome::Nothing),
        (
            &[Withdraw, Stuck, StatusRead],
            out.clone(),
            BreakerOutcome::Nothing,
        ),
        (&[Withdraw, session], out, BreakerOutcome::RefusedByOperator),
        (
            &[Withdraw, Release],
            serves.clone(),
            BreakerOutcome::Released,
        ),
        (&[Panic, Release], serves.clone(), BreakerOutcome::Released),
        (
            &[Panic, session, Release],
            serves.clone(),
            BreakerOutcome::Released,
        ),
        (&[Release], serves, BreakerOutcome::Nothing),
    ] {
        assert_eq!(after(events), (state, outcome), "{events:?}");
    }
}
