//! What goes over a connection of the test bus: what a server asks, and what it hears.

use std::sync::Weak;

use crate::engine::{
    HistoryFrom, Member, PageLimit, PresenceChange, Publication, Sink, StoreRequest,
    StreamPosition, TopicName,
};

/// What a server asks.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Publish(Publication),
    PublishAcked(Publication),
    Subscribe(TopicName),
    Unsubscribe(TopicName),
    History(TopicName, HistoryFrom, PageLimit),
    Enter(TopicName, Member),
    Leave(TopicName, u64),
    Present(TopicName, Option<u64>, PageLimit),
    Store(TopicName, StoreRequest),
}

/// What a server hears.
#[derive(Clone, Debug)]
pub(super) enum Delivery {
    Publication(Publication, Option<StreamPosition>),
    Change(PresenceChange),
    Gap(TopicName),
    StreamChanged(TopicName, Option<StreamPosition>),
}

impl Request {
    pub(super) fn topic(&self) -> &TopicName {
        match self {
            Request::Publish(publication) | Request::PublishAcked(publication) => {
                &publication.topic
            }
            Request::Subscribe(topic)
            | Request::Unsubscribe(topic)
            | Request::History(topic, ..)
            | Request::Enter(topic, _)
            | Request::Leave(topic, _)
            | Request::Present(topic, ..)
            | Request::Store(topic, _) => topic,
        }
    }

    /// What the request is for, by which requests are counted.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Request::Publish(_) | Request::PublishAcked(_) => "publish",
            Request::Subscribe(_) => "subscribe",
            Request::Unsubscribe(_) => "unsubscribe",
            Request::History(_, HistoryFrom::Last(0), _) => "head",
            Request::History(..) => "history",
            Request::Enter(..) => "enter",
            Request::Leave(..) => "leave",
            Request::Present(..) => "present",
            Request::Store(..) => "store",
        }
    }
}

impl Delivery {
    pub(super) fn topic(&self) -> &TopicName {
        match self {
            Delivery::Publication(publication, _) => &publication.topic,
            Delivery::Change(change) => &change.topic,
            Delivery::Gap(topic) | Delivery::StreamChanged(topic, _) => topic,
        }
    }

    pub(super) fn tell(&self, sink: &Weak<dyn Sink>) {
        let Some(sink) = sink.upgrade() else {
            return;
        };
        match self {
            Delivery::Publication(publication, at) => sink.publication(publication, *at),
            Delivery::Change(change) => sink.presence(change),
            Delivery::Gap(topic) => sink.gap(topic),
            Delivery::StreamChanged(topic, head) => sink.stream_changed(topic, *head),
        }
    }
}
