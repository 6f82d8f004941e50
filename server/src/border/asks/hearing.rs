//! Whether a handler hears the answers to its own asks: from the return of `serving(1)` until `shutdown`.
//!
//! An answer that comes before waits. One that comes after is dropped.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::HandlerAsk;
use crate::border::handler_context::HandlerContext;
use crate::sessions::answer::Answer;

/// How the answers to a handler's own asks reach it.
#[derive(Default)]
pub(super) struct Hearing(Mutex<State>);

enum State {
    /// `serving` was not called yet.
    NotYet(Vec<HeardLater>),
    Begun(Arc<Tell>),
    Over,
}

/// An answer that waits for `serving`.
struct HeardLater {
    token: u64,
    answer: Answer,
    ask: HandlerAsk,
}

/// Calls the handler's `answered`, unless its generation is over.
pub(crate) type Tell = dyn Fn(u64, &Answer) + Send + Sync;

impl Default for State {
    fn default() -> State {
        State::NotYet(Vec::new())
    }
}

impl HandlerContext {
    /// Has the handler hear the answers to its own asks from now on, by `tell`. To be called once, after `serving`.
    pub(crate) fn begin_hearing(&'static self, tell: Arc<Tell>) {
        let mut state = self.asks.hearing.lock();
        let earlier = match &mut *state {
            State::NotYet(earlier) => std::mem::take(earlier),
            State::Begun(_) | State::Over => return,
        };
        *state = State::Begun(tell.clone());
        drop(state);
        for HeardLater { token, answer, ask } in earlier {
            self.tell_soon(&tell, token, answer, ask);
        }
    }

    /// Has the handler hear no more answers. Those that wait are dropped.
    pub(crate) fn end_hearing(&self) {
        let before = std::mem::replace(&mut *self.asks.hearing.lock(), State::Over);
        // An answer that waited ends its ask, after the lock.
        drop(before);
    }

    /// Takes the answer to an ask of the handler itself.
    pub(super) fn hear(&'static self, token: u64, answer: Answer, ask: HandlerAsk) {
        let mut state = self.asks.hearing.lock();
        let tell = match &mut *state {
            State::NotYet(later) => {
                later.push(HeardLater { token, answer, ask });
                return;
            }
            State::Begun(tell) => tell.clone(),
            State::Over => return,
        };
        drop(state);
        self.tell_soon(&tell, token, answer, ask);
    }

    fn tell_soon(&'static self, tell: &Arc<Tell>, token: u64, answer: Answer, ask: HandlerAsk) {
        let tell = tell.clone();
        self.run_job(Box::new(move || {
            // The handler may ask again inside `answered`.
            drop(ask);
            tell(token, &answer);
        }));
    }
}

impl Hearing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.lock() {
            State::NotYet(_) => "Hearing::NotYet",
            State::Begun(_) => "Hearing::Begun",
            State::Over => "Hearing::Over",
        })
    }
}
