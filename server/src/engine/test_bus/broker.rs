//! The broker of the test bus: streams, members and kept values, as plain as can be. It does one request after the other.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::message::{Delivery, Request};
use super::reply::Reply;
use super::stream::Stream;
use crate::config;
use crate::engine::{
    ChangeKind, Condition, Failure, KeptValue, Member, MembersPage, PageLimit, PresenceChange,
    Publication, Start, StoreAnswer, StoreRequest, StreamPosition, TopicName,
};

/// See the [module](self).
pub(super) struct Broker {
    policies: Arc<config::Topics>,
    random: fastrand::Rng,
    state: State,
    replica: State,
    requests: HashMap<&'static str, usize>,
    pub(super) deliveries: usize,
}

/// What is kept, and lost in a failover.
#[derive(Clone, Default)]
struct State {
    topics: BTreeMap<TopicName, Topic>,
    values: BTreeMap<(Arc<str>, Box<str>), Kept>,
    version: u64,
    /// Where the versions of a topic's members begin. It rises with each loss, so that no version is given twice.
    first_version: u64,
}

#[derive(Clone, Default)]
struct Topic {
    /// The servers that have subscribed. They are no part of what is kept.
    subscribers: BTreeSet<usize>,
    stream: Option<Stream>,
    members: BTreeMap<u64, Entry>,
    version: u64,
}

/// A member, and the connection that it belongs to.
#[derive(Clone)]
struct Entry {
    value: Arc<[u8]>,
    server: usize,
    connection: u64,
}

#[derive(Clone)]
struct Kept {
    value: Arc<[u8]>,
    version: u64,
    until_ms: u64,
}

/// What one request leads to.
type Answer = Option<Result<Reply, Failure>>;
type Deliveries = Vec<(usize, Delivery)>;

impl Broker {
    pub(super) fn new(seed: u64, policies: Arc<config::Topics>) -> Broker {
        Broker {
            policies,
            random: fastrand::Rng::with_seed(seed),
            state: State::default(),
            replica: State::default(),
            requests: HashMap::new(),
            deliveries: 0,
        }
    }

    pub(super) fn requests(&self, kind: &str) -> usize {
        self.requests.get(kind).copied().unwrap_or(0)
    }

    /// Does what a server asks on one of its connections.
    pub(super) fn serve(
        &mut self,
        (server, connection): (usize, u64),
        request: Request,
        now_ms: u64,
    ) -> (Answer, Deliveries) {
        *self.requests.entry(request.kind()).or_default() += 1;
        let mut deliveries = Vec::new();
        let answer = match request {
            Request::Publish(publication) => {
                self.publish(publication, now_ms, &mut deliveries);
                None
            }
            Request::PublishAcked(publication) => Some(match self.check_kept(&publication) {
                Err(failure) => Err(failure),
                Ok(()) => {
                    let at = self.publish(publication, now_ms, &mut deliveries);
                    at.map(Reply::Position).ok_or(Failure::Unsupported)
                }
            }),
            Request::Subscribe(name) => {
                let head = self.stream(&name, now_ms).map(|stream| stream.head());
                self.topic(&name).subscribers.insert(server);
                Some(Ok(Reply::Start(Start { head })))
            }
            Request::Unsubscribe(name) => {
                self.topic(&name).subscribers.remove(&server);
                None
            }
            Request::History(name, from, limit) => {
                let page = self.stream(&name, now_ms).map(|it| it.read(from, limit));
                Some(Ok(Reply::Page(page.unwrap_or_default())))
            }
            Request::Enter(name, member) => {
                let entry = Entry {
                    value: member.value.clone(),
                    server,
                    connection,
                };
                let topic = self.topic(&name);
                let before = topic.members.insert(member.id, entry);
                let kind = match before {
                    None => Some(ChangeKind::Joined),
                    Some(before) if before.value == member.value => None,
                    Some(_) => Some(ChangeKind::Changed),
                };
                if let Some(kind) = kind {
                    topic.change(&name, kind, member, &mut deliveries);
                }
                Some(Ok(Reply::Version(topic.version)))
            }
            Request::Leave(name, id) => {
                self.topic(&name).leave(&name, id, &mut deliveries);
                None
            }
            Request::Present(name, after, limit) => {
                Some(Ok(Reply::Members(self.topic(&name).present(after, limit))))
            }
            Request::Store(of, request) => Some(self.store(&of.owner, request, now_ms)),
        };
        self.deliveries += deliveries.len();
        (answer, deliveries)
    }

    /// The connection of a server is cut, so it has no subscription.
    pub(super) fn disconnect(&mut self, server: usize) {
        for topic in self.state.topics.values_mut() {
            topic.subscribers.remove(&server);
        }
    }

    /// The members of a connection leave that did not enter again on a later one.
    pub(super) fn end_lease(&mut self, server: usize, connection: u64) -> Deliveries {
        let mut deliveries = Vec::new();
        for (name, topic) in &mut self.state.topics {
            let is_over = |it: &Entry| it.server == server && it.connection <= connection;
            let over = topic.members.iter().filter(|(_, it)| is_over(it));
            let over: Vec<_> = over.map(|(id, _)| *id).collect();
            for id in over {
                topic.leave(name, id, &mut deliveries);
            }
        }
        deliveries
    }

    pub(super) fn lose_everything(&mut self) {
        self.state = State {
            version: self.state.version,
            first_version: self.state.first_version + LOST_VERSIONS,
            ..State::default()
        };
    }

    /// Topics have a history as `policies` says from now on. One that loses its history loses the stream as well.
    pub(super) fn set_policies(
        &mut self,
        policies: Arc<config::Topics>,
        now_ms: u64,
    ) -> Deliveries {
        self.policies = policies;
        let mut deliveries = Vec::new();
        let names: Vec<TopicName> = self.state.topics.keys().cloned().collect();
        for name in names {
            let before = self.topic(&name).stream.as_ref().map(|stream| stream.epoch);
            let head = self.stream(&name, now_ms).map(|stream| stream.head());
            if head.map(|head| head.epoch) == before {
                continue;
            }
            let told = self.topic(&name).subscribers.iter();
            let delivery = Delivery::StreamChanged(name.clone(), head);
            deliveries.extend(told.map(|server| (*server, delivery.clone())));
        }
        deliveries
    }

    pub(super) fn take_replica(&mut self) {
        self.replica = self.state.clone();
    }

    /// Each stream begins anew, because what came after the replica was taken may have been acknowledged.
    pub(super) fn fail_over(&mut self) {
        let first_version = self.state.first_version + LOST_VERSIONS;
        self.state = self.replica.clone();
        self.state.first_version = first_version;
        for topic in self.state.topics.values_mut() {
            topic.subscribers.clear();
            topic.stream = None;
            topic.version = topic.version.max(first_version);
        }
        self.state.version += LOST_VERSIONS;
    }

    fn topic(&mut self, name: &TopicName) -> &mut Topic {
        let version = self.state.first_version;
        let topics = &mut self.state.topics;
        topics.entry(name.clone()).or_insert_with(|| Topic {
            version,
            ..Topic::default()
        })
    }

    /// The stream of a topic that has a history, bounded by now.
    fn stream(&mut self, name: &TopicName, now_ms: u64) -> Option<&mut Stream> {
        let policies = self.policies.clone();
        let bounds = policies.policy(&name.owner, &name.name).history;
        let epoch = self.random.u64(..);
        let topic = self.topic(name);
        let Some(bounds) = bounds else {
            topic.stream = None;
            return None;
        };
        let stream = topic.stream.get_or_insert_with(|| Stream {
            epoch,
            offset: 0,
            history: VecDeque::new(),
            seen: HashMap::new(),
        });
        stream.bound(bounds, now_ms);
        Some(stream)
    }

    /// Refuses a publication that alone is beyond a bound of its history.
    pub(super) fn check_kept(&self, publication: &Publication) -> Result<(), Failure> {
        let TopicName { owner, name } = &publication.topic;
        let bounds = self.policies.policy(owner, name).history.as_ref();
        match bounds.is_some_and(|it| publication.message.payload().len() > it.bytes) {
            true => Err(Failure::TooBig { limit: "bytes" }),
            false => Ok(()),
        }
    }

    fn publish(
        &mut self,
        publication: Publication,
        now_ms: u64,
        deliveries: &mut Deliveries,
    ) -> Option<StreamPosition> {
        let name = publication.topic.clone();
        let stream = self.stream(&name, now_ms);
        let source = (publication.origin, publication.number);
        if let Some(at) = stream.as_ref().and_then(|stream| stream.seen.get(&source)) {
            return Some(*at);
        }
        let at = stream.map(|stream| stream.append(&publication, now_ms));
        // The new one counts for the bounds as well.
        self.stream(&name, now_ms);
        let subscribers = self.topic(&name).subscribers.iter();
        deliveries.extend(subscribers.map(|server| {
            let delivery = Delivery::Publication(publication.clone(), at);
            (*server, delivery)
        }));
        at
    }

    fn store(
        &mut self,
        handler: &Arc<str>,
        request: StoreRequest,
        now_ms: u64,
    ) -> Result<Reply, Failure> {
        self.state.values.retain(|_, kept| kept.until_ms > now_ms);
        let current = |state: &State, key: &str| {
            let kept = state.values.get(&(handler.clone(), key.into()));
            kept.map_or(0, |kept| kept.version)
        };
        let allows = |only_if, current| match only_if {
            Condition::Version(version) if version != current => Err(Failure::Conflict { current }),
            _ => Ok(()),
        };
        let answer = match request {
            StoreRequest::Get { key } => {
                let kept = self.state.values.get(&(handler.clone(), key.clone()));
                StoreAnswer::Value(kept.map(|kept| kept.as_value(&key)))
            }
            StoreRequest::Put {
                key,
                value,
                only_if,
                time_to_live,
            } => {
                allows(only_if, current(&self.state, &key))?;
                if value.len() > VALUE_BYTES_MAX {
                    let limit = "store_value_bytes_max";
                    return Err(Failure::TooBig { limit });
                }
                self.state.version += 1;
                let version = self.state.version;
                let lives = |it: std::time::Duration| now_ms + it.as_millis() as u64;
                let until_ms = time_to_live.map_or(u64::MAX, lives);
                let kept = Kept {
                    value,
                    version,
                    until_ms,
                };
                self.state.values.insert((handler.clone(), key), kept);
                StoreAnswer::Changed(version)
            }
            StoreRequest::Delete { key, only_if } => {
                allows(only_if, current(&self.state, &key))?;
                self.state.version += 1;
                self.state.values.remove(&(handler.clone(), key));
                StoreAnswer::Changed(self.state.version)
            }
            StoreRequest::List {
                prefix,
                after,
                limit,
            } => {
                let values = self.state.values.iter().filter(|((owner, key), _)| {
                    let is_later = after.as_ref().is_none_or(|after| *key > *after);
                    owner == handler && key.starts_with(&*prefix) && is_later
                });
                let mut values = values.map(|((_, key), kept)| kept.as_value(key));
                let page = values.by_ref().take(limit.items.max(1)).collect();
                StoreAnswer::Keys {
                    values: page,
                    has_more: values.next().is_some(),
                }
            }
        };
        Ok(Reply::Store(answer))
    }
}

impl Topic {
    fn change(
        &mut self,
        name: &TopicName,
        kind: ChangeKind,
        member: Member,
        deliveries: &mut Deliveries,
    ) {
        self.version += 1;
        let change = PresenceChange {
            topic: name.clone(),
            version: self.version,
            kind,
            member,
        };
        let told = self.subscribers.iter();
        deliveries.extend(told.map(|server| (*server, Delivery::Change(change.clone()))));
    }

    fn leave(&mut self, name: &TopicName, id: u64, deliveries: &mut Deliveries) {
        if let Some(Entry { value, .. }) = self.members.remove(&id) {
            let member = Member { id, value };
            self.change(name, ChangeKind::Left, member, deliveries);
        }
    }

    fn present(&self, after: Option<u64>, limit: PageLimit) -> MembersPage {
        let later = self.members.range(after.map_or(0, |after| after + 1)..);
        let mut later = later.map(|(id, entry)| Member {
            id: *id,
            value: entry.value.clone(),
        });
        MembersPage {
            members: later.by_ref().take(limit.items.max(1)).collect(),
            version: self.version,
            has_more: later.next().is_some(),
        }
    }
}

impl Kept {
    fn as_value(&self, key: &str) -> KeptValue {
        KeptValue {
            key: key.into(),
            value: self.value.clone(),
            version: self.version,
        }
    }
}

/// More than are given between two losses.
const LOST_VERSIONS: u64 = 1_000_000;
/// As the default of `store_value_bytes_max`.
const VALUE_BYTES_MAX: usize = 64 * 1024;
