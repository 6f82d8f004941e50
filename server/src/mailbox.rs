//! What others have for a session: messages sent by its id, publications, orders to close or to
//! move to newer code, wakes.
//!
//! Any thread may post; the session takes everything between two callbacks, in the order posted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::encoded::Encoded;
use crate::tally::{Ask, Tally};

/// The inbox of one session, or of a handshake that will be one.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// The session's id: never 0, never reused.
    pub(crate) id: u64,
    /// The name of the handler that the session belongs to.
    owner: Arc<str>,
    /// Whether there is something to take: one load on the message path instead of the lock.
    rung: AtomicBool,
    /// Whether one of the session's deadlines may have come.
    roused: AtomicBool,
    /// What the session had buffered when it last looked.
    buffered: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The number of the generation that the session runs on.
    generation: u64,
    letters: Letters,
    bytes: usize,
    /// How many may wait; the session's outbound limit.
    bytes_max: usize,
    woken: bool,
    overflowed: bool,
    ask: Option<Ask>,
    is_closed: bool,
    waker: Option<Waker>,
}

/// One thing for a session to do.
#[derive(Clone, Debug)]
pub(crate) enum Letter {
    /// Send this, a whole message.
    Send(Arc<Encoded>),
    /// Start the closing handshake, as the handler says.
    Close { code: u16, reason: String },
    /// Start the closing handshake, as the server says; `from` a generation, if it is still there.
    Evict { code: u16, from: Option<u64> },
}

/// Letters on their way; there once there was one.
pub(crate) type Letters = Option<Box<VecDeque<Letter>>>;

/// What was in a mailbox besides letters.
#[derive(Debug, Default)]
pub(crate) struct Post {
    /// Somebody called `wake`.
    pub(crate) woken: bool,
    /// A publication found the mailbox full: the peer is too slow for what it subscribed to.
    pub(crate) overflowed: bool,
    /// There is newer code to move to.
    pub(crate) ask: Option<Ask>,
}

/// Why a letter was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undelivered {
    /// The session is over.
    Gone,
    /// Too many bytes wait already.
    Full,
}

impl Mailbox {
    /// An empty one, for a session of the handler `owner`.
    pub(crate) fn new(id: u64, owner: Arc<str>, generation: u64, bytes_max: usize) -> Mailbox {
        Mailbox {
            id,
            owner,
            rung: AtomicBool::new(false),
            roused: AtomicBool::new(false),
            buffered: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                generation,
                bytes_max,
                ..Inner::default()
            }),
        }
    }

    /// Posts a letter; answers the bytes buffered for the peer, as last known.
    pub(crate) fn post(&self, letter: Letter) -> Result<u64, Undelivered> {
        let mut inner = self.lock();
        if inner.is_closed {
            return Err(Undelivered::Gone);
        }
        let length = letter.len();
        // One message larger than the limit must be able to pass.
        if inner.bytes > 0 && inner.bytes + length > inner.bytes_max {
            return Err(Undelivered::Full);
        }
        inner.bytes += length;
        let buffered = self.buffered.load(Ordering::Relaxed) + inner.bytes as u64;
        inner.letters.get_or_insert_default().push_back(letter);
        self.ring(inner);
        Ok(buffered)
    }

    /// Posts a publication; a mailbox that is full ends its session.
    pub(crate) fn publish(&self, message: &Arc<Encoded>) {
        if self.post(Letter::Send(message.clone())) == Err(Undelivered::Full) {
            let mut inner = self.lock();
            inner.overflowed = true;
            self.ring(inner);
        }
    }

    /// Makes the session's `wake` run.
    pub(crate) fn wake(&self) -> Result<(), Undelivered> {
        let mut inner = self.lock();
        if inner.is_closed {
            return Err(Undelivered::Gone);
        }
        inner.woken = true;
        self.ring(inner);
        Ok(())
    }

    /// The name of the handler that the session belongs to.
    pub(crate) fn owner(&self) -> &Arc<str> {
        &self.owner
    }

    /// The number of the generation that the session runs on.
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Asks the session to move to newer code; one that is over is not asked.
    pub(crate) fn ask_to_move(&self, tally: &Arc<Tally>) {
        let mut inner = self.lock();
        if inner.is_closed {
            return;
        }
        let earlier = inner.ask.replace(tally.ask());
        self.ring(inner);
        drop(earlier);
    }

    /// The session is on another generation now. It has not left the one before yet, and looks for
    /// a newer one afterwards: so a move that begins meanwhile finds it here, or it finds the move.
    pub(crate) fn set_generation(&self, generation: u64, bytes_max: usize) {
        let mut inner = self.lock();
        inner.generation = generation;
        inner.bytes_max = bytes_max;
    }

    /// Takes everything, if there is something; letters go behind those in `letters`, in the order
    /// posted.
    #[inline]
    pub(crate) fn take(&self, letters: &mut Letters) -> Option<Post> {
        self.is_rung().then(|| self.take_all(letters))
    }

    #[inline(never)]
    fn take_all(&self, letters: &mut Letters) -> Post {
        let mut inner = self.lock();
        self.rung.store(false, Ordering::Relaxed);
        inner.bytes = 0;
        match letters {
            Some(before) if !before.is_empty() => {
                if let Some(posted) = &mut inner.letters {
                    before.append(posted);
                }
            }
            _ => {
                // The memory goes to and fro, unless it once took very many.
                std::mem::swap(letters, &mut inner.letters);
                if let Some(empty) = &mut inner.letters {
                    empty.shrink_to(LETTERS_KEPT);
                }
            }
        }
        Post {
            woken: std::mem::take(&mut inner.woken),
            overflowed: std::mem::take(&mut inner.overflowed),
            ask: inner.ask.take(),
        }
    }

    /// Whether there is something to take.
    #[inline]
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Wakes the session for its deadlines.
    pub(crate) fn rouse(&self) {
        let inner = self.lock();
        self.roused.store(true, Ordering::Release);
        wake(inner);
    }

    /// Whether the session was woken for its deadlines since it was last told so.
    #[inline]
    pub(crate) fn is_roused(&self) -> bool {
        self.roused.load(Ordering::Acquire)
    }

    /// The same, told.
    pub(crate) fn take_roused(&self) -> bool {
        self.is_roused() && self.roused.swap(false, Ordering::AcqRel)
    }

    /// Remembers whom to wake when something is posted; answers whether something is there already.
    pub(crate) fn listen(&self, waker: &Waker) -> bool {
        let mut inner = self.lock();
        if !inner.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        self.rung.load(Ordering::Acquire)
    }

    /// Notes what the session has buffered.
    pub(crate) fn set_buffered(&self, bytes: u64) {
        self.buffered.store(bytes, Ordering::Relaxed);
    }

    fn ring(&self, inner: MutexGuard<'_, Inner>) {
        self.rung.store(true, Ordering::Release);
        wake(inner);
    }

    /// Its session is over.
    pub(crate) fn close(&self) {
        let closed = Inner {
            is_closed: true,
            ..Inner::default()
        };
        // What was in it may have something to say, but not under the lock.
        let _left = std::mem::replace(&mut *self.lock(), closed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes without the lock.
fn wake(inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.clone();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Letter {
    fn len(&self) -> usize {
        match self {
            Letter::Send(message) => message.plain().len(),
            Letter::Close { .. } | Letter::Evict { .. } => 0,
        }
    }
}

/// Letters that an empty mailbox keeps room for.
const LETTERS_KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_takes_no_more_but_an_empty_one_takes_any_one_message() {
        let mailbox = Mailbox::new(1, Arc::from("chat"), 1, 10);

        let letter = |payload| Letter::Send(Encoded::new(crate::ws::frame::BINARY, payload, false));
        assert!(mailbox.post(letter(&[0; 20])).is_ok());
        let second = mailbox.post(letter(&[0; 1]));

        assert_eq!(second, Err(Undelivered::Full));
        let mut letters = None;
        assert!(mailbox.take(&mut letters).is_some());
        assert_eq!(letters.as_ref().map(|letters| letters.len()), Some(1));
        assert!(mailbox.take(&mut letters).is_none());
    }

    #[test]
    fn letters_go_behind_those_that_wait_already() {
        let (mailbox, mut letters) = (Mailbox::new(1, Arc::from("chat"), 1, 10), None);

        for code in 1..=3 {
            mailbox.post(Letter::Evict { code, from: None }).unwrap();
            mailbox.take(&mut letters);
            mailbox.wake().unwrap();
            mailbox.take(&mut letters);
        }

        let letters = letters.unwrap();
        let codes = letters.iter().map(|letter| match letter {
            Letter::Evict { code, .. } => *code,
            other => panic!("{other:?}"),
        });
        assert_eq!(codes.collect::<Vec<_>>(), [1, 2, 3]);
    }
}
