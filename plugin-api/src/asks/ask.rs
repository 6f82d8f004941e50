//! An ask that waits for its answer: a future, which some threads may also wait for.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    asks::results::ReadAnswer,
    border::answer::AnswerTable,
    error::{Refused, Result},
};

/// The answer to an ask that is under way, such as [`AsyncConn::history`](crate::AsyncConn::history). It is asked already,
/// whatever is done with this value.
///
/// It is awaited. A thread of [`spawn()`](crate::spawn()) may also [`wait`](Self::wait) for it:
///
/// ```
/// use std::time::Duration;
/// use wsh::prelude::*;
///
/// async fn visits(conn: &mut AsyncConn) -> Result {
///     let version = conn.store().put("visits", "1").await?; // in an async function
///     let handle = conn.handle();
///     wsh::spawn(move |_| {
///         let visits = wsh::store().get("visits").wait(); // on a thread
///         let _ = handle.send(format!("{version}: {}", visits.unwrap().unwrap().text()));
///         let _ = wsh::store().get("visits").wait_timeout(Duration::from_secs(1));
///     })?;
///     while conn.recv().await.is_some() {}
///     Ok(())
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(async visits));
/// # assert_eq!(client.receive().unwrap(), "1: 1");
/// ```
///
/// # When a generation ends
/// From [`serving(false)`](crate::Shared::serving) on, what a thread of that generation asks may be refused with
/// [`Refused::Gone`]. So may a wait that has begun already: its answer is lost then, and it is not known whether it was
/// carried out. A counter on such a thread is put with [`put_if`](crate::Store::put_if), and read again by the thread of the
/// next generation.
///
/// # Cancel safety
/// A wait that is dropped, as in a `select!` where something else comes first, loses the answer. What was asked is done all
/// the same. `select!` over `&mut ask` keeps the wait for the next round. While a function waits here, its session does
/// not move to newer code, unless it [lets go](crate::AsyncConn::let_go).
#[must_use = "it is awaited, waited for, or given to `drop`"]
pub struct Ask<T> {
    cell: Arc<AskCell<T>>,
}

/// Where an answer is put.
struct AskCell<T> {
    state: Mutex<AskState<T>>,
    answered: Condvar,
    read: ReadAnswer<T>,
}

enum AskState<T> {
    /// The waker of the future that waits.
    Waits(Option<Waker>),
    Answered(Result<T, Refused>),
    /// The answer was taken, or is not wanted.
    Over,
}

/// An ask that waits for its answer, whatever that is.
pub(crate) trait Answerable: Send + Sync {
    /// Hands over the answer, and wakes the future that waits, unless that is polled by `polled` anyway.
    fn answer(&self, answer: AnswerTable<'_>, polled: Option<&Waker>);
    /// Says that no answer comes.
    fn fail(&self, refused: Refused);
}

impl<T: Send + 'static> Ask<T> {
    /// An ask that waits, and what its answer is to be given to.
    pub(crate) fn waiting(read: ReadAnswer<T>) -> (Ask<T>, Arc<dyn Answerable>) {
        let ask = Ask::new(AskState::Waits(None), read);
        let cell: Arc<dyn Answerable> = ask.cell.clone();
        (ask, cell)
    }

    /// An ask that was refused.
    pub(crate) fn refused(read: ReadAnswer<T>, refused: Refused) -> Ask<T> {
        Ask::new(AskState::Answered(Err(refused)), read)
    }

    fn new(state: AskState<T>, read: ReadAnswer<T>) -> Ask<T> {
        let cell = AskCell {
            state: Mutex::new(state),
            answered: Condvar::new(),
            read,
        };
        Ask {
            cell: Arc::new(cell),
        }
    }

    /// Waits for the answer on this thread. It may be called on a thread of [`spawn()`](crate::spawn()), and on that of a
    /// blocking function.
    ///
    /// # Errors
    /// [`Refused::Misuse`]: on another thread. The server's threads serve thousands of sessions each, and the answer may
    /// have to come by the very thread that waits. Otherwise those of the ask.
    pub fn wait(self) -> Result<T, Refused> {
        self.wait_until(None)
    }

    /// Like [`wait`](Self::wait), but gives up after a while.
    ///
    /// # Errors
    /// [`Refused::Unavailable`]: no answer came in time. Otherwise those of [`wait`](Self::wait).
    pub fn wait_timeout(self, timeout: Duration) -> Result<T, Refused> {
        // A deadline past the range of the clock never comes.
        self.wait_until(Instant::now().checked_add(timeout))
    }

    pub(crate) fn wait_until(self, deadline: Option<Instant>) -> Result<T, Refused> {
        if !MAY_WAIT.get() {
            return Err(Refused::Misuse);
        }
        self.wait_on_any_thread(deadline)
    }

    /// Waits for the answer to an ask of a blocking session, which may have lent its connection to any thread.
    pub(crate) fn wait_here(self) -> Result<T, Refused> {
        self.wait_on_any_thread(None)
    }

    fn wait_on_any_thread(self, deadline: Option<Instant>) -> Result<T, Refused> {
        let mut state = self.cell.lock();
        loop {
            match std::mem::replace(&mut *state, AskState::Over) {
                AskState::Answered(answer) => return answer,
                AskState::Over => panic!("an `Ask` is waited for after it was ready"),
                waits @ AskState::Waits(_) => *state = waits,
            }
            let wait = self.cell.answered.wait_timeout(
                state,
                match deadline {
                    Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                    None => Duration::MAX,
                },
            );
            let (woken, timeout) = wait.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && matches!(*state, AskState::Waits(_)) {
                return Err(Refused::Unavailable);
            }
        }
    }
}

impl<T> AskCell<T> {
    fn lock(&self) -> MutexGuard<'_, AskState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> AskCell<T> {
    /// Puts the answer in, unless it is not wanted. Answers the waker of the future that waits.
    fn put(&self, answer: Result<T, Refused>) -> Option<Waker> {
        let mut state = self.lock();
        let AskState::Waits(waker) = &mut *state else {
            return None;
        };
        let waker = waker.take();
        *state = AskState::Answered(answer);
        drop(state);
        self.answered.notify_all();
        waker
    }
}

impl<T: Send + 'static> Answerable for AskCell<T> {
    fn answer(&self, answer: AnswerTable<'_>, polled: Option<&Waker>) {
        if matches!(*self.lock(), AskState::Over) {
            return;
        }
        let waker = self.put((self.read)(answer));
        if let Some(waker) = waker.filter(|waker| !polled.is_some_and(|it| it.will_wake(waker))) {
            waker.wake();
        }
    }

    fn fail(&self, refused: Refused) {
        if let Some(waker) = self.put(Err(refused)) {
            waker.wake();
        }
    }
}

// Nothing in it is pinned.
impl<T> Unpin for Ask<T> {}

impl<T: Send + 'static> Future for Ask<T> {
    type Output = Result<T, Refused>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.cell.lock();
        match std::mem::replace(&mut *state, AskState::Over) {
            AskState::Answered(answer) => Poll::Ready(answer),
            AskState::Over => panic!("an `Ask` is polled after it was ready"),
            AskState::Waits(waker) => {
                // The waker is kept, other than by `recv`: a future that waits on another runtime is woken by it, and a
                // session whose waker is kept does not move away from its answer.
                let waker = match waker {
                    Some(waker) if waker.will_wake(cx.waker()) => waker,
                    _ => cx.waker().clone(),
                };
                *state = AskState::Waits(Some(waker));
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Ask<T> {
    fn drop(&mut self) {
        // The waker is dropped outside the lock: it may be the last to hold something of the author's.
        let before = std::mem::replace(&mut *self.cell.lock(), AskState::Over);
        drop(before);
    }
}

impl<T> fmt::Debug for Ask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.cell.lock() {
            AskState::Waits(_) => "waits",
            AskState::Answered(_) => "answered",
            AskState::Over => "over",
        };
        f.debug_tuple("Ask").field(&state).finish()
    }
}

/// Lets this thread wait for answers: it is a thread of `spawn`, or that of a blocking function.
pub(crate) fn allow_waiting() {
    MAY_WAIT.set(true);
}

thread_local! {
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}
