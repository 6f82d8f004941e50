//! The callbacks of a handler that belong to no session: they run on workers of the runtime, a few at a time.
//!
//! A callback that does not return holds a worker. A handler that holds as many as its jobs may has the others wait, so that
//! the sessions of all handlers keep workers.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tracing::error;

use super::handler_context::HandlerContext;
use crate::runtime::wakes;

/// The jobs of one handler in one generation.
#[derive(Default)]
pub(crate) struct HandlerJobs(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    /// Which workers of `max` run jobs, as bits.
    taken: u64,
    waiting: VecDeque<Job>,
}

/// A call of a handler's code.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

impl HandlerContext {
    /// Has a worker run `job`, after the jobs that were handed over before. Never in this call.
    pub(crate) fn run_job(&'static self, job: Job) {
        let max = self.shared.workers.for_jobs_of_one_handler().min(64);
        let mut queue = self.jobs.lock();
        let place = queue.taken.trailing_ones();
        if place as usize >= max {
            queue.waiting.push_back(job);
            return;
        }
        queue.taken |= 1 << place;
        drop(queue);
        self.shared.workers.spawn(self.run_jobs(place, job));
    }

    /// Runs one job and then those that wait, each in a poll of its own.
    async fn run_jobs(&'static self, place: u32, first: Job) {
        let mut next = Some(first);
        while let Some(job) = next {
            self.end_of_throttle(place).await;
            // What the job wakes is woken after it, or by the watchdog if the job does not return.
            let scope = wakes::defer();
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                error!(handler = %self.handler, generation = self.generation, "the server panicked beside a handler's call");
            }
            drop(scope);
            next = self.jobs.next(place);
            if next.is_some() {
                wakes::yield_now().await;
            }
        }
    }

    /// Waits while the handler holds so many workers that its sessions wait too.
    async fn end_of_throttle(&self, place: u32) {
        // No session has such an id.
        let id = u64::MAX - u64::from(place);
        poll_fn(
            |cx| match self.throttle.is_on() && self.throttle.wait(id, cx.waker()) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            },
        )
        .await;
    }
}

impl HandlerJobs {
    /// The job that the worker in this place runs next. `None`: there is none, and the place is free.
    fn next(&self, place: u32) -> Option<Job> {
        let mut queue = self.lock();
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.taken &= !(1 << place);
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HandlerJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.lock();
        f.debug_struct("HandlerJobs")
            .field("running", &queue.taken.count_ones())
            .field("waiting", &queue.waiting.len())
            .finish()
    }
}
