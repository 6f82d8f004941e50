//! What the sessions of one server share: inboxes, topics, threads, the log.
//!
//! Any thread may post; the test's thread takes everything between two callbacks.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicU32},
    time::{Duration, Instant},
};

use crate::{
    abi::{self, Status},
    test::{limits, log::Line},
};

/// The part of a server that is reached from any thread.
#[derive(Debug)]
pub(super) struct Hub {
    /// The level that is logged now.
    pub(super) level: AtomicU32,
    /// Whether the handler may write past the framing.
    pub(super) allows_raw: bool,
    state: Mutex<State>,
    /// Rings whenever something was posted.
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    inboxes: HashMap<u64, Inbox>,
    topics: HashMap<String, BTreeSet<u64>>,
    threads: usize,
    /// How often the bell rang.
    rings: u64,
    log: Vec<Line>,
    /// The time of the server's clock.
    now: Duration,
}

/// What waits for one session.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// In the order posted.
    pub(super) letters: VecDeque<Letter>,
    /// `wake` was called, or the alarm rang.
    pub(super) is_woken: bool,
    /// Nothing follows a Close frame.
    refuses_letters: bool,
    /// When the alarm of `wake_after` rings.
    alarm: Option<Duration>,
    /// A publication found the inbox full.
    pub(super) has_overflowed: bool,
    bytes: u64,
    buffered: u64,
}

/// What others want of a session.
#[derive(Clone, Debug)]
pub(super) enum Letter {
    Send {
        kind: u32,
        bytes: Vec<u8>,
    },
    /// Bytes past the framing.
    Raw(Vec<u8>),
    Close {
        code: u32,
        reason: String,
    },
    Note(u64),
}

/// What was posted to an opening handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knocked {
    /// The handler is to be asked again.
    Woken,
    /// The session that would come of it is to be closed.
    Closed { code: u32 },
}

impl Hub {
    pub(super) fn new(allows_raw: bool) -> Self {
        Hub {
            level: AtomicU32::new(abi::LOG_TRACE),
            allows_raw,
            state: Mutex::default(),
            bell: Condvar::new(),
        }
    }

    /// An id, with an inbox.
    pub(super) fn register(&self) -> u64 {
        let mut state = self.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.inboxes.insert(id, Inbox::default());
        id
    }

    /// From now on the id is a dead one.
    pub(super) fn remove(&self, id: u64) {
        let mut state = self.lock();
        state.inboxes.remove(&id);
        for subscribers in state.topics.values_mut() {
            subscribers.remove(&id);
        }
    }

    /// Takes what waits for a session, if there is something.
    pub(super) fn take(&self, id: u64) -> Option<Inbox> {
        let mut state = self.lock();
        let inbox = state.inboxes.get_mut(&id)?;
        if inbox.letters.is_empty() && !inbox.is_woken && !inbox.has_overflowed {
            return None;
        }
        let left = Inbox {
            buffered: inbox.buffered,
            alarm: inbox.alarm,
            refuses_letters: inbox.refuses_letters,
            ..Inbox::default()
        };
        Some(std::mem::replace(inbox, left))
    }

    /// Takes what an opening handshake acts on; messages stay for the session that comes of it.
    pub(super) fn take_knocked(&self, id: u64) -> Option<Knocked> {
        let mut state = self.lock();
        let inbox = state.inboxes.get_mut(&id)?;
        let closes = inbox.letters.iter().find_map(|letter| match letter {
            Letter::Close { code, .. } => Some(Knocked::Closed { code: *code }),
            Letter::Send { .. } | Letter::Raw(_) | Letter::Note(_) => None,
        });
        let woken = std::mem::take(&mut inbox.is_woken).then_some(Knocked::Woken);
        closes.or(woken)
    }

    /// Notes what a session has buffered, for those who send by its id.
    pub(super) fn note_buffered(&self, id: u64, buffered: u64) {
        if let Some(inbox) = self.lock().inboxes.get_mut(&id) {
            inbox.buffered = buffered;
        }
    }

    pub(super) fn post(&self, id: u64, letter: Letter) -> Result<u64, Status> {
        let mut state = self.lock();
        let inbox = state.inboxes.get_mut(&id).ok_or(abi::GONE)?;
        let buffered = inbox.post(letter)?;
        self.ring(state);
        Ok(buffered)
    }

    pub(super) fn wake(&self, id: u64) -> Result<(), Status> {
        let mut state = self.lock();
        state.inboxes.get_mut(&id).ok_or(abi::GONE)?.is_woken = true;
        self.ring(state);
        Ok(())
    }

    /// From now on what is sent to a session is refused, and what was not delivered is dropped.
    pub(super) fn refuse_letters(&self, id: u64) {
        if let Some(inbox) = self.lock().inboxes.get_mut(&id) {
            inbox.refuses_letters = true;
            inbox.letters.clear();
        }
    }

    /// Sets or replaces the alarm of a session; `u64::MAX` is none.
    pub(super) fn wake_after(&self, id: u64, ms: u64) -> Result<(), Status> {
        let mut state = self.lock();
        let at = state.now.saturating_add(Duration::from_millis(ms));
        let inbox = state.inboxes.get_mut(&id).ok_or(abi::GONE)?;
        inbox.alarm = (ms != u64::MAX).then_some(at);
        Ok(())
    }

    /// The time of the server's clock.
    pub(super) fn now(&self) -> Duration {
        self.lock().now
    }

    /// The clock has come to `now`: rings every alarm that was set for then or before.
    pub(super) fn ring_alarms(&self, now: Duration) {
        let mut state = self.lock();
        state.now = now;
        for inbox in state.inboxes.values_mut() {
            if inbox.alarm.take_if(|at| *at <= now).is_some() {
                inbox.is_woken = true;
            }
        }
    }

    /// When the next alarm rings.
    pub(super) fn next_alarm(&self) -> Option<Duration> {
        let state = self.lock();
        state.inboxes.values().filter_map(|inbox| inbox.alarm).min()
    }

    pub(super) fn subscribe(&self, topic: &str, id: u64, on: bool) {
        let mut state = self.lock();
        let subscribers = state.topics.entry(topic.into()).or_default();
        if on {
            subscribers.insert(id);
        } else {
            subscribers.remove(&id);
        }
    }

    /// Posts a message to every subscriber but one; answers to how many.
    pub(super) fn publish(&self, topic: &str, letter: &Letter, except: u64) -> u64 {
        let mut state = self.lock();
        let State {
            topics, inboxes, ..
        } = &mut *state;
        let mut count = 0;
        for id in topics.get(topic).into_iter().flatten() {
            if let Some(inbox) = inboxes.get_mut(id).filter(|_| *id != except) {
                count += 1;
                inbox.has_overflowed |= inbox.post(letter.clone()).is_err();
            }
        }
        self.ring(state);
        count
    }

    /// Counts a thread in.
    pub(super) fn begin_thread(&self) -> Result<(), Status> {
        let mut state = self.lock();
        if state.threads == limits::THREADS_MAX {
            return Err(abi::TOO_BIG);
        }
        state.threads += 1;
        Ok(())
    }

    /// Counts a thread out.
    pub(super) fn end_thread(&self) {
        let mut state = self.lock();
        state.threads -= 1;
        self.ring(state);
    }

    pub(super) fn threads(&self) -> usize {
        self.lock().threads
    }

    pub(super) fn log(&self, line: Line) {
        // Captured by the test harness: who looks into a failed test sees it.
        eprintln!("{line}");
        self.lock().log.push(line);
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        self.lock().log.clone()
    }

    /// How often something was posted.
    pub(super) fn rings(&self) -> u64 {
        self.lock().rings
    }

    /// Waits until something is posted that was not among the first `seen`, as long as `worthwhile`
    /// says of the number of threads that it may be. False: in vain.
    pub(super) fn listen(
        &self,
        seen: u64,
        until: Instant,
        worthwhile: impl Fn(usize) -> bool,
    ) -> bool {
        let mut state = self.lock();
        loop {
            if state.rings != seen {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !worthwhile(state.threads) {
                return false;
            }
            let waited = self.bell.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn ring(&self, mut state: MutexGuard<'_, State>) {
        state.rings += 1;
        drop(state);
        self.bell.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn post(&mut self, letter: Letter) -> Result<u64, Status> {
        let len = match &letter {
            Letter::Send { bytes, .. } => limits::frame_len(bytes.len()),
            Letter::Raw(bytes) => bytes.len() as u64,
            Letter::Close { reason, .. } => limits::frame_len(reason.len() + 2),
            Letter::Note(_) => NOTE_BYTES,
        };
        if self.refuses_letters {
            return Err(abi::GONE);
        }
        self.refuses_letters = matches!(letter, Letter::Close { .. });
        // One message larger than the limit must be able to pass.
        if self.bytes > 0 && self.bytes + len > limits::OUTBOUND_BYTES_MAX {
            return Err(abi::FULL);
        }
        self.bytes += len;
        self.letters.push_back(letter);
        Ok(self.buffered + self.bytes)
    }
}

/// What a note counts for in an inbox.
const NOTE_BYTES: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_acts_on_wakes_and_closes_and_leaves_messages_for_its_session() {
        let hub = Hub::new(false);
        let id = hub.register();
        let (kind, bytes) = (abi::TEXT, b"hi".to_vec());

        hub.post(id, Letter::Send { kind, bytes }).unwrap();
        assert_eq!(hub.take_knocked(id), None);
        hub.wake(id).unwrap();
        assert_eq!(hub.take_knocked(id), Some(Knocked::Woken));
        assert_eq!(hub.take_knocked(id), None);
        let (code, reason) = (1008, String::new());
        hub.post(id, Letter::Close { code, reason }).unwrap();
        assert_eq!(hub.take_knocked(id), Some(Knocked::Closed { code }));

        assert_eq!(hub.take(id).map(|inbox| inbox.letters.len()), Some(2));
        hub.remove(id);
        assert_eq!(hub.wake(id), Err(abi::GONE));
    }
}
