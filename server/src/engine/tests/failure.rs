//! What goes on while the engine is away, and what holds again when it is back: claims 24 to 35.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::cluster::{Cluster, KINDS, Kind, NOW, after, answer, last, message};
use super::history::publish;
use super::session::{Heard, TestSession};
use crate::engine::node::Joined;
use crate::engine::node::callbacks::{EnvelopeCall, HandlerCallbacks};
use crate::engine::test_bus::faults::Faults;
use crate::engine::{Failure, StoreRequest};
use crate::sessions::topics::Topic;

/// A session on each server, which has joined the topic.
fn joined(cluster: &Cluster, topic: &str) -> Vec<TestSession> {
    let mut sessions: Vec<_> = (0..cluster.len()).map(|it| cluster.session(it)).collect();
    sessions.iter_mut().for_each(|it| it.join(topic, NOW));
    cluster.settle();
    sessions.iter().for_each(|it| drop(it.joined()));
    sessions
}

#[test]
fn claim_24_and_34_while_the_broker_is_away_nothing_waits_and_sessions_stay() {
    let cluster = Cluster::new(Kind::Bus(5));
    let kept = joined(&cluster, "kept");
    let plain = joined(&cluster, "plain");
    let position = cluster.publish_acked(0, "kept", "before");
    cluster.settle();
    let position = position.take().unwrap();

    cluster.bus().stop_broker(5_000);
    let mut longest = Duration::ZERO;
    let mut late = Vec::new();
    for round in 0..10 {
        let mut session = cluster.session(round % 5);
        let node = &cluster.servers[round % 5].node;
        let (_, done) = answer();
        let get = StoreRequest::Get { key: "key".into() };
        for took in [
            took(|| _ = cluster.publish(round % 5, "kept", "away")),
            took(|| _ = cluster.publish(round % 5, "plain", "away")),
            took(|| session.join("kept", after(&position))),
            took(|| drop(session.enter("kept", "x"))),
            took(|| node.store(&Arc::from("chat"), get, done)),
        ] {
            longest = longest.max(took);
        }
        late.push(session);
        cluster.advance(400);
    }
    cluster.advance(3_000);

    assert!(longest < Duration::from_millis(5), "{longest:?}");
    // Before the server has noticed it, it knows what the session has missed. Nothing more is known from then on.
    for session in &late[late.len() - 2..] {
        let heard = session.heard();
        let failed = Heard::Joined(Err(Failure::Unavailable));
        assert_eq!(heard.first(), Some(&failed), "{heard:?}");
    }
    // On a topic without history, what is published goes on among the sessions of one server.
    assert!(
        plain
            .iter()
            .all(|it| it.texts().contains(&"away".to_owned()))
    );
    assert!(kept.iter().all(|it| !it.mailbox().is_over()));
}

fn took(what: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    what();
    begin.elapsed()
}

#[test]
fn claim_25_26_and_33_a_server_notices_within_4_s_refuses_then_and_is_back_within_1_5_s() {
    for topic in ["kept", "plain"] {
        let cluster = Cluster::new(Kind::Bus(5));
        let sessions = joined(&cluster, topic);
        cluster.bus().cut(3, 6_000);
        cluster.advance(4_000);
        assert!(!cluster.servers[3].node.status().is_reachable);
        let refused = cluster.publish(3, topic, "cut off");
        let expected = match topic {
            "kept" => Err(Failure::Unavailable),
            _ => Ok(1),
        };
        assert_eq!(refused, expected);
        cluster.publish(0, topic, "without it").unwrap();

        cluster.advance(2_000 + 1_500);
        assert!(cluster.servers[3].node.status().is_reachable);
        cluster.publish(3, topic, "from it").unwrap();
        cluster.settle();
        for (server, session) in sessions.iter().enumerate() {
            let texts = session.texts();
            assert_eq!(texts.last().unwrap(), "from it", "{topic}");
            if topic == "kept" {
                assert_eq!(texts, ["without it", "from it"], "{server}");
            }
        }
        // What a topic without history has lost is told; there is nothing to read it from.
        assert_eq!(cluster.gaps() > 0, topic == "plain");
    }
}

#[test]
fn claim_27_every_loss_is_healed_within_12_s_the_last_message_included() {
    let cluster = Cluster::new(Kind::Bus(5));
    let sessions = joined(&cluster, "kept");
    cluster.set_faults(Faults {
        lost_publications: 300,
        repeated_publications: 100,
        ..Faults::none()
    });
    let numbers: Vec<_> = (0..60).map(|it| it.to_string()).collect();
    for number in &numbers {
        cluster.publish(0, "kept", number).unwrap();
        cluster.advance(50);
    }
    cluster.set_faults(Faults {
        lost_publications: 1_000,
        ..Faults::none()
    });
    cluster.publish(0, "kept", "last").unwrap();
    cluster.advance(12_000);

    for session in &sessions {
        let texts = session.texts();
        assert_eq!(texts[..60], numbers);
        assert_eq!(texts[60..], ["last"]);
    }
    assert_eq!(cluster.gaps(), 0);
}

#[test]
fn claim_27_a_loss_that_the_history_has_no_more_is_told() {
    let cluster = Cluster::new(Kind::Bus(2));
    let sessions = joined(&cluster, "short");
    cluster.set_faults(Faults {
        lost_publications: 1_000,
        ..Faults::none()
    });
    for number in 0..10 {
        cluster.publish(0, "short", &number.to_string()).unwrap();
    }
    cluster.settle();
    cluster.set_faults(Faults::none());
    cluster.publish(0, "short", "next").unwrap();
    cluster.advance(2_000);

    for session in &sessions {
        assert_eq!(session.texts(), ["next"]);
    }
    assert_eq!(cluster.gaps(), 2, "one on each server");
}

#[test]
fn claim_28_and_29_an_acknowledged_publication_is_in_the_history_once_though_it_was_repeated() {
    let cluster = Cluster::new(Kind::Bus(5));
    let sessions = joined(&cluster, "kept");
    cluster.set_faults(Faults {
        lost_answers: 1_000,
        ..Faults::none()
    });
    let answers: Vec<_> = (0..5)
        .map(|it| cluster.publish_acked(it, "kept", &it.to_string()))
        .collect();
    cluster.advance(4_000);
    assert!(answers.iter().all(|it| !it.is_there()), "they are repeated");
    cluster.set_faults(Faults::none());
    cluster.advance(4_000);

    let positions: Vec<_> = answers.iter().map(|it| it.take().unwrap()).collect();
    for session in &sessions {
        let mut texts = session.texts();
        texts.sort();
        assert_eq!(texts, ["0", "1", "2", "3", "4"]);
    }
    let mut late = cluster.session(2);
    late.join("kept", last(10));
    cluster.settle();
    assert_eq!(late.joined().0.missed, 5);
    let offsets = positions
        .iter()
        .map(|it| cluster.place("kept", it.as_bytes()).unwrap().offset);
    let mut offsets: Vec<_> = offsets.collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [1, 2, 3, 4, 5]);
}

#[test]
fn claim_29_an_answer_that_does_not_come_is_a_failure_in_the_end() {
    let cluster = Cluster::new(Kind::Bus(2));
    cluster.set_faults(Faults {
        lost_answers: 1_000,
        ..Faults::none()
    });
    let answer = cluster.publish_acked(0, "kept", "hello");
    cluster.advance(14_000);
    assert_eq!(answer.take(), Err(Failure::Unavailable));
}

#[test]
fn claim_30_what_was_not_acknowledged_never_comes_late_and_what_was_repeated_not_after_its_failure()
{
    for (cut_ms, comes) in [(6_000, true), (20_000, false)] {
        let cluster = Cluster::new(Kind::Bus(5));
        let (kept, plain) = (joined(&cluster, "kept"), joined(&cluster, "plain"));
        // The server has not noticed it yet, so it takes everything.
        cluster.bus().cut(0, cut_ms);
        assert_eq!(cluster.publish(0, "kept", "in time or never"), Ok(1));
        assert_eq!(cluster.publish(0, "plain", "in time or never"), Ok(1));
        let acked = cluster.publish_acked(0, "kept", "acknowledged");
        // A publication is repeated for ten seconds.
        cluster.advance(14_000);
        assert_eq!(acked.take().is_ok(), comes, "{cut_ms}");
        cluster.advance(20_000);
        assert!(cluster.servers[0].node.status().is_reachable);

        let expected: &[&str] = if comes { &["acknowledged"] } else { &[] };
        for (kept, plain) in kept.iter().zip(&plain) {
            assert_eq!(kept.texts(), expected, "{cut_ms}");
            assert_eq!(plain.texts(), [""; 0], "{cut_ms}");
        }
    }
}

#[test]
fn claim_31_a_handler_that_is_too_slow_fills_its_topic_and_no_other() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        cluster.tell_positions();
        let mut sessions = [cluster.session(0), cluster.session(0)];
        sessions[0].join("kept", NOW);
        sessions[1].join("plain", NOW);
        cluster.settle();
        let node = &cluster.servers[0].node;
        let large = message(&"x".repeat(100_000));
        let mut accepted = 0;
        // No time passes for the envelope's thread.
        let refused = loop {
            match node.publish(Topic::new("chat", "kept"), &large, 0) {
                Ok(_) if accepted < 1_000 => accepted += 1,
                other => break other,
            }
            if let Kind::Bus(_) = kind {
                cluster.bus().run_to(cluster.now_ms() + accepted);
            }
        };

        assert_eq!(refused, Err(Failure::Full), "{kind:?}");
        assert!((50..150).contains(&accepted), "{kind:?}: {accepted}");
        assert_eq!(cluster.publish(0, "plain", "hello"), Ok(1));
        cluster.advance(2_000);
        assert_eq!(sessions[1].texts(), ["hello"]);
        assert!(cluster.publish(0, "kept", "again").is_ok(), "{kind:?}");
    }
}

#[test]
fn claim_31_a_handler_that_is_too_slow_for_the_changes_of_a_topic_stops_them_and_members_can_leave()
{
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        cluster.tell_members();
        let mut session = cluster.session(0);
        session.subscribe("kept");
        let value = "x".repeat(1_000);
        cluster.settle();
        let other = cluster.session(0);
        let is_full = |failure| failure == Failure::Full;
        let mut entered = 0;
        // No time passes for the thread that calls the handler.
        let refused = loop {
            let answer = other.enter("kept", &format!("{entered}{value}"));
            if let Kind::Bus(_) = kind {
                cluster.bus().run_to(cluster.now_ms() + entered);
            }
            if entered == 20_000 || answer.is_there() && answer.take().is_err_and(is_full) {
                break entered < 20_000;
            }
            entered += 1;
        };

        assert!(refused, "{kind:?}");
        assert!((5_000..10_000).contains(&entered), "{kind:?}: {entered}");
        other.leave("kept");
        // A server that has not heard all changes lists the members.
        cluster.advance(20_000);
        let texts = session.texts();
        let left = format!("left {}", other.id());
        assert!(
            texts.last().is_some_and(|it| it.starts_with(&left)),
            "{kind:?}"
        );
        let answer = other.enter("kept", "again");
        cluster.settle();
        assert!(answer.take().is_ok(), "{kind:?}");
    }
}

#[test]
fn claim_31_an_envelope_runs_on_no_publishers_thread_and_each_publication_goes_through_it_in_order()
{
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let publisher = std::thread::current().id();
        for server in &cluster.servers {
            let envelope = move |call: &EnvelopeCall<'_>| {
                assert_ne!(std::thread::current().id(), publisher);
                let text = String::from_utf8_lossy(call.message.payload());
                (!text.ends_with('5')).then(|| super::cluster::message(&format!("<{text}>")))
            };
            let callbacks = HandlerCallbacks {
                envelope: Some(Box::new(envelope)),
                ..HandlerCallbacks::default()
            };
            server.node.set_callbacks("chat", 3, callbacks);
        }
        let mut session = cluster.session(0);
        session.join("kept", NOW);
        for number in 0..100 {
            cluster.publish(0, "kept", &number.to_string()).unwrap();
        }
        std::thread::scope(|scope| scope.spawn(|| cluster.settle()).join().unwrap());

        let texts = session.texts();
        let expected = (0..100).map(|it| match it % 10 {
            5 => it.to_string(),
            _ => format!("<{it}>"),
        });
        assert!(texts.into_iter().eq(expected), "{kind:?}");
    }
}

#[test]
fn claim_32_and_51_a_server_that_is_stalled_loses_nothing_and_slows_no_other() {
    let cluster = Cluster::new(Kind::Bus(5));
    let sessions = joined(&cluster, "kept");
    cluster.bus().stall(4, 2_500);
    let numbers: Vec<_> = (0..90).map(|it| it.to_string()).collect();
    for number in &numbers {
        cluster.publish(0, "kept", number).unwrap();
        cluster.advance(10);
        for session in &sessions[..4] {
            assert_eq!(session.texts(), std::slice::from_ref(number));
        }
        let acked = cluster.publish_acked(1, "kept other", number);
        cluster.advance(10);
        assert!(acked.is_there());
    }
    cluster.advance(3_000);
    assert_eq!(sessions[4].texts(), numbers);
    assert_eq!(cluster.gaps(), 0);
}

#[test]
fn claim_35_a_server_that_starts_without_the_broker_serves_once_that_is_there() {
    let cluster = Cluster::new(Kind::Bus(2));
    cluster.bus().stop_broker(6_000);
    cluster.advance(3_500);
    let (mut waits, mut fails) = (cluster.session(0), cluster.session(0));
    waits.subscribe("kept");
    fails.join("kept", NOW);
    cluster.settle();
    assert_eq!(fails.heard(), [Heard::Joined(Err(Failure::Unavailable))]);

    cluster.advance(5_000);
    cluster.publish(1, "kept", "hello").unwrap();
    cluster.settle();
    assert_eq!(waits.texts(), ["hello"]);
    assert_eq!(
        fails.texts(),
        [""; 0],
        "after a failure the session is no subscriber"
    );
}

#[test]
fn a_join_that_is_given_up_leaves_nothing_behind() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        for ends in [false, true] {
            let mut session = cluster.session(0);
            session.join("kept", NOW);
            session.leave_topic("kept");
            let mailbox = session.mailbox().clone();
            if ends {
                session.join("kept", last(5));
                drop(session);
            }
            cluster.settle();
            assert_eq!(cluster.publish(0, "kept", "hello"), Ok(0), "{kind:?}");
            cluster.settle();
            // The session has it, the registry and this test.
            let owners = if ends { 1 } else { 3 };
            assert_eq!(Arc::strong_count(&mailbox), owners, "{kind:?}");
        }
    }
}

#[test]
fn a_join_that_is_given_up_while_a_handler_is_called_for_it_leaves_nothing_behind() {
    let cluster = Cluster::local();
    cluster.tell_positions();
    let positions = publish(&cluster, "kept", 1..=2);
    // Without a position, there is nothing to recover.
    for (from, is_recovered) in [(last(5), true), (after(&positions[0]), false)] {
        let mut session = cluster.session(0);
        session.join("kept", from);
        // The envelope's thread has not run yet.
        session.leave_topic("kept");
        cluster.settle();

        let (joined, texts) = session.joined();
        let expected = Joined {
            is_recovered,
            ..Joined::default()
        };
        assert_eq!((joined, texts), (expected, vec![]), "{from:?}");
        assert_eq!(cluster.publish(0, "kept", "3"), Ok(0));
        cluster.settle();
        assert_eq!(session.texts(), [""; 0]);
    }
}

#[test]
fn joins_that_are_given_up_while_they_wait_for_a_handler_keep_nothing_and_call_it_no_more() {
    let cluster = Cluster::local();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let callbacks = HandlerCallbacks {
        envelope: Some(Box::new(move |_: &EnvelopeCall<'_>| {
            counted.fetch_add(1, Ordering::Relaxed);
            None
        })),
        ..HandlerCallbacks::default()
    };
    cluster.servers[0].node.set_callbacks("chat", 1, callbacks);
    publish(&cluster, "kept", 1..=16);
    let mut session = cluster.session(0);

    // No thread of the handler's runs meanwhile.
    for _ in 0..10 {
        session.join("kept", last(100));
        session.leave_topic("kept");
    }
    session.join("kept", last(100));
    cluster.settle();

    let heard = session.heard();
    let answers = heard.iter().filter(|it| matches!(it, Heard::Joined(_)));
    assert_eq!((answers.count(), heard.len()), (11, 11 + 16));
    assert_eq!(calls.load(Ordering::Relaxed), 16, "for the last join");
}
