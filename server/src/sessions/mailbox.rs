//! The inbox of a session: messages sent by its id, publications, wakes, and orders to close or to move to
//! newer code.
//!
//! Any thread may post. The session takes everything between two callbacks. Letters keep the order in which
//! they were posted, and count against the session's outbound limit until they are sent. While the session
//! sleeps, publications do without letters: other threads send on its [socket](lending).

mod asks;
mod deadline;
pub(crate) mod dismissal;
pub(crate) mod lending;
pub(crate) mod letter;
mod overflow;
mod wire_state;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use self::dismissal::{Dismissal, number_kept};
use self::letter::{Letter, Letters};
use self::wire_state::WireState;
use crate::config::{OutboundLimit, OutboundPolicy};
use crate::runtime::wakes;
use crate::sessions::held_memory::bytes_of;
use crate::sessions::move_tracker::{Ask, MoveTracker};
use crate::sessions::prepared_message::PreparedMessage;
use crate::sessions::traffic::Traffic;

/// The inbox of one session, or of a handshake that may become one.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// The session's id: never 0, never reused.
    pub(crate) id: u64,
    /// The name of the handler that the session belongs to.
    owner: Arc<str>,
    /// Whether there is something to take, or one of the session's deadlines may have come. The message path loads this
    /// instead of taking the lock.
    has_post: AtomicBool,
    /// Whether one of the session's deadlines may have come.
    is_deadline_due: AtomicBool,
    /// Whether the session has ever joined a topic.
    is_subscriber: AtomicBool,
    /// Which thread may send on the session's socket.
    wire: WireState<AtomicU8>,
    /// The tick of the timer wheel at which the session is to be woken next.
    due: AtomicU32,
    /// The bytes that the session had buffered for its peer when it last told, and of letters that it delivers.
    buffered: AtomicU32,
    /// The descriptor of the session's socket, while `wire` lets others send.
    socket: AtomicI32,
    /// The bits of the `Form` in which the session sends publications, while `wire` lets others send.
    form: AtomicU32,
    /// What the session is counted for in `sessions/held_memory`, in its steps.
    held_steps: AtomicU16,
    /// What has passed between the session and its peer.
    pub(crate) traffic: Traffic,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The number of the generation that the session runs on, as [`number_kept`] has it.
    generation: u32,
    letters: Letters,
    /// The bytes of all letters that are not sent, also of those that the session has taken and keeps.
    bytes: u32,
    /// The most bytes that may wait: the session's outbound limit.
    bytes_max: u32,
    /// Room that is set aside for letters which are not posted yet.
    set_aside: u32,
    /// How many asks of the session wait for their answers.
    asks: u16,
    marks: Marks,
    dismissal: Option<Dismissal>,
    ask: Ask,
    intake: Intake,
    waker: Option<Waker>,
}

/// What is either so or not of a mailbox, in one byte. Each is one of the constants.
#[derive(Clone, Copy, Debug, Default)]
struct Marks(u8);

impl Marks {
    /// `wake` was called.
    const WOKEN: u8 = 1;
    /// A publication found no room.
    const OVERFLOWED: u8 = 2;
    /// An alarm was once set for the session.
    const HAS_ALARM: u8 = 4;
    /// A publication that finds no room is dropped.
    const DROPS_NEW: u8 = 8;
    /// A publication that finds no room takes that of the oldest ones.
    const DROPS_OLDEST: u8 = 16;

    /// The marks with this policy in the place of another one.
    fn with(self, policy: OutboundPolicy) -> Marks {
        let others = self.0 & !(Marks::DROPS_NEW | Marks::DROPS_OLDEST);
        Marks(match policy {
            OutboundPolicy::Close => others,
            OutboundPolicy::DropNew => others | Marks::DROPS_NEW,
            OutboundPolicy::DropOldest => others | Marks::DROPS_OLDEST,
        })
    }

    /// Whether a publication that finds no room ends the session.
    fn overflows(self) -> bool {
        !self.has(Marks::DROPS_NEW) && !self.has(Marks::DROPS_OLDEST)
    }

    fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    fn set(&mut self, mark: u8) {
        self.0 |= mark;
    }

    /// Like `has`, and takes the mark away.
    fn take(&mut self, mark: u8) -> bool {
        let had = self.has(mark);
        self.0 &= !mark;
        had
    }
}

/// What a mailbox still accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Intake {
    #[default]
    Everything,
    /// No letters: a Close frame is on its way, or too much waits for the peer, and nothing follows.
    Wakes,
    /// The session is over.
    Nothing,
}

/// What was in a mailbox besides letters.
#[derive(Debug, Default)]
pub(crate) struct Post {
    /// The bytes of all letters, if the session delivers them now. Until it has told what it has buffered, they count as
    /// that.
    pub(crate) letter_bytes: u32,
    /// `wake` was called.
    pub(crate) woken: bool,
    /// A publication found the mailbox full: the peer is too slow for what it subscribed to.
    pub(crate) overflowed: bool,
    /// The server wants the session closed.
    pub(crate) dismissal: Option<Dismissal>,
    /// There is newer code, and the session is asked to move to it.
    pub(crate) ask: Option<Ask>,
}

/// What was posted to an opening handshake that its handler has not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakePost {
    /// `wake` was called: the handler is asked again.
    Woken,
    /// The handler closed the session that the handshake would become. Code 0 is a close without a code.
    Closed { code: u16 },
}

/// Room in a mailbox that no other thread is given, until this is dropped.
#[derive(Debug)]
pub(crate) struct RoomSetAside<'a> {
    mailbox: &'a Mailbox,
    bytes: u32,
}

/// Why a letter was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undelivered {
    /// The session is over.
    Gone,
    /// The outbound limit: too many bytes wait already.
    Full,
}

impl Mailbox {
    /// An empty mailbox, for a session of the handler `owner`.
    pub(crate) fn new(
        id: u64,
        owner: Arc<str>,
        generation: u64,
        outbound: impl Into<OutboundLimit>,
    ) -> Mailbox {
        let OutboundLimit { bytes_max, policy } = outbound.into();
        Mailbox {
            id,
            owner,
            has_post: AtomicBool::new(false),
            is_deadline_due: AtomicBool::new(false),
            is_subscriber: AtomicBool::new(false),
            wire: WireState::new(),
            due: AtomicU32::new(deadline::NEVER),
            buffered: AtomicU32::new(0),
            socket: AtomicI32::new(-1),
            form: AtomicU32::new(0),
            held_steps: AtomicU16::new(0),
            traffic: Traffic::default(),
            inner: Mutex::new(Inner {
                generation: number_kept(generation),
                bytes_max: at_most_u32(bytes_max),
                marks: Marks::default().with(policy),
                ..Inner::default()
            }),
        }
    }

    /// Posts a letter. Returns the bytes buffered for the peer, as last known.
    pub(crate) fn post(&self, letter: Letter) -> Result<u64, Undelivered> {
        let mut inner = self.lock();
        if inner.intake != Intake::Everything {
            return Err(Undelivered::Gone);
        }
        let length = at_most_u32(letter.len());
        let is_close = matches!(letter, Letter::Close { .. });
        // A single message may be larger than the limit. The one Close always passes; nothing follows it.
        let bytes = inner.bytes.saturating_add(length);
        if !is_close && inner.bytes > 0 && bytes > inner.bytes_max {
            return Err(Undelivered::Full);
        }
        inner.bytes = bytes;
        if is_close {
            inner.intake = Intake::Wakes;
        }
        let buffered = self.buffered.load(Ordering::Relaxed);
        let buffered = u64::from(buffered) + u64::from(inner.bytes);
        inner.letters.get_or_insert_default().push_back(letter);
        self.notify(inner);
        Ok(buffered)
    }

    /// Posts a publication. If the mailbox is full, the session ends, or what its policy says is dropped.
    pub(crate) fn publish(&self, message: &Arc<PreparedMessage>) {
        if self.post(Letter::Send(message.clone())) == Err(Undelivered::Full) {
            self.publish_to_full(message);
        }
    }

    /// Sets room aside for letters that are posted next. `choose` is given the bytes for which the session has room, and
    /// returns how many of them are set aside. It runs under the lock.
    ///
    /// What the session has buffered takes room as well. [`post`](Self::post) leaves that out, because the peer may take
    /// it before the session comes to the letter.
    pub(crate) fn set_room_aside(&self, choose: impl FnOnce(usize) -> usize) -> RoomSetAside<'_> {
        let mut inner = self.lock();
        let buffered = self.buffered.load(Ordering::Relaxed);
        let taken = inner.bytes.saturating_add(inner.set_aside);
        let room = inner
            .bytes_max
            .saturating_sub(taken.saturating_add(buffered));
        let bytes = at_most_u32(choose(room as usize));
        inner.set_aside = inner.set_aside.saturating_add(bytes);
        RoomSetAside {
            mailbox: self,
            bytes,
        }
    }

    /// About how many bytes the session holds: of letters, and of its own messages that are incomplete or not sent.
    pub(crate) fn held_bytes(&self) -> u64 {
        let letters = self.lock().bytes;
        let unsent = u64::from(self.buffered.load(Ordering::Relaxed));
        let held = bytes_of(self.held_steps.load(Ordering::Relaxed));
        u64::from(letters) + unsent.max(held)
    }

    /// Notes what the session is counted for in `sessions/held_memory`.
    pub(crate) fn note_held(&self, steps: u16) {
        self.held_steps.store(steps, Ordering::Relaxed);
    }

    /// The bytes that wait to be sent, of the session itself and of letters.
    pub(crate) fn queue_bytes(&self) -> u64 {
        let letters = self.lock().bytes;
        u64::from(self.buffered.load(Ordering::Relaxed)) + u64::from(letters)
    }

    /// Orders the session to close. Does nothing if it is over.
    pub(crate) fn dismiss(&self, dismissal: Dismissal) {
        let mut inner = self.lock();
        if inner.intake == Intake::Nothing {
            return;
        }
        inner.dismissal = inner.dismissal.max(Some(dismissal));
        self.notify(inner);
    }

    /// Has the session look for an operator's orders in the registry. False if it is over.
    pub(crate) fn note_orders(&self) -> bool {
        let inner = self.lock();
        if inner.intake == Intake::Nothing {
            return false;
        }
        self.notify(inner);
        true
    }

    /// The bytes that the session had buffered for its peer when it last told.
    pub(crate) fn buffered(&self) -> u32 {
        self.buffered.load(Ordering::Relaxed)
    }

    /// Accepts no letters from now on: nothing follows a Close frame.
    pub(crate) fn refuse_letters(&self) {
        let mut inner = self.lock();
        if inner.intake == Intake::Everything {
            inner.intake = Intake::Wakes;
        }
        let refused = inner.letters.take();
        drop(inner);
        // Dropping a letter may run other code, which must not happen under the lock.
        drop(refused);
    }

    /// Has the handler's `wake` run for this session.
    pub(crate) fn wake(&self) -> Result<(), Undelivered> {
        let mut inner = self.lock();
        if inner.intake == Intake::Nothing {
            return Err(Undelivered::Gone);
        }
        inner.marks.set(Marks::WOKEN);
        self.notify(inner);
        Ok(())
    }

    /// Whether the session is over.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().intake == Intake::Nothing
    }

    /// The name of the handler that the session belongs to.
    pub(crate) fn owner(&self) -> &Arc<str> {
        &self.owner
    }

    /// The number of the generation that the session runs on.
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation.into()
    }

    /// Asks the session to move to newer code. Does nothing if it is over.
    pub(crate) fn ask_to_move(&self, tracker: &Arc<MoveTracker>) {
        let mut inner = self.lock();
        if inner.intake == Intake::Nothing {
            return;
        }
        let earlier = std::mem::replace(&mut inner.ask, tracker.ask());
        self.notify(inner);
        drop(earlier);
    }

    /// Notes that the session is on another generation now.
    ///
    /// The session calls this before it leaves the old generation, and looks for a newer one afterwards.
    /// So a move that begins in between finds the session here, or the session finds the move.
    pub(crate) fn set_generation(&self, generation: u64, outbound: OutboundLimit) {
        let OutboundLimit { bytes_max, policy } = outbound;
        let mut inner = self.lock();
        inner.generation = number_kept(generation);
        inner.bytes_max = at_most_u32(bytes_max);
        inner.marks = inner.marks.with(policy);
    }

    /// Takes everything, if there is something. Letters are appended to `letters` in the order posted.
    ///
    /// With `stay`, they count against the limit until they are [released](Self::release). Otherwise they
    /// and all before them count no more.
    #[inline]
    pub(crate) fn take(&self, letters: &mut Letters, stay: bool) -> Option<Post> {
        self.has_post().then(|| self.take_all(letters, stay))
    }

    #[inline(never)]
    fn take_all(&self, letters: &mut Letters, stay: bool) -> Post {
        let mut inner = self.lock();
        self.has_post.store(false, Ordering::Relaxed);
        let mut letter_bytes = 0;
        if !stay {
            letter_bytes = std::mem::take(&mut inner.bytes);
            let buffered = self.buffered.load(Ordering::Relaxed);
            self.set_buffered(u64::from(buffered) + u64::from(letter_bytes));
        }
        match letters {
            Some(before) if !before.is_empty() => {
                if let Some(posted) = &mut inner.letters {
                    before.append(posted);
                }
            }
            _ => {
                // The two queues change places, so that their memory is used again, unless it is very large.
                std::mem::swap(letters, &mut inner.letters);
                if let Some(empty) = &mut inner.letters {
                    empty.shrink_to(LETTERS_KEPT);
                }
            }
        }
        Post {
            letter_bytes,
            woken: inner.marks.take(Marks::WOKEN),
            overflowed: inner.marks.take(Marks::OVERFLOWED),
            dismissal: inner.dismissal.take(),
            ask: inner.ask.take(),
        }
    }

    /// Takes the server's order to close, and nothing else.
    pub(crate) fn take_dismissal(&self) -> Option<Dismissal> {
        self.lock().dismissal.take()
    }

    /// Counts `bytes` of letters, which had stayed, no more: they are sent.
    pub(crate) fn release(&self, bytes: usize) {
        let mut inner = self.lock();
        inner.bytes = inner.bytes.saturating_sub(at_most_u32(bytes));
    }

    /// Ready when something was posted that an opening handshake acts on. Otherwise `waker` is woken when it
    /// is. Messages and a dismissal stay for the session that the handshake becomes.
    pub(crate) fn poll_handshake_event(&self, waker: &Waker) -> Poll<HandshakePost> {
        let mut inner = self.lock();
        // A handshake does not move. Its session looks for newer code when it begins.
        let ask = inner.ask.take();
        let post = if let Some(code) = inner.closes_with() {
            Poll::Ready(HandshakePost::Closed { code })
        } else if inner.marks.take(Marks::WOKEN) {
            Poll::Ready(HandshakePost::Woken)
        } else {
            inner.waker = Some(waker.clone());
            Poll::Pending
        };
        drop(inner);
        drop(ask);
        post
    }

    /// Whether there is something to take, or one of the session's deadlines may have come.
    #[inline]
    pub(crate) fn has_post(&self) -> bool {
        self.has_post.load(Ordering::Acquire)
    }

    /// Sets the waker for what is posted next. Returns whether something is there already.
    pub(crate) fn listen(&self, waker: &Waker) -> bool {
        let mut inner = self.lock();
        if !inner.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        self.has_post.load(Ordering::Acquire)
    }

    /// Notes the bytes that the session has buffered for its peer.
    pub(crate) fn set_buffered(&self, bytes: u64) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.buffered.store(bytes, Ordering::Relaxed);
    }

    fn notify(&self, inner: MutexGuard<'_, Inner>) {
        self.has_post.store(true, Ordering::Release);
        wake(inner);
    }

    /// Closes the mailbox, because its session is over.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        let closed = Inner {
            intake: Intake::Nothing,
            marks: Marks(inner.marks.0 & Marks::HAS_ALARM),
            ..Inner::default()
        };
        let left = std::mem::replace(&mut *inner, closed);
        drop(inner);
        // Dropping what was in it may run other code, which must not happen under the lock.
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RoomSetAside<'_> {
    fn drop(&mut self) {
        let mut inner = self.mailbox.lock();
        // A mailbox that was closed meanwhile counts from 0 again.
        inner.set_aside = inner.set_aside.saturating_sub(self.bytes);
    }
}

/// Wakes the session after the lock is released.
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
            Letter::Send(_) | Letter::Note(_) | Letter::Answer(_) | Letter::Rest(_) => None,
        }
    }
}

/// As a `u32`, which holds more than the configuration allows: 1 GiB.
fn at_most_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// An empty mailbox keeps memory for this many letters.
const LETTERS_KEPT: usize = 16;

#[cfg(test)]
mod tests;
