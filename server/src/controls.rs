//! What a handler can do to its session from inside a callback: send, close, timers, topics.
//!
//! Everything acts on the session's own state, at once and in call order; nothing here enters the
//! plugin. The server's own frames (Pong, Close) go the same way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::protocol::frame::coding::OpCode;
use wsh::abi;

use crate::config::SessionLimits;
use crate::encoded::Encoded;
use crate::mailbox::Mailbox;
use crate::topics::{Topic, Topics};
use crate::wire::{self, Wire};
use crate::ws::deflate::deflation::{Deflation, Part};
use crate::ws::deflate::pool;
use crate::ws::{close, frame};

/// One session's state as far as its handler can change it.
#[derive(Debug)]
pub(crate) struct Controls {
    pub(crate) wire: Wire,
    /// There if compression was agreed on.
    pub(crate) deflation: Option<Box<Deflation>>,
    pub(crate) limits: Arc<SessionLimits>,
    pub(crate) ending: Ending,
    /// Whether the peer's messages are let in.
    pub(crate) reads: bool,
    /// Bytes buffered, above which the peer is not read.
    congested_above: usize,
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
    timers: Vec<Timer>,
    /// The names of topics, as the handler says them.
    subscriptions: Vec<Box<str>>,
    /// Room that a handler writes a message into, and how much of it it has asked for.
    reserved: Vec<u8>,
    reserved_bytes: usize,
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

#[derive(Debug)]
struct Timer {
    token: u64,
    at: Instant,
}

impl Controls {
    pub(crate) fn new(wire: Wire, limits: Arc<SessionLimits>, mailbox: Arc<Mailbox>) -> Controls {
        Controls {
            wire,
            congested_above: limits.outbound_bytes_max / 2,
            deflation: None,
            limits,
            ending: Ending::No,
            reads: true,
            open_message: None,
            open_is_compressed: false,
            mailbox,
            extras: None,
        }
    }

    /// Other limits hold from now on.
    pub(crate) fn set_limits(&mut self, limits: Arc<SessionLimits>) {
        self.congested_above = limits.outbound_bytes_max / 2;
        self.limits = limits;
    }

    /// Queues a message or a part of one; answers the bytes buffered after it.
    #[inline]
    pub(crate) fn send(&mut self, kind: u32, payload: &[u8]) -> Result<u64, abi::Status> {
        match self.send_plain(kind, payload) {
            Some(buffered) => Ok(buffered),
            None => self.send_any(kind, payload),
        }
    }

    /// The short way of [`send`](Self::send). Nearly every message is whole, plain, of proven text
    /// or binary, and fits; any other is none for here.
    #[inline(always)]
    pub(crate) fn send_plain(&mut self, kind: u32, payload: &[u8]) -> Option<u64> {
        if is_proven(kind)
            && self.ending == Ending::No
            && self.open_message.is_none()
            && self.deflation.is_none()
            && payload.len() < wire::LARGE_BYTES
            && self.wire.buffered() + payload.len() + frame::HEADER_BYTES_MAX
                <= self.limits.outbound_bytes_max
        {
            self.wire.put_whole(kind as u8, payload);
            return Some(self.arm_watermark());
        }
        None
    }

    #[inline(never)]
    fn send_any(&mut self, kind: u32, payload: &[u8]) -> Result<u64, abi::Status> {
        if self.ending != Ending::No {
            return Err(abi::GONE);
        }
        let (opcode, fin) = self.opcode_of(kind, payload)?;
        let part = Part {
            first: self.open_message.is_none(),
            last: fin,
        };
        let compresses = if part.first {
            self.compresses(kind & abi::NO_COMPRESS == 0, payload.len())
        } else {
            self.open_is_compressed
        };
        if compresses {
            self.put_compressed(part, opcode, payload)?;
        } else {
            self.make_room(payload.len())?;
            self.wire.put(fin, opcode, payload);
        }
        self.open_is_compressed = compresses;
        self.open_message = (!fin).then_some((kind & OPCODE) as u8);
        Ok(self.note_buffered())
    }

    /// Whether a message is being sent in parts, and not complete.
    pub(crate) fn is_in_message(&self) -> bool {
        self.open_message.is_some()
    }

    /// Room for `max` bytes of a message that [`Controls::send_reserved`] sends.
    pub(crate) fn reserve(&mut self, max: usize) -> Option<&mut Vec<u8>> {
        if self.ending != Ending::No || max > RESERVE_BYTES_MAX {
            return None;
        }
        let extras = self.extras.get_or_insert_default();
        if extras.reserved.capacity() == 0 {
            extras.reserved = pool::take_room();
        }
        extras.reserved.clear();
        extras.reserved.try_reserve_exact(max).ok()?;
        extras.reserved_bytes = max;
        Some(&mut extras.reserved)
    }

    /// Takes the reserved room for `len` bytes, which are to come back to
    /// [`Controls::send_reserved`].
    pub(crate) fn take_reserved(&mut self, len: usize) -> Result<Vec<u8>, abi::Status> {
        let reserved = match &mut self.extras {
            // The room may be larger, and what lies there is of another message.
            Some(extras) if len <= extras.reserved_bytes => {
                extras.reserved_bytes = 0;
                std::mem::take(&mut extras.reserved)
            }
            None if len == 0 => Vec::new(),
            _ => return Err(abi::INVALID),
        };
        Ok(reserved)
    }

    /// Sends what was written into the reserved room.
    pub(crate) fn send_reserved(
        &mut self,
        kind: u32,
        written: Vec<u8>,
    ) -> Result<u64, abi::Status> {
        let sent = self.send(kind, &written);
        pool::put_room(written);
        sent
    }

    /// The callback is over: what it reserved and did not send was nothing.
    #[inline]
    pub(crate) fn forget_reserved(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.reserved_bytes = 0;
            pool::put_room(std::mem::take(&mut extras.reserved));
        }
    }

    /// Queues a whole message that was encoded elsewhere. False: it has to wait until the message
    /// that is being sent in parts is complete.
    pub(crate) fn send_encoded(&mut self, encoded: &Encoded) -> bool {
        if self.open_message.is_some() {
            return false;
        }
        if self.ending != Ending::No {
            return true;
        }
        let bytes = encoded.payload().len();
        let deflation = self.deflation.as_mut();
        let deflation = deflation.filter(|d| encoded.may_compress() && d.is_worth(bytes));
        let frame = match deflation.map(|deflation| deflation.shared_window_bits()) {
            None => encoded.plain(),
            Some(Some(window_bits)) => encoded.compressed(window_bits),
            Some(None) => {
                // TOO_BIG: the session closes, and there is nobody here to tell.
                let _ = self.put_compressed(Part::WHOLE, encoded.opcode(), encoded.payload());
                self.note_buffered();
                return true;
            }
        };
        if self.make_room(frame.len()).is_ok() {
            self.wire.put_raw(frame);
            self.note_buffered();
        }
        true
    }

    /// Queues a Ping.
    pub(crate) fn ping(&mut self, payload: &[u8]) -> Result<(), abi::Status> {
        if payload.len() > 125 {
            return Err(abi::TOO_BIG);
        }
        self.control(frame::PING, payload)
    }

    /// Queues a Pong.
    pub(crate) fn pong(&mut self, payload: &[u8]) -> Result<(), abi::Status> {
        self.control(frame::PONG, payload)
    }

    /// Queues a Close; nothing follows it. Code 0 is an empty body.
    pub(crate) fn close(&mut self, code: u16, reason: &str) -> Result<(), abi::Status> {
        let sendable = code == 0 && reason.is_empty() || close::may_be_sent(code);
        if !sendable || reason.len() > close::REASON_BYTES_MAX {
            return Err(abi::INVALID);
        }
        self.control(frame::CLOSE, &close::body(code, reason))?;
        self.ending = Ending::Closed { code };
        if let Some(extras) = &mut self.extras {
            extras.timers = Vec::new();
        }
        Ok(())
    }

    /// Drops the connection without a Close frame.
    pub(crate) fn abort(&mut self) -> Result<(), abi::Status> {
        if self.ending == Ending::Aborted {
            return Err(abi::GONE);
        }
        self.ending = Ending::Aborted;
        Ok(())
    }

    /// Sets, replaces or with `u64::MAX` cancels the timer `token`.
    pub(crate) fn timer(&mut self, token: u64, after_ms: u64) -> Result<(), abi::Status> {
        if self.ending != Ending::No {
            return Err(abi::GONE);
        }
        let timers = &mut self.extras.get_or_insert_default().timers;
        timers.retain(|timer| timer.token != token);
        if after_ms == u64::MAX {
            return Ok(());
        }
        if timers.len() == self.limits.timers_max {
            return Err(abi::TOO_BIG);
        }
        let at = Instant::now() + Duration::from_millis(after_ms.min(FOR_EVER_MS));
        timers.push(Timer { token, at });
        Ok(())
    }

    /// When the next timer runs out.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let timers = &self.extras.as_ref()?.timers;
        timers.iter().map(|timer| timer.at).min()
    }

    /// Takes the earliest timer that has run out.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<u64> {
        let timers = &mut self.extras.as_mut()?.timers;
        let expired = timers
            .iter()
            .enumerate()
            .filter(|(_, timer)| timer.at <= now);
        let (index, _) = expired.min_by_key(|(_, timer)| timer.at)?;
        Some(timers.swap_remove(index).token)
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
    pub(crate) fn subscribe(&mut self, topics: &Topics, name: &str) -> Result<(), abi::Status> {
        let subscriptions = &mut self.extras.get_or_insert_default().subscriptions;
        if subscriptions.iter().any(|other| **other == *name) {
            return Ok(());
        }
        if name.is_empty() {
            return Err(abi::INVALID);
        }
        if subscriptions.len() == self.limits.topics_max {
            return Err(abi::TOO_BIG);
        }
        let topic = Topic::new(self.mailbox.owner(), name);
        topics.subscribe(topic, &self.mailbox);
        subscriptions.push(name.into());
        Ok(())
    }

    /// Leaves a topic.
    pub(crate) fn unsubscribe(&mut self, topics: &Topics, name: &str) -> Result<(), abi::Status> {
        if let Some(extras) = &mut self.extras
            && let mut subscriptions = extras.subscriptions.iter()
            && let Some(index) = subscriptions.position(|other| **other == *name)
        {
            let topic = Topic::new(self.mailbox.owner(), name);
            topics.unsubscribe(topic, self.mailbox.id);
            extras.subscriptions.swap_remove(index);
        }
        Ok(())
    }

    /// Leaves every topic.
    pub(crate) fn unsubscribe_all(&mut self, topics: &Topics) {
        if let Some(extras) = &mut self.extras {
            for name in extras.subscriptions.drain(..) {
                let topic = Topic::new(self.mailbox.owner(), &name);
                topics.unsubscribe(topic, self.mailbox.id);
            }
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
        }
        buffered
    }

    /// Whether the queue is so long that this peer is not read: over half its limit, or so that an
    /// answer as long as the message that comes next would not fit. So an echo never runs over.
    #[inline]
    pub(crate) fn is_congested(&self) -> bool {
        self.wire.buffered() > self.congested_above
    }

    /// How long the next message may be for an answer as long to leave the queue below half its
    /// limit; none while the peer is not to be read.
    #[inline]
    pub(crate) fn answer_bytes_max(&self) -> Option<usize> {
        let half = self.limits.outbound_bytes_max / 2;
        let room = half.checked_sub(self.wire.buffered() + frame::HEADER_BYTES_MAX)?;
        self.reads.then_some(room)
    }

    /// The next message has so many bytes.
    pub(crate) fn expect_message(&mut self, bytes: usize) {
        self.congested_above = room_beside(bytes, &self.limits);
    }

    /// Whether a message that is so long, or begins with a part so long, goes compressed.
    fn compresses(&self, may: bool, bytes: usize) -> bool {
        let deflation = self.deflation.as_ref();
        deflation.is_some_and(|deflation| may && deflation.is_worth(bytes))
    }

    /// Queues a part of a message compressed, or as it is if that is no smaller.
    fn put_compressed(
        &mut self,
        part: Part,
        opcode: OpCode,
        payload: &[u8],
    ) -> Result<(), abi::Status> {
        let Some(deflation) = &mut self.deflation else {
            return Ok(());
        };
        let mut room = pool::take_room();
        let is_smaller = deflation.compress(part, payload, &mut room);
        let queued = if is_smaller { &room[..] } else { payload };
        let outcome = self.make_room(queued.len());
        match outcome {
            Ok(()) if is_smaller => self.wire.put_compressed(part.last, opcode, queued),
            Ok(()) => self.wire.put(part.last, opcode, queued),
            Err(_) => {}
        }
        pool::put_room(room);
        outcome
    }

    fn control(&mut self, opcode: OpCode, payload: &[u8]) -> Result<(), abi::Status> {
        if self.ending != Ending::No {
            return Err(abi::GONE);
        }
        self.wire.put(true, opcode, payload);
        self.note_buffered();
        Ok(())
    }

    /// The frame that a message of `kind` is next sent as.
    fn opcode_of(&self, kind: u32, payload: &[u8]) -> Result<(OpCode, bool), abi::Status> {
        let first = match kind & OPCODE {
            abi::TEXT => frame::TEXT,
            abi::BINARY => frame::BINARY,
            _ => return Err(abi::INVALID),
        };
        if kind & !(OPCODE | abi::MORE | abi::NO_COMPRESS | abi::TRUSTED_UTF8) != 0 {
            return Err(abi::UNSUPPORTED);
        }
        let is_unproven_text = kind & (OPCODE | abi::TRUSTED_UTF8) == abi::TEXT;
        if is_unproven_text && simdutf8::basic::from_utf8(payload).is_err() {
            return Err(abi::INVALID);
        }
        let opcode = match self.open_message {
            None => first,
            Some(open) if u32::from(open) == kind & OPCODE => frame::CONTINUE,
            Some(_) => return Err(abi::INVALID),
        };
        Ok((opcode, kind & abi::MORE == 0))
    }

    /// Holds the outbound limit. One message larger than it is taken when the queue is empty.
    fn make_room(&mut self, payload_len: usize) -> Result<(), abi::Status> {
        let needed = payload_len + frame::HEADER_BYTES_MAX;
        let fits = |wire: &Wire| {
            wire.buffered() == 0 || wire.buffered() + needed <= self.limits.outbound_bytes_max
        };
        if fits(&self.wire) {
            return Ok(());
        }
        // The kernel may have room although this event has not sent yet.
        self.wire.flush();
        if fits(&self.wire) {
            return Ok(());
        }
        // The limit's policy: a peer that takes too little is let go.
        let _ = self.close(1008, "");
        Err(abi::TOO_BIG)
    }
}

/// Whether a message of this kind is whole and needs no look at its bytes.
#[inline]
fn is_proven(kind: u32) -> bool {
    kind == abi::BINARY || kind == abi::TEXT | abi::TRUSTED_UTF8
}

/// Half the outbound limit, or what a message of so many bytes leaves of it.
fn room_beside(bytes: usize, limits: &SessionLimits) -> usize {
    let answer = bytes.saturating_add(frame::HEADER_BYTES_MAX);
    let room = limits.outbound_bytes_max.saturating_sub(answer);
    room.min(limits.outbound_bytes_max / 2)
}

/// The part of a message kind that is its opcode.
const OPCODE: u32 = 0xff;
/// The largest message that a handler can write in place.
const RESERVE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A century: what a timer further away than that amounts to.
const FOR_EVER_MS: u64 = 100 * 365 * 24 * 3600 * 1000;
