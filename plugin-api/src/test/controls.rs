//! What the handler's calls inside a callback act on: one session's queue, timers, topics and end.

mod topics;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    abi::{self, Status},
    close::{Cause, Close},
    close_codes,
    message::MessageBuf,
    rules,
    test::{
        hub::Hub,
        limits::{self, OutboundPolicy},
    },
};

/// The part of one session that its handler can change, and what its client has received.
#[derive(Debug)]
pub(super) struct Controls {
    pub(super) id: u64,
    pub(super) ending: LocalEnd,
    /// Whether the peer's messages are let in.
    pub(super) reads: bool,
    /// What ended the session first, one of the values of [`abi::CAUSE`]; 0 while nothing has.
    pub(super) cause: u32,
    pub(super) wire: Wire,
    /// The time of the server's clock when the callback began.
    pub(super) now: Duration,
    /// The bytes that `reserve` has lent.
    reserved: Option<Vec<u8>>,
    /// The message that is being sent in parts.
    parts: Option<(u32, Vec<u8>)>,
    timers: Vec<(Duration, u64)>,
    topics: Vec<String>,
    /// The topics that the session is a member of.
    memberships: Vec<String>,
    watermark: Option<(u64, u64)>,
    /// Whether `buffered` has been above `high` since `drain` last ran.
    is_above: bool,
    hub: Arc<Hub>,
}

/// How this side has ended the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LocalEnd {
    None,
    Closed,
    Aborted,
}

/// The connection to the client: what is queued, and what the client has received.
#[derive(Debug, Default)]
pub(super) struct Wire {
    queue: VecDeque<Frame>,
    buffered: u64,
    /// The client takes nothing.
    pub(super) is_stalled: bool,
    pub(super) messages: VecDeque<MessageBuf>,
    pub(super) pings: VecDeque<Vec<u8>>,
    /// Pings that the client has still to answer.
    pub(super) unanswered: VecDeque<Vec<u8>>,
    pub(super) pongs: VecDeque<Vec<u8>>,
    /// The bytes that the handler wrote past the framing.
    pub(super) raw: VecDeque<Vec<u8>>,
    pub(super) close: Option<Close>,
}

#[derive(Debug)]
pub(super) enum Frame {
    Message(MessageBuf),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Raw(Vec<u8>),
    Close(u32, String),
}

impl Controls {
    pub(super) fn new(id: u64, hub: Arc<Hub>) -> Self {
        Controls {
            id,
            ending: LocalEnd::None,
            cause: 0,
            reads: true,
            wire: Wire::default(),
            now: Duration::ZERO,
            reserved: None,
            parts: None,
            timers: Vec::new(),
            topics: Vec::new(),
            memberships: Vec::new(),
            watermark: None,
            is_above: false,
            hub,
        }
    }

    pub(super) fn send(&mut self, kind: u32, bytes: &[u8]) -> Result<u64, Status> {
        self.still_open()?;
        if bytes.len() > rules::MESSAGE_BYTES_MAX {
            return Err(abi::TOO_BIG);
        }
        let rules::ParsedKind {
            opcode,
            is_last,
            if_room,
            ..
        } = rules::kind(kind)?;
        // Checked even if the sender vouches for it: a test should find a false promise.
        if opcode == abi::TEXT && str::from_utf8(bytes).is_err() {
            return Err(abi::INVALID);
        }
        if self.parts.as_ref().is_some_and(|(open, _)| *open != opcode) {
            return Err(abi::INVALID);
        }
        let is_whole = is_last && self.parts.is_none();
        self.make_room(bytes.len(), if_room, is_whole)?;
        let (_, message) = self.parts.get_or_insert((opcode, Vec::new()));
        message.extend_from_slice(bytes);
        // Parts count when they come, but the client receives the message when it is whole.
        self.wire.buffered += limits::frame_len(bytes.len());
        if is_last {
            let (opcode, message) = self.parts.take().unwrap_or_default();
            self.wire.queue.push_back(Frame::message(opcode, message));
        }
        Ok(self.note_buffered())
    }

    /// Queues bytes as they are.
    pub(super) fn write_raw(&mut self, bytes: &[u8]) -> Result<u64, Status> {
        if !self.hub.allows_raw {
            return Err(abi::UNSUPPORTED);
        }
        self.still_open()?;
        if bytes.len() > rules::MESSAGE_BYTES_MAX {
            return Err(abi::TOO_BIG);
        }
        self.make_room(bytes.len(), false, false)?;
        self.wire.queue.push_back(Frame::Raw(bytes.to_vec()));
        self.wire.buffered += bytes.len() as u64;
        Ok(self.note_buffered())
    }

    pub(super) fn reserve(&mut self, max: usize) -> Option<&mut Vec<u8>> {
        if self.ending != LocalEnd::None || max > rules::MESSAGE_BYTES_MAX {
            return None;
        }
        Some(self.reserved.insert(vec![0; max]))
    }

    pub(super) fn commit(&mut self, kind: u32, len: usize) -> Result<u64, Status> {
        let room = self.reserved.take();
        self.still_open()?;
        let room = room.ok_or(abi::INVALID)?;
        let written = room.get(..len).ok_or(abi::INVALID)?;
        self.send(kind, written)
    }

    /// Takes back reserved bytes: they can be committed by the next call only.
    pub(super) fn forget_reserved(&mut self) {
        self.reserved = None;
    }

    pub(super) fn ping(&mut self, payload: &[u8]) -> Result<(), Status> {
        if payload.len() > rules::PING_BYTES_MAX {
            return Err(abi::TOO_BIG);
        }
        self.put(Frame::Ping(payload.to_vec()), payload.len())
    }

    pub(super) fn pong(&mut self, payload: &[u8]) -> Result<(), Status> {
        self.put(Frame::Pong(payload.to_vec()), payload.len())
    }

    pub(super) fn close(&mut self, code: u32, reason: &str) -> Result<(), Status> {
        rules::close(code, reason)?;
        let code = match code {
            0 => close_codes::NO_STATUS.into(),
            code => code,
        };
        self.put(Frame::Close(code, reason.into()), reason.len() + 2)?;
        self.ending = LocalEnd::Closed;
        self.blame(abi::CAUSE_HANDLER);
        self.hub.refuse_items(self.id);
        self.timers.clear();
        Ok(())
    }

    /// Notes a cause of the session's end. The first one counts.
    pub(super) fn blame(&mut self, cause: u32) {
        if self.cause == 0 {
            self.cause = cause;
        }
    }

    pub(super) fn abort(&mut self) -> Result<(), Status> {
        if self.ending == LocalEnd::Aborted {
            return Err(abi::GONE);
        }
        self.ending = LocalEnd::Aborted;
        self.blame(abi::CAUSE_HANDLER);
        self.hub.refuse_items(self.id);
        Ok(())
    }

    pub(super) fn timer(&mut self, token: u64, after_ms: u64) -> Result<(), Status> {
        self.still_open()?;
        self.timers.retain(|(_, set)| *set != token);
        if after_ms == u64::MAX {
            return Ok(());
        }
        if self.timers.len() == limits::TIMERS_MAX {
            return Err(abi::TOO_BIG);
        }
        let at = self.now.saturating_add(Duration::from_millis(after_ms));
        self.timers.push((at, token));
        Ok(())
    }

    /// When the next timer runs out.
    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.iter().map(|(at, _)| *at).min()
    }

    /// Takes the earliest timer that has run out.
    pub(super) fn take_expired(&mut self, now: Duration) -> Option<u64> {
        let index = (0..self.timers.len())
            .filter(|index| self.timers[*index].0 <= now)
            .min_by_key(|index| self.timers[*index].0)?;
        Some(self.timers.remove(index).1)
    }

    pub(super) fn set_watermark(&mut self, low: u64, high: u64) -> Result<(), Status> {
        if low > high {
            return Err(abi::INVALID);
        }
        self.watermark = Some((low, high));
        self.is_above = self.wire.buffered > high;
        Ok(())
    }

    /// Whether `drain` is due. If so, it counts as called.
    pub(super) fn take_drain(&mut self) -> bool {
        let is_due = self
            .watermark
            .is_some_and(|(low, _)| self.is_above && self.wire.buffered <= low);
        self.is_above &= !is_due;
        is_due
    }

    pub(super) fn buffered(&self) -> u64 {
        self.wire.buffered
    }

    /// Whether so much waits for the peer that its messages are held back.
    pub(super) fn is_congested(&self) -> bool {
        self.wire.buffered > limits::OUTBOUND_BYTES_MAX / 2
    }

    /// Whether a message is being sent in parts. Messages by id wait until it is complete.
    pub(super) fn is_between_parts(&self) -> bool {
        self.parts.is_some()
    }

    /// Lets the client take what is queued, unless it is stalled.
    pub(super) fn flush(&mut self) {
        self.wire.flush();
        self.note_buffered();
    }

    fn put(&mut self, frame: Frame, payload: usize) -> Result<(), Status> {
        self.still_open()?;
        self.wire.queue.push_back(frame);
        self.wire.buffered += limits::frame_len(payload);
        self.note_buffered();
        Ok(())
    }

    fn note_buffered(&mut self) -> u64 {
        let buffered = self.wire.buffered;
        self.is_above |= self.watermark.is_some_and(|(_, high)| buffered > high);
        self.hub.note_buffered(self.id, buffered);
        buffered
    }

    fn still_open(&self) -> Result<(), Status> {
        match self.ending {
            LocalEnd::None => Ok(()),
            _ => Err(abi::GONE),
        }
    }

    /// Enforces the outbound limit. A queue that is at most half full takes one message of any length. Only a message that
    /// is whole is dropped, or has others dropped.
    fn make_room(&mut self, payload: usize, if_room: bool, is_whole: bool) -> Result<(), Status> {
        let fits = |wire: &Wire| {
            let after = wire.buffered + limits::frame_len(payload);
            wire.buffered <= limits::OUTBOUND_BYTES_MAX / 2 || after <= limits::OUTBOUND_BYTES_MAX
        };
        if !fits(&self.wire) {
            self.wire.flush();
        }
        if fits(&self.wire) {
            return Ok(());
        }
        if if_room {
            return Err(abi::FULL);
        }
        let policy = self.hub.outbound_policy();
        if is_whole && policy == OutboundPolicy::DropOldest {
            while !fits(&self.wire) && self.wire.drop_oldest() {}
            if fits(&self.wire) {
                return Ok(());
            }
        }
        if is_whole && policy != OutboundPolicy::Close {
            return Err(abi::DROPPED);
        }
        // The session of a peer that takes too little is closed.
        self.blame(abi::CAUSE_LIMIT);
        let _ = self.close(close_codes::POLICY_VIOLATION.into(), "");
        Err(abi::TOO_BIG)
    }
}

impl Wire {
    /// Drops the oldest message in the queue. False if there is none.
    fn drop_oldest(&mut self) -> bool {
        let is_message = |frame: &Frame| matches!(frame, Frame::Message(_));
        let oldest = self.queue.iter().position(is_message);
        let dropped = oldest.and_then(|oldest| self.queue.remove(oldest));
        if let Some(Frame::Message(message)) = &dropped {
            let bytes = limits::frame_len(message.as_bytes().len());
            self.buffered = self.buffered.saturating_sub(bytes);
        }
        dropped.is_some()
    }

    fn flush(&mut self) {
        if self.is_stalled {
            return;
        }
        self.buffered = 0;
        for frame in self.queue.drain(..) {
            match frame {
                Frame::Message(message) => self.messages.push_back(message),
                Frame::Ping(payload) => {
                    self.unanswered.push_back(payload.clone());
                    self.pings.push_back(payload);
                }
                Frame::Pong(payload) => self.pongs.push_back(payload),
                Frame::Raw(bytes) => self.raw.push_back(bytes),
                Frame::Close(code, reason) => {
                    // A client does not learn the cause.
                    self.close = Some(Close::new(code, &reason, Cause::Unknown));
                }
            }
        }
    }

    /// The connection is lost: the client receives nothing more.
    pub(super) fn cut(&mut self) {
        self.queue.clear();
        self.buffered = 0;
        let lost = Close::new(close_codes::ABNORMAL.into(), "", Cause::Unknown);
        self.close.get_or_insert(lost);
    }
}

impl Frame {
    fn message(opcode: u32, bytes: Vec<u8>) -> Frame {
        Frame::Message(match String::from_utf8(bytes) {
            Ok(text) if opcode == abi::TEXT => MessageBuf::Text(text),
            Ok(text) => MessageBuf::Binary(text.into_bytes()),
            // Text was checked when its parts came, so this message is binary.
            Err(error) => MessageBuf::Binary(error.into_bytes()),
        })
    }
}
