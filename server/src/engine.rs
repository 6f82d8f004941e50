//! What all servers that work together share: publications with their history, presence, and kept values.
//!
//! [`Engine`] is the interface to the place where this lies: the memory of this process, or a broker. [`Sink`] is what an
//! engine calls. No function waits, and none returns a future: an answer comes through a [`Done`], in the call or later,
//! on any thread. So an engine that is away stops no session. `tests` is one suite, which every engine passes.
//!
//! An engine does not know sessions. What lies between it and the sessions of this server is the same for every engine: the
//! `node`.

pub(crate) mod local;
pub(crate) mod node;
pub(crate) mod position;
#[cfg(test)]
pub(crate) mod test_bus;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::sessions::prepared_message::PreparedMessage;
use crate::sessions::topics::Topic;

/// A place for shared state. See the [module](self).
pub(crate) trait Engine: Send + Sync + fmt::Debug {
    /// What this engine can do. It never changes.
    fn capabilities(&self) -> Capabilities;

    /// Publishes a message. The publications of one caller to one topic keep their order.
    ///
    /// The publisher's own server hears it by [`Sink::publication`], like every other one that has subscribed.
    ///
    /// # Errors
    /// [`Failure::Full`]: too much waits to be published. [`Failure::TooBig`]: the topic has a history that can keep
    /// publications, but by itself this one is beyond a limit of it. Nothing was published, and nothing waited.
    fn publish(&self, publication: Publication) -> Result<(), Failure>;

    /// Publishes a message, and answers with its position once the topic's history has it.
    ///
    /// A publication whose `(origin, number)` the engine has seen is not published again. It gets the first one's answer.
    /// An engine knows at least the last 256 publications that a topic's history has.
    /// [`Failure::Unsupported`]: the topic has no history. [`Failure::TooBig`]: no history would have it, because it alone is
    /// beyond a limit. Nothing was published.
    fn publish_acked(&self, publication: Publication, done: Done<StreamPosition>);

    /// Begins to tell the sink of a topic's publications and changes. Each server asks once for a topic, or from two threads
    /// at a time: then both are answered, and the sink hears everything once.
    ///
    /// The sink hears everything after the position that is answered, and nothing is missed from then on.
    fn subscribe(&self, topic: &TopicName, done: Done<Start>);

    /// Ends [`subscribe`](Self::subscribe). The sink may still hear what was under way.
    fn unsubscribe(&self, topic: &TopicName);

    /// Reads publications of a topic, the oldest first.
    fn history(&self, topic: &TopicName, from: HistoryFrom, limit: PageLimit, done: Done<Page>);

    /// Makes a session a member of a topic, or gives a member another value. Answers the version of the members. A member
    /// that has this value already changes nothing.
    fn enter(&self, topic: &TopicName, member: Member, done: Done<u64>);

    /// Ends a membership, if there is one.
    fn leave(&self, topic: &TopicName, id: u64);

    /// Reads the members of a topic by rising id, after the member `after`.
    ///
    /// A list of several pages is brought up to date by all changes after the version of its first page.
    fn present(
        &self,
        topic: &TopicName,
        after: Option<u64>,
        limit: PageLimit,
        done: Done<MembersPage>,
    );

    /// Reads or changes the values that a handler keeps.
    ///
    /// The requests of one caller are carried out in the order of the calls. Their answers may come in any order.
    fn store(&self, handler: &Arc<str>, request: StoreRequest, done: Done<StoreAnswer>);

    /// What the engine holds now for the topics and keys of one handler.
    fn usage(&self, handler: &str) -> Usage;

    /// What the engine holds now for all handlers and of the server's own topics.
    fn total_usage(&self) -> Usage;

    /// Whether the engine is there, and what an operator should know of it.
    fn status(&self) -> EngineStatus;
}

/// The side of a server that an [`Engine`] calls. It returns soon and calls no handler's code. It may call the engine.
///
/// Calls of `publication` and `presence` for one topic never overlap. The engine holds no lock during a call. What a sink
/// has the engine publish on a topic, from inside a call for that topic, it hears after that call.
pub(crate) trait Sink: Send + Sync {
    /// A publication, in the order of its topic. `at` is its place in the history, if its topic has one.
    fn publication(&self, publication: &Publication, at: Option<StreamPosition>);

    /// Publications of a topic are lost, and the engine does not have them any more.
    fn gap(&self, topic: &TopicName);

    /// The configuration has taken the history of a topic, or has given it one. What comes after this call stands on another
    /// stream, which ends at `head` now, or on none. No publication is lost by it.
    fn stream_changed(&self, topic: &TopicName, head: Option<StreamPosition>);

    /// A member has come, has gone, or has another value. Changes of one topic come in the order of their versions.
    fn presence(&self, change: &PresenceChange);

    /// Whether the engine can be reached. It is called when this changes.
    ///
    /// With `false`, every subscription of this server is over, and so is every ask. With `true`, the sink subscribes and
    /// enters again. A member that does not enter again leaves within the time after which a server counts as gone.
    fn reachable(&self, is_reachable: bool);
}

/// An answer, called once. Like a [`Sink`], it may call the engine, so the engine holds no lock meanwhile.
pub(crate) type Done<T> = Box<dyn FnOnce(Result<T, Failure>) + Send>;

/// What an engine can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// All servers hear the publications of one topic in one order.
    pub(crate) total_order: bool,
    /// It keeps publications.
    pub(crate) history: bool,
    /// It keeps members.
    pub(crate) presence: bool,
    /// It keeps values.
    pub(crate) store: bool,
    /// What it keeps outlives this process.
    pub(crate) durable: bool,
    /// Other servers may publish. Without it, a topic of which nothing is kept needs no engine.
    pub(crate) remote: bool,
}

/// A topic's full name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicName {
    /// The handler that the topic belongs to, or [`SERVER`](crate::sessions::topics::SERVER).
    pub(crate) owner: Arc<str>,
    /// 1 to 255 bytes without NUL. No byte is a wildcard.
    pub(crate) name: Arc<str>,
}

impl TopicName {
    pub(crate) fn new(topic: Topic<'_>) -> TopicName {
        TopicName {
            owner: topic.owner().into(),
            name: topic.name().into(),
        }
    }

    pub(crate) fn as_topic(&self) -> Topic<'_> {
        Topic::new(&self.owner, &self.name)
    }
}

/// One message to a topic.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) topic: TopicName,
    /// The server that has published it.
    pub(crate) origin: Origin,
    /// Its number among the publications of `origin`. Both together are what a repeated publication is known by.
    pub(crate) number: u64,
    /// The session that does not get it, on whichever server it is; 0 is none.
    pub(crate) except: u64,
    pub(crate) message: Arc<PreparedMessage>,
}

/// One life of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// The number of the server among those that work together, as in the ids of its sessions.
    pub(crate) node: u32,
    /// Random, and another one after each start.
    pub(crate) incarnation: u64,
}

/// A place in the history of one topic.
///
/// Offsets count from 1 and have no holes within an epoch. A stream that may be another one has another epoch, so
/// nothing of it is taken for the rest of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamPosition {
    /// Random.
    pub(crate) epoch: u64,
    /// 0 is before the first publication.
    pub(crate) offset: u64,
}

/// The answer to [`Engine::subscribe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// The last publication before those that the sink hears. `None` for a topic without history.
    pub(crate) head: Option<StreamPosition>,
}

/// Where a page of a history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistoryFrom {
    /// With so many publications before the end, or with the oldest.
    Last(u64),
    /// Behind this position.
    After(StreamPosition),
    /// With the last publications up to and with this position: at most so many, and with at most so many bytes of payloads.
    /// Without any of these, behind the position.
    UpTo {
        last: StreamPosition,
        count: u64,
        bytes: usize,
    },
}

/// How much a page may have. It has at least one item, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageLimit {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

/// A part of a topic's history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// The oldest first, with successive offsets.
    pub(crate) publications: Vec<PastPublication>,
    /// Nothing is missing between the position of [`HistoryFrom`] and the first publication. False for another epoch, for a
    /// position that is not reached yet, and where publications behind it are dropped by now. The page is empty then.
    /// True for [`HistoryFrom::Last`], if the topic has history.
    pub(crate) is_complete: bool,
    /// More publications follow.
    pub(crate) has_more: bool,
    /// The last publication of the topic. `None` for a topic without history, and for one that the engine knows nothing
    /// of.
    pub(crate) head: Option<StreamPosition>,
}

/// One publication of a history.
#[derive(Clone, Debug)]
pub(crate) struct PastPublication {
    pub(crate) at: StreamPosition,
    /// As in [`Publication::except`]. A server that lacks a publication gets it from the history, and its session does not.
    pub(crate) except: u64,
    pub(crate) message: Arc<PreparedMessage>,
}

/// A session that is present on a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The session's id.
    pub(crate) id: u64,
    pub(crate) value: Arc<[u8]>,
}

/// Some of the members of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MembersPage {
    pub(crate) members: Vec<Member>,
    /// The changes up to this version are in the list, and none after it.
    pub(crate) version: u64,
    /// More members follow the last one.
    pub(crate) has_more: bool,
}

/// A change of the members of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PresenceChange {
    pub(crate) topic: TopicName,
    /// The version of the members after it. Versions of one topic have no holes.
    pub(crate) version: u64,
    pub(crate) kind: ChangeKind,
    /// With the value that it has, or had when it left.
    pub(crate) member: Member,
}

/// What has happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Joined,
    Left,
    /// It has another value.
    Changed,
}

/// Reads or changes the values that one handler keeps. A key has 1 to 255 bytes; the caller has looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreRequest {
    Get {
        key: Box<str>,
    },
    Put {
        key: Box<str>,
        value: Arc<[u8]>,
        only_if: Condition,
        /// How long the value is kept; `None` until it is deleted.
        time_to_live: Option<Duration>,
    },
    Delete {
        key: Box<str>,
        only_if: Condition,
    },
    /// The keys that begin with `prefix`, in the order of their bytes, after the key `after`.
    List {
        prefix: Box<str>,
        after: Option<Box<str>>,
        limit: PageLimit,
    },
}

/// What must hold for a value to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    /// The value has this version. 0: there is no value.
    Version(u64),
}

/// The answer to a [`StoreRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreAnswer {
    /// Of a get: the value, if there is one.
    Value(Option<KeptValue>),
    /// Of a put or a delete: its version. Versions of one handler only grow, also over a deletion.
    Changed(u64),
    /// Of a list.
    Keys {
        values: Vec<KeptValue>,
        /// More keys follow the last one.
        has_more: bool,
    },
}

/// A value that a handler keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptValue {
    pub(crate) key: Arc<str>,
    pub(crate) value: Arc<[u8]>,
    /// Never 0.
    pub(crate) version: u64,
}

/// Why an engine has not done what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Too much waits, for the engine or for a handler.
    Full,
    /// It would pass a limit. Nothing was changed.
    TooBig {
        /// The limit's key in config.toml.
        limit: &'static str,
    },
    /// The value does not have the version that was named. Nothing was changed.
    Conflict {
        /// The version that it has; 0 if there is no value.
        current: u64,
    },
    /// The engine cannot be reached, or did not answer in time. It is not known whether the request was carried out.
    Unavailable,
    /// The engine cannot do this, or the configuration does not allow it for the topic.
    Unsupported,
}

/// What an engine holds for one handler, or for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Topics with history or members.
    pub(crate) topics: usize,
    pub(crate) publications: usize,
    /// The memory of all histories.
    pub(crate) history_bytes: usize,
    pub(crate) members: usize,
    pub(crate) presence_bytes: usize,
    pub(crate) keys: usize,
    pub(crate) store_bytes: usize,
}

/// The state of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EngineStatus {
    /// As in the configuration: `local`.
    pub(crate) kind: &'static str,
    pub(crate) is_reachable: bool,
}
