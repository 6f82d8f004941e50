//! Positions, rules of topics, and pages.

use super::*;

const NOW: Duration = Duration::ZERO;

#[test]
fn a_position_recovers_on_its_own_topic_and_server_only() {
    let (mut engine, mut other) = (Engine::default(), Engine::default());
    let first = engine.publish("a", abi::TEXT, b"1", NOW).unwrap();
    engine.publish("a", abi::TEXT, b"2", NOW).unwrap();
    let of_topic = engine.publish("b", abi::TEXT, b"3", NOW).unwrap();
    let of_server = other.publish("a", abi::TEXT, b"1", NOW).unwrap();
    let mut future = first.clone();
    future[23] = 9;

    for (position, flags, follows) in [
        (&first[..], answer::RECOVERED, 1),
        (&[], answer::RECOVERED, 0),
        (&of_topic, 0, 0),
        (&of_server, 0, 0),
        (&future, 0, 0),
        (b"forged", 0, 0),
    ] {
        let answer = engine.join(1, "a", position, 0, NOW).answer;
        assert_eq!(
            (answer.flags, answer.follows),
            (flags, follows),
            "{position:?}"
        );
    }
}

#[test]
fn a_position_recovers_nothing_once_its_topic_had_no_history() {
    let mut engine = Engine::default();
    let position = engine.publish("a", abi::TEXT, b"1", NOW).unwrap();
    let none = HistoryBounds {
        count: 0,
        ..HistoryBounds::DEFAULT
    };

    engine.set("a", TopicRule::History(none), NOW);
    assert_eq!(engine.publish("a", abi::TEXT, b"2", NOW), None);
    engine.set("a", TopicRule::History(HistoryBounds::DEFAULT), NOW);

    let answer = engine.join(1, "a", &position, 0, NOW).answer;
    assert_eq!((answer.flags, answer.follows), (0, 0));
    assert_eq!(engine.history("a", &position, 0, 9, NOW).flags, 0);
}

#[test]
fn the_last_word_about_a_topic_counts() {
    let mut engine = Engine::default();
    let bounds = |count| HistoryBounds {
        count,
        ..HistoryBounds::DEFAULT
    };
    engine.set("a*", TopicRule::History(bounds(0)), NOW);
    engine.set("ab", TopicRule::History(bounds(2)), NOW);
    engine.set("*", TopicRule::Presence(false), NOW);

    let found = ["a", "ab", "abc", "b"].map(|topic| engine.history_bounds(topic));
    assert_eq!(
        found.map(|it| it.map(|it| it.count)),
        [None, Some(2), None, Some(1000)]
    );
    assert!(!engine.has_presence("a"));
}

#[test]
fn a_page_has_one_item_at_least_and_says_where_the_next_begins() {
    let mut engine = Engine::default();
    for id in 1..=3 {
        engine.enter("t", id, b"x");
    }
    let first = engine.present("t", None, 2);
    let after = asks::after_member(&first.next).unwrap();
    let second = engine.present("t", after, 2);

    assert_eq!((first.items.len(), first.version), (2, 3));
    assert_eq!((second.items.len(), second.items[0].id), (1, 3));
    assert!(second.next.is_empty());
}
