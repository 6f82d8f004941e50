//! What may be held, and what is counted of it.

use super::*;
use crate::sessions::topics::{SERVER, Topic};

#[test]
fn a_member_that_is_refused_hears_the_limit_and_changes_nothing() {
    let limits = TopicLimits {
        presence_bytes_max: 1_500,
        ..LIMITS
    };
    let it = Fixture::with(None, limits);
    let lobby = topic("lobby");
    it.subscribe(&lobby);

    let too_big = |limit| Err(Failure::TooBig { limit });
    let refused = it.enter(&lobby, 1, &[0; 101]);
    assert_eq!(refused, too_big("presence_value_bytes_max"));
    let entered = (1..100).take_while(|&id| it.enter(&lobby, id, &[0; 50]).is_ok());
    let entered = entered.count() as u64;
    assert!((5..15).contains(&entered), "{entered}");
    let refused = it.enter(&lobby, 100, &[0; 50]);
    assert_eq!(refused, too_big("presence_bytes_max"));
    let refused = it.enter(&topic("tea"), 100, &[0; 50]);
    assert_eq!(refused, too_big("presence_bytes_max"));
    // A larger value of a member is refused like a new member.
    let grown = (1..=entered).take_while(|&id| it.enter(&lobby, id, &[0; 100]).is_ok());
    let grown = grown.count() as u64;
    assert!(grown < entered);

    let changes = entered + grown;
    assert_eq!(it.present(&lobby).version, changes);
    assert_eq!(it.sink.take().len() as u64, changes);
    assert_eq!((it.usage().topics, it.usage().members as u64), (1, entered));
    assert_eq!(it.enter(&lobby, 1, &[0; 40]), Ok(changes + 1));
    assert!(it.usage().presence_bytes <= 1_500);
}

#[test]
fn what_is_held_is_counted_for_each_handler_and_comes_to_nothing() {
    let it = Fixture::new(Some(HistoryBounds {
        count: 3,
        ..UNBOUNDED
    }));
    let news = TopicName::new(Topic::new("chat", "/news"));
    for _ in 0..5 {
        it.publish(&topic("lobby"), b"hello").unwrap();
        it.publish(&news, b"hello").unwrap();
    }
    it.enter(&topic("tea"), 7, b"ann").unwrap();
    put(&it, "key", Condition::Always).unwrap();

    let usage = it.usage();
    assert_eq!((usage.topics, usage.publications, usage.members), (2, 3, 1));
    assert!(usage.history_bytes > 3 * 5 && usage.presence_bytes > 3);
    assert_eq!((usage.keys, usage.store_bytes > 3), (1, true));
    let of_server = it.engine.usage(SERVER);
    assert_eq!((of_server.topics, of_server.publications), (1, 3));
    assert_eq!(it.engine.usage("other"), Usage::default());
    let total = it.engine.total_usage();
    assert_eq!((total.topics, total.publications, total.keys), (3, 6, 1));
    let history_bytes = usage.history_bytes + of_server.history_bytes;
    assert_eq!(
        (total.history_bytes, total.store_bytes),
        (history_bytes, usage.store_bytes)
    );

    *it.history.lock().unwrap() = None;
    it.engine.apply_settings();
    it.engine.leave(&topic("tea"), 7);
    let key = "key".into();
    let only_if = Condition::Always;
    let delete = StoreRequest::Delete { key, only_if };
    answer(|done| it.engine.store(&"chat".into(), delete, done)).unwrap();
    assert_eq!(it.usage(), Usage::default());
    assert_eq!(it.engine.total_usage(), Usage::default());
}

#[test]
fn a_topic_with_many_messages_pays_for_them_and_quiet_ones_keep_theirs() {
    let it = Fixture::new(Some(UNBOUNDED));
    for quiet in 0..500 {
        it.publish(&topic(&format!("quiet {quiet}")), &[0; 100])
            .unwrap();
    }
    let (first, second) = (topic("first"), topic("second"));

    for _ in 0..10_000 {
        it.publish(&first, &[1; 100]).unwrap();
        it.publish(&second, &[2; 300]).unwrap();
        let bytes = it.usage().history_bytes;
        assert!(bytes <= LIMITS.history_bytes_max, "{bytes}");
    }

    assert!(it.usage().history_bytes > LIMITS.history_bytes_max * 99 / 100);
    for quiet in 0..500 {
        let page = it.page(&topic(&format!("quiet {quiet}")), HistoryFrom::Last(9));
        assert_eq!(page.publications.len(), 1);
    }
    let bytes = [&first, &second].map(|it_is| {
        let page = it.page(it_is, HistoryFrom::Last(u64::MAX));
        let payloads = page.publications.iter();
        payloads.map(|it| it.message.payload().len()).sum::<usize>()
    });
    let [first, second] = bytes;
    assert!(first > 50_000 && second > 50_000, "{bytes:?}");
    assert!(first < 2 * second && second < 4 * first, "{bytes:?}");
}

#[test]
fn a_thread_frees_what_was_too_much_when_it_began_whatever_others_publish_meanwhile() {
    let it = Fixture::new(Some(UNBOUNDED));
    let lobby = topic("lobby");
    for _ in 0..10 {
        it.publish(&lobby, &[0; 1_000]).unwrap();
    }

    let shed = it.engine.topics.free(0, 1).expect("something is freed");

    assert_eq!((shed.publications, it.usage().publications), (1, 9));
    assert!(it.engine.topics.free(usize::MAX, usize::MAX).is_none());
    assert!(it.engine.topics.free(0, usize::MAX).is_some());
    assert_eq!(it.usage().publications, 0);
}

#[test]
fn among_equal_topics_the_latest_keep_their_messages() {
    let it = Fixture::new(Some(UNBOUNDED));
    let name = |number| topic(&format!("{number:05}"));
    for number in 0..10_000 {
        it.pass(1);
        it.publish(&name(number), &[0; 100]).unwrap();
    }

    let left = it.usage().publications;
    assert!((1_500..4_000).contains(&left), "{left}");
    let is_kept = |number| {
        !it.page(&name(number), HistoryFrom::Last(1))
            .publications
            .is_empty()
    };
    // Each of 64 parts drops its oldest, and not all parts at a time.
    let latest = (10_000 - left / 2..10_000).filter(|&number| is_kept(number));
    assert!(latest.count() > left / 2 * 9 / 10);
    assert_eq!(it.usage().topics, left);
}

#[test]
fn a_limit_of_nothing_keeps_nothing() {
    let it = Fixture::with(
        Some(UNBOUNDED),
        TopicLimits {
            history_bytes_max: 0,
            ..LIMITS
        },
    );
    it.subscribe(&topic("lobby"));

    for name in ["lobby", "tea"] {
        let publication = it.publication(&topic(name), b"hello");
        it.engine.publish(publication).unwrap();
    }

    assert_eq!(it.usage(), Usage::default());
    assert_eq!(it.sink.take(), [heard("hello", 1)]);
}

#[test]
fn a_message_that_no_history_could_keep_is_refused_and_drops_nothing() {
    let limits = TopicLimits {
        history_bytes_max: 2_000,
        ..LIMITS
    };
    for (bytes, limit) in [(1_000, "bytes"), (usize::MAX, "history_bytes_max")] {
        let bounds = HistoryBounds { bytes, ..UNBOUNDED };
        let it = Fixture::with(Some(bounds), limits);
        let lobby = topic("lobby");
        it.subscribe(&lobby);
        let publish = |payload: &[u8]| it.engine.publish(it.publication(&lobby, payload));
        assert_eq!(publish(b"kept"), Ok(()));
        assert_eq!(publish(&[0; 2_000]), Err(Failure::TooBig { limit }));
        assert_eq!(publish(b"too"), Ok(()));
        assert_eq!(it.usage().publications, 2);
        assert_eq!(it.sink.take(), [heard("kept", 1), heard("too", 2)]);
    }
}

#[test]
fn a_message_that_no_history_could_keep_is_not_acknowledged_and_drops_nothing() {
    let limits = TopicLimits {
        history_bytes_max: 2_000,
        ..LIMITS
    };
    for (bytes, limit) in [(1_000, "bytes"), (usize::MAX, "history_bytes_max")] {
        let bounds = HistoryBounds { bytes, ..UNBOUNDED };
        let it = Fixture::with(Some(bounds), limits);
        let lobby = topic("lobby");
        it.subscribe(&lobby);
        let publish = |payload: &[u8]| {
            let publication = it.publication(&lobby, payload);
            answer(|done| it.engine.publish_acked(publication, done)).map(|at| at.offset)
        };
        assert_eq!(publish(b"kept"), Ok(1));
        assert_eq!(publish(&[0; 2_000]), Err(Failure::TooBig { limit }));
        assert_eq!(publish(b"too"), Ok(2));
        assert_eq!(it.usage().publications, 2);
        assert_eq!(it.sink.take().len(), 2);
    }
}

#[test]
fn what_histories_drop_to_stay_within_their_limit_is_told_with_the_topic_that_drops_most() {
    let it = Fixture::new(Some(UNBOUNDED));
    let (large, small) = (topic("large"), topic("small"));
    it.publish(&small, &[0; 100]).unwrap();
    for _ in 0..10 {
        it.publish(&large, &[0; 60_000]).unwrap();
    }
    let before = it.usage();
    assert_eq!(it.engine.topics.shed(before.history_bytes), None);

    let shed = it.engine.topics.shed(300_000).expect("some are dropped");

    let after = it.usage();
    assert_eq!(shed.publications, before.publications - after.publications);
    assert_eq!(shed.bytes, before.history_bytes - after.history_bytes);
    assert_eq!(shed.most, (large, shed.bytes));
    assert_eq!(it.page(&small, HistoryFrom::Last(9)).publications.len(), 1);
}
