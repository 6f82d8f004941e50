//! One topic: its subscribers, and the publications that are on their way to them.
//!
//! Publications of one topic reach each subscriber in the order in which they were published. One thread at a time
//! serves them, to a few subscribers at once: at the end of the publisher's turn, then in a task that lets others run
//! in between. A publication is for those that were subscribers when it was published.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::runtime::Handle;

use super::batch::{Batch, Publication, SendBy};
use super::members::Members;
use super::{Topic, Topics};
use crate::runtime::wakes::{self, TurnWork};
use crate::sessions::mailbox::Mailbox;
use crate::sessions::prepared_message::PreparedMessage;
use crate::sessions::registry::IdHasher;

/// One topic that has subscribers, or has had them when a publication was made that is not served yet.
#[derive(Debug)]
pub(super) struct FanOut {
    owner: Box<str>,
    name: Box<str>,
    topics: Weak<Topics>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Shared with the publications that wait.
    members: Members,
    /// Where each subscriber stands among the members.
    places: HashMap<u64, usize, BuildHasherDefault<IdHasher>>,
    /// The publications that wait, each with its subscribers, the oldest first.
    waiting: VecDeque<(Publication, Members)>,
    waiting_bytes: usize,
    /// How many publications were accepted, and how many of these every subscriber has.
    accepted: u64,
    given: u64,
    /// What is served, while no thread serves it.
    current: Option<Batch>,
    /// Whether a thread serves now.
    is_served: bool,
    /// Whether a task is to go on.
    has_task: bool,
    /// Memory for the next batch.
    spare: Vec<Publication>,
}

/// How far a thread has come that served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing waits.
    Done,
    /// Something waits, and no thread serves it.
    More,
    /// Another thread serves, and goes on by itself.
    Elsewhere,
}

impl FanOut {
    pub(super) fn new(topics: &Weak<Topics>, topic: Topic<'_>) -> Arc<FanOut> {
        Arc::new(FanOut {
            owner: topic.owner.into(),
            name: topic.name.into(),
            topics: topics.clone(),
            state: Mutex::default(),
        })
    }

    pub(super) fn topic(&self) -> Topic<'_> {
        Topic {
            owner: &self.owner,
            name: &self.name,
        }
    }

    /// Adds a subscriber, which may be one already.
    pub(super) fn join(&self, mailbox: &Arc<Mailbox>) {
        let mut state = self.lock();
        let place = state.members.len();
        if let Entry::Vacant(vacant) = state.places.entry(mailbox.id) {
            vacant.insert(place);
            state.members.push(mailbox.clone());
        }
    }

    /// Removes a subscriber. Answers whether nothing is left of the topic.
    pub(super) fn leave(&self, id: u64) -> bool {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(place) = state.places.remove(&id)
            && let Some(moved) = state.members.swap_remove(place)
        {
            state.places.insert(moved.id, place);
        }
        state.is_forgettable()
    }

    /// Whether there is neither a subscriber nor a publication on its way.
    pub(super) fn is_forgettable(&self) -> bool {
        self.lock().is_forgettable()
    }

    /// How many subscribers there are besides the session `except`; 0 excepts none.
    pub(super) fn count(&self, except: u64) -> usize {
        self.lock().count(except)
    }

    /// Takes publications, each with the session that is excepted, for those that are subscribers now. Answers how many
    /// there are for the last of them. [`TurnWork::run`] is to be called afterwards.
    pub(super) fn accept<'a>(
        &self,
        publications: impl IntoIterator<Item = (&'a Arc<PreparedMessage>, u64)>,
    ) -> usize {
        let mut state = self.lock();
        let mut reached = 0;
        for (message, except) in publications {
            reached = state.count(except);
            if reached > 0 {
                let publication = Publication {
                    message: message.clone(),
                    except,
                };
                state.waiting_bytes += message.plain().len() + size_of::<Publication>();
                state.accepted += 1;
                let members = state.members.clone();
                state.waiting.push_back((publication, members));
            }
        }
        let is_too_much = state.waiting_bytes > WAITING_BYTES_MAX && state.waiting.len() > 1;
        drop(state);
        if is_too_much {
            self.catch_up();
        }
        reached
    }

    /// Serves by letters what has become too much to wait, which holds the publisher up.
    #[cold]
    fn catch_up(&self) {
        while self.lock().waiting_bytes > WAITING_BYTES_MAX {
            if self.serve(&mut { TASK_ALLOWANCE }, SendBy::Letters) == Progress::Elsewhere {
                // That thread serves a few subscribers and waits for nothing.
                std::thread::yield_now();
            }
        }
    }

    /// Serves all that waits, by letters, so that what is posted to a subscriber next comes behind it.
    ///
    /// What others publish meanwhile is not waited for: it may have no end.
    pub(super) fn finish(&self) {
        let accepted = self.lock().accepted;
        self.give(accepted);
    }

    /// Serves by letters until every subscriber has so many of the publications.
    fn give(&self, accepted: u64) {
        while self.lock().given < accepted {
            match self.serve(&mut { TASK_ALLOWANCE }, SendBy::Letters) {
                Progress::Done => return,
                Progress::More => {}
                // That thread serves a few subscribers and waits for nothing.
                Progress::Elsewhere => std::thread::yield_now(),
            }
        }
    }

    /// Serves what waits, unless another thread does, to at most `allowance` subscribers.
    fn serve(&self, allowance: &mut usize, by: SendBy) -> Progress {
        let mut state = self.lock();
        if state.is_served {
            return Progress::Elsewhere;
        }
        let Some(mut batch) = state.next_batch() else {
            return Progress::Done;
        };
        state.is_served = true;
        drop(state);
        let is_over = batch.serve(allowance, by);
        let given = if is_over { batch.len() } else { 0 };
        let spare = is_over.then(|| batch.clear());
        let mut state = self.lock();
        state.is_served = false;
        state.given += given as u64;
        match spare {
            None => state.current = Some(batch),
            Some(spare) => state.spare = spare,
        }
        if state.has_work() {
            return Progress::More;
        }
        let is_forgettable = state.is_forgettable();
        drop(state);
        if is_forgettable && let Some(topics) = self.topics.upgrade() {
            topics.forget(self.topic());
        }
        Progress::Done
    }

    /// Has a task go on with what no thread serves.
    fn hand_over_rest(self: Arc<Self>) {
        if self.lock().has_work() {
            self.hand_over();
        }
    }

    /// Has a task go on, if there is none yet.
    #[cold]
    fn hand_over(self: Arc<Self>) {
        if std::mem::replace(&mut self.lock().has_task, true) {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(Serving(self))),
            // A thread of a plugin. What is woken by it is woken on a worker.
            Err(_) => wakes::wake(Waker::from(Arc::new(Spawn(self)))),
        }
    }

    /// Serves a few subscribers. Answers whether the task is over.
    fn serve_in_task(&self) -> bool {
        let progress = self.serve(&mut { TASK_ALLOWANCE }, SendBy::Socket);
        progress != Progress::More && self.end_task()
    }

    /// Ends the task, unless it has to go on.
    fn end_task(&self) -> bool {
        let mut state = self.lock();
        // A thread that serves now hands over to a new task.
        let is_over = state.is_served || !state.has_work();
        state.has_task = !is_over;
        is_over
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TurnWork for FanOut {
    fn run(self: Arc<Self>, allowance: &mut usize) {
        while *allowance > 0 {
            if self.serve(allowance, SendBy::Socket) != Progress::More {
                return;
            }
        }
        self.hand_over_rest();
    }

    fn run_before_more(self: Arc<Self>, allowance: &mut usize) {
        for round in 0..SERVES_MAX {
            match self.serve(allowance, SendBy::Socket) {
                // That thread serves a few subscribers and waits for nothing.
                Progress::Elsewhere if round < YIELDS_MAX => std::thread::yield_now(),
                // The system lets other threads run before that one.
                Progress::Elsewhere => std::thread::sleep(SUSPENDED_PAUSE),
                Progress::More if *allowance > 0 => {}
                Progress::More | Progress::Done => break,
            }
        }
        self.hand_over_rest();
    }
}

impl State {
    fn count(&self, except: u64) -> usize {
        let is_excepted = except != 0 && self.places.contains_key(&except);
        self.members.len() - usize::from(is_excepted)
    }

    /// What is to be served next: the rest of a batch, or a new one.
    fn next_batch(&mut self) -> Option<Batch> {
        if let Some(batch) = self.current.take() {
            return Some(batch);
        }
        let (first, members) = self.waiting.pop_front()?;
        self.waiting_bytes -= first.message.plain().len() + size_of::<Publication>();
        let mut batch = Batch::new(first, members, std::mem::take(&mut self.spare));
        while let Some((next, members)) = self.waiting.front()
            && batch.takes(next, members)
            && let Some((next, _)) = self.waiting.pop_front()
        {
            self.waiting_bytes -= next.message.plain().len() + size_of::<Publication>();
            batch.push(next);
        }
        Some(batch)
    }

    /// Whether something waits that no thread serves.
    fn has_work(&self) -> bool {
        !self.is_served && (self.current.is_some() || !self.waiting.is_empty())
    }

    fn is_forgettable(&self) -> bool {
        self.members.is_empty() && !self.is_served && !self.has_work()
    }
}

/// The task that serves what the publishers' turns have left.
struct Serving(Arc<FanOut>);

impl Future for Serving {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _keeping = wakes::defer();
        wakes::note_resumed(cx);
        if self.0.serve_in_task() {
            return Poll::Ready(());
        }
        wakes::yield_to_others(cx);
        Poll::Pending
    }
}

/// Spawns the task when it is woken, which happens on a worker.
struct Spawn(Arc<FanOut>);

impl Wake for Spawn {
    fn wake(self: Arc<Self>) {
        let fan_out = self.0.clone();
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(Serving(fan_out))),
            // Without a runtime, as in a test or at the very end, no other thread would go on.
            Err(_) => while !fan_out.serve_in_task() {},
        }
    }
}

/// The subscribers that the task serves before others run: for some 100 to 500 µs.
const TASK_ALLOWANCE: usize = 64;
/// The times that a publisher serves a topic, or finds another thread at it, before it goes on.
const SERVES_MAX: usize = YIELDS_MAX + 100;
/// Of these times, those after which a publisher looks again at once. Then the other thread must be suspended.
const YIELDS_MAX: usize = 1_000;
const SUSPENDED_PAUSE: Duration = Duration::from_millis(1);
/// The bytes that may wait for one topic's subscribers. A publisher that is faster is held up.
const WAITING_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
#[path = "fan_out_tests.rs"]
mod tests;
