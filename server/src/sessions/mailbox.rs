//! What others have for a session: messages sent by its id, publications, orders to close or to
//! move to newer code, wakes.
//!
//! Any thread may post; the session takes everything between two callbacks. Letters are in the
//! order posted and count against the session's outbound limit until they have left.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::runtime::wakes;
use crate::sessions::move_tracker::{Ask, MoveTracker};
use crate::sessions::prepared_message::PreparedMessage;

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
    /// Whether an alarm was ever set for it.
    has_alarm: AtomicBool,
    /// The tick of the timer wheel at which the session is to be woken next.
    due: AtomicU32,
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
    dismissal: Option<Dismissal>,
    ask: Ask,
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
    Send(Arc<PreparedMessage>),
    /// Start the closing handshake, as the handler says; the code and the reason may be sent.
    Close { code: u16, reason: String },
    /// Tell the handler this number.
    Note(u64),
}

/// The server's own order to close: sessions of a generation, and of older ones, are to leave. It
/// passes letters that wait, and the parts of a message.
///
/// Generations of a handler only rise, so the greater of two orders stands for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dismissal(NonZeroU64);

impl Dismissal {
    /// The server stops. The order concerns every session.
    pub(crate) const STOPPING: Dismissal = Dismissal(NonZeroU64::MAX);

    /// Newer code has replaced this generation.
    pub(crate) fn replaced(generation: u64) -> Dismissal {
        // The first generation of a handler is 1.
        Dismissal(NonZeroU64::new(generation).unwrap_or(NonZeroU64::MIN))
    }

    /// Whether it means a session on this generation.
    pub(crate) fn concerns(self, generation: u64) -> bool {
        generation <= self.0.get()
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
    pub(crate) dismissal: Option<Dismissal>,
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
            has_alarm: AtomicBool::new(false),
            due: AtomicU32::new(NEVER),
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
    pub(crate) fn publish(&self, message: &Arc<PreparedMessage>) {
        if self.post(Letter::Send(message.clone())) == Err(Undelivered::Full) {
            let mut inner = self.lock();
            inner.overflowed = true;
            self.ring(inner);
        }
    }

    /// Has the session closed by the server; one that is over needs no telling.
    pub(crate) fn dismiss(&self, dismissal: Dismissal) {
        let mut inner = self.lock();
        if inner.intake == Intake::Nothing {
            return;
        }
        inner.dismissal = inner.dismissal.max(Some(dismissal));
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

    /// Notes that an alarm is set for it.
    pub(crate) fn note_alarm(&self) {
        self.has_alarm.store(true, Ordering::Relaxed);
    }

    /// Whether an alarm was ever set for it.
    pub(crate) fn has_alarm(&self) -> bool {
        self.has_alarm.load(Ordering::Relaxed)
    }

    /// Whether its session is over.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().intake == Intake::Nothing
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
    pub(crate) fn ask_to_move(&self, tracker: &Arc<MoveTracker>) {
        let mut inner = self.lock();
        if inner.intake == Intake::Nothing {
            return;
        }
        let earlier = std::mem::replace(&mut inner.ask, tracker.ask());
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
            dismissal: inner.dismissal.take(),
            ask: inner.ask.take(),
        }
    }

    /// Takes the server's order to close, and leaves everything else.
    pub(crate) fn take_dismissal(&self) -> Option<Dismissal> {
        self.lock().dismissal.take()
    }

    /// Letters of so many bytes, which had stayed, have left.
    pub(crate) fn release(&self, bytes: usize) {
        let mut inner = self.lock();
        inner.bytes = inner.bytes.saturating_sub(bytes);
    }

    /// Ready when something was posted that an opening handshake acts on; `waker` is woken for it
    /// otherwise. Messages and a dismissal stay for the session that comes of the handshake.
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

    /// The session is to be woken for its deadlines at this tick. Where it is later than before, the
    /// pulse learns it when it wants to wake the session; where not, it has to be asked.
    pub(crate) fn set_due(&self, tick: u32) {
        self.due.store(tick, Ordering::Release);
    }

    /// Wakes the session for its deadlines at `tick`; answers the tick at which that is to be tried
    /// again, if the deadlines have moved away meanwhile.
    pub(crate) fn rouse(&self, tick: u32) -> Option<u32> {
        let due = self.due.load(Ordering::Acquire);
        if due > tick {
            return (due != NEVER).then_some(due);
        }
        // A session that sets it now is woken all the same, and asks again.
        self.due.store(NEVER, Ordering::Release);
        let inner = self.lock();
        self.roused.store(true, Ordering::Release);
        let waker = inner.waker.clone();
        drop(inner);
        // The timer wheel is a task, and no callback runs in it.
        if let Some(waker) = waker {
            waker.wake();
        }
        None
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
            Letter::Send(_) | Letter::Note(_) => None,
        }
    }
}

impl Letter {
    /// The bytes that it counts for; an empty message takes memory too.
    pub(crate) fn len(&self) -> usize {
        let text = match self {
            Letter::Send(message) => message.plain().len(),
            Letter::Close { reason, .. } => reason.len(),
            Letter::Note(_) => 0,
        };
        size_of::<Letter>() + text
    }
}

/// No tick: the session does not wait to be woken.
const NEVER: u32 = u32::MAX;
/// Letters that an empty mailbox keeps room for.
const LETTERS_KEPT: usize = 16;

#[cfg(test)]
mod tests;
