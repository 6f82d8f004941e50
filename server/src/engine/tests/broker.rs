//! Who hears what: claims 1 to 12.

use super::cluster::{Cluster, KINDS, NOW};
use super::session::TestSession;

/// Sessions on all servers in turn, which have joined the topic.
fn joined(cluster: &mut Cluster, topic: &str, count: usize) -> Vec<TestSession> {
    let servers = cluster.len();
    let mut sessions: Vec<_> = (0..count).map(|n| cluster.session(n % servers)).collect();
    sessions.iter_mut().for_each(|it| it.join(topic, NOW));
    cluster.settle();
    for session in &sessions {
        let (joined, texts) = session.joined();
        assert!(
            joined.is_recovered && texts.is_empty(),
            "{joined:?} {texts:?}"
        );
    }
    sessions
}

#[test]
fn claim_1_each_subscriber_on_each_server_hears_a_publication_once() {
    for kind in KINDS {
        for topic in ["plain", "kept"] {
            let mut cluster = Cluster::new(kind);
            let sessions = joined(&mut cluster, topic, 12);
            let here = cluster.publish(0, topic, "hello").unwrap();
            cluster.settle();

            assert_eq!(here, 12_usize.div_ceil(cluster.len()), "{kind:?} {topic}");
            for session in &sessions {
                assert_eq!(session.texts(), ["hello"], "{kind:?} {topic}");
            }
        }
    }
}

#[test]
fn claim_2_the_excepted_session_hears_nothing_wherever_it_is() {
    for kind in KINDS {
        for topic in ["plain", "kept"] {
            let mut cluster = Cluster::new(kind);
            let sessions = joined(&mut cluster, topic, 6);
            let far = sessions.last().unwrap().id();
            cluster.publish_but(0, topic, "hello", far).unwrap();
            cluster.settle();

            for session in &sessions {
                let expected: &[&str] = if session.id() == far { &[] } else { &["hello"] };
                assert_eq!(session.texts(), expected, "{kind:?} {topic}");
            }
        }
    }
}
