//! What the node does when its engine calls.

use super::Node;
use crate::engine::{PresenceChange, Publication, Sink, StreamPosition, TopicName};

impl Sink for Node {
    fn publication(&self, publication: &Publication, _at: Option<StreamPosition>) {
        let topic = publication.topic.as_topic();
        self.topics
            .publish(topic, &publication.message, publication.except);
    }

    fn gap(&self, _topic: &TopicName) {}

    fn presence(&self, _change: &PresenceChange) {}

    fn reachable(&self, _is_reachable: bool) {}
}
