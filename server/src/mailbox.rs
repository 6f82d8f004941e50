//! What others have for a session: messages sent by its id, publications, orders to close or to
//! move to newer code, wakes.
//!
//! Any thread may post; the session takes everything between two callbacks. Letters are in the
//! order posted and count against the session's outbound limit until they have left.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::encoded::Encoded;
use crate::tally::{Ask, Tally};
use crate::wakes;

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
    /// Of all letters that have not left, those that the session has taken and keeps included.
    bytes: usize,
    /// How many may wait; the session's outbound limit.
    bytes_max: usize,
    woken: bool,
    overflowed: bool,
    eviction: Option<Eviction>,
    ask: Option<Ask>,
    intake: Intake,
    waker: Option<Waker>,
}

/// What a mailbox still takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Intake {
    #[default]
    Everything,
    /// No letters: a Close frame is on its way, and nothing follows it.
    Wakes,
    /// The session is over.
    Nothing,
}

/// One thing for a session to do.
#[derive(Clone, Debug)]
pub(crate) enum Letter {
    /// Send this, a whole message.
    Send(Arc<Encoded>),
    /// Start the closing handshake, as the handler says; the code and the reason may be sent.
    Close { code: u16, reason: String },
}

/// The server's own order to close. It passes letters that wait, and the parts of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Eviction {
    pub(crate) code: u16,
    /// The generation to leave, or an older one; `None` is whatever the session is on.
    pub(crate) from: Option<u64>,
}

impl Eviction {
    /// Whether it means a session on this generation.
    pub(crate) fn concerns(self, generation: u64) -> bool {
        self.from.is_none_or(|from| generation <= from)
    }

    /// Of two the one that concerns more. Generations of a handler only rise, so that one stands
    /// for both.
    fn merge(self, other: Eviction) -> Eviction {
        match (self.from, other.from) {
            (None, _) => self,
            (Some(mine), Some(theirs)) if mine > theirs => self,
            _ => other,
        }
    }
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
    /// The server wants the session closed.
    pub(crate) eviction: Option<Eviction>,
    /// There is newer code to move to.
    pub(crate) ask: Option<Ask>,
}

/// What was posted to an opening handshake that its handler has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knocked {
    /// `wake` was called: the handler is to be asked again.
    Woken,
    /// The session that would come of it is to be closed with this code; 0 is none.
    Closed { code: u16 },
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
        if inner.intake != Intake::Everything {
            return Err(Undelivered::Gone);
        }
        let length = letter.len();
        let is_close = matches!(letter, Letter::Close { .. });
        // One message larger than the limit must be able to pass, and so must the one Close, which
        // nothing follows.
        if !is_close && inner.bytes > 0 && inner.bytes + length > inner.bytes_max {
            return Err(Undelivered::Full);
        }
        inner.bytes += length;
        if is_close {
            inner.intake = Intake::Wakes;
        }
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

    /// Has the session closed by the server; one that is over needs no telling.
    pub(crate) fn evict(&self, eviction: Eviction) {
        let mut inner = self.lock();
        if inner.intake == Intake::Nothing {
            return;
        }
        let earlier = inner.eviction;
        inner.eviction = Some(earlier.map_or(eviction, |earlier| earlier.merge(eviction)));
        self.ring(inner);
    }

    /// Takes no letters from now on: nothing follows a Close frame.
    pub(crate) fn refuse_letters(&self) {
        let mut inner = self.lock();
        if inner.intake == Intake::Everything {
            inner.intake = Intake::Wakes;
        }
        let refused = inner.letters.take();
        drop(inner);
        // What was in them may have something to say, but not under the lock.
        drop(refused);
    }

    /// Makes the session's `wake` run.
    pub(crate) fn wake(&self) -> Result<(), Undelivered> {
        let mut inner = self.lock();
        if inner.intake == Intake::Nothing {
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
        if inner.intake == Intake::Nothing {
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
    /// posted. Where they `stay` they count until they are [released](Self::release), else they
    /// and all before them leave now.
    #[inline]
    pub(crate) fn take(&self, letters: &mut Letters, stay: bool) -> Option<Post> {
        self.is_rung().then(|| self.take_all(letters, stay))
    }

    #[inline(never)]
    fn take_all(&self, letters: &mut Letters, stay: bool) -> Post {
        let mut inner = self.lock();
        self.rung.store(false, Ordering::Relaxed);
        if !stay {
            inner.bytes = 0;
        }
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
            eviction: inner.eviction.take(),
            ask: inner.ask.take(),
        }
    }

    /// Letters of so many bytes, which had stayed, have left.
    pub(crate) fn release(&self, bytes: usize) {
        let mut inner = self.lock();
        inner.bytes = inner.bytes.saturating_sub(bytes);
    }

    /// Ready when something was posted that an opening handshake acts on; `waker` is woken for it
    /// otherwise. Messages and an eviction stay for the session that comes of the handshake.
    pub(crate) fn poll_knocked(&self, waker: &Waker) -> Poll<Knocked> {
        let mut inner = self.lock();
        // A handshake does not move. The session of it looks for newer code when it begins.
        let ask = inner.ask.take();
        let knocked = if let Some(code) = inner.closes_with() {
            Poll::Ready(Knocked::Closed { code })
        } else if std::mem::take(&mut inner.woken) {
            Poll::Ready(Knocked::Woken)
        } else {
            inner.waker = Some(waker.clone());
            Poll::Pending
        };
        drop(inner);
        drop(ask);
        knocked
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
        let waker = inner.waker.clone();
        drop(inner);
        // The pulse is a task, and no callback runs in it.
        if let Some(waker) = waker {
            waker.wake();
        }
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
            intake: Intake::Nothing,
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
        wakes::wake(waker);
    }
}

impl Inner {
    /// The code of the Close frame that the handler wants of a handshake.
    fn closes_with(&self) -> Option<u16> {
        // A Close is the last letter there is.
        match self.letters.as_ref()?.back()? {
            Letter::Close { code, .. } => Some(*code),
            Letter::Send(_) => None,
        }
    }
}

impl Letter {
    /// The bytes that it counts for; an empty message takes memory too.
    pub(crate) fn len(&self) -> usize {
        let text = match self {
            Letter::Send(message) => message.plain().len(),
            Letter::Close { reason, .. } => reason.len(),
        };
        size_of::<Letter>() + text
    }
}

/// Letters that an empty mailbox keeps room for.
const LETTERS_KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(bytes_max: usize) -> Mailbox {
        Mailbox::new(1, Arc::from("chat"), 1, bytes_max)
    }

    fn letter(length: usize) -> Letter {
        let payload = vec![0; length];
        Letter::Send(Encoded::new(crate::ws::frame::BINARY, &payload, false))
    }

    fn lengths(letters: &Letters) -> Vec<usize> {
        let letters = letters.as_ref().into_iter().flat_map(|it| it.iter());
        let lengths = letters.map(|letter| match letter {
            Letter::Send(message) => message.payload().len(),
            other => panic!("{other:?}"),
        });
        lengths.collect()
    }

    #[test]
    fn a_full_mailbox_takes_no_more_but_an_empty_one_takes_any_one_message() {
        let mailbox = mailbox(10);

        assert!(mailbox.post(letter(20)).is_ok());
        let second = mailbox.post(letter(1));

        assert_eq!(second, Err(Undelivered::Full));
        let mut letters = None;
        assert!(mailbox.take(&mut letters, false).is_some());
        assert_eq!(lengths(&letters), [20]);
        assert!(mailbox.take(&mut letters, false).is_none());
    }

    #[test]
    fn a_close_passes_behind_a_message_larger_than_the_limit() {
        let mailbox = mailbox(10);
        let (code, reason) = (1008, "slow".to_owned());
        mailbox.post(letter(2_000)).unwrap();

        let closed = mailbox.post(Letter::Close { code, reason });

        assert!(closed.is_ok(), "{closed:?}");
    }

    #[test]
    fn a_handshake_acts_on_wakes_and_orders_to_close_and_leaves_messages_where_they_are() {
        let mailbox = mailbox(1_000);
        let waker = Waker::noop();

        mailbox.post(letter(2)).unwrap();
        assert_eq!(mailbox.poll_knocked(waker), Poll::Pending);
        mailbox.wake().unwrap();
        assert_eq!(mailbox.poll_knocked(waker), Poll::Ready(Knocked::Woken));
        assert_eq!(mailbox.poll_knocked(waker), Poll::Pending);
        mailbox.wake().unwrap();
        let (code, reason) = (1008, String::new());
        mailbox.post(Letter::Close { code, reason }).unwrap();
        let closed = Knocked::Closed { code };
        assert_eq!(mailbox.poll_knocked(waker), Poll::Ready(closed));

        let mut letters = None;
        let post = mailbox.take(&mut letters, false);
        assert!(post.is_some_and(|post| post.woken));
        assert_eq!(letters.map(|letters| letters.len()), Some(2));
    }

    #[test]
    fn an_eviction_leaves_a_handshake_its_time_and_closes_the_session_of_it() {
        let mailbox = mailbox(1_000);
        let eviction = Eviction {
            code: 1012,
            from: Some(1),
        };
        mailbox.evict(eviction);

        assert_eq!(mailbox.poll_knocked(Waker::noop()), Poll::Pending);

        let post = mailbox.take(&mut None, false);
        assert_eq!(post.and_then(|post| post.eviction), Some(eviction));
    }

    #[test]
    fn letters_go_behind_those_that_wait_already() {
        let (mailbox, mut letters) = (mailbox(1_000), None);

        for length in 1..=3 {
            mailbox.post(letter(length)).unwrap();
            mailbox.take(&mut letters, true);
            mailbox.wake().unwrap();
            mailbox.take(&mut letters, true);
        }

        assert_eq!(lengths(&letters), [1, 2, 3]);
    }

    #[test]
    fn letters_that_stay_count_until_they_are_released() {
        let (mailbox, mut letters) = (mailbox(2_100), None);

        mailbox.post(letter(1_000)).unwrap();
        mailbox.take(&mut letters, true);
        mailbox.post(letter(1_000)).unwrap();
        mailbox.take(&mut letters, true);
        assert_eq!(mailbox.post(letter(1)), Err(Undelivered::Full));
        mailbox.release(letter(1_000).len());
        assert!(mailbox.post(letter(1_000)).is_ok());
        // Now all leave.
        mailbox.take(&mut letters, false);
        assert!(mailbox.post(letter(5_000)).is_ok());
    }

    #[test]
    fn nothing_is_taken_behind_a_close_and_a_wake_until_the_end() {
        let mailbox = mailbox(1_000);
        let close = |code| Letter::Close {
            code,
            reason: String::new(),
        };

        mailbox.post(close(4000)).unwrap();
        assert_eq!(mailbox.post(close(4001)), Err(Undelivered::Gone));
        assert_eq!(mailbox.post(letter(1)), Err(Undelivered::Gone));
        assert_eq!(mailbox.wake(), Ok(()));
        mailbox.close();
        assert_eq!(mailbox.wake(), Err(Undelivered::Gone));
    }

    #[test]
    fn of_two_evictions_the_one_that_concerns_more_stands_for_both() {
        for (first, second, left) in [
            (Some(3), Some(4), Some(4)),
            (Some(4), Some(3), Some(4)),
            (None, Some(9), None),
            (Some(9), None, None),
        ] {
            let mailbox = mailbox(1_000);
            let [first, second, left] =
                [first, second, left].map(|from| Eviction { code: 1012, from });
            mailbox.evict(first);
            mailbox.evict(second);
            let post = mailbox.take(&mut None, false).unwrap();
            assert_eq!(post.eviction, Some(left), "{first:?} and {second:?}");
        }
        let eviction = Eviction {
            code: 1012,
            from: Some(3),
        };
        assert!(eviction.concerns(2) && eviction.concerns(3) && !eviction.concerns(4));
    }
}
