use std::sync::Arc;

use super::*;
use crate::engine::node::run::tests::{at, offsets, past, run};
use crate::sessions::prepared_message::PreparedMessage;

/// Joins of one session each, numbered from 1.
fn joins(wishes: &[(Wish, u64)]) -> Joins {
    let mut joins = Joins::default();
    for (number, (wish, last)) in (1..).zip(wishes) {
        joins.push(join(number, *wish, *last));
    }
    joins
}

fn join(number: u64, wish: Wish, last: u64) -> Join {
    Join {
        number,
        mailbox: Arc::new(Mailbox::new(number, "chat".into(), 1, 1_000)),
        wish,
        last,
        has_position: matches!(wish, Wish::After(_) | Wish::Reached(_)),
        is_recovered: true,
        answer: Some(Box::new(|_| ())),
    }
}

/// A page of a history that goes up to `head`.
fn page(offsets: impl IntoIterator<Item = u64>, head: u64) -> Result<Page, Failure> {
    let publications: Vec<_> = offsets.into_iter().map(past).collect();
    Ok(Page {
        is_complete: true,
        has_more: publications.last().is_some_and(|it| it.at.offset < head),
        publications,
        head: Some(at(head)),
    })
}

/// A page of publications of so many bytes each.
fn large_page(
    offsets: impl IntoIterator<Item = u64>,
    head: u64,
    bytes: usize,
) -> Result<Page, Failure> {
    let mut page = page(offsets, head)?;
    let message = PreparedMessage::new(crate::ws::frame::BINARY, &vec![0; bytes], false);
    for past in &mut page.publications {
        past.message = message.clone();
    }
    Ok(page)
}

/// The read of so many publications up to this one.
fn up_to(offset: u64, count: u64) -> HistoryFrom {
    HistoryFrom::UpTo {
        last: at(offset),
        count,
        bytes: MISSED_BYTES_MAX,
    }
}

fn incomplete() -> Result<Page, Failure> {
    Ok(Page::default())
}

/// Of each session that joins: its number, whether everything was recovered, and the offsets that it has missed.
fn told(ready: Vec<Ready>) -> Vec<(u64, bool, Vec<u64>)> {
    let told = ready.into_iter().map(|ready| {
        let join = ready.join;
        (join.number, join.is_recovered, offsets(&ready.missed))
    });
    told.collect()
}

fn ready(outcome: PageOutcome) -> Vec<(u64, bool, Vec<u64>)> {
    match outcome {
        PageOutcome::Ready(ready) => told(ready),
        PageOutcome::More(from) => panic!("{from:?} is read"),
        PageOutcome::Failed(_, failure) => panic!("{failure:?}"),
    }
}

fn last(offset: u64) -> Option<StreamPosition> {
    Some(at(offset))
}

#[test]
fn what_the_window_has_needs_no_read() {
    let elsewhere = StreamPosition {
        epoch: 2,
        offset: 8,
    };
    let mut joins = joins(&[
        (Wish::Now, 0),
        (Wish::After(at(9)), 0),
        (Wish::After(at(6)), 0),
        (Wish::Last(3), 3),
        (Wish::After(elsewhere), 2),
        (Wish::After(elsewhere), 0),
    ]);

    let ready = told(joins.settle(last(9), &run(5..=9)));

    assert_eq!(
        ready,
        [
            (1, true, vec![]),
            (2, true, vec![]),
            (3, true, vec![7, 8, 9]),
            (4, true, vec![7, 8, 9]),
            (5, false, vec![8, 9]),
            (6, false, vec![]),
        ]
    );
    assert_eq!(joins.next_read(at(9)), None);
}

#[test]
fn one_read_from_the_oldest_position_serves_all() {
    let mut joins = joins(&[(Wish::After(at(4)), 0), (Wish::After(at(2)), 0)]);
    assert!(joins.settle(last(9), &run(7..=9)).is_empty());

    let from = joins.next_read(at(9));
    assert_eq!(from, Some((1, up_to(9, 7))));
    assert_eq!(joins.next_read(at(9)), None, "one is under way");

    // 10 has come meanwhile, and 11 is in the history only.
    let outcome = joins.page(1, page(3..=6, 11), last(9), &run(9..=10));
    assert!(matches!(outcome, PageOutcome::More(HistoryFrom::After(it)) if it == at(6)));
    let outcome = joins.page(1, page(7..=11, 11), last(10), &run(9..=10));

    assert_eq!(
        ready(outcome),
        [(1, true, (5..=10).collect()), (2, true, (3..=10).collect())]
    );
}

#[test]
fn what_comes_while_the_history_is_read_is_part_of_what_was_missed() {
    for (window, is_there) in [(run(7..=9), true), (Run::default(), false)] {
        let mut joins = joins(&[(Wish::After(at(2)), 0)]);
        joins.settle(last(6), &Run::default());
        joins.next_read(at(6)).unwrap();

        let outcome = joins.page(1, page(3..=6, 9), last(9), &window);

        match (outcome, is_there) {
            (PageOutcome::Ready(joined), true) => {
                assert_eq!(told(joined), [(1, true, (3..=9).collect())]);
            }
            (PageOutcome::More(from), false) => assert_eq!(from, HistoryFrom::After(at(6))),
            _ => panic!("{is_there}"),
        }
    }
}

#[test]
fn what_has_gone_on_meanwhile_beyond_what_a_session_can_get_needs_no_other_read() {
    let mut joins = joins(&[(Wish::After(at(2)), 2), (Wish::Last(3), 3)]);
    joins.settle(last(6), &Run::default());
    joins.next_read(at(6)).unwrap();

    let outcome = joins.page(1, page(3..=6, 20), last(20), &run(9..=20));

    assert_eq!(
        ready(outcome),
        [(1, false, vec![19, 20]), (2, true, vec![18, 19, 20])]
    );
}

#[test]
fn where_not_all_is_there_the_last_messages_come_and_it_is_said() {
    let mut joins = joins(&[
        (Wish::After(at(2)), 2),
        (Wish::After(at(5)), 0),
        (Wish::After(at(3)), 0),
    ]);
    joins.settle(last(9), &Run::default());

    assert_eq!(joins.next_read(at(9)), Some((1, up_to(9, 7))));
    let outcome = joins.page(1, page(5..=9, 9), last(9), &Run::default());

    assert_eq!(
        ready(outcome),
        [
            (1, false, vec![8, 9]),
            (2, true, vec![6, 7, 8, 9]),
            (3, false, vec![]),
        ]
    );
}

#[test]
fn a_session_that_is_ahead_of_this_server_waits_until_it_is_reached() {
    let mut joins = joins(&[(Wish::After(at(8)), 0), (Wish::After(at(20)), 0)]);
    joins.settle(last(6), &run(5..=6));

    assert_eq!(joins.next_read(at(6)), Some((1, up_to(6, 0))));
    let outcome = joins.page(1, page([7], 9), last(6), &run(5..=6));

    assert_eq!(ready(outcome), [(2, false, vec![])], "the topic has no 20");
    assert_eq!(joins.reached(), last(8));
    assert!(joins.settle(last(7), &run(5..=7)).is_empty());
    assert_eq!(joins.next_read(at(7)), None);
    assert_eq!(
        told(joins.settle(last(8), &run(5..=8))),
        [(1, true, vec![])]
    );
}

#[test]
fn the_last_messages_are_read_once_and_fewer_come_if_no_more_are_there() {
    let mut joins = joins(&[(Wish::Last(3), 3), (Wish::Last(50), 50)]);
    joins.settle(last(9), &Run::default());

    assert_eq!(joins.next_read(at(9)), Some((1, up_to(9, 50))));
    let outcome = joins.page(1, page(6..=10, 10), last(9), &Run::default());

    assert_eq!(
        ready(outcome),
        [(1, true, vec![7, 8, 9]), (2, true, vec![6, 7, 8, 9])]
    );
}

#[test]
fn a_server_that_is_far_behind_the_history_finds_the_last_messages_it_has_told() {
    let mut joins = joins(&[(Wish::Last(3), 3), (Wish::After(at(5)), 0)]);
    joins.settle(last(9), &Run::default());

    assert_eq!(joins.next_read(at(9)), Some((1, up_to(9, 4))));
    // What has not gone on yet takes more than a session can get.
    let mut read = page(6..=9, 1_000).unwrap();
    let newer = large_page(10..=15, 1_000, MISSED_BYTES_MAX / 3).unwrap();
    read.publications.extend(newer.publications);
    let outcome = joins.page(1, Ok(read), last(9), &Run::default());

    let told = [(1, true, vec![7, 8, 9]), (2, true, vec![6, 7, 8, 9])];
    assert_eq!(ready(outcome), told);
}

#[test]
fn a_read_is_over_after_what_a_session_can_get_however_much_is_published_meanwhile() {
    let mut joins = joins(&[(Wish::Last(u64::MAX), u64::MAX), (Wish::After(at(1)), 1)]);
    let mut head = 1_000_000;
    joins.settle(last(head), &Run::default());
    let Some((1, HistoryFrom::UpTo { count, .. })) = joins.next_read(at(head)) else {
        panic!("nothing is read");
    };
    assert!(count as usize * size_of::<PastPublication>() <= MISSED_BYTES_MAX);

    // Each page has one message, and two have gone on meanwhile: the window has the last ones.
    let (first, mut reads) = (head - 3, 0);
    let told = loop {
        reads += 1;
        head += 2;
        let page = large_page([first + reads], head, MISSED_BYTES_MAX / 4);
        let window = run(1_000_001.max(head - 5)..=head);
        match joins.page(1, page, last(head), &window) {
            PageOutcome::Ready(ready) => break told(ready),
            PageOutcome::More(from) => assert_eq!(from, HistoryFrom::After(at(first + reads))),
            PageOutcome::Failed(_, failure) => panic!("{failure:?}"),
        }
    };

    assert_eq!(reads, 3);
    let newest: Vec<_> = (head - 8..=head).collect();
    assert_eq!(told, [(1, true, newest), (2, false, vec![head])]);
}

#[test]
fn a_history_that_drops_what_is_read_next_is_read_anew_a_few_times() {
    let mut joins = joins(&[(Wish::Last(4), 4), (Wish::After(at(12)), 2)]);
    joins.settle(last(16), &Run::default());
    joins.next_read(at(16)).unwrap();

    let outcome = joins.page(1, page(13..=14, 16), last(16), &Run::default());
    assert!(matches!(outcome, PageOutcome::More(HistoryFrom::After(it)) if it == at(14)));
    let outcome = joins.page(1, incomplete(), last(20), &Run::default());
    assert!(matches!(outcome, PageOutcome::More(from) if from == up_to(20, 4)));
    let outcome = joins.page(1, page(19..=20, 22), last(20), &Run::default());
    assert_eq!(
        ready(outcome),
        [(1, true, vec![19, 20]), (2, false, vec![19, 20])]
    );

    joins.push(join(3, Wish::Last(4), 4));
    let mut head = 30;
    joins.next_read(at(head)).unwrap();
    let mut reads = 1;
    let told = loop {
        head += 10;
        match joins.page(2, incomplete(), last(head), &Run::default()) {
            PageOutcome::More(from) => assert_eq!(from, up_to(head, 4)),
            outcome => break ready(outcome),
        }
        reads += 1;
    };
    assert_eq!(
        (reads, told),
        (u64::from(TRIES_MAX), vec![(3, true, vec![])])
    );
    assert_eq!(joins.next_read(at(head)), None);
}

#[test]
fn a_history_that_is_too_long_for_a_session_recovers_nothing() {
    let mut joins = joins(&[(Wish::After(at(1)), 2), (Wish::After(at(8)), 0)]);
    joins.settle(last(9), &Run::default());
    joins.next_read(at(9)).unwrap();

    let read = large_page(2..=9, 9, MISSED_BYTES_MAX / 3);
    let outcome = joins.page(1, read, last(9), &Run::default());

    assert_eq!(ready(outcome), [(1, false, vec![8, 9]), (2, true, vec![9])]);
}

#[test]
fn a_message_that_is_too_long_for_a_session_leaves_it_those_that_went_on_meanwhile() {
    let mut joins = joins(&[(Wish::Last(3), 3)]);
    joins.settle(last(9), &Run::default());
    joins.next_read(at(9)).unwrap();

    let outcome = joins.page(1, page([10], 11), last(10), &run([10]));

    assert_eq!(ready(outcome), [(1, true, vec![10])]);
}

#[test]
fn without_an_answer_the_joins_of_the_read_fail_and_no_other() {
    let mut joins = joins(&[(Wish::After(at(1)), 0)]);
    joins.settle(last(9), &Run::default());
    joins.next_read(at(9)).unwrap();
    joins.push(join(2, Wish::After(at(5)), 0));

    let failure = Err(Failure::Unavailable);
    let outcome = joins.page(1, failure, last(9), &Run::default());

    let PageOutcome::Failed(failed, Failure::Unavailable) = outcome else {
        panic!("it did not fail");
    };
    assert_eq!(failed.iter().map(|it| it.number).collect::<Vec<_>>(), [1]);
    assert_eq!(joins.next_read(at(9)), Some((2, up_to(9, 4))));
    let late = joins.page(1, page(2..=9, 9), last(9), &Run::default());
    assert_eq!(ready(late), [], "it was read for the join that failed");
}

#[test]
fn on_a_topic_without_history_a_position_recovers_nothing() {
    let mut joins = joins(&[(Wish::After(at(1)), 5), (Wish::Last(5), 5), (Wish::Now, 0)]);

    let ready = told(joins.settle(None, &Run::default()));

    assert_eq!(
        ready,
        [(1, false, vec![]), (2, true, vec![]), (3, true, vec![])]
    );
}

#[test]
fn another_stream_recovers_nothing_also_for_a_session_that_waits_to_be_reached() {
    let mut joins = joins(&[(Wish::Reached(at(8)), 0), (Wish::After(at(3)), 0)]);
    let elsewhere = StreamPosition {
        epoch: 2,
        offset: 9,
    };

    let ready = told(joins.settle(Some(elsewhere), &run(1..=9)));

    assert_eq!(ready, [(1, false, vec![]), (2, false, vec![])]);
}
