//! Spreads costly work of many tasks, so that tasks which have little to do run between it.
//!
//! The runtime runs tasks in the order in which they became ready. If ten thousand of them have costly work at one moment, a
//! message that comes then waits until all of it is done. So each task asks before it begins with such work. A few may begin
//! at once. The others wait in a queue, and in each round a few of them go on. A round ends when a worker has run what is
//! ready and has looked for I/O, or after some tens of polls if there is always more to run.
//!
//! Tens of polls take long on a server that is busy, and those that wait keep what they have: connections, mostly. So the more
//! of them wait, the more go on in a round, up to a few times as many.
//!
//! A task that may begin holds nothing. If its work blocks, or if it is dropped before, the others go on in the next round.

use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::process::clock::Moment;
use crate::runtime::wakes;

/// Says which tasks may begin with their costly work.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// How many tasks begin in a round for each worker that carries messages, while few wait.
    each_worker: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(u64, Waker)>,
    /// The ids of those in `waiting`.
    ids: HashSet<u64>,
    /// The millisecond in which a task last began without waiting, and how many more may do so in it.
    moment: Option<Moment>,
    left: usize,
    /// How many tasks go on in a round while few wait; 0 before there are rounds.
    each_round: usize,
    last_id: u64,
    /// Begins the next round, if none is under way.
    rests: Option<Waker>,
}

impl Pacer {
    /// A pacer that lets every task begin until it [runs](Self::run).
    pub(crate) fn new(each_worker: usize) -> Pacer {
        Pacer {
            each_worker,
            queue: Mutex::default(),
        }
    }

    /// Waits until the calling task may begin. A pacer has callers of this, or such that [wait](Self::wait) by ids of their
    /// own.
    pub(crate) async fn begin(&self) {
        if self.may_begin() {
            return;
        }
        let mut place = None;
        poll_fn(|cx| match place {
            Some(id) if self.has_come(id) => Poll::Ready(()),
            Some(_) => Poll::Pending,
            None => {
                let id = self.lock().next_id();
                place = Some(id);
                self.wait(id, cx.waker());
                Poll::Pending
            }
        })
        .await;
    }

    /// Whether the calling task may begin at once. Otherwise it [waits](Self::wait).
    pub(crate) fn may_begin(&self) -> bool {
        self.lock().may_begin(Moment::recent())
    }

    /// Puts a task into the queue, by an id that no other task has. `waker` wakes it when it may begin.
    pub(crate) fn wait(&self, id: u64, waker: &Waker) {
        let rests = self.lock().wait(id, waker);
        if let Some(rests) = rests {
            wakes::wake(rests);
        }
    }

    /// Whether the task with this id is in the queue no more, so that it may begin.
    pub(crate) fn has_come(&self, id: u64) -> bool {
        !self.lock().ids.contains(&id)
    }

    /// Lets waiting tasks go on, for as long as the server runs.
    pub(crate) async fn run(&self, workers: usize) {
        self.lock().each_round = workers * self.each_worker;
        let mut going_on = Vec::new();
        poll_fn(|cx| {
            wakes::note_resumed(cx);
            self.lock().next_round(cx.waker(), &mut going_on);
            if !going_on.is_empty() {
                going_on.drain(..).for_each(Waker::wake);
                wakes::yield_to_others(cx);
            }
            Poll::<()>::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn may_begin(&mut self, now: Moment) -> bool {
        if self.each_round == 0 {
            return true;
        }
        if !self.waiting.is_empty() {
            return false;
        }
        if self.moment != Some(now) {
            self.moment = Some(now);
            self.left = self.each_round;
        }
        let may = self.left > 0;
        self.left -= usize::from(may);
        may
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Returns the task of the rounds, if it has to be woken.
    fn wait(&mut self, id: u64, waker: &Waker) -> Option<Waker> {
        if self.ids.insert(id) {
            self.waiting.push_back((id, waker.clone()));
        }
        self.rests.take()
    }

    /// Moves those that go on to `going_on`. Keeps `waker` if there are none.
    fn next_round(&mut self, waker: &Waker, going_on: &mut Vec<Waker>) {
        let waiting = self.waiting.len();
        let share = waiting / WAITING_FOR_EACH;
        let count = share
            .clamp(self.each_round, self.each_round * TIMES_MAX)
            .min(waiting);
        for (id, waker) in self.waiting.drain(..count) {
            self.ids.remove(&id);
            going_on.push(waker);
        }
        if count == 0 {
            self.rests = Some(waker.clone());
            // A crowd has left much memory there.
            self.waiting.shrink_to(self.each_round);
            self.ids.shrink_to(self.each_round);
        }
    }
}

/// Of so many that wait, one goes on in a round, if that is more than while few wait.
const WAITING_FOR_EACH: usize = 32;
/// A round has at most so many times as many as one while few wait.
const TIMES_MAX: usize = 8;

#[cfg(test)]
mod tests;
