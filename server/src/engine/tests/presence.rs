//! Members of topics: claims 36 to 42, and 54.

use std::collections::BTreeMap;

use super::cluster::{Answer, Cluster, KINDS, Kind, NOW, answer};
use super::session::TestSession;
use crate::engine::test_bus::faults::Faults;
use crate::engine::{Failure, MembersPage, PageLimit};
use crate::sessions::topics::Topic;

/// The members of a topic of `chat`, as a server knows them, each as `ID VALUE`.
fn members(cluster: &Cluster, server: usize, topic: &str) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let answer = present(cluster, server, topic, after);
        cluster.settle();
        let page = answer.take().unwrap();
        found.extend(page.members.iter().map(|member| {
            let value = String::from_utf8_lossy(&member.value);
            format!("{} {value}", member.id)
        }));
        after = page.members.last().map(|member| member.id);
        if !page.has_more {
            return found;
        }
    }
}

fn present(
    cluster: &Cluster,
    server: usize,
    topic: &str,
    after: Option<u64>,
) -> Answer<MembersPage> {
    let (answer, done) = answer();
    let limit = PageLimit {
        items: 3,
        bytes: 1 << 20,
    };
    let node = &cluster.servers[server % cluster.len()].node;
    node.present(Topic::new("chat", topic), after, limit, done);
    answer
}

#[test]
fn claim_36_and_41_sessions_enter_are_listed_and_leave_on_any_server_each_for_itself() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let sessions: Vec<_> = (0..7)
            .map(|it| cluster.session(it % cluster.len()))
            .collect();
        // All are sessions of one user.
        let versions: Vec<_> = sessions
            .iter()
            .map(|it| {
                let answer = it.enter("kept", "ann");
                cluster.settle();
                answer.take().unwrap()
            })
            .collect();
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
        let mut expected: Vec<_> = sessions.iter().map(|it| it.id()).collect();
        expected.sort_unstable();
        let texts = |ids: &[u64]| -> Vec<_> { ids.iter().map(|it| format!("{it} ann")).collect() };
        for server in 0..cluster.len() {
            assert_eq!(
                members(&cluster, server, "kept"),
                texts(&expected),
                "{kind:?}"
            );
        }

        sessions[0].leave("kept");
        expected.retain(|id| *id != sessions[0].id());
        cluster.settle();
        assert_eq!(members(&cluster, 1, "kept"), texts(&expected), "{kind:?}");

        drop(sessions);
        cluster.settle();
        assert_eq!(members(&cluster, 2, "kept"), [""; 0], "{kind:?}");
    }
}

#[test]
fn claim_36_a_topic_without_presence_has_no_members() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let session = cluster.session(0);
        let entered = session.enter("secret", "ann");
        let listed = present(&cluster, 0, "secret", None);
        assert_eq!(entered.take(), Err(Failure::Unsupported));
        assert_eq!(listed.take(), Err(Failure::Unsupported));
    }
}

#[test]
fn claim_39_subscribers_hear_each_change_once_and_nothing_when_nothing_has_changed() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        cluster.tell_members();
        let mut listeners: Vec<_> = (0..cluster.len()).map(|it| cluster.session(it)).collect();
        listeners.iter_mut().for_each(|it| it.join("plain", NOW));
        cluster.settle();
        listeners.iter().for_each(|it| drop(it.joined()));

        let member = cluster.session(cluster.len() - 1);
        for value in ["ann", "ben", "ben"] {
            member.enter("plain", value);
        }
        member.leave("plain");
        member.leave("plain");
        cluster.settle();

        let id = member.id();
        let expected = [
            format!("joined {id} ann"),
            format!("changed {id} ben"),
            format!("left {id} ben"),
        ];
        for listener in &listeners {
            assert_eq!(listener.texts(), expected, "{kind:?}");
        }
    }
}

#[test]
fn claim_37_the_members_of_a_killed_server_leave_after_its_lease_each_once() {
    let cluster = Cluster::new(Kind::Bus(5));
    cluster.tell_members();
    let mut listener = cluster.session(0);
    listener.join("kept", NOW);
    let lost: Vec<_> = (0..3).map(|_| cluster.session(4)).collect();
    let stays = cluster.session(1);
    lost.iter()
        .chain([&stays])
        .for_each(|it| drop(it.enter("kept", "x")));
    cluster.settle();
    listener.heard();

    cluster.bus().kill(4);
    cluster.advance(14_000);
    assert_eq!(members(&cluster, 2, "kept").len(), 4);
    cluster.advance(2_000);

    assert_eq!(members(&cluster, 2, "kept"), [format!("{} x", stays.id())]);
    let mut texts = listener.texts();
    texts.sort();
    let left = lost.iter().map(|it| format!("left {} x", it.id()));
    assert_eq!(texts, left.collect::<Vec<_>>());
}

#[test]
fn claim_38_members_enter_again_after_a_stop_and_none_is_there_twice() {
    stop_broker(false);
}

#[test]
fn claim_42_the_members_are_whole_within_5_s_of_a_restart_that_lost_them_and_no_subscriber_hears_of_it()
 {
    stop_broker(true);
}

/// Stops the broker while members are there. One leaves meanwhile. With `loses`, the broker has forgotten them all.
fn stop_broker(loses: bool) {
    let cluster = Cluster::new(Kind::Bus(5));
    cluster.tell_members();
    let mut listener = cluster.session(0);
    listener.join("kept", NOW);
    let sessions: Vec<_> = (0..10).map(|it| cluster.session(it % 5)).collect();
    sessions.iter().for_each(|it| drop(it.enter("kept", "x")));
    cluster.settle();
    listener.heard();
    let before = members(&cluster, 0, "kept");
    assert_eq!(before.len(), 10);

    if loses {
        cluster.bus().lose_everything();
    }
    cluster.bus().stop_broker(1_000);
    // One leaves while the broker is away.
    cluster.advance(1_000);
    sessions[7].leave("kept");
    cluster.advance(5_000 + 2_000);

    let mut now = members(&cluster, 3, "kept");
    if !loses {
        // Its leave was lost with the connection, and its lease ends.
        cluster.advance(10_000);
        now = members(&cluster, 3, "kept");
    }
    let left = format!("{} x", sessions[7].id());
    let expected: Vec<_> = before.iter().filter(|it| **it != left).cloned().collect();
    assert_eq!(now, expected, "{loses}");
    assert_eq!(listener.texts(), [format!("left {left}")], "{loses}");
}

/// What a subscriber knows who has read the list once, and has heard each change since it joined.
fn known(list: &[String], heard: &[String]) -> Vec<String> {
    let split = |text: &str| -> (u64, String) {
        let (id, value) = text.split_once(' ').unwrap();
        (id.parse().unwrap(), value.to_owned())
    };
    let mut members: BTreeMap<u64, String> = list.iter().map(|it| split(it)).collect();
    for change in heard {
        let (kind, member) = change.split_once(' ').unwrap();
        let (id, value) = split(member);
        match kind {
            "left" => members.remove(&id),
            _ => members.insert(id, value),
        };
    }
    members
        .iter()
        .map(|(id, value)| format!("{id} {value}"))
        .collect()
}

#[test]
fn claim_40_a_list_and_the_changes_since_then_are_the_later_list_whatever_fails() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let cluster = Cluster::on_bus(5, seed);
        cluster.tell_members();
        let mut listeners: Vec<_> = (0..5).map(|it| cluster.session(it)).collect();
        listeners.iter_mut().for_each(|it| it.join("kept", NOW));
        cluster.settle();
        let list = members(&cluster, 0, "kept");
        cluster.set_faults(Faults {
            lost_publications: 0,
            ..Faults::many()
        });

        let mut sessions: Vec<Option<TestSession>> = (0..20).map(|_| None).collect();
        let mut heard = vec![Vec::new(); 5];
        for _ in 0..150 {
            let (server, number) = (random.usize(0..5), random.usize(0..20));
            match random.u32(0..100) {
                0..60 => {
                    let session = sessions[number].get_or_insert_with(|| cluster.session(server));
                    session.enter("kept", &random.u32(0..3).to_string());
                }
                60..75 => sessions[number] = None,
                75..90 => sessions[number].iter().for_each(|it| it.leave("kept")),
                90..96 => cluster.bus().cut(server, random.u64(0..20_000)),
                96 => cluster.bus().stop_broker(random.u64(0..3_000)),
                97 if seed % 2 == 0 => {
                    cluster.bus().lose_everything();
                    cluster.bus().stop_broker(random.u64(0..1_000));
                }
                _ => cluster.bus().stall(server, random.u64(0..2_000)),
            }
            cluster.advance(random.u64(1..200));
            for (listener, heard) in listeners.iter().zip(&mut heard) {
                heard.extend(listener.texts());
            }
        }
        cluster.set_faults(Faults::none());
        cluster.advance(40_000);

        let mut expected: Vec<_> = sessions
            .iter()
            .flatten()
            .filter_map(|it| it.value_in("kept").map(|value| (it.id(), value)))
            .collect();
        expected.sort_unstable();
        let expected: Vec<_> = expected
            .iter()
            .map(|(id, value)| format!("{id} {value}"))
            .collect();
        assert_eq!(members(&cluster, 3, "kept"), expected, "seed {seed}");
        for (server, (listener, heard)) in listeners.iter().zip(&mut heard).enumerate() {
            heard.extend(listener.texts());
            assert_eq!(known(&list, heard), expected, "seed {seed} server {server}");
        }
    }
}

#[test]
fn claim_54_ids_of_two_servers_never_meet() {
    let cluster = Cluster::new(Kind::Bus(5));
    let sessions: Vec<_> = (0..500).map(|it| cluster.session(it % 5)).collect();
    let mut ids: Vec<_> = sessions.iter().map(|it| it.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 500);
    assert!(
        sessions
            .iter()
            .enumerate()
            .all(|(it, session)| session.id() >> 44 == it as u64 % 5 + 1)
    );
}
