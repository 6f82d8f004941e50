//! Which session hears what: claims 1 to 12.

use super::cluster::{Cluster, KINDS, Kind, NOW, message};
use super::session::TestSession;
use crate::engine::test_bus::faults::Faults;
use crate::sessions::topics::Topic;

/// Sessions on all servers in turn, which have joined the topic.
fn joined(cluster: &Cluster, topic: &str, count: usize) -> Vec<TestSession> {
    let servers = cluster.len();
    let mut sessions: Vec<_> = (0..count).map(|n| cluster.session(n % servers)).collect();
    sessions.iter_mut().for_each(|it| it.join(topic, NOW));
    cluster.settle();
    for session in &sessions {
        let (joined, texts) = session.joined();
        assert!(joined.is_recovered && texts.is_empty(), "{joined:?}");
    }
    sessions
}

const TOPICS: [&str; 2] = ["plain", "kept"];

#[test]
fn claim_1_each_subscriber_on_each_server_hears_a_publication_once() {
    for (kind, topic) in KINDS.iter().flat_map(|it| TOPICS.map(|topic| (*it, topic))) {
        let cluster = Cluster::new(kind);
        let sessions = joined(&cluster, topic, 12);
        let here = cluster.publish(0, topic, "hello").unwrap();
        cluster.settle();

        assert_eq!(here, 12_usize.div_ceil(cluster.len()), "{kind:?} {topic}");
        for session in &sessions {
            assert_eq!(session.texts(), ["hello"], "{kind:?} {topic}");
        }
    }
}

#[test]
fn claim_2_the_excepted_session_hears_nothing_wherever_it_is() {
    for (kind, topic) in KINDS.iter().flat_map(|it| TOPICS.map(|topic| (*it, topic))) {
        let cluster = Cluster::new(kind);
        let sessions = joined(&cluster, topic, 6);
        let far = sessions.last().unwrap().id();
        cluster.publish_but(0, topic, "hello", far).unwrap();
        cluster.settle();

        for session in &sessions {
            let expected: &[&str] = if session.id() == far { &[] } else { &["hello"] };
            assert_eq!(session.texts(), expected, "{kind:?} {topic}");
        }
    }
}

#[test]
fn claim_2_also_not_what_a_server_reads_from_the_history() {
    let cluster = Cluster::new(Kind::Bus(2));
    let sessions = joined(&cluster, "kept", 2);
    cluster.set_faults(Faults {
        lost_publications: 1_000,
        ..Faults::none()
    });
    cluster
        .publish_but(0, "kept", "lost", sessions[1].id())
        .unwrap();
    cluster.settle();
    cluster.set_faults(Faults::none());
    cluster.publish(0, "kept", "next").unwrap();
    cluster.settle();

    assert_eq!(sessions[0].texts(), ["lost", "next"]);
    assert_eq!(sessions[1].texts(), ["next"]);
}

#[test]
fn claim_3_and_4_all_servers_hear_a_topic_with_history_in_one_order_and_each_publisher_in_its_own()
{
    for (kind, topic) in KINDS.iter().flat_map(|it| TOPICS.map(|topic| (*it, topic))) {
        let cluster = Cluster::new(kind);
        let sessions = joined(&cluster, topic, 10);
        if let Kind::Bus(_) = kind {
            cluster.set_faults(Faults {
                delay_ms: 30,
                slow: 100,
                ..Faults::none()
            });
        }
        for number in 0..50 {
            for server in 0..cluster.len() {
                let text = format!("{server} {number:02}");
                cluster.publish(server, topic, &text).unwrap();
            }
            cluster.advance(7);
        }
        cluster.advance(2_000);

        let orders: Vec<_> = sessions.iter().map(TestSession::texts).collect();
        for order in &orders {
            assert_eq!(order.len(), 50 * cluster.len(), "{kind:?} {topic}");
            for server in 0..cluster.len() {
                let of = format!("{server} ");
                let its = order.iter().filter(|text| text.starts_with(&of));
                assert!(its.is_sorted(), "{kind:?} {topic}");
            }
            assert!(*order == orders[0] || topic == "plain", "{kind:?}");
        }
    }
}

#[test]
fn claim_5_a_topic_without_a_subscriber_on_a_server_costs_it_no_message() {
    for topic in TOPICS {
        let cluster = Cluster::new(Kind::Bus(5));
        let _session = joined(&cluster, topic, 1);
        for server in 0..5 {
            cluster.publish(server, topic, "hello").unwrap();
        }
        cluster.settle();

        assert_eq!(cluster.bus().deliveries(), 5, "{topic}");
    }
}

#[test]
fn claim_6_and_7_subscribers_of_one_server_are_one_subscription_also_when_they_come_and_go() {
    for topic in TOPICS {
        let cluster = Cluster::new(Kind::Bus(1));
        let sessions = joined(&cluster, topic, 1_000);
        assert_eq!(cluster.bus().requests("subscribe"), 1, "{topic}");

        drop(sessions);
        cluster.advance(4_000);
        let sessions = joined(&cluster, topic, 3);
        cluster.advance(30_000);
        assert_eq!(cluster.bus().requests("subscribe"), 1, "{topic}");
        assert_eq!(cluster.bus().requests("unsubscribe"), 0, "{topic}");

        drop(sessions);
        cluster.advance(7_000);
        assert_eq!(cluster.bus().requests("unsubscribe"), 1, "{topic}");
        let sessions = joined(&cluster, topic, 1);
        cluster.publish(0, topic, "again").unwrap();
        cluster.settle();
        assert_eq!(sessions[0].texts(), ["again"], "{topic}");
    }
}

#[test]
fn claim_8_after_its_answer_a_session_misses_nothing() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        cluster.tell_positions();
        if let Kind::Bus(_) = kind {
            cluster.set_faults(Faults {
                delay_ms: 20,
                ..Faults::none()
            });
        }
        let mut sessions = Vec::new();
        for number in 0..300 {
            cluster.publish(0, "kept", &format!("{number:03}")).unwrap();
            if number % 10 == 0 {
                let mut session = cluster.session(number / 10 % cluster.len());
                session.join("kept", NOW);
                sessions.push(session);
            }
            cluster.advance(3);
        }
        cluster.advance(1_000);

        for session in &sessions {
            let (joined, texts) = session.joined();
            let position = joined.position.expect("the topic has a history");
            // The first publication has the number 0 and the offset 1.
            let first = cluster.place("kept", position.as_bytes()).unwrap().offset;
            let numbers = texts.iter().map(|text| text.rsplit(' ').next().unwrap());
            let expected: Vec<_> = (first..300).map(|it| format!("{it:03}")).collect();
            assert_eq!(numbers.collect::<Vec<_>>(), expected, "{kind:?}");
            assert_eq!(joined.missed, 0);
        }
    }
}

#[test]
fn claim_9_equal_names_of_two_handlers_do_not_meet_and_topics_of_the_server_do() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        for (topic, is_shared) in [("plain", false), ("kept", false), ("/kept", true)] {
            let (mut chat, mut news) = (cluster.session(0), cluster.session_of("news", 0));
            chat.join(topic, NOW);
            news.join(topic, NOW);
            cluster.settle();
            cluster.publish(0, topic, "hello").unwrap();
            cluster.settle();

            assert_eq!(chat.texts(), ["hello"], "{kind:?} {topic}");
            assert_eq!(news.texts().len(), usize::from(is_shared), "{topic}");
        }
    }
}

#[test]
fn claim_10_no_name_matches_another() {
    let long = format!("kept{}", "é".repeat(125));
    let names = [
        "kept",
        "kept.a",
        "kept.*",
        "kept.>",
        "kept*",
        "kept ",
        "kept{a}",
        "kept\r\nPING",
        "kept\u{1}",
        "kept?",
        "kept[a]",
        "kepté",
        &long,
        "KEPT",
    ];
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let mut sessions: Vec<_> = names.iter().map(|_| cluster.session(0)).collect();
        for (session, name) in sessions.iter_mut().zip(names) {
            session.join(name, NOW);
        }
        cluster.settle();
        for name in names {
            cluster.publish(cluster.len() - 1, name, name).unwrap();
        }
        cluster.settle();

        for (session, name) in sessions.iter().zip(names) {
            assert_eq!(session.texts(), [name], "{kind:?}");
        }
    }
}

#[test]
fn claim_11_payloads_come_as_they_are() {
    for (kind, topic) in KINDS.iter().flat_map(|it| TOPICS.map(|topic| (*it, topic))) {
        let cluster = Cluster::new(kind);
        let sessions = joined(&cluster, topic, cluster.len());
        for payload in [String::new(), "x".repeat(1 << 20)] {
            let node = &cluster.servers[0].node;
            node.publish(Topic::new("chat", topic), &message(&payload), 0)
                .unwrap();
            cluster.settle();
            for session in &sessions {
                assert!(session.texts() == [&*payload], "{kind:?} {topic}");
            }
        }
    }
}

#[test]
fn claim_12_a_publication_that_comes_twice_is_heard_once() {
    for (repeated_publications, repeated_requests) in [(1_000, 0), (0, 1_000), (1_000, 1_000)] {
        for topic in TOPICS {
            let cluster = Cluster::new(Kind::Bus(5));
            cluster.set_faults(Faults {
                repeated_publications,
                repeated_requests,
                ..Faults::none()
            });
            let sessions = joined(&cluster, topic, 5);
            for server in 0..5 {
                cluster.publish(server, topic, &server.to_string()).unwrap();
                cluster.settle();
            }
            for session in &sessions {
                assert_eq!(session.texts(), ["0", "1", "2", "3", "4"], "{topic}");
            }
        }
    }
}
