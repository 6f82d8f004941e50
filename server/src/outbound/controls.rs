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
use crate::ws::close::CloseBody;
use crate::ws::closing::{CloseFrame, ClosingEvent, ClosingHandshake};
use crate::ws::deflate::deflation::Deflation;
use crate::ws::{close, frame};

/// One session's state as far as its handler can change it.
#[derive(Debug)]
pub(crate) struct Controls {
    pub(crate) wire: Wire,
    /// There if compression was agreed on.
    pub(crate) deflation: Option<Box<Deflation>>,
    pub(crate) limits: Arc<SessionLimits>,
    /// How far the end of the session has come.
    pub(crate) closing: ClosingHandshake,
    /// The code of our Close frame; 0 while there is none, or it has no code.
    pub(crate) close_code: u16,
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
            closing: ClosingHandshake::new(),
            close_code: 0,
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
        if self.advance(ClosingEvent::Close, cause).is_none() {
            return Err(abi::GONE);
        }
        self.put_close(code, reason);
        Ok(())
    }

    /// Closes for the server, which says why; nothing happens if our Close frame is queued already.
    pub(crate) fn close_for(&mut self, cause: Cause) {
        self.note_event(ClosingEvent::Close, cause, None);
    }

    /// Drops the connection without a Close frame.
    pub(crate) fn abort(&mut self) -> Result<(), abi::Status> {
        if self.closing.state().is_over() {
            return Err(abi::GONE);
        }
        self.advance(ClosingEvent::Abort, Cause::HandlerAborted);
        self.close_code = 0; // A Close frame that is queued does not leave.
        self.mailbox.refuse_letters();
        Ok(())
    }

    /// Takes an event that bears on the end of the session, and queues our Close frame if it is due:
    /// with the words of `cause`, or with those of the peer's Close, which are `theirs`.
    pub(crate) fn note_event(
        &mut self,
        event: ClosingEvent,
        cause: Cause,
        theirs: Option<&CloseBody>,
    ) {
        match self.advance(event, cause) {
            Some(CloseFrame::Own) => {
                let reason = cause.reason(&self.limits);
                self.put_close(cause.code(), &reason);
            }
            Some(CloseFrame::Echo) => {
                let (code, reason) = theirs.map_or((0, ""), |it| (it.code, &it.reason));
                self.put_close(code, reason);
            }
            None => {}
        }
    }

    /// Takes an event, and notes `cause` as the reason for the end unless there is one. Answers which
    /// Close frame has to be queued now.
    fn advance(&mut self, event: ClosingEvent, cause: Cause) -> Option<CloseFrame> {
        let transition = self.closing.advance(event);
        self.cause.get_or_insert(cause);
        if transition.cuts_short {
            self.cut_short = Some(cause);
        }
        transition.frame
    }

    fn put_close(&mut self, code: u16, reason: &str) {
        self.wire
            .put(true, frame::CLOSE, &close::body(code, reason));
        self.note_buffered();
        self.close_code = code;
        self.mailbox.refuse_letters();
        if let Some(extras) = &mut self.extras {
            extras.timers = Timers::default();
        }
    }

    /// Whether our Close frame is still to come, so that anything may be sent.
    #[inline]
    pub(crate) fn may_send(&self) -> bool {
        self.closing.state().may_send()
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
        if !self.may_send() {
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
