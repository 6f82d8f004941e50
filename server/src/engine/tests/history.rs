//! What a session gets of what it has missed: claims 13 to 22.

use super::cluster::{Cluster, KINDS, Kind, NOW, after, answer, last};
use crate::engine::node::{HistoryPage, JoinFrom};
use crate::engine::position::{Position, Positions};
use crate::engine::{Failure, PageLimit, StreamPosition, TopicName};
use crate::sessions::topics::Topic;

/// Publishes texts, and answers the position of each.
pub(super) fn publish(
    cluster: &Cluster,
    topic: &str,
    numbers: std::ops::RangeInclusive<u32>,
) -> Vec<Position> {
    let answers = numbers.map(|number| {
        let server = number as usize % cluster.len();
        let answer = cluster.publish_acked(server, topic, &number.to_string());
        cluster.settle();
        answer.take().unwrap()
    });
    answers.collect()
}

fn texts(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

fn history(cluster: &Cluster, topic: &str, position: Option<&[u8]>, items: usize) -> HistoryPage {
    page(cluster, topic, position, items as u64, items)
}

fn page(
    cluster: &Cluster,
    topic: &str,
    position: Option<&[u8]>,
    last: u64,
    items: usize,
) -> HistoryPage {
    let (answer, done) = answer();
    let limit = PageLimit {
        items,
        bytes: 1 << 20,
    };
    let node = &cluster.servers[cluster.len() - 1].node;
    node.history(Topic::new("chat", topic), position, last, limit, done);
    cluster.settle();
    answer.take().unwrap()
}

fn texts_of(page: &HistoryPage) -> Vec<String> {
    let messages = page.publications.iter();
    let texts = messages.map(|(_, it)| String::from_utf8_lossy(it.payload()).into_owned());
    texts.collect()
}

/// What a session on the last server gets that joins from there: whether all is recovered, and the texts.
fn join(cluster: &Cluster, topic: &str, from: JoinFrom<'_>) -> (bool, Vec<String>) {
    let mut session = cluster.session(cluster.len() - 1);
    session.join(topic, from);
    cluster.settle();
    let (joined, texts) = session.joined();
    assert_eq!(joined.missed, texts.len());
    (joined.is_recovered, texts)
}

#[test]
fn claim_13_a_session_joins_from_now_from_the_last_ones_or_from_a_position() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let positions = publish(&cluster, "kept", 1..=20);

        for (from, is_recovered, expected) in [
            (NOW, true, vec![]),
            (last(3), true, texts(18..=20)),
            (last(500), true, texts(1..=20)),
            (after(&positions[14]), true, texts(16..=20)),
            (after(&positions[19]), true, vec![]),
        ] {
            let joined = join(&cluster, "kept", from);
            assert_eq!(joined, (is_recovered, expected), "{kind:?} {from:?}");
        }
    }
}

#[test]
fn claim_13_a_history_is_read_in_pages() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let positions = publish(&cluster, "kept", 1..=20);

        let page = history(&cluster, "kept", None, 5);
        assert_eq!(texts_of(&page), texts(16..=20), "{kind:?}");
        assert!(page.is_complete && !page.has_more);
        assert_eq!(page.head, Some(positions[19]));
        let first = self::page(&cluster, "kept", None, 9, 5);
        assert_eq!(texts_of(&first), texts(12..=16), "{kind:?}");
        assert!(first.is_complete && first.has_more);

        let mut found = Vec::new();
        let mut position = positions[1];
        loop {
            let page = history(&cluster, "kept", Some(position.as_bytes()), 7);
            assert!(page.is_complete && page.publications.len() <= 7);
            found.extend(texts_of(&page));
            position = page.publications.last().unwrap().0;
            if !page.has_more {
                break;
            }
        }
        assert_eq!(found, texts(3..=20), "{kind:?}");

        let (answer, done) = answer::<HistoryPage>();
        let topic = Topic::new("chat", "plain");
        let limit = PageLimit { items: 1, bytes: 1 };
        cluster.servers[0]
            .node
            .history(topic, None, u64::MAX, limit, done);
        assert_eq!(answer.take().unwrap_err(), Failure::Unsupported);
    }
}

/// The position that stands before a text.
pub(super) fn position_in(text: &str) -> Vec<u8> {
    let (position, _) = text.split_once(' ').expect("a position");
    let decoded = data_encoding::HEXLOWER.decode(position.as_bytes());
    decoded.expect("the server has written it")
}

#[test]
fn claim_15_and_16_past_the_bounds_nothing_is_recovered_and_nothing_comes() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let positions = publish(&cluster, "short", 1..=10);

        for (index, position) in positions.iter().enumerate() {
            let expected = match index >= 6 {
                true => (true, texts(index as u32 + 2..=10)),
                false => (false, Vec::new()),
            };
            let joined = join(&cluster, "short", after(position));
            assert_eq!(joined, expected, "{kind:?} {index}");
        }
        // The last ones come in its place, if that is wished.
        let from = JoinFrom {
            last: 2,
            ..after(&positions[0])
        };
        assert_eq!(join(&cluster, "short", from), (false, texts(9..=10)));
        let page = history(&cluster, "short", Some(positions[0].as_bytes()), 10);
        assert!(!page.is_complete && page.publications.is_empty());
    }
}

#[test]
fn claim_15_joins_of_many_positions_get_all_or_a_word_that_it_is_not_all() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let positions = publish(&cluster, "short", 1..=10);
        let mut sessions: Vec<_> = positions.iter().map(|_| cluster.session(0)).collect();

        for (session, position) in sessions.iter_mut().zip(&positions) {
            session.join("short", after(position));
        }
        cluster.settle();

        for (index, session) in sessions.iter().enumerate() {
            let (joined, found) = session.joined();
            let expected = match index >= 6 {
                true => (true, texts(index as u32 + 2..=10)),
                false => (false, Vec::new()),
            };
            assert_eq!((joined.is_recovered, found), expected, "{kind:?} {index}");
        }
    }
}

#[test]
fn claim_17_after_a_restart_that_lost_data_nothing_is_recovered() {
    let cluster = Cluster::new(Kind::Bus(5));
    let positions = publish(&cluster, "kept", 1..=5);
    cluster.bus().lose_everything();
    cluster.bus().stop_broker(1_000);
    cluster.advance(5_000);

    assert_eq!(
        join(&cluster, "kept", after(&positions[4])),
        (false, vec![])
    );
    // There are as many again, so the offset of the position is there.
    publish(&cluster, "kept", 11..=18);
    assert_eq!(
        join(&cluster, "kept", after(&positions[4])),
        (false, vec![])
    );
    assert_eq!(join(&cluster, "kept", last(3)), (true, texts(16..=18)));
}

#[test]
fn claim_18_after_a_failover_that_lost_acknowledged_publications_nothing_is_recovered() {
    let cluster = Cluster::new(Kind::Bus(5));
    publish(&cluster, "kept", 1..=2);
    cluster.bus().take_replica();
    let positions = publish(&cluster, "kept", 3..=4);
    cluster.bus().fail_over();
    cluster.bus().stop_broker(500);
    cluster.advance(5_000);
    publish(&cluster, "kept", 13..=15);

    // It would get 15, and never the new 3 and 4.
    assert_eq!(
        join(&cluster, "kept", after(&positions[1])),
        (false, vec![])
    );
}

#[test]
fn claim_19_a_position_that_is_not_of_this_topic_recovers_nothing() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let position = publish(&cluster, "kept", 1..=5)[1];
        publish(&cluster, "kept other", 1..=5);
        let topic = TopicName::new(Topic::new("chat", "kept other"));
        let at = cluster.place("kept", position.as_bytes()).unwrap();
        let ours = Positions::new([3; 16], cluster.servers[0].node.status().kind);
        let other = Positions::new([4; 16], cluster.servers[0].node.status().kind);
        let future = StreamPosition { offset: 6, ..at };
        let no_epoch = StreamPosition { epoch: 0, ..at };
        let kept = TopicName::new(Topic::new("chat", "kept"));

        for (what, topic, position) in [
            (
                "of another topic",
                "kept other",
                position.as_bytes().to_vec(),
            ),
            (
                "signed with another secret",
                "kept",
                other.write(&kept, at).as_bytes().to_vec(),
            ),
            (
                "future",
                "kept",
                ours.write(&kept, future).as_bytes().to_vec(),
            ),
            (
                "without an epoch",
                "kept",
                ours.write(&kept, no_epoch).as_bytes().to_vec(),
            ),
            (
                "of the epoch of another",
                "kept other",
                ours.write(&topic, at).as_bytes().to_vec(),
            ),
            ("empty", "kept", Vec::new()),
            ("cut short", "kept", position.as_bytes()[..33].to_vec()),
            ("of any bytes", "kept", vec![0xA5; 34]),
            ("too long", "kept", vec![1; 64]),
        ] {
            let from = JoinFrom {
                after: Some(&position),
                last: 0,
            };
            assert_eq!(
                join(&cluster, topic, from),
                (false, vec![]),
                "{kind:?} {what}"
            );
            let page = history(&cluster, topic, Some(&position), 10);
            assert!(!page.is_complete && page.publications.is_empty(), "{what}");
        }
    }
}

#[test]
fn claim_20_a_position_from_one_server_works_on_another_also_where_that_is_behind() {
    let cluster = Cluster::new(Kind::Bus(2));
    cluster.tell_positions();
    let mut sessions = [cluster.session(0), cluster.session(1)];
    sessions.iter_mut().for_each(|it| it.join("kept", NOW));
    cluster.settle();
    cluster.bus().stall(1, 2_000);
    cluster.publish(0, "kept", "1").unwrap();
    cluster.settle();
    let (_, texts) = sessions[0].joined();
    let position = position_in(&texts[0]);

    let mut moved = cluster.session(1);
    moved.join(
        "kept",
        JoinFrom {
            after: Some(&position),
            last: 0,
        },
    );
    cluster.publish(0, "kept", "2").unwrap();
    cluster.advance(4_000);

    let (joined, texts) = moved.joined();
    assert!(joined.is_recovered);
    let texts: Vec<_> = texts
        .iter()
        .map(|it| it.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(texts, ["2"], "it has seen 1 on the other server");
}

#[test]
fn claim_21_a_topic_that_is_made_anew_recovers_nothing_of_the_one_before() {
    let cluster = Cluster::local();
    let positions = publish(&cluster, "kept", 1..=3);
    assert_eq!(join(&cluster, "kept", after(&positions[2])), (true, vec![]));

    // The history is too old, and its memory is freed; no session is there.
    cluster.advance(3_600_000 + 120_000);
    publish(&cluster, "kept", 11..=14);

    assert_eq!(
        join(&cluster, "kept", after(&positions[2])),
        (false, vec![])
    );
}

#[test]
fn claim_22_ten_thousand_sessions_that_come_back_are_at_most_one_read_a_server() {
    let cluster = Cluster::new(Kind::Bus(5));
    let mut sessions: Vec<_> = (0..5).map(|server| cluster.session(server)).collect();
    sessions.iter_mut().for_each(|it| it.join("kept", NOW));
    cluster.settle();
    let positions = publish(&cluster, "kept", 1..=90);
    let reads = cluster.bus().requests("history");

    // Half of them within the window of a server, half before it.
    let mut back = Vec::new();
    for number in 0..10_000 {
        let mut session = cluster.session(number % 5);
        session.join("kept", after(&positions[number % 90]));
        back.push(session);
    }
    cluster.settle();

    let reads = cluster.bus().requests("history") - reads;
    assert!(reads <= 5, "{reads} reads");
    for (number, session) in back.iter().enumerate() {
        let (joined, found) = session.joined();
        assert!(joined.is_recovered);
        assert_eq!(found, texts(number as u32 % 90 + 2..=90));
    }
}

#[test]
fn a_message_that_its_history_can_never_have_is_refused_and_costs_the_history_nothing() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let mut session = cluster.session(0);
        session.subscribe("small");
        cluster.settle();
        let too_big = Failure::TooBig { limit: "bytes" };
        let long = "x".repeat(2_000);

        cluster.publish(0, "small", "kept").unwrap();
        cluster.settle();
        assert_eq!(cluster.publish(0, "small", &long), Err(too_big), "{kind:?}");
        let acked = cluster.publish_acked(0, "small", &long);
        cluster.settle();
        assert_eq!(acked.take(), Err(too_big), "{kind:?}");
        cluster.publish(0, "small", "as well").unwrap();
        cluster.settle();

        let kept = texts_of(&history(&cluster, "small", None, 9));
        assert_eq!(kept, ["kept", "as well"], "{kind:?}");
        assert_eq!(session.texts(), kept, "{kind:?}");
    }
}
