//! How history and what is new follow one another: claim 14.

use super::cluster::{Cluster, KINDS, Kind, NOW, after, last, message};
use super::history::{position_in, publish};
use super::session::Heard;
use crate::engine::node::JoinFrom;
use crate::engine::test_bus::faults::Faults;
use crate::runtime::wakes;
use crate::sessions::topics::Topic;

/// 10,000 messages a second for a second, while 100 sessions join, each from a position that another one has seen.
#[test]
fn claim_14_history_is_followed_by_live_messages_without_gap_or_double() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        cluster.tell_positions();
        if let Kind::Bus(_) = kind {
            cluster.set_faults(Faults {
                delay_ms: 5,
                slow: 5,
                ..Faults::none()
            });
        }
        let mut first = cluster.session(0);
        first.join("long", NOW);
        cluster.settle();
        let _ = first.joined();
        let (mut number, mut seen, mut sessions, mut over) =
            (0, Vec::new(), Vec::new(), Vec::new());
        for round in 0..200 {
            for _ in 0..50 {
                number += 1;
                let server = number as usize % cluster.len();
                let text = number.to_string();
                cluster.publish(server, "long", &text).unwrap();
            }
            cluster.advance(5);
            seen.extend(first.texts());
            if round % 2 == 1 && !seen.is_empty() {
                // Some positions are old, and some are those of the last message.
                let index = seen.len() - 1 - (round * 7 % 500).min(seen.len() - 1);
                let position = position_in(&seen[index]);
                let mut session = cluster.session(round / 2 % cluster.len());
                let from = JoinFrom {
                    after: Some(&position),
                    last: 0,
                };
                session.join("long", from);
                sessions.push((index, session));
            }
            if sessions.len() > 60 {
                let (index, session) = sessions.remove(0);
                over.push((index, session.joined()));
            }
        }
        cluster.advance(3_000);
        seen.extend(first.texts());
        let left = sessions.iter();
        over.extend(left.map(|(index, session)| (*index, session.joined())));

        assert_eq!((seen.len(), over.len()), (10_000, 100));
        for (index, (joined, texts)) in &over {
            assert!(joined.is_recovered, "{kind:?} {index}");
            let expected = seen[index + 1..].iter().take(texts.len());
            assert!(texts.iter().eq(expected), "{kind:?} {index}");
        }
        let all = over.iter().rev().take(5);
        all.for_each(|(index, (_, texts))| assert_eq!(index + 1 + texts.len(), 10_000));
        assert_eq!(cluster.gaps(), 0);
    }
}

/// Several threads publish as fast as they can, and others join, on the engine in memory.
#[test]
fn claim_14_holds_among_threads() {
    let cluster = Cluster::local();
    let node = &cluster.servers[0].node;
    let topic = Topic::new("chat", "long");
    let mut sessions = Vec::new();
    std::thread::scope(|threads| {
        let publishers: Vec<_> = (0..2)
            .map(|publisher| {
                threads.spawn(move || {
                    for number in 0..5_000 {
                        let text = message(&format!("{publisher} {number}"));
                        while node.publish(topic, &text, 0).is_err() {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        while !publishers.iter().all(|it| it.is_finished()) && sessions.len() < 200 {
            let mut session = cluster.session(0);
            session.join("long", last(50));
            sessions.push(session);
            // A publisher leaves to another thread what it has no time for.
            cluster.servers[0].run_jobs();
        }
        while !publishers.iter().all(|it| it.is_finished()) {
            cluster.servers[0].run_jobs();
        }
    });
    cluster.settle();

    let mut session = cluster.session(0);
    session.join("long", last(u64::MAX));
    cluster.settle();
    let (_, all) = session.joined();
    assert_eq!(all.len(), 10_000);
    for session in &sessions {
        let (joined, texts) = session.joined();
        assert!(joined.missed <= 50 && texts.len() >= joined.missed);
        assert!(texts == all[all.len() - texts.len()..], "{joined:?}");
    }
}

/// Two threads are the first to join a topic, and each publishes to it at once.
#[test]
fn claim_14_a_session_hears_what_its_own_thread_publishes_after_it_has_joined() {
    let cluster = Cluster::local();
    let begin = std::sync::Barrier::new(2);
    for round in 0..1_000 {
        let topic = format!("kept {round}");
        let join_and_publish = |own: &'static str| {
            let mut session = cluster.session(0);
            begin.wait();
            session.subscribe(&topic);
            cluster.publish(0, &topic, own).unwrap();
            session
        };
        let (first, second) = std::thread::scope(|threads| {
            let first = threads.spawn(|| join_and_publish("1"));
            let second = threads.spawn(|| join_and_publish("2"));
            (first.join().unwrap(), second.join().unwrap())
        });
        cluster.servers[0].run_jobs();
        for (session, own) in [(first, "1"), (second, "2")] {
            let texts = session.texts();
            assert!(
                texts.iter().any(|it| it == own),
                "{round}: {own} of {texts:?}"
            );
        }
    }
}

#[test]
fn claim_14_a_session_that_leaves_and_comes_back_in_one_turn_hears_nothing_twice() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let position = publish(&cluster, "kept", 1..=1)[0];
        let mut session = cluster.session(0);
        session.join("kept", after(&position));
        cluster.settle();
        session.joined();

        // What is published in a turn leaves at its end.
        let turn = wakes::defer();
        cluster.publish(0, "kept", "2").unwrap();
        cluster.settle();
        session.leave_topic("kept");
        session.join("kept", after(&position));
        cluster.settle();
        drop(turn);

        cluster.publish(0, "kept", "3").unwrap();
        cluster.settle();
        let heard = session.heard();
        let is_answer = |it: &Heard| matches!(it, Heard::Joined(_));
        let answer = heard.iter().position(is_answer).expect("an answer");
        let since = ["2", "3"].map(|it| Heard::Text(it.to_owned()));
        assert_eq!(heard[answer + 1..], since, "{kind:?}");
    }
}
