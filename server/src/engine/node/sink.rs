//! What the node does when its engine calls.

use std::sync::atomic::Ordering;

use super::Node;
use super::arrived::Arrived;
use crate::engine::{PresenceChange, Publication, Sink, StreamPosition, TopicName};

impl Sink for Node {
    fn publication(&self, publication: &Publication, at: Option<StreamPosition>) {
        // A topic that is not known has no subscribers here.
        if let Some(known) = self.known.find(publication.topic.as_topic()) {
            let arrived = Arrived {
                message: publication.message.clone(),
                except: publication.except,
                source: Some((publication.origin, publication.number)),
            };
            let now_ms = self.now_ms();
            known.update(self, |state| state.publication(arrived, at, now_ms));
        }
    }

    fn gap(&self, topic: &TopicName) {
        if let Some(known) = self.known.find(topic.as_topic()) {
            let now_ms = self.now_ms();
            known.update(self, |state| state.lost(now_ms));
        }
    }

    fn stream_changed(&self, topic: &TopicName, head: Option<StreamPosition>) {
        if let Some(known) = self.known.find(topic.as_topic()) {
            let now_ms = self.now_ms();
            known.update(self, |state| state.stream_changed(head, now_ms));
        }
    }

    fn presence(&self, change: &PresenceChange) {
        if let Some(known) = self.known.find(change.topic.as_topic()) {
            let now_ms = self.now_ms();
            known.update(self, |state| state.change(change.clone(), now_ms));
        }
    }

    fn reachable(&self, is_reachable: bool) {
        self.is_reachable.store(is_reachable, Ordering::Relaxed);
        let now_ms = self.now_ms();
        for known in self.known.all() {
            known.update(self, |state| state.reachable(is_reachable, now_ms));
        }
        if is_reachable {
            let members = self.members.all().into_iter();
            members.for_each(|(topic, id)| self.enter_again(topic, id));
        }
    }
}
