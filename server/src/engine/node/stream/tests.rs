use super::Action::*;
use super::*;
use crate::engine::node::run::tests::at;

type State = Stream<u64>;
type Step = (Event<u64>, State, Vec<Action<u64>>);

fn elsewhere(offset: u64) -> StreamPosition {
    StreamPosition { epoch: 2, offset }
}

fn live(last: impl Into<Option<StreamPosition>>) -> State {
    Stream::Live { last: last.into() }
}

fn lingering(offset: u64, until_ms: u64) -> State {
    let last = Some(at(offset));
    Stream::Lingering { last, until_ms }
}

fn away(before: Before, retry_ms: u64) -> State {
    Stream::Away { before, retry_ms }
}

fn healing(offset: u64, publications: &[StreamPosition], until_ms: u64) -> State {
    Stream::Healing {
        last: at(offset),
        held: held(publications),
        until_ms,
    }
}

fn asked(before: Before, publications: &[StreamPosition]) -> State {
    let held = held(publications);
    Stream::Asked { before, held }
}

/// Publications that are known by their offsets.
fn held(publications: &[StreamPosition]) -> Held<u64> {
    let mut held = Held::default();
    for at in publications {
        held.push(at.offset, Some(*at), 1);
    }
    held
}

fn published(at: StreamPosition) -> Event<u64> {
    Event::Published {
        publication: at.offset,
        at: Some(at),
        bytes: 1,
    }
}

fn without_history(publication: u64) -> Event<u64> {
    Event::Published {
        publication,
        at: None,
        bytes: 1,
    }
}

fn started(head: impl Into<Option<StreamPosition>>) -> Event<u64> {
    let head = head.into();
    Event::Started(Ok(Start { head }))
}

fn page(offsets: impl IntoIterator<Item = u64>, has_more: bool) -> Event<u64> {
    let publications = offsets.into_iter().map(|it| (it, at(it)));
    Event::Read(Ok(Missing {
        publications: publications.collect(),
        is_complete: true,
        has_more,
        head: None,
    }))
}

fn incomplete(head: StreamPosition) -> Event<u64> {
    Event::Read(Ok(Missing {
        publications: Vec::new(),
        is_complete: false,
        has_more: false,
        head: Some(head),
    }))
}

fn deliver(offset: u64) -> Action<u64> {
    Deliver(offset, Some(at(offset)))
}

fn deliver_elsewhere(offset: u64) -> Action<u64> {
    Deliver(offset, Some(elsewhere(offset)))
}

fn tick(is_wanted: bool) -> Event<u64> {
    Event::Tick { is_wanted }
}

const NOW: u64 = 100_000;
const AWAY: Event<u64> = Event::Cut;
const UNTIL: u64 = NOW + HEAL_MS;
const NEVER: u64 = u64::MAX;

/// Follows the events from a state on, all at one time.
fn follow(first: State, steps: Vec<Step>) {
    let mut state = first;
    for (index, (event, next, actions)) in steps.into_iter().enumerate() {
        let what = format!("step {index}: {state:?} {event:?}");
        let (found, done) = state.step(event, NOW);
        assert_eq!((&found, done), (&next, actions), "{what}");
        state = found;
    }
}

#[test]
fn a_topic_is_asked_for_once_and_goes_on_from_the_answer() {
    let nothing = Before::Nothing;
    follow(
        Stream::Idle,
        vec![
            (published(at(1)), Stream::Idle, vec![]),
            (Event::Wanted, asked(nothing, &[]), vec![Ask]),
            (Event::Wanted, asked(nothing, &[]), vec![]),
            (published(at(4)), asked(nothing, &[at(4)]), vec![]),
            (published(at(5)), asked(nothing, &[at(4), at(5)]), vec![]),
            (started(at(4)), live(at(5)), vec![deliver(5)]),
            (started(at(9)), live(at(5)), vec![]),
            (published(at(6)), live(at(6)), vec![deliver(6)]),
            (published(at(6)), live(at(6)), vec![]),
            (published(at(2)), live(at(6)), vec![]),
        ],
    );
}

#[test]
fn a_topic_without_history_goes_on_with_whatever_comes() {
    let nothing = Before::Nothing;
    follow(
        asked(nothing, &[]),
        vec![
            (started(None), live(None), vec![]),
            (without_history(7), live(None), vec![Deliver(7, None)]),
            (Event::Lost, live(None), vec![TellGap]),
            // It gets a history, and loses it.
            (published(at(3)), live(at(3)), vec![deliver(3)]),
            (without_history(8), live(None), vec![Deliver(8, None)]),
            (AWAY, away(Before::UpTo(None), NEVER), vec![FailJoins]),
            (Event::Back, asked(Before::UpTo(None), &[]), vec![Ask]),
            (started(None), live(None), vec![TellGap]),
        ],
    );
}

#[test]
fn a_hole_is_filled_from_the_history_before_anything_behind_it_goes_on() {
    let three = [at(3), at(4), at(6)];
    follow(
        live(at(1)),
        vec![
            (
                published(at(3)),
                healing(1, &three[..1], UNTIL),
                vec![Read(at(1))],
            ),
            (published(at(4)), healing(1, &three[..2], UNTIL), vec![]),
            (published(at(6)), healing(1, &three, UNTIL), vec![]),
            (
                page([2], true),
                healing(2, &three, UNTIL),
                vec![deliver(2), Read(at(2))],
            ),
            // The history is behind what has come: the hole before 6 stays.
            (
                page([3], false),
                healing(4, &three[2..], UNTIL),
                vec![deliver(3), deliver(4)],
            ),
            (
                tick(true),
                healing(4, &three[2..], UNTIL),
                vec![Read(at(4))],
            ),
            (
                page([5, 6, 7], false),
                live(at(7)),
                vec![deliver(5), deliver(6), deliver(7)],
            ),
            (published(at(6)), live(at(7)), vec![]),
        ],
    );
}

#[test]
fn each_hole_that_cannot_be_filled_is_told_and_the_rest_goes_on() {
    for event in [
        incomplete(at(9)),
        // The second that it may take is over.
        Event::Tick { is_wanted: true },
    ] {
        let due = NOW - 1;
        let told = vec![TellGap, deliver(5), deliver(6), TellGap, deliver(8)];
        follow(
            healing(1, &[at(5), at(6), at(8)], due),
            vec![(event, live(at(8)), told)],
        );
    }
    // Nothing is held: it goes on behind the end of the history.
    follow(
        healing(1, &[], UNTIL),
        vec![(incomplete(at(9)), live(at(9)), vec![TellGap])],
    );
    let unanswered = Event::Read(Err(Failure::Unavailable));
    follow(
        healing(1, &[], UNTIL),
        vec![(unanswered, healing(1, &[], UNTIL), vec![])],
    );
}

#[test]
fn too_much_that_is_held_goes_on_behind_a_gap() {
    let large = Event::Published {
        publication: 6,
        at: Some(at(6)),
        bytes: 2 * 1024 * 1024,
    };
    follow(
        healing(1, &[at(5)], UNTIL),
        vec![(large, live(at(6)), vec![TellGap, deliver(5), deliver(6)])],
    );
    let large = Event::Published {
        publication: 6,
        at: None,
        bytes: 2 * 1024 * 1024,
    };
    let nothing = Before::Nothing;
    follow(
        asked(nothing, &[at(5)]),
        vec![(large, asked(nothing, &[]), vec![TellGap])],
    );
}

#[test]
fn another_stream_is_told_as_a_gap_and_goes_on() {
    follow(
        live(at(7)),
        vec![
            (
                published(elsewhere(3)),
                live(elsewhere(3)),
                vec![TellGap, deliver_elsewhere(3)],
            ),
            (Event::Head(at(9)), live(at(9)), vec![TellGap]),
        ],
    );
    follow(
        asked(Before::UpTo(Some(at(7))), &[elsewhere(2), elsewhere(3)]),
        vec![(
            started(elsewhere(2)),
            live(elsewhere(3)),
            vec![TellGap, deliver_elsewhere(3)],
        )],
    );
    follow(
        healing(7, &[at(9), elsewhere(1)], UNTIL),
        vec![(
            page([8], false),
            live(elsewhere(1)),
            vec![deliver(8), deliver(9), TellGap, deliver_elsewhere(1)],
        )],
    );
}

#[test]
fn what_was_missed_while_the_engine_was_away_is_read() {
    let before = Before::UpTo(Some(at(7)));
    follow(
        live(at(7)),
        vec![
            (AWAY, away(before, NEVER), vec![FailJoins]),
            (published(at(8)), away(before, NEVER), vec![]),
            (tick(true), away(before, NEVER), vec![]),
            (Event::Back, asked(before, &[]), vec![Ask]),
            (published(at(10)), asked(before, &[at(10)]), vec![]),
            (
                started(at(9)),
                healing(7, &[at(10)], UNTIL),
                vec![Read(at(7))],
            ),
            (AWAY, away(before, NEVER), vec![FailJoins]),
            (Event::Back, asked(before, &[]), vec![Ask]),
            (started(at(7)), live(at(7)), vec![]),
        ],
    );
    let refused = Event::Started(Err(Failure::Unavailable));
    let retry = away(before, NOW + RETRY_MS);
    follow(asked(before, &[]), vec![(refused, retry, vec![FailJoins])]);
    follow(
        away(before, NOW),
        vec![(tick(true), asked(before, &[]), vec![Ask])],
    );
}

#[test]
fn the_end_of_the_history_shows_the_loss_of_the_last_publication() {
    follow(
        live(at(7)),
        vec![
            (Event::Head(at(7)), live(at(7)), vec![]),
            (Event::Head(at(6)), live(at(7)), vec![]),
            (
                Event::Head(at(8)),
                healing(7, &[], UNTIL),
                vec![Read(at(7))],
            ),
            (page([8], false), live(at(8)), vec![deliver(8)]),
            (Event::Lost, healing(8, &[], UNTIL), vec![Read(at(8))]),
        ],
    );
}

#[test]
fn a_topic_that_no_session_wants_is_given_up_after_a_while() {
    let soon = NOW + LINGER_MS;
    follow(
        live(at(7)),
        vec![
            (tick(false), lingering(7, soon), vec![]),
            (tick(false), lingering(7, soon), vec![]),
            (Event::Wanted, live(at(7)), vec![]),
            (tick(false), lingering(7, soon), vec![]),
            (tick(true), live(at(7)), vec![]),
            (tick(false), lingering(7, soon), vec![]),
            (published(at(9)), lingering(9, soon), vec![deliver(9)]),
            (AWAY, Stream::Idle, vec![Forget]),
            (tick(false), Stream::Idle, vec![Forget]),
        ],
    );
    follow(
        lingering(7, NOW),
        vec![(tick(false), Stream::Idle, vec![Release, Forget])],
    );
    follow(
        away(Before::Nothing, NEVER),
        vec![(tick(false), Stream::Idle, vec![Forget])],
    );
}

#[test]
fn a_publication_that_follows_the_last_passes_without_an_event() {
    let mut stream = live(at(7));
    assert!(stream.passes(Some(at(8))) && stream == live(at(8)));
    for at in [at(8), at(10), elsewhere(9)] {
        assert!(!stream.passes(Some(at)), "{at:?}");
    }
    let mut stream = lingering(7, NOW);
    assert!(!stream.passes(Some(at(8))));
}
