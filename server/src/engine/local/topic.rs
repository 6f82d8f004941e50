//! One topic: its history, its members, and what the sink has to hear of it.

use std::sync::Arc;

use super::epochs::Epochs;
use super::footprint::{allocated, hash_table_entry, shared};
use super::history::{Appended, Stream};
use super::outbox::{Event, Outbox};
use super::owners::Owner;
use super::presence::Members;
use super::usage::{Counts, TopicUsage};
use crate::config::HistoryBounds;
use crate::engine::{
    ChangeKind, Failure, HistoryFrom, Member, MembersPage, Page, PageLimit, PresenceChange,
    Publication, Start, StreamPosition, TopicName,
};
use crate::process::clock::Moment;

/// What the engine has of one topic.
#[derive(Debug)]
pub(super) struct Topic {
    owner: Arc<Owner>,
    name: TopicName,
    /// `None` while the configuration gives the topic no history.
    stream: Option<Stream>,
    members: Members,
    is_subscribed: bool,
    outbox: Outbox,
    /// When the table sweeps the topic, which may be earlier than needed.
    due: Option<Moment>,
    /// What is counted of this topic in the usage of its owner and of all topics.
    counted: Counts,
}

/// An answer, and what the caller is to tell the sink when it has given back the lock.
pub(super) type Told<T> = (T, Option<Event>);

impl Topic {
    /// A topic of which nothing is known. The list of its members begins with this version.
    pub(super) fn new(owner: Arc<Owner>, name: TopicName, version: u64) -> Topic {
        Topic {
            owner,
            name,
            stream: None,
            members: Members::new(version),
            is_subscribed: false,
            outbox: Outbox::default(),
            due: None,
            counted: Counts::default(),
        }
    }

    /// Appends a publication to the history, if the topic has one, and to what the sink has to hear.
    pub(super) fn publish(
        &mut self,
        publication: Publication,
        bounds: Option<HistoryBounds>,
        epochs: &Epochs,
        now: Moment,
    ) -> Result<Told<Option<StreamPosition>>, Failure> {
        if self.outbox.is_full() {
            return Err(Failure::Full);
        }
        let changed = self.bound(bounds, epochs, now);
        let at = match &mut self.stream {
            Some(stream) => match stream.append(&publication, now) {
                Appended::New(at) => Some(at),
                Appended::Repeated(at) => return Ok((Some(at), changed)),
            },
            None => None,
        };
        let published = self.event(|| Event::Publication(publication, at));
        // The publication waits behind the change, if there is one.
        Ok((at, changed.or(published)))
    }

    /// From now on the sink hears of the topic. Another thread may have subscribed already.
    pub(super) fn subscribe(
        &mut self,
        bounds: Option<HistoryBounds>,
        epochs: &Epochs,
        now: Moment,
    ) -> Told<Start> {
        let changed = self.bound(bounds, epochs, now);
        self.is_subscribed = true;
        let head = self.head();
        (Start { head }, changed)
    }

    /// What the sink has not heard yet, it does not hear any more.
    pub(super) fn unsubscribe(&mut self) {
        self.is_subscribed = false;
        self.outbox.clear();
    }

    /// Applies what the configuration says now. The sink hears that the stream is another one.
    ///
    /// A topic that loses its history loses the epoch too: what is published meanwhile gets no offset.
    #[must_use]
    pub(super) fn bound(
        &mut self,
        bounds: Option<HistoryBounds>,
        epochs: &Epochs,
        now: Moment,
    ) -> Option<Event> {
        match (bounds, &mut self.stream) {
            (Some(bounds), Some(stream)) => {
                stream.bound(bounds, now);
                return None;
            }
            (None, None) => return None,
            (Some(bounds), stream) => *stream = Some(Stream::new(epochs.next(), bounds)),
            (None, stream) => *stream = None,
        }
        let (topic, head) = (self.name.clone(), self.head());
        self.event(|| Event::StreamChanged(topic, head))
    }

    /// The last publication, or the place before the first one. `None` without a history.
    fn head(&self) -> Option<StreamPosition> {
        self.stream.as_ref().map(Stream::head)
    }

    /// Reads the history.
    pub(super) fn history(&self, from: HistoryFrom, limit: PageLimit, now: Moment) -> Page {
        let stream = self.stream.as_ref();
        stream.map_or_else(Page::default, |stream| stream.page(from, limit, now))
    }

    /// Makes a session a member, or gives it another value. Answers the version of the members.
    ///
    /// `others` is what the members of all topics take, this one included, and `bytes_max` what they may take.
    pub(super) fn enter(
        &mut self,
        member: Member,
        others: usize,
        bytes_max: usize,
    ) -> Result<Told<u64>, Failure> {
        let Some((after, before)) = self.members.bytes_with(&member) else {
            return Ok((self.members.version(), None));
        };
        let more = after.saturating_sub(before) + self.first_member_bytes();
        // A value that takes no more than the one before is let in, even if the limit is a smaller one by now.
        if after > before && others + more > bytes_max {
            return Err(Failure::TooBig {
                limit: "presence_bytes_max",
            });
        }
        if self.outbox.is_full() {
            return Err(Failure::Full);
        }
        let changed = self.members.enter(&member);
        let event = changed.and_then(|kind| self.changed(kind, member));
        Ok((self.members.version(), event))
    }

    /// Ends a membership, if there is one. It is never refused: a member that stays for ever would be worse than a queue
    /// that is a little longer.
    pub(super) fn leave(&mut self, id: u64) -> Option<Event> {
        let member = self.members.leave(id)?;
        self.changed(ChangeKind::Left, member)
    }

    pub(super) fn present(&self, after: Option<u64>, limit: PageLimit) -> MembersPage {
        self.members.page(after, limit)
    }

    /// What follows an event that the sink has heard.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.outbox.next()
    }

    /// Ends the turn of a thread in which the sink has panicked.
    pub(super) fn abandon_turn(&mut self) {
        self.outbox.abandon();
    }

    /// Drops publications that are too old, at most so many. Returns how many were dropped, and what an abandoned turn has
    /// left for the sink.
    pub(super) fn sweep(&mut self, now: Moment, at_most: usize) -> Told<usize> {
        let stream = self.stream.as_mut();
        let dropped = stream.map_or(0, |stream| stream.drop_old(now, at_most));
        (dropped, self.outbox.resume())
    }

    pub(super) fn drop_oldest(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.drop_oldest();
        }
    }

    /// When the oldest publication that is kept was published.
    pub(super) fn oldest(&self) -> Option<Moment> {
        self.stream.as_ref().and_then(Stream::oldest)
    }

    /// When [`sweep`](Self::sweep) has something to do.
    pub(super) fn look_at(&self) -> Option<Moment> {
        match self.outbox.is_abandoned() {
            true => Some(Moment::ORIGIN),
            false => self.stream.as_ref().and_then(Stream::look_at),
        }
    }

    /// When the table sweeps the topic.
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    pub(super) fn set_due(&mut self, due: Option<Moment>) {
        self.due = due;
    }

    /// Nothing is left that a topic made anew would not have, but for the version of the members.
    pub(super) fn is_idle(&self) -> bool {
        let is_empty = self.stream.as_ref().is_none_or(Stream::is_empty);
        is_empty && self.members.is_empty() && !self.is_subscribed && self.outbox.is_idle()
    }

    pub(super) fn name(&self) -> &TopicName {
        &self.name
    }

    /// The version of the members.
    pub(super) fn version(&self) -> u64 {
        self.members.version()
    }

    /// What the history takes, as it was counted last.
    pub(super) fn history_bytes(&self) -> usize {
        self.counted.history_bytes
    }

    /// The number of publications of the history, as it was counted last.
    pub(super) fn publications(&self) -> usize {
        self.counted.publications
    }

    /// Counts what the topic takes now, for its owner and in `all`.
    pub(super) fn count(&mut self, all: &TopicUsage) {
        let counts = self.counts();
        if counts != self.counted {
            self.owner.topics.change(&self.counted, &counts);
            all.change(&self.counted, &counts);
            self.counted = counts;
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        if let Some(stream) = self.stream.as_ref().filter(|stream| !stream.is_empty()) {
            counts.topics = 1;
            counts.publications = stream.len();
            counts.history_bytes = self.own_bytes() + stream.bytes();
        }
        // A topic with both counts twice what it takes by itself, since either may go first.
        if !self.members.is_empty() {
            counts.topics = 1;
            counts.members = self.members.len();
            counts.presence_bytes = self.own_bytes() + self.members.bytes();
        }
        counts
    }

    /// What a topic of this name takes at least beside publications and members.
    pub(super) fn least_bytes(name: &TopicName) -> usize {
        OWN_BYTES + shared(name.name.len())
    }

    /// What the topic takes beside publications and members.
    fn own_bytes(&self) -> usize {
        let due = self.due.map_or(0, |_| DUE_BYTES);
        Topic::least_bytes(&self.name) + due
    }

    /// What the first member takes besides.
    fn first_member_bytes(&self) -> usize {
        match self.members.is_empty() {
            true => self.own_bytes(),
            false => 0,
        }
    }

    fn changed(&mut self, kind: ChangeKind, member: Member) -> Option<Event> {
        let (topic, version) = (self.name.clone(), self.members.version());
        self.event(|| {
            Event::Presence(PresenceChange {
                topic,
                version,
                kind,
                member,
            })
        })
    }

    /// Adds an event to what the sink has to hear, if it wants to hear of the topic.
    fn event(&mut self, event: impl FnOnce() -> Event) -> Option<Event> {
        self.is_subscribed
            .then(|| self.outbox.begin(event()))
            .flatten()
    }
}

const OWN_BYTES: usize = allocated(size_of::<Topic>()) + hash_table_entry(size_of::<Box<Topic>>());
/// What an entry among the times of the table takes. Nodes of the tree are half empty, since times are removed as topics go.
const DUE_BYTES: usize = size_of::<(Moment, TopicName)>() * 2;
