//! The streams of topics: what is told, what is kept, and when a stream is another one.

use super::*;

#[test]
fn the_sink_hears_what_follows_its_subscription_until_it_ends() {
    let it = Fixture::new(Some(UNBOUNDED));
    let lobby = topic("lobby");
    it.publish(&lobby, b"before").unwrap();

    let head = it.subscribe(&lobby).expect("a topic with history");
    it.publish(&lobby, b"live").unwrap();
    it.publish(&topic("tea"), b"elsewhere").unwrap();
    it.enter(&lobby, 7, b"ann").unwrap();
    it.engine.leave(&lobby, 7);
    it.engine.leave(&lobby, 8);
    it.engine.unsubscribe(&lobby);
    it.publish(&lobby, b"after").unwrap();

    assert_eq!(head.offset, 1);
    let changes = [
        Heard::Presence(1, ChangeKind::Joined, 7),
        Heard::Presence(2, ChangeKind::Left, 7),
    ];
    assert_eq!(it.sink.take(), [&[heard("live", 2)], &changes[..]].concat());
    let page = it.page(&lobby, HistoryFrom::After(head));
    let offsets: Vec<u64> = page.publications.iter().map(|it| it.at.offset).collect();
    assert_eq!((offsets, page.is_complete), (vec![2, 3], true));
}

#[test]
fn a_topic_without_history_is_told_of_and_nothing_of_it_is_kept() {
    let it = Fixture::new(None);
    let lobby = topic("lobby");
    it.engine
        .publish(it.publication(&lobby, b"unheard"))
        .unwrap();
    assert_eq!(it.subscribe(&lobby), None);

    it.engine.publish(it.publication(&lobby, b"live")).unwrap();

    assert_eq!(it.sink.take(), [Heard::Publication(b"live".into(), None)]);
    assert_eq!(it.publish(&lobby, b"acked"), Err(Failure::Unsupported));
    assert_eq!(it.sink.take(), []);
    assert_eq!(it.usage(), Usage::default());
    let page = it.page(&lobby, HistoryFrom::Last(9));
    assert!(!page.is_complete && page.head.is_none() && page.publications.is_empty());
}

#[test]
fn a_repeated_publication_is_told_once_and_answered_twice() {
    let it = Fixture::new(Some(UNBOUNDED));
    let lobby = topic("lobby");
    it.subscribe(&lobby);
    let publication = it.publication(&lobby, b"once");

    let first = answer(|done| it.engine.publish_acked(publication.clone(), done));
    let second = answer(|done| it.engine.publish_acked(publication.clone(), done));
    it.engine.publish(publication).unwrap();

    assert!(first.is_ok());
    assert_eq!(first, second);
    assert_eq!(it.sink.take(), [heard("once", 1)]);
}

#[test]
fn a_stream_is_forgotten_when_nothing_is_left_of_its_topic_and_a_later_one_has_another_epoch() {
    let it = Fixture::new(Some(HistoryBounds {
        age_ms: 64_000,
        ..UNBOUNDED
    }));
    let lobby = topic("lobby");
    let first = it.publish(&lobby, b"1").unwrap();

    // Each of the three is enough to keep it.
    it.enter(&lobby, 7, b"").unwrap();
    it.pass(66_000);
    it.sweep();
    assert_eq!(it.usage().publications, 0);
    it.subscribe(&lobby);
    it.engine.leave(&lobby, 7);
    let second = it.publish(&lobby, b"2").unwrap();
    it.engine.unsubscribe(&lobby);
    let third = it.publish(&lobby, b"3").unwrap();
    assert_eq!((second.epoch, second.offset), (first.epoch, 2));
    assert_eq!((third.epoch, third.offset), (first.epoch, 3));

    it.pass(66_000);
    it.sweep();
    assert_eq!(it.usage(), Usage::default());

    assert!(!it.page(&lobby, HistoryFrom::After(third)).is_complete);
    let fourth = it.publish(&lobby, b"4").unwrap();
    assert_ne!(fourth.epoch, first.epoch);
    assert_eq!(fourth.offset, 1);
    assert!(!it.page(&lobby, HistoryFrom::After(third)).is_complete);
}

#[test]
fn a_topic_that_had_no_history_for_a_while_has_another_epoch() {
    let it = Fixture::new(Some(UNBOUNDED));
    let lobby = topic("lobby");
    it.subscribe(&lobby);
    let first = it.publish(&lobby, b"1").unwrap();

    *it.history.lock().unwrap() = None;
    it.engine.apply_settings();
    assert_eq!(it.usage(), Usage::default());
    *it.history.lock().unwrap() = Some(UNBOUNDED);
    it.engine.apply_settings();

    let second = it.publish(&lobby, b"2").unwrap();
    assert_ne!(second.epoch, first.epoch);
    assert!(!it.page(&lobby, HistoryFrom::After(first)).is_complete);
}

#[test]
fn a_smaller_bound_drops_the_oldest_at_once() {
    let it = Fixture::new(Some(UNBOUNDED));
    for _ in 0..10 {
        it.publish(&topic("lobby"), b"hello").unwrap();
    }

    *it.history.lock().unwrap() = Some(HistoryBounds {
        count: 4,
        ..UNBOUNDED
    });
    it.engine.apply_settings();

    assert_eq!(it.usage().publications, 4);
}
