//! What a change of the configuration makes of the positions of a topic: claims 15 and 19, and what is told of losses.

use super::cluster::{Cluster, KINDS, NOW, after, answer, last};
use super::history::publish;
use crate::config::HistoryBounds;
use crate::engine::PageLimit;
use crate::engine::node::HistoryPage;
use crate::engine::position::Position;
use crate::sessions::topics::Topic;

fn bounds(count: usize) -> Option<HistoryBounds> {
    Some(HistoryBounds {
        count,
        age_ms: 3_600_000,
        bytes: 1 << 21,
    })
}

/// Whether a session recovers everything that joins behind the position on a server, the texts that it missed, and whether
/// the answer has a position.
fn rejoin(cluster: &Cluster, server: usize, position: &Position) -> (bool, Vec<String>, bool) {
    let mut session = cluster.session(server);
    session.join("kept", after(position));
    cluster.settle();
    let (joined, texts) = session.joined();
    (joined.is_recovered, texts, joined.position.is_some())
}

/// Publishes a text on each server, which is no part of a history.
fn publish_unkept(cluster: &Cluster) {
    for server in 0..cluster.len() {
        cluster.publish(server, "kept", "unkept").unwrap();
    }
    cluster.settle();
}

#[test]
fn claim_15_a_position_recovers_nothing_once_its_topic_has_lost_the_history() {
    for kind in KINDS {
        for hears_of_members in [false, true] {
            let cluster = Cluster::new(kind);
            if hears_of_members {
                cluster.tell_members();
            }
            let server = cluster.len() - 1;
            // A subscriber that stays, so that no server forgets the topic.
            let mut stays: Vec<_> = (0..cluster.len()).map(|it| cluster.session(it)).collect();
            stays.iter_mut().for_each(|it| it.join("kept", NOW));
            cluster.settle();
            let position = publish(&cluster, "kept", 1..=1)[0];

            cluster.set_history(None);
            cluster.settle();
            publish_unkept(&cluster);
            let nothing = (false, vec![], false);
            let found = rejoin(&cluster, server, &position);
            assert_eq!(found, nothing, "{kind:?}: it has no history");

            cluster.set_history(bounds(100));
            cluster.settle();
            let found = rejoin(&cluster, server, &position);
            assert_eq!(found, (false, vec![], true), "{kind:?}: it has a new one");

            let later = publish(&cluster, "kept", 2..=3);
            let found = rejoin(&cluster, server, &position);
            assert_eq!(found, (false, vec![], true), "{kind:?}: it has grown");
            let found = rejoin(&cluster, server, &later[0]);
            assert_eq!(found, (true, vec!["3".to_owned()], true), "{kind:?}");
        }
    }
}

#[test]
fn claim_15_a_position_from_before_two_changes_at_once_recovers_nothing() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let mut stays = cluster.session(0);
        stays.join("kept", NOW);
        cluster.settle();
        let position = publish(&cluster, "kept", 1..=1)[0];

        // What another thread publishes between the two may lie in no history.
        cluster.set_history(None);
        cluster.set_history(bounds(100));
        cluster.settle();

        let (is_recovered, texts, _) = rejoin(&cluster, 0, &position);
        assert_eq!((is_recovered, texts), (false, vec![]), "{kind:?}");
    }
}

#[test]
fn claim_15_other_bounds_keep_the_positions_whose_messages_are_kept() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let mut stays = cluster.session(0);
        stays.join("kept", NOW);
        cluster.settle();
        let positions = publish(&cluster, "kept", 1..=6);
        let server = cluster.len() - 1;
        let texts = |from: u32| (from..=6).map(|it| it.to_string()).collect::<Vec<_>>();

        for (count, first_recovered) in [(100, 0), (2, 3), (100, 3)] {
            cluster.set_history(bounds(count));
            cluster.settle();
            for (index, position) in positions.iter().enumerate() {
                let (is_recovered, found, _) = rejoin(&cluster, server, position);
                let expected = match index >= first_recovered {
                    true => (true, texts(index as u32 + 2)),
                    false => (false, vec![]),
                };
                assert_eq!((is_recovered, found), expected, "{kind:?} {count} {index}");
            }
        }
    }
}

#[test]
fn claim_27_a_history_that_is_switched_off_and_on_is_told_as_no_loss() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        // Its topics go to the engine's subscribers while they have no history.
        cluster.tell_members();
        let mut stays: Vec<_> = (0..cluster.len()).map(|it| cluster.session(it)).collect();
        stays.iter_mut().for_each(|it| it.join("kept", NOW));
        cluster.settle();
        stays.iter().for_each(|it| drop(it.joined()));

        for round in 0..3 {
            cluster
                .publish(0, "kept", &format!("kept {round}"))
                .unwrap();
            cluster.settle();
            cluster.set_history(None);
            cluster.settle();
            cluster.publish(0, "kept", &format!("off {round}")).unwrap();
            cluster.settle();
            cluster.set_history(bounds(100));
            cluster.settle();
        }
        cluster.advance(12_000);

        let all = (0..3).flat_map(|round| [format!("kept {round}"), format!("off {round}")]);
        let all: Vec<String> = all.collect();
        for session in &stays {
            assert_eq!(session.texts(), all, "{kind:?}");
        }
        assert_eq!(cluster.gaps(), 0, "{kind:?}");
    }
}

/// Threads publish and join while another one changes the configuration, on the engine in memory.
#[test]
fn claim_15_holds_while_a_history_is_switched_off_and_on() {
    let cluster = Cluster::local();
    cluster.tell_members();
    let mut stays = cluster.session(0);
    stays.join("kept", NOW);
    for round in 0..200 {
        let position = publish(&cluster, "kept", 1..=1)[0];
        std::thread::scope(|threads| {
            threads.spawn(|| cluster.publish(0, "kept", "meanwhile"));
            threads.spawn(|| {
                cluster.set_history(None);
                cluster.set_history(bounds(100));
            });
        });

        let (is_recovered, texts, _) = rejoin(&cluster, 0, &position);
        assert_eq!((is_recovered, texts), (false, vec![]), "{round}");
    }
}

#[test]
fn a_history_has_a_last_position_when_something_was_published() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let head = || {
            let (answer, done) = answer::<HistoryPage>();
            let limit = PageLimit { items: 5, bytes: 1 };
            let node = &cluster.servers[0].node;
            node.history(Topic::new("chat", "kept"), None, 5, limit, done);
            cluster.settle();
            answer.take().unwrap().head
        };
        assert_eq!(head(), None, "{kind:?}: nothing is known of it");

        let mut session = cluster.session(0);
        session.join("kept", last(3));
        cluster.settle();
        let (joined, _) = session.joined();
        assert_eq!(head(), None, "{kind:?}: it has a subscriber");
        let first = joined.position.expect("the place before the first one");

        let positions = publish(&cluster, "kept", 1..=1);
        assert_eq!(head(), Some(positions[0]), "{kind:?}");
        let (is_recovered, texts, _) = rejoin(&cluster, 0, &first);
        assert_eq!(
            (is_recovered, texts),
            (true, vec!["1".to_owned()]),
            "{kind:?}"
        );
    }
}
