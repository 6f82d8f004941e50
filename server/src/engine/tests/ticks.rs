//! What a tick costs: it looks at the topics at which something is due, and at no other.

use super::cluster::{Cluster, NOW};
use super::session::TestSession;

const TOPICS: usize = 1_000;

/// A server with a session on each of many topics with history, some seconds after they have joined.
fn quiet_server() -> (Cluster, Vec<TestSession>) {
    let cluster = Cluster::local();
    let mut sessions = Vec::new();
    for topic in 0..TOPICS {
        let mut session = cluster.session(0);
        session.join(&format!("kept {topic}"), NOW);
        sessions.push(session);
    }
    cluster.advance(20_000);
    (cluster, sessions)
}

/// Ticks the server in each of the next seconds. Answers how many topics each tick has looked at.
fn looked_at(cluster: &Cluster, seconds: u64) -> Vec<usize> {
    let begin_ms = cluster.now_ms();
    let tick = |second| {
        let now_ms = begin_ms + second * 1_000;
        cluster.servers[0].node.tick(now_ms).sum()
    };
    (1..=seconds).map(tick).collect()
}

#[test]
fn a_tick_looks_at_no_topic_whose_sessions_only_listen() {
    let (cluster, sessions) = quiet_server();
    for topic in 0..TOPICS {
        let topic = format!("kept {topic}");
        cluster.publish(0, &topic, "hi").expect("space");
    }

    assert_eq!(looked_at(&cluster, 3), [0, 0, 0]);
    assert_eq!(cluster.servers[0].node.known_topics(), TOPICS);
    assert_eq!(sessions[7].texts(), ["hi"]);
}

#[test]
fn a_tick_looks_at_the_topics_that_were_left_until_they_are_forgotten() {
    let (cluster, mut sessions) = quiet_server();

    sessions.drain(..3);

    // They find out at once that no session is there, after 5 s that what was on its way has arrived, and 5 s after the first
    // look that none has come back.
    assert_eq!(looked_at(&cluster, 8), [3, 0, 0, 0, 3, 3, 0, 0]);
    assert_eq!(cluster.servers[0].node.known_topics(), TOPICS - 3);
}
