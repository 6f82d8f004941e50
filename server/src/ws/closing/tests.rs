use super::*;
use crate::ws::closing::promises;

const STATES: [ClosingState; 9] = [
    ClosingState::Open,
    ClosingState::PeerCloses,
    ClosingState::WeClose,
    ClosingState::Skipping,
    ClosingState::Exchanged,
    ClosingState::GivenUp,
    ClosingState::HalfShut,
    ClosingState::Closed,
    ClosingState::Lost,
];

/// Each state, and what each event does in it: the Close frame, the actions in order, the next state.
/// `-` is nothing at all.
const TABLE: &str = "
Open        PeerClosed       deadline ask             -> PeerCloses
Open        RuleBroken       own tell skip deadline   -> Skipping
Open        FramingLost      own tell deadline drop   -> GivenUp
Open        Close            own deadline             -> WeClose
Open        Done             own deadline             -> WeClose
Open        Pending          own deadline             -> WeClose
Open        Abort            tell                     -> Closed
Open        ConnectionLost   tell                     -> Lost
Open        Overdue          -
Open        Flushed          -

PeerCloses  PeerClosed       -
PeerCloses  RuleBroken       -
PeerCloses  FramingLost      -
PeerCloses  Close            own tell deadline drop   -> Exchanged
PeerCloses  Done             echo tell deadline drop  -> Exchanged
PeerCloses  Pending          -
PeerCloses  Abort            tell cut                 -> Closed
PeerCloses  ConnectionLost   tell cut                 -> Closed
PeerCloses  Overdue          echo tell deadline drop  -> Exchanged
PeerCloses  Flushed          -

WeClose     PeerClosed       tell deadline drop       -> Exchanged
WeClose     RuleBroken       tell skip                -> Skipping
WeClose     FramingLost      tell deadline drop       -> GivenUp
WeClose     Close            -
WeClose     Done             -
WeClose     Pending          -
WeClose     Abort            tell cut                 -> Closed
WeClose     ConnectionLost   tell cut                 -> Closed
WeClose     Overdue          tell cut                 -> Closed
WeClose     Flushed          -

Skipping    PeerClosed       deadline drop            -> Exchanged
Skipping    RuleBroken       deadline drop            -> GivenUp
Skipping    FramingLost      deadline drop            -> GivenUp
Skipping    Close            -
Skipping    Done             -
Skipping    Pending          -
Skipping    Abort            cut                      -> Closed
Skipping    ConnectionLost   cut                      -> Closed
Skipping    Overdue          cut                      -> Closed
Skipping    Flushed          -

Exchanged   PeerClosed       -
Exchanged   RuleBroken       -
Exchanged   FramingLost      -
Exchanged   Close            -
Exchanged   Done             -
Exchanged   Pending          -
Exchanged   Abort            cut                      -> Closed
Exchanged   ConnectionLost   cut                      -> Closed
Exchanged   Overdue          cut                      -> Closed
Exchanged   Flushed          shut                     -> Closed

GivenUp     PeerClosed       -
GivenUp     RuleBroken       -
GivenUp     FramingLost      -
GivenUp     Close            -
GivenUp     Done             -
GivenUp     Pending          -
GivenUp     Abort            cut                      -> Closed
GivenUp     ConnectionLost   cut                      -> Closed
GivenUp     Overdue          cut                      -> Closed
GivenUp     Flushed          shut                     -> HalfShut

HalfShut    PeerClosed       -
HalfShut    RuleBroken       -
HalfShut    FramingLost      -
HalfShut    Close            -
HalfShut    Done             -
HalfShut    Pending          -
HalfShut    Abort                                     -> Closed
HalfShut    ConnectionLost                            -> Closed
HalfShut    Overdue                                   -> Closed
HalfShut    Flushed          -

Closed      *                -
Lost        *                -
";

/// What `event` does in `state`, in the words of the table.
fn said(state: ClosingState, event: ClosingEvent) -> String {
    let mut closing = ClosingHandshake {
        state,
        due: Actions::default(),
    };
    let transition = closing.advance(event);
    let mut words = Vec::new();
    words.extend(transition.frame.map(|frame| match frame {
        CloseFrame::Own => "own",
        CloseFrame::Echo => "echo",
    }));
    while let Some(action) = closing.next_action() {
        words.push(match action {
            ClosingAction::TellHandler => "tell",
            ClosingAction::SkipMessages => "skip",
            ClosingAction::StartDeadline => "deadline",
            ClosingAction::DropInput => "drop",
            ClosingAction::ShutDown => "shut",
            ClosingAction::AskHandler => "ask",
        });
    }
    if transition.cuts_short {
        words.push("cut");
    }
    let next = format!("-> {:?}", closing.state());
    match (words.is_empty(), closing.state() == state) {
        (true, true) => "-".into(),
        _ => format!("{} {next}", words.join(" ")).trim().to_owned(),
    }
}

#[test]
fn every_pair_of_state_and_event_does_what_the_table_says() {
    let mut pairs = 0;
    for state in STATES {
        for event in promises::EVENTS {
            let names = [format!("{state:?}"), format!("{event:?}")];
            let rows: Vec<_> = TABLE
                .lines()
                .map(|row| row.split_whitespace().collect::<Vec<_>>())
                .filter(|row| matches!(row[..], [of, on, ..] if of == names[0] && [&names[1], "*"].contains(&on)))
                .collect();
            let [row] = &rows[..] else {
                panic!("{names:?} is there {} times", rows.len());
            };
            assert_eq!(said(state, event), row[2..].join(" "), "{names:?}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, 90);
}

#[test]
fn what_a_state_allows_follows_from_the_frames_that_were_sent_and_received() {
    let names = |allows: fn(ClosingState) -> bool| {
        let states = STATES.into_iter().filter(|state| allows(*state));
        states
            .map(|state| format!("{state:?}"))
            .collect::<Vec<_>>()
            .join(" ")
    };

    assert_eq!(names(ClosingState::is_open), "Open");
    assert_eq!(names(ClosingState::may_send), "Open PeerCloses");
    assert_eq!(names(ClosingState::is_parsing), "Open WeClose Skipping");
    assert_eq!(names(ClosingState::is_flushing), "Exchanged GivenUp");
    assert_eq!(names(ClosingState::is_over), "Closed Lost");
    let begun = "PeerCloses WeClose Skipping Exchanged GivenUp HalfShut Closed";
    assert_eq!(names(ClosingState::has_begun), begun);
}

#[test]
fn an_action_stays_due_until_it_is_taken_however_many_events_follow() {
    let mut closing = ClosingHandshake::new();

    // All in one callback: the handler closes, and then drops the connection.
    closing.advance(ClosingEvent::Close);
    closing.advance(ClosingEvent::Abort);

    assert_eq!(closing.next_action(), Some(ClosingAction::TellHandler));
    assert_eq!(closing.next_action(), Some(ClosingAction::StartDeadline));
    assert_eq!(closing.next_action(), None);
    assert!(!closing.has_actions());
}

#[test]
fn every_order_of_up_to_four_events_keeps_the_promises() {
    // Each event, and whether what is due is done before the next one.
    let choices = 2 * promises::EVENTS.len();
    for length in 0..=4 {
        for number in 0..choices.pow(length) {
            let digits = (0..length).map(|place| number / choices.pow(place) % choices);
            let script: Vec<u8> = digits
                .map(|digit| (digit / 2) as u8 | ((digit % 2) as u8) << 7)
                .collect();
            promises::check(&script);
        }
    }
}

#[test]
fn longer_orders_of_events_keep_the_promises() {
    // Xorshift (Marsaglia, 2003), from a fixed seed: a failure is there again in the next run.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as u8
    };
    let mut ends = [0; 2];
    for _ in 0..20_000 {
        let length = byte() % 16;
        let script: Vec<u8> = (0..length).map(|_| byte()).collect();
        match promises::check(&script) {
            ClosingState::Lost => ends[0] += 1,
            _ => ends[1] += 1,
        }
    }
    // Sessions without and with a closing handshake were among them.
    assert!(ends.iter().all(|count| *count > 1_000), "{ends:?}");
}
