//! The asks of one session, or of one handler, that wait for their answers.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use crate::{asks::ask::Answerable, border::answer::AnswerTable, error::Refused};

/// Asks by their tokens. A few at most wait at a time, so that a list is searched fastest.
#[derive(Default)]
pub(crate) struct WaitingAsks {
    // A box, since most sessions ask nothing: a list would cost each of them two words more.
    #[allow(clippy::box_collection)]
    asks: Option<Box<Vec<WaitingAsk>>>,
}

/// A token, and what its answer is given to.
type WaitingAsk = (u64, Arc<dyn Answerable>);

/// The asks of a handler with id 0, and the tokens of all its asks.
#[derive(Debug)]
pub(crate) struct HandlerAsks {
    next_token: AtomicU64,
    waiting: Mutex<WaitingAsks>,
}

impl WaitingAsks {
    pub(crate) fn insert(&mut self, token: u64, ask: Arc<dyn Answerable>) {
        self.asks.get_or_insert_default().push((token, ask));
    }

    /// Takes the ask of a token. `None`: the token is that of an older generation of the handler, or of no ask.
    pub(crate) fn take(&mut self, token: u64) -> Option<Arc<dyn Answerable>> {
        let asks = self.asks.as_mut()?;
        let at = asks.iter().position(|(found, _)| *found == token)?;
        let (_, ask) = asks.swap_remove(at);
        if asks.is_empty() {
            self.asks = None;
        }
        Some(ask)
    }

    /// Takes all asks, to be told that no answer comes. The caller tells them without its lock.
    pub(crate) fn take_all(&mut self) -> WaitingAsks {
        mem::take(self)
    }

    /// Says that no answers come.
    pub(crate) fn fail(self, refused: Refused) {
        for (_, ask) in self.asks.into_iter().flat_map(|asks| *asks) {
            ask.fail(refused);
        }
    }
}

impl fmt::Debug for WaitingAsks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.asks.iter().flat_map(|asks| asks.iter());
        f.debug_set()
            .entries(tokens.map(|(token, _)| token))
            .finish()
    }
}

impl HandlerAsks {
    /// The asks of a generation of a handler.
    ///
    /// An answer finds its session in newer code, whose tokens must be others. So a token has the generation in it.
    pub(crate) fn new(generation: u64) -> Self {
        HandlerAsks {
            next_token: AtomicU64::new(generation << GENERATION_SHIFT),
            waiting: Mutex::default(),
        }
    }

    /// A token that no other ask of this generation has, nor one of the generations before it.
    pub(crate) fn token(&self) -> u64 {
        self.next_token.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, WaitingAsks> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over the answer to an ask with id 0.
    pub(crate) fn answered(&self, token: u64, answer: AnswerTable<'_>) {
        let ask = self.lock().take(token);
        if let Some(ask) = ask {
            ask.answer(answer, None::<&Waker>);
        }
    }

    /// Says that no answers come: the handler is shut down.
    pub(crate) fn end(&self) {
        let asks = self.lock().take_all();
        asks.fail(Refused::Gone);
    }
}

/// Where the generation stands in a token. That leaves 2^40 asks to a generation, and 2^24 generations to a handler.
const GENERATION_SHIFT: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asks::{ask::Ask, results};

    #[test]
    fn no_token_of_a_generation_is_one_of_another() {
        let (older, newer) = (HandlerAsks::new(1), HandlerAsks::new(2));
        let of_older: Vec<u64> = (0..1000).map(|_| older.token()).collect();
        assert!((0..1000).all(|_| !of_older.contains(&newer.token())));
    }

    #[test]
    fn an_ask_is_found_once_and_the_last_one_leaves_no_memory() {
        let mut asks = WaitingAsks::default();
        for token in 1..=3 {
            asks.insert(token, Ask::waiting(results::changed).1);
        }

        let found = [2, 2, 7, 1, 3].map(|token| asks.take(token).is_some());

        assert_eq!(found, [true, false, false, true, true]);
        assert!(asks.asks.is_none());
        assert_eq!(size_of::<WaitingAsks>(), size_of::<usize>());
    }
}
