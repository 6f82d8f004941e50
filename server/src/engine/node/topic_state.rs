//! What the node knows of one topic: what it has heard, which sessions wait to join, what has to be done.
//!
//! Nothing is done here. What the subscribers get lies in the queue, and what the engine is asked lies in the calls.

use std::collections::{HashMap, VecDeque};

use super::arrived::Arrived;
use super::departures::Departures;
use super::joins::{Join, Joins, MISSED_BYTES_MAX, PageOutcome, Ready};
use super::queue::{Delivery, Item, Queue};
use super::roster::{List, Roster};
use super::run::Run;
use super::seen::Seen;
use super::stream::{Action, Event, Missing, Stream};
use crate::engine::{
    Failure, HistoryFrom, MembersPage, Page, PastPublication, PresenceChange, Start,
    StreamPosition, TopicName,
};

/// See the [module](self).
pub(super) struct TopicState {
    stream: Stream<Arrived>,
    joins: Joins,
    /// The last publications that went on, while they are kept.
    window: Run,
    /// Whether the engine is far away, so that reading from it costs.
    is_remote: bool,
    seen: Seen,
    /// The members, if a handler hears of them and the engine is far away.
    roster: Option<Roster>,
    pub(super) queue: Queue,
    pub(super) calls: VecDeque<Call>,
    /// Whether a thread makes the calls. One at a time does, so that their order stays.
    pub(super) is_calling: bool,
    /// The sessions whose joins stand in the queue, each with the number of its last join.
    queued: HashMap<u64, u64>,
    next_join: u64,
    departures: Departures,
    /// No tick has looked at the topic since something other than a publication has happened.
    is_changed: bool,
    /// When the topic is due, as it is noted among all.
    pub(super) noted_due_ms: Option<u64>,
    /// The number of what the stream has asked last. Answers to what was asked before come too late.
    question: u64,
    /// When the end of the history is looked at next.
    head_check_ms: u64,
    /// The topic may be forgotten. No state is lost then.
    pub(super) is_forgettable: bool,
    /// The topic is not found any more, and another one stands in its place.
    pub(super) is_forgotten: bool,
}

/// What the engine is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// The stream has asked it, by this number.
    Subscribe(u64),
    Unsubscribe,
    /// The stream has asked it, by this number.
    ReadMissing(u64, StreamPosition),
    /// The joins have asked it, by this number.
    ReadForJoins(u64, HistoryFrom),
    ReadHead,
    /// The roster has asked it.
    ListMembers(List),
}

impl TopicState {
    pub(super) fn new(is_remote: bool) -> TopicState {
        TopicState {
            stream: Stream::Idle,
            joins: Joins::default(),
            window: Run::default(),
            is_remote,
            seen: Seen::default(),
            roster: None,
            queue: Queue::default(),
            calls: VecDeque::new(),
            is_calling: false,
            queued: HashMap::new(),
            next_join: 1,
            departures: Departures::default(),
            is_changed: true,
            noted_due_ms: None,
            question: 0,
            head_check_ms: 0,
            is_forgettable: false,
            is_forgotten: false,
        }
    }

    /// A session has joined in another way.
    pub(super) fn want(&mut self, now_ms: u64) {
        self.step(Event::Wanted, now_ms);
    }

    /// A session wants to join.
    pub(super) fn join(&mut self, mut join: Join, now_ms: u64) {
        join.number = self.next_join;
        self.next_join += 1;
        self.joins.push(join);
        self.step(Event::Wanted, now_ms);
        if matches!(self.stream, Stream::Away { .. }) {
            self.refuse_joins();
        }
        self.settle();
    }

    /// The number of the ask for the topic that another thread makes now, or is about to make.
    pub(super) fn asked_elsewhere(&self) -> Option<u64> {
        let is_asked = matches!(self.stream, Stream::Asked { .. });
        (is_asked && self.is_calling).then_some(self.question)
    }

    /// A session does not want to join any more. Answers its join if that stands in no queue.
    pub(super) fn give_up_join(&mut self, id: u64, now_ms: u64) -> Option<Join> {
        self.departures.note(id, now_ms);
        self.is_changed = true;
        if self.queued.remove(&id).is_some() {
            self.queue.give_up_joins(id);
        }
        self.joins.remove(id)
    }

    /// Whether the session still wants this join, which stands in the queue.
    pub(super) fn is_queued(&self, id: u64, number: u64) -> bool {
        self.queued.get(&id) == Some(&number)
    }

    /// The session is a subscriber now. False if it does not want to be one any more.
    pub(super) fn note_joined(&mut self, id: u64, number: u64) -> bool {
        let is_queued = self.is_queued(id, number);
        if is_queued {
            self.queued.remove(&id);
        }
        is_queued
    }

    /// Whether the session has left the topic a moment ago.
    pub(super) fn has_left(&self, id: u64) -> bool {
        self.departures.has(id)
    }

    /// Whether a session waits to join.
    pub(super) fn has_joins(&self) -> bool {
        !self.joins.is_empty() || !self.queued.is_empty()
    }

    /// A publication has come.
    pub(super) fn publication(
        &mut self,
        publication: Arrived,
        at: Option<StreamPosition>,
        now_ms: u64,
    ) {
        if self.is_remote && self.queue.is_full() {
            // It counts as lost, so it is read again from the history, or told.
            if at.is_none() {
                self.queue.push_gap();
            }
            return;
        }
        if self.stream.passes(at) {
            self.deliver(publication, at);
        } else {
            let bytes = publication.message.plain().len();
            let event = Event::Published {
                publication,
                at,
                bytes,
            };
            self.step(event, now_ms);
        }
        self.settle();
    }

    /// A change of the members has come.
    pub(super) fn change(&mut self, change: PresenceChange, now_ms: u64) {
        let is_full = self.is_remote && self.queue.is_full();
        let news = match &mut self.roster {
            // The members are listed again when there is room, and what is different is told.
            Some(roster) if is_full => {
                roster.cut();
                self.is_changed = true;
                None
            }
            Some(roster) => roster.change(change, now_ms),
            None => Some(change),
        };
        self.queue_changes(news);
        self.list_members(now_ms);
    }

    /// The engine has answered [`Call::ListMembers`].
    pub(super) fn members(&mut self, list: u64, page: Result<MembersPage, Failure>, now_ms: u64) {
        if let Some(roster) = &mut self.roster {
            let (news, next) = roster.page(list, page, now_ms);
            self.queue_changes(news);
            self.calls.extend(next.map(Call::ListMembers));
        }
    }

    /// A handler hears of the members, or none does any more.
    pub(super) fn hear_of_members(&mut self, topic: &TopicName, has_hearer: bool, now_ms: u64) {
        if !self.is_remote || !has_hearer {
            self.roster = None;
            return;
        }
        let roster = self
            .roster
            .get_or_insert_with(|| Roster::new(topic.clone()));
        if roster.is_away() && self.stream.is_subscribed() && !self.queue.is_full() {
            roster.begin(now_ms);
        }
        self.list_members(now_ms);
    }

    /// The engine has answered [`Call::Subscribe`].
    pub(super) fn started(&mut self, question: u64, answer: Result<Start, Failure>, now_ms: u64) {
        if question == self.question {
            self.step(Event::Started(answer), now_ms);
            self.head_check_ms = now_ms + HEADS_EVERY_MS;
            self.settle();
        }
    }

    /// The engine has answered [`Call::ReadMissing`].
    pub(super) fn missing(&mut self, question: u64, answer: Result<Page, Failure>, now_ms: u64) {
        if question == self.question {
            // It is read again at the next tick, when there may be room.
            let answer = match self.queue.is_full() {
                true => Err(Failure::Full),
                false => answer,
            };
            self.step(Event::Read(answer.map(Missing::from)), now_ms);
            self.settle();
        }
    }

    /// The engine has answered [`Call::ReadForJoins`].
    pub(super) fn page_for_joins(&mut self, read: u64, page: Result<Page, Failure>) {
        let Some(last) = self.stream.live() else {
            // What went on is not known now. The joins wait, and it is read once more.
            self.joins.stop_reading();
            return;
        };
        match self.joins.page(read, page, last, &self.window) {
            PageOutcome::More(from) => self.calls.push_back(Call::ReadForJoins(read, from)),
            PageOutcome::Ready(ready) => self.queue_joins(ready),
            PageOutcome::Failed(joins, failure) => self.refuse(joins, failure),
        }
        self.settle();
    }

    /// The engine has answered [`Call::ReadHead`].
    pub(super) fn head(&mut self, head: Option<StreamPosition>, now_ms: u64) {
        // Without one, it was not heard that the history is gone.
        let event = head.map_or(Event::StreamChanged(None), Event::Head);
        self.step(event, now_ms);
        self.settle();
    }

    /// The publications stand on another stream from now on, or on none.
    pub(super) fn stream_changed(&mut self, head: Option<StreamPosition>, now_ms: u64) {
        // What is read now is a part of the stream before.
        self.joins.stop_reading();
        self.step(Event::StreamChanged(head), now_ms);
        self.settle();
    }

    /// The engine has lost publications.
    pub(super) fn lost(&mut self, now_ms: u64) {
        self.step(Event::Lost, now_ms);
        self.settle();
    }

    /// Whether the engine can be reached has changed.
    pub(super) fn reachable(&mut self, is_reachable: bool, now_ms: u64) {
        let event = match is_reachable {
            true => Event::Back,
            false => Event::Cut,
        };
        // What is answered from now on was asked before.
        self.question += 1;
        if let Some(roster) = &mut self.roster {
            roster.cut();
        }
        self.step(event, now_ms);
        self.settle();
    }

    /// When a tick has something to do here, at least if nothing else happens before. `now_ms` is the time of the last tick.
    ///
    /// A topic with subscribers has nothing to do while its publications follow one another.
    pub(super) fn due_ms(&self, now_ms: u64) -> Option<u64> {
        let next_tick_ms = now_ms + 1;
        if self.is_changed || self.has_joins() {
            return Some(next_tick_ms);
        }
        let is_live = matches!(self.stream, Stream::Live { last: Some(_) });
        let head_check_ms = (self.is_remote && is_live).then_some(self.head_check_ms);
        let roster_ms = self.roster.as_ref().and_then(Roster::due_ms);
        let times = [
            self.stream.due_ms(),
            self.departures.due_ms(),
            head_check_ms,
            roster_ms,
        ];
        let first_ms = times.into_iter().flatten().min()?;
        Some(first_ms.max(next_tick_ms))
    }

    /// Has the next tick look at the topic.
    pub(super) fn look_again(&mut self) {
        self.is_changed = true;
    }

    /// Time has passed. `has_subscribers` says whether the topic has any on this server.
    pub(super) fn tick(&mut self, has_subscribers: bool, now_ms: u64) {
        self.is_forgettable = false;
        self.departures.forget_old(now_ms);
        let is_wanted = has_subscribers || self.has_joins();
        self.step(Event::Tick { is_wanted }, now_ms);
        if let Some(reached) = self.joins.reached() {
            self.step(Event::Head(reached), now_ms);
        }
        let is_live = matches!(self.stream, Stream::Live { last: Some(_) });
        if self.is_remote && is_live && self.head_check_ms <= now_ms {
            self.head_check_ms = now_ms + HEADS_EVERY_MS;
            self.calls.push_back(Call::ReadHead);
        }
        self.settle();
        self.is_changed = false;
    }

    /// Whether nothing is lost if the topic is forgotten.
    pub(super) fn can_be_forgotten(&self) -> bool {
        matches!(self.stream, Stream::Idle)
            && !self.has_joins()
            && self.queue.is_empty()
            && self.calls.is_empty()
            && !self.is_calling
    }

    fn step(&mut self, event: Event<Arrived>, now_ms: u64) {
        self.is_changed = true;
        let stream = std::mem::replace(&mut self.stream, Stream::Idle);
        let (stream, actions) = stream.step(event, now_ms);
        self.stream = stream;
        for action in actions {
            match action {
                Action::Ask => {
                    self.question += 1;
                    self.calls.push_back(Call::Subscribe(self.question));
                }
                Action::Release => self.calls.push_back(Call::Unsubscribe),
                Action::Read(after) => {
                    self.question += 1;
                    let call = Call::ReadMissing(self.question, after);
                    self.calls.push_back(call);
                }
                Action::Deliver(publication, at) => self.deliver(publication, at),
                Action::TellGap => self.queue.push_gap(),
                Action::FailJoins => self.refuse_joins(),
                Action::Forget => self.is_forgettable = true,
            }
        }
    }

    fn deliver(&mut self, publication: Arrived, at: Option<StreamPosition>) {
        let Arrived {
            message,
            except,
            source,
        } = publication;
        if let Some(at) = at
            && (self.is_remote || self.joins.is_reading())
        {
            self.window.push(PastPublication {
                at,
                except,
                message: message.clone(),
            });
            let (count, bytes) = self.window_limits();
            self.window.trim(count, bytes);
        }
        // Offsets show what comes twice. A publication that the engine has lost and that was repeated stands on another
        // stream: it goes on once more, since a session that has come meanwhile has not heard it.
        let is_new = !self.is_remote
            || at.is_some()
            || source.is_none_or(|(origin, number)| self.seen.note(origin, number));
        if is_new {
            self.queue.push(Item::Publication(Delivery {
                at,
                except,
                message,
            }));
        }
    }

    /// Lets the sessions join that have all that they need, and asks for what others need.
    fn settle(&mut self) {
        if let Some(last) = self.stream.live()
            && !self.joins.is_empty()
        {
            let ready = self.joins.settle(last, &self.window);
            self.queue_joins(ready);
            // Each read has messages of its own, which wait for a handler that makes its form of them.
            let last = last.filter(|_| !self.queue.is_full());
            let from = last.and_then(|last| self.joins.next_read(last));
            self.calls
                .extend(from.map(|(read, from)| Call::ReadForJoins(read, from)));
        }
        if !self.joins.is_reading() {
            let (count, bytes) = self.window_limits();
            self.window.trim(count, bytes);
        }
    }

    /// While the history is read for joins, the window has what goes on meanwhile, as far as a session can get it.
    fn window_limits(&self) -> (usize, usize) {
        match (self.joins.is_reading(), self.is_remote) {
            (true, _) => (usize::MAX, MISSED_BYTES_MAX),
            (false, true) => (WINDOW_MAX, WINDOW_BYTES_MAX),
            (false, false) => (0, 0),
        }
    }

    fn queue_changes(&mut self, changes: impl IntoIterator<Item = PresenceChange>) {
        for change in changes {
            self.queue.push(Item::Change(change));
        }
    }

    fn list_members(&mut self, now_ms: u64) {
        let roster = self.roster.as_mut();
        let list = roster.and_then(|roster| roster.next_list(now_ms));
        self.calls.extend(list.map(Call::ListMembers));
    }

    fn queue_joins(&mut self, ready: Vec<Ready>) {
        for ready in ready {
            let join = &ready.join;
            self.queued.insert(join.mailbox.id, join.number);
            self.queue.push(Item::Join(ready));
        }
    }

    fn refuse_joins(&mut self) {
        let joins = self.joins.fail();
        self.refuse(joins, Failure::Unavailable);
    }

    fn refuse(&mut self, joins: Vec<Join>, failure: Failure) {
        let answers = joins.into_iter().filter_map(|join| join.answer);
        answers.for_each(|answer| self.queue.push(Item::Refused(answer, failure)));
    }
}

/// So many publications of each topic are kept, so that sessions that come back cost no read.
const WINDOW_MAX: usize = 64;
const WINDOW_BYTES_MAX: usize = 256 * 1024;
/// A lost publication is found by the next one of its topic. The last one of all is found by this look.
const HEADS_EVERY_MS: u64 = 10_000;

#[cfg(test)]
mod tests;
