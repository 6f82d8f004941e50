//! What the sessions of one server share: mailboxes, topics, threads, the log.
//!
//! Any thread may post to a mailbox. The test's thread empties the mailboxes between two callbacks.

pub(super) mod asks;
pub(super) mod topics;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicU32},
    time::{Duration, Instant},
};

use crate::{
    abi::{self, Status},
    test::{
        engine::AnswerBuf,
        limits::{self, OutboundPolicy},
        log::Line,
    },
};

use self::asks::{NotJoined, SharedState};

/// The part of a server that is reached from any thread.
#[derive(Debug)]
pub(super) struct Hub {
    /// The level that is logged now.
    pub(super) level: AtomicU32,
    /// Whether the handler may write past the framing.
    pub(super) allows_raw: bool,
    state: Mutex<HubState>,
    /// Notified whenever something was posted.
    posted: Condvar,
}

#[derive(Debug, Default)]
struct HubState {
    last_id: u64,
    mailboxes: HashMap<u64, Mailbox>,
    topics: HashMap<String, BTreeSet<u64>>,
    /// The sessions that have asked to join a topic, and are no subscribers yet, each with the number of its last join.
    joining: HashMap<(String, u64), u64>,
    last_join: u64,
    shared: SharedState,
    threads: usize,
    /// How often something was posted.
    posts: u64,
    log: Vec<Line>,
    /// The time of the server's clock.
    now: Duration,
    outbound_policy: OutboundPolicy,
}

/// What other threads and sessions have for one session.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// The items in the order in which they were posted.
    pub(super) items: VecDeque<MailboxItem>,
    /// `wake` was called, or the alarm rang.
    pub(super) is_woken: bool,
    /// Nothing follows a Close frame.
    refuses_items: bool,
    /// When the alarm of `wake_after` rings.
    alarm: Option<Duration>,
    /// A publication found the inbox full.
    pub(super) has_overflowed: bool,
    bytes: u64,
    buffered: u64,
    /// How many asks of the session wait for their answers.
    asks: usize,
}

/// A call to a session by its id, or the answer to an ask.
#[derive(Clone, Debug)]
pub(super) enum MailboxItem {
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
    Answer {
        token: u64,
        answer: Box<AnswerBuf>,
        /// The topic that the session is to forget.
        not_joined: Option<NotJoined>,
    },
}

/// A call by id that an opening handshake acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandshakeSignal {
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
            posted: Condvar::new(),
        }
    }

    /// A new id, with a mailbox.
    pub(super) fn register(&self) -> u64 {
        let mut state = self.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.mailboxes.insert(id, Mailbox::default());
        id
    }

    /// Removes an id with its mailbox and its subscriptions.
    pub(super) fn remove(&self, id: u64) {
        let mut state = self.lock();
        state.mailboxes.remove(&id);
        for subscribers in state.topics.values_mut() {
            subscribers.remove(&id);
        }
    }

    /// Empties the mailbox of a session; `None` if nothing is in it.
    pub(super) fn take(&self, id: u64) -> Option<Mailbox> {
        let mut state = self.lock();
        let mailbox = state.mailboxes.get_mut(&id)?;
        if mailbox.items.is_empty() && !mailbox.is_woken && !mailbox.has_overflowed {
            return None;
        }
        let left = Mailbox {
            buffered: mailbox.buffered,
            alarm: mailbox.alarm,
            refuses_items: mailbox.refuses_items,
            asks: mailbox.asks,
            ..Mailbox::default()
        };
        Some(std::mem::replace(mailbox, left))
    }

    /// Takes the call that an opening handshake acts on. Messages stay for its session.
    pub(super) fn take_handshake_signal(&self, id: u64) -> Option<HandshakeSignal> {
        let mut state = self.lock();
        let mailbox = state.mailboxes.get_mut(&id)?;
        let closes = mailbox.items.iter().find_map(|item| match item {
            MailboxItem::Close { code, .. } => Some(HandshakeSignal::Closed { code: *code }),
            MailboxItem::Send { .. }
            | MailboxItem::Raw(_)
            | MailboxItem::Note(_)
            | MailboxItem::Answer { .. } => None,
        });
        let woken = std::mem::take(&mut mailbox.is_woken).then_some(HandshakeSignal::Woken);
        closes.or(woken)
    }

    /// Notes how many bytes a session has buffered, for the answers to sends by id.
    pub(super) fn note_buffered(&self, id: u64, buffered: u64) {
        if let Some(mailbox) = self.lock().mailboxes.get_mut(&id) {
            mailbox.buffered = buffered;
        }
    }

    pub(super) fn post(&self, id: u64, item: MailboxItem) -> Result<u64, Status> {
        let mut state = self.lock();
        let mailbox = state.mailboxes.get_mut(&id).ok_or(abi::GONE)?;
        let buffered = mailbox.post(item)?;
        self.count_post(state);
        Ok(buffered)
    }

    pub(super) fn wake(&self, id: u64) -> Result<(), Status> {
        let mut state = self.lock();
        state.mailboxes.get_mut(&id).ok_or(abi::GONE)?.is_woken = true;
        self.count_post(state);
        Ok(())
    }

    /// Refuses calls to a session from now on, and drops those that wait.
    pub(super) fn refuse_items(&self, id: u64) {
        if let Some(mailbox) = self.lock().mailboxes.get_mut(&id) {
            mailbox.refuses_items = true;
            mailbox.items.clear();
        }
    }

    /// Sets or replaces the alarm of a session; `u64::MAX` is none.
    pub(super) fn wake_after(&self, id: u64, ms: u64) -> Result<(), Status> {
        let mut state = self.lock();
        let at = state.now.saturating_add(Duration::from_millis(ms));
        let mailbox = state.mailboxes.get_mut(&id).ok_or(abi::GONE)?;
        mailbox.alarm = (ms != u64::MAX).then_some(at);
        Ok(())
    }

    /// The time of the server's clock.
    pub(super) fn now(&self) -> Duration {
        self.lock().now
    }

    /// Sets the clock to `now`, and wakes every session whose alarm is due.
    pub(super) fn ring_alarms(&self, now: Duration) {
        let mut state = self.lock();
        state.now = now;
        for mailbox in state.mailboxes.values_mut() {
            if mailbox.alarm.take_if(|at| *at <= now).is_some() {
                mailbox.is_woken = true;
            }
        }
    }

    /// When the next alarm rings.
    pub(super) fn next_alarm(&self) -> Option<Duration> {
        let state = self.lock();
        state
            .mailboxes
            .values()
            .filter_map(|mailbox| mailbox.alarm)
            .min()
    }

    /// Notes that a session asks to join a topic. Answers the number of the join.
    pub(super) fn begin_joining(&self, topic: &str, id: u64) -> u64 {
        let mut state = self.lock();
        state.last_join += 1;
        let number = state.last_join;
        state.joining.insert((topic.into(), id), number);
        number
    }

    pub(super) fn subscribe(&self, topic: &str, id: u64, on: bool) {
        let mut state = self.lock();
        state.joining.remove(&(topic.to_owned(), id));
        let subscribers = state.topics.entry(topic.into()).or_default();
        if on {
            subscribers.insert(id);
        } else {
            subscribers.remove(&id);
        }
    }

    /// Publishes a message to every subscriber but `except`; answers how many there are.
    pub(super) fn publish(
        &self,
        topic: &str,
        item: &MailboxItem,
        except: u64,
    ) -> Result<u64, Status> {
        let mut state = self.lock();
        let count = state.publish(topic, item, except)?;
        self.count_post(state);
        Ok(count)
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
        self.count_post(state);
    }

    pub(super) fn threads(&self) -> usize {
        self.lock().threads
    }

    pub(super) fn log(&self, line: Line) {
        // The test harness captures it, and shows it if the test fails.
        eprintln!("{line}");
        self.lock().log.push(line);
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        self.lock().log.clone()
    }

    /// How often something was posted.
    pub(super) fn posts(&self) -> u64 {
        self.lock().posts
    }

    /// Waits until more than `seen` posts were made. It gives up, and answers false, at `until`, or when `is_worthwhile`
    /// says so of the number of running threads.
    pub(super) fn wait_for_post(
        &self,
        seen: u64,
        until: Instant,
        is_worthwhile: impl Fn(usize) -> bool,
    ) -> bool {
        let mut state = self.lock();
        loop {
            if state.posts != seen {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !is_worthwhile(state.threads) {
                return false;
            }
            let waited = self.posted.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn count_post(&self, mut state: MutexGuard<'_, HubState>) {
        state.posts += 1;
        drop(state);
        self.posted.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, HubState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HubState {
    /// Posts a message to every subscriber but `except`; answers to how many.
    fn deliver(&mut self, topic: &str, item: &MailboxItem, except: u64) -> u64 {
        let HubState {
            topics,
            mailboxes,
            outbound_policy,
            ..
        } = self;
        let mut count = 0;
        for id in topics.get(topic).into_iter().flatten() {
            if let Some(mailbox) = mailboxes.get_mut(id).filter(|_| *id != except) {
                count += 1;
                mailbox.publish(item.clone(), *outbound_policy);
            }
        }
        count
    }
}

impl MailboxItem {
    /// How many bytes it counts for in a mailbox.
    fn len(&self) -> u64 {
        match self {
            MailboxItem::Send { bytes, .. } => limits::frame_len(bytes.len()),
            MailboxItem::Raw(bytes) => bytes.len() as u64,
            MailboxItem::Close { reason, .. } => limits::frame_len(reason.len() + 2),
            MailboxItem::Note(_) => NOTE_BYTES,
            MailboxItem::Answer { .. } => 0,
        }
    }
}

impl Mailbox {
    /// How many items, from the newest on, can be posted before the mailbox is full.
    fn newest_that_fit(&self, items: &[MailboxItem]) -> usize {
        let mut room = limits::OUTBOUND_BYTES_MAX.saturating_sub(self.bytes);
        let fit = items.iter().rev().take_while(|item| {
            let fits = item.len() <= room;
            room -= item.len().min(room);
            fits
        });
        fit.count()
    }

    /// Posts a publication. Where it finds no room, the policy says what is dropped, or that the session ends.
    fn publish(&mut self, item: MailboxItem, policy: OutboundPolicy) {
        let is_message = |item: &MailboxItem| matches!(item, MailboxItem::Send { .. });
        while policy == OutboundPolicy::DropOldest
            && self.bytes + item.len() > limits::OUTBOUND_BYTES_MAX
            && let Some(oldest) = self.items.iter().position(is_message)
            && let Some(dropped) = self.items.remove(oldest)
        {
            self.bytes = self.bytes.saturating_sub(dropped.len());
        }
        let is_lost = self.post(item).is_err();
        self.has_overflowed |= is_lost && policy == OutboundPolicy::Close;
    }

    fn post(&mut self, item: MailboxItem) -> Result<u64, Status> {
        let len = item.len();
        if self.refuses_items {
            return Err(abi::GONE);
        }
        self.refuses_items = matches!(item, MailboxItem::Close { .. });
        // A single message that is longer than the limit is accepted.
        if self.bytes > 0 && self.bytes + len > limits::OUTBOUND_BYTES_MAX {
            return Err(abi::FULL);
        }
        self.bytes += len;
        self.items.push_back(item);
        Ok(self.buffered + self.bytes)
    }
}

/// How many bytes a note counts for in a mailbox.
const NOTE_BYTES: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_acts_on_wakes_and_closes_and_leaves_messages_for_its_session() {
        let hub = Hub::new(false);
        let id = hub.register();
        let (kind, bytes) = (abi::TEXT, b"hi".to_vec());

        hub.post(id, MailboxItem::Send { kind, bytes }).unwrap();
        assert_eq!(hub.take_handshake_signal(id), None);
        hub.wake(id).unwrap();
        assert_eq!(hub.take_handshake_signal(id), Some(HandshakeSignal::Woken));
        assert_eq!(hub.take_handshake_signal(id), None);
        let (code, reason) = (1008, String::new());
        hub.post(id, MailboxItem::Close { code, reason }).unwrap();
        assert_eq!(
            hub.take_handshake_signal(id),
            Some(HandshakeSignal::Closed { code })
        );

        assert_eq!(hub.take(id).map(|mailbox| mailbox.items.len()), Some(2));
        hub.remove(id);
        assert_eq!(hub.wake(id), Err(abi::GONE));
    }
}
