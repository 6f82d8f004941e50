//! What waits in a topic whose handler does not keep up is bounded, from wherever it comes.

use super::*;
use crate::engine::node::joins::Wish;
use crate::engine::node::queue::Next;
use crate::engine::node::run::tests::{at, past};
use crate::sessions::mailbox::Mailbox;
use crate::sessions::prepared_message::PreparedMessage;
use crate::ws::frame;

/// A topic whose publications go on, the last of which has this offset.
fn live(is_remote: bool, offset: u64) -> TopicState {
    let mut state = TopicState::new(is_remote);
    state.want(0);
    assert_eq!(state.calls.pop_front(), Some(Call::Subscribe(1)));
    let head = Some(at(offset));
    state.started(1, Ok(Start { head }), 0);
    state
}

fn join(id: u64, wish: Wish) -> Join {
    Join {
        number: 0,
        mailbox: std::sync::Arc::new(Mailbox::new(id, "chat".into(), 1, 1_000)),
        wish,
        last: 9,
        has_position: false,
        is_recovered: true,
        answer: Some(Box::new(|_| ())),
    }
}

/// A page of a history with messages of 250,000 bytes each.
fn page(offsets: std::ops::RangeInclusive<u64>) -> Page {
    let head = Some(at(*offsets.end()));
    let message = || PreparedMessage::new(frame::BINARY, &[0; 250_000], false);
    let publications = offsets.map(|offset| PastPublication {
        message: message(),
        ..past(offset)
    });
    Page {
        publications: publications.collect(),
        is_complete: true,
        has_more: false,
        head,
    }
}

/// Has the calls answered that read for joins, each with a megabyte. Returns how many there were.
fn answer_reads(state: &mut TopicState) -> usize {
    let mut reads = 0;
    while let Some(call) = state.calls.pop_front() {
        let Call::ReadForJoins(read, _) = call else {
            panic!("{call:?}");
        };
        state.page_for_joins(read, Ok(page(7..=10)));
        reads += 1;
    }
    reads
}

/// Gives what lies in the queue to the subscribers. Returns how many items there were.
fn serve(state: &mut TopicState) -> usize {
    let turn = state.queue.begin().expect("something to serve");
    let Next::Give(items) = state.queue.next(turn, true, usize::MAX, None) else {
        panic!("nothing is given");
    };
    let bytes = items.iter().map(Item::bytes).sum();
    state.queue.release(items.len(), bytes);
    assert!(matches!(
        state.queue.next(turn, true, usize::MAX, None),
        Next::Nothing
    ));
    items.len()
}

#[test]
fn sessions_that_join_a_topic_that_is_not_served_take_a_bounded_memory_and_join_later() {
    let mut state = live(false, 10);
    let mut reads = 0;
    for id in 1..=100 {
        state.join(join(id, Wish::Last(9)), 0);
        reads += answer_reads(&mut state);
    }
    // One that needs nothing of the history waits for none.
    state.join(join(101, Wish::Now), 0);

    assert!((5..15).contains(&reads), "{reads}");
    assert_eq!(serve(&mut state), reads + 1);
    state.tick(true, 1_000);
    assert_eq!(answer_reads(&mut state), 1, "one for all that wait");
    assert_eq!(serve(&mut state), 100 - reads);
    assert!(!state.joins.is_reading() && state.joins.is_empty());
}

#[test]
fn what_a_far_engine_has_lost_waits_for_room_and_is_told_once() {
    let mut state = live(true, 10);
    state.lost(0);
    let mut asked_at_ms = 0;
    let mut taken = 0;
    while taken < 100
        && let Some(Call::ReadMissing(question, after)) = state.calls.pop_front()
    {
        let page = Page {
            has_more: true,
            ..page(after.offset + 1..=after.offset + 4)
        };
        state.missing(question, Ok(page), asked_at_ms);
        taken += 1;
        if state.calls.is_empty() && asked_at_ms < 2_000 {
            asked_at_ms += 100;
            state.tick(true, asked_at_ms);
        }
    }

    // What is behind the loss is refused as long as nothing is served.
    assert!((5..25).contains(&taken), "{taken}");
    assert!(state.queue.is_full());
    let full = serve(&mut state);
    assert!(full < 50, "{full}");
}

#[test]
fn a_topic_without_room_tells_all_that_it_loses_as_one_gap() {
    let mut state = TopicState::new(true);
    state.want(0);
    state.calls.clear();
    state.started(1, Ok(Start { head: None }), 0);
    for _ in 0..1_000 {
        let publication = Arrived {
            message: PreparedMessage::new(frame::BINARY, &[0; 100_000], false),
            except: 0,
            source: None,
        };
        state.publication(publication, None, 0);
    }

    assert!((50..150).contains(&serve(&mut state)));
}
