//! What a handler can do to its session from inside a callback: send, close, timers, topics.
//!
//! Everything acts on the session's own state, at once and in call order; nothing here enters the
//! plugin. The server's own frames (Pong, Close) go the same way.

pub(crate) mod outgoing;
mod raw;
mod timers;

use std::sync::Arc;

use tungstenite::protocol::frame::coding::OpCode;
use wsh::{abi, rules};

use self::timers::Timers;
use crate::buffers::pool::Buffer;
use crate::config::SessionLimits;
use crate::outbound::wire::Wire;
use crate::sessions::cause::Cause;
use crate::sessions::mailbox::Mailbox;
use crate::sessions::topics::{Subscriptions, Topics};
use crate::ws::deflate::deflation::Deflation;
use crate::ws::{close, frame};

/// One session's state as far as its handler can change it.
#[derive(Debug)]
pub(crate) struct Controls {
    pub(crate) wire: Wire,
    /// There if compression was agreed on.
    pub(crate) deflation: Option<Box<Deflation>>,
    pub(crate) limits: Arc<SessionLimits>,
    pub(crate) ending: Ending,
    /// Why the session ends, once it does.
    pub(crate) cause: Option<Cause>,
    /// What broke off the end that was under way.
    pub(crate) cut_short: Option<Cause>,
    /// Whether the peer's messages are let in.
    pub(crate) reads: bool,
    /// Bytes buffered, above which the peer is not read.
    congested_above: u32,
    /// The kind of the message that is being sent in parts.
    open_message: Option<u8>,
    /// Whether that message goes compressed.
    open_is_compressed: bool,
    pub(crate) mailbox: Arc<Mailbox>,
    /// There once it was used.
    extras: Option<Box<Extras>>,
}

/// What most sessions never use, so that they need no room for it.
#[derive(Debug, Default)]
struct Extras {
    watermark: Watermark,
    timers: Timers,
    subscriptions: Option<Subscriptions>,
    /// Room that a handler writes a message into, and how much of it it has asked for, until another
    /// call takes it back.
    reserved: Buffer,
    reserved_bytes: Option<usize>,
}

/// How far the end of the session has come, on our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nobody here has asked for it.
    No,
    /// Our Close frame is queued; nothing follows it.
    Closed { code: u16 },
    /// The connection is dropped without a Close frame.
    Aborted,
}

#[derive(Debug, Default)]
struct Watermark {
    low: u64,
    high: u64,
    is_set: bool,
    /// Whether `buffered` has been above `high` since `drain` last ran.
    is_armed: bool,
}

impl Watermark {
    fn note(&mut self, buffered: u64) {
        if self.is_set && buffered > self.high {
            self.is_armed = true;
        }
    }
}

impl Controls {
    pub(crate) fn new(wire: Wire, limits: Arc<SessionLimits>, mailbox: Arc<Mailbox>) -> Controls {
        Controls {
            wire,
            congested_above: at_most_u32(half_of(&limits)),
            deflation: None,
            limits,
            ending: Ending::No,
            cause: None,
            cut_short: None,
            reads: true,
            open_message: None,
            open_is_compressed: false,
            mailbox,
            extras: None,
        }
    }

    /// Other limits hold from now on.
    pub(crate) fn set_limits(&mut self, limits: Arc<SessionLimits>) {
        self.congested_above = at_most_u32(half_of(&limits));
        self.limits = limits;
    }

    /// Queues a Ping.
    pub(crate) fn ping(&mut self, payload: &[u8]) -> Result<(), abi::Status> {
        if payload.len() > rules::PING_BYTES_MAX {
            return Err(abi::TOO_BIG);
        }
        self.control(frame::PING, payload)
    }

    /// Queues a Pong.
    pub(crate) fn pong(&mut self, payload: &[u8]) -> Result<(), abi::Status> {
        self.control(frame::PONG, payload)
    }

    /// Queues a Close; nothing follows it, not even the rest of a message that is being sent in
    /// parts (RFC 6455 §5.4 lets control frames between them). Code 0 is an empty body.
    pub(crate) fn close(
        &mut self,
        code: u32,
        reason: &str,
        cause: Cause,
    ) -> Result<(), abi::Status> {
        let code = rules::close(code, reason)?;
        self.control(frame::CLOSE, &close::body(code, reason))?;
        self.ending = Ending::Closed { code };
        self.blame(cause);
        self.mailbox.refuse_letters();
        if let Some(extras) = &mut self.extras {
            extras.timers = Timers::default();
        }
        Ok(())
    }

    /// Queues the Close frame that the server sends for `cause`; it does nothing if one is queued.
    pub(crate) fn close_for(&mut self, cause: Cause) {
        let reason = cause.reason(&self.limits);
        // GONE: it is closing already.
        let _ = self.close(cause.code().into(), &reason, cause);
    }

    /// Notes why the session ends. What came first counts.
    pub(crate) fn blame(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
    }

    /// Drops the connection without a Close frame.
    pub(crate) fn abort(&mut self) -> Result<(), abi::Status> {
        if self.ending == Ending::Aborted {
            return Err(abi::GONE);
        }
        self.ending = Ending::Aborted;
        self.blame(Cause::HandlerAborted);
        self.mailbox.refuse_letters();
        Ok(())
    }

    /// `drain` fires once when `buffered`, having been above `high`, is at most `low`.
    pub(crate) fn set_watermark(&mut self, low: u64, high: u64) -> Result<(), abi::Status> {
        if low > high {
            return Err(abi::INVALID);
        }
        let is_armed = self.wire.buffered() as u64 > high;
        self.extras.get_or_insert_default().watermark = Watermark {
            low,
            high,
            is_set: true,
            is_armed,
        };
        Ok(())
    }

    /// Whether `drain` is due.
    #[inline]
    pub(crate) fn is_drain_due(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| {
            let watermark = &extras.watermark;
            watermark.is_armed && self.wire.buffered() as u64 <= watermark.low
        })
    }

    /// Whether `drain` is due; it is then taken as run.
    pub(crate) fn take_drain(&mut self) -> bool {
        let is_due = self.is_drain_due();
        if let Some(extras) = &mut self.extras {
            extras.watermark.is_armed &= !is_due;
        }
        is_due
    }

    /// Joins a topic.
    pub(crate) fn subscribe(
        &mut self,
        topics: &Arc<Topics>,
        name: &str,
    ) -> Result<(), abi::Status> {
        let extras = self.extras.get_or_insert_default();
        let subscriptions =
            (extras.subscriptions).get_or_insert_with(|| Subscriptions::new(topics, &self.mailbox));
        if subscriptions.has(name) {
            return Ok(());
        }
        if subscriptions.len() == self.limits.topics_max {
            return Err(abi::TOO_BIG);
        }
        subscriptions.join(name);
        Ok(())
    }

    /// Leaves a topic.
    pub(crate) fn unsubscribe(&mut self, name: &str) {
        let extras = self.extras.as_mut();
        if let Some(subscriptions) = extras.and_then(|extras| extras.subscriptions.as_mut()) {
            subscriptions.leave(name);
        }
    }

    /// Leaves every topic.
    pub(crate) fn unsubscribe_all(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.subscriptions = None;
        }
    }

    /// Bytes buffered now, made known to those who send by id.
    pub(crate) fn note_buffered(&mut self) -> u64 {
        let buffered = self.arm_watermark();
        self.mailbox.set_buffered(buffered);
        buffered
    }

    #[inline]
    fn arm_watermark(&mut self) -> u64 {
        let buffered = self.wire.buffered() as u64;
        if let Some(extras) = &mut self.extras {
            extras.watermark.note(buffered);
            // What was sent took back what was reserved.
            extras.reserved_bytes = None;
        }
        buffered
    }

    /// Whether the queue is so long that this peer is not read: over half its limit, or so that an
    /// answer as long as the message that comes next would not fit. So an echo never runs over.
    #[inline]
    pub(crate) fn is_congested(&self) -> bool {
        self.wire.buffered() > self.congested_above as usize
    }

    /// Half the limit of the queue: what an answer to a message must not leave it above.
    #[inline]
    pub(crate) fn half(&self) -> usize {
        half_of(&self.limits)
    }

    /// How long the next message may be for an answer as long to leave the queue below
    /// [`half`](Self::half), which whoever asks often has at hand; none while the peer is not to be
    /// read.
    #[inline]
    pub(crate) fn answer_bytes_max(&self, half: usize) -> Option<usize> {
        let left = half.checked_sub(self.wire.buffered() + frame::HEADER_BYTES_MAX)?;
        self.reads.then_some(left)
    }

    /// The next message has so many bytes.
    pub(crate) fn expect_message(&mut self, bytes: usize) {
        self.congested_above = at_most_u32(limit_beside(bytes, &self.limits));
    }

    fn control(&mut self, opcode: OpCode, payload: &[u8]) -> Result<(), abi::Status> {
        if self.ending != Ending::No {
            return Err(abi::GONE);
        }
        self.wire.put(true, opcode, payload);
        self.note_buffered();
        Ok(())
    }
}

/// Half the outbound limit, or what a message of so many bytes leaves of it.
fn limit_beside(bytes: usize, limits: &SessionLimits) -> usize {
    let answer = bytes.saturating_add(frame::HEADER_BYTES_MAX);
    let left = limits.outbound_bytes_max.saturating_sub(answer);
    left.min(half_of(limits))
}

/// The configuration allows a queue of 1 GiB.
fn at_most_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn half_of(limits: &SessionLimits) -> usize {
    limits.outbound_bytes_max / 2
}
