//! Messages on their way out: whole, in parts, written in place, prepared for many sessions, compressed.

use std::os::fd::RawFd;

use tungstenite::protocol::frame::coding::OpCode;
use wsh::abi;
use wsh::rules::{self, ParsedKind};

use super::Controls;
use crate::buffers::pool::Buffer;
use crate::config::OutboundPolicy;
use crate::outbound::wire;
use crate::sessions::cause::Cause;
use crate::sessions::prepared_message::{Form, PreparedMessage};
use crate::ws::deflate::deflation::PartPosition;
use crate::ws::frame;

impl Controls {
    /// Queues a message or a part of one; answers the bytes buffered after it.
    #[inline]
    pub(crate) fn send(&mut self, kind: u32, payload: &[u8]) -> Result<u64, abi::Status> {
        // The bit matters only to a message that may not fit.
        match self.send_plain(kind & !abi::IF_ROOM, payload) {
            Some(buffered) => Ok(buffered),
            None => self.send_any(kind, payload),
        }
    }

    /// The short way of [`send`](Self::send), for a message that is whole and plain, needs no check of its
    /// text, and fits. Nearly every message is so; `None` for any other.
    #[inline(always)]
    pub(crate) fn send_plain(&mut self, kind: u32, payload: &[u8]) -> Option<u64> {
        if is_proven(kind)
            && payload.len() < wire::LARGE_BYTES
            && self.wire.buffered() + payload.len() + frame::HEADER_BYTES_MAX
                <= self.short_way_bytes_max as usize
        {
            self.wire.put_whole(kind as u8, payload);
            self.mailbox.traffic.add_messages_out(1);
            return Some(self.arm_watermark());
        }
        None
    }

    /// The long way of [`send`](Self::send), for any message or part.
    #[inline(never)]
    fn send_any(&mut self, kind: u32, payload: &[u8]) -> Result<u64, abi::Status> {
        if !self.may_send() {
            return Err(abi::GONE);
        }
        // Before a byte of it is read: such a length is a mistake, and no message.
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(abi::TOO_BIG);
        }
        let kind = rules::kind(kind)?;
        let opcode = self.opcode_of(kind, payload)?;
        let fin = kind.is_last;
        let part = PartPosition {
            first: self.open_message.is_none(),
            last: fin,
        };
        let compresses = if part.first {
            self.compresses(kind.may_compress, payload.len())
        } else {
            self.open_is_compressed
        };
        // Before it is compressed: after that, later messages may refer to it.
        if kind.if_room && !self.fits(payload.len()) {
            return Err(abi::FULL);
        }
        if part.first && part.last {
            self.make_room(payload.len())?;
        }
        let before = self.wire.end();
        let may_drop = if compresses {
            self.put_compressed(part, opcode, payload)?
        } else {
            self.check_limit(payload.len())?;
            self.wire.put(fin, opcode, payload);
            true
        };
        if part.first && part.last && may_drop {
            self.note_message(before);
        }
        self.open_is_compressed = compresses;
        self.open_message = (!fin).then_some(kind.opcode as u8);
        self.set_short_way();
        self.mailbox.traffic.add_messages_out(u64::from(fin));
        Ok(self.note_buffered())
    }

    /// Whether a message is being sent in parts and is not complete.
    pub(crate) fn is_in_message(&self) -> bool {
        self.open_message.is_some()
    }

    /// The kind of the message that is being sent in parts, if there is one.
    pub(crate) fn open_message(&self) -> Option<u8> {
        self.open_message
    }

    /// Memory for `max` bytes of a message: [`Controls::take_reserved`] gives it back to be sent.
    pub(crate) fn reserve(&mut self, max: usize) -> Option<&mut Vec<u8>> {
        if !self.may_send() || max > PAYLOAD_BYTES_MAX {
            return None;
        }
        let extras = self.extras.get_or_insert_default();
        if extras.reserved.capacity() == 0 {
            extras.reserved = Buffer::small();
        }
        extras.reserved.clear();
        extras.reserved.try_reserve_exact(max).ok()?;
        extras.reserved_bytes = Some(max);
        Some(&mut extras.reserved)
    }

    /// Takes the reserved memory, of which `len` bytes are to be sent. The reservation is over in any
    /// case.
    pub(crate) fn take_reserved(&mut self, len: usize) -> Result<Buffer, abi::Status> {
        let extras = self.extras.get_or_insert_default();
        match extras.reserved_bytes.take() {
            // The memory may be larger, and what lies behind the reserved bytes is of another message.
            Some(max) if len <= max => Ok(std::mem::take(&mut extras.reserved)),
            _ => {
                extras.reserved = Buffer::default();
                match self.may_send() {
                    true => Err(abi::INVALID),
                    false => Err(abi::GONE),
                }
            }
        }
    }

    /// Takes back what the callback reserved and did not send.
    #[inline]
    pub(crate) fn forget_reserved(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.reserved_bytes = None;
            extras.reserved = Buffer::default();
        }
    }

    /// Queues a whole message that was prepared for many sessions. False if it has to wait until the
    /// message in parts is complete. Once our Close frame is queued the message is dropped.
    pub(crate) fn send_prepared(&mut self, message: &PreparedMessage) -> bool {
        if !self.may_send() {
            return true;
        }
        if self.open_message.is_some() {
            return false;
        }
        let bytes = message.payload().len();
        let deflation = self.deflation.as_mut();
        let deflation = deflation.filter(|d| message.may_compress() && d.is_worth(bytes));
        let frame = match deflation.map(|deflation| deflation.shared_effort()) {
            None => message.plain(),
            Some(Some(effort)) => message.compressed(effort),
            Some(None) => {
                // TOO_BIG: the session closes, or the message is dropped, which is all that can be done about it here.
                if self.make_room(bytes).is_ok() {
                    let put = self.put_compressed(
                        PartPosition::WHOLE,
                        message.opcode(),
                        message.payload(),
                    );
                    self.mailbox
                        .traffic
                        .add_messages_out(u64::from(put.is_ok()));
                }
                self.note_buffered();
                return true;
            }
        };
        let has_room = message.is_verbatim() || self.make_room(frame.len()).is_ok();
        if has_room && self.check_limit(frame.len()).is_ok() {
            let before = self.wire.end();
            self.wire.put_raw(frame);
            if !message.is_verbatim() {
                self.mailbox.traffic.add_messages_out(1);
                self.note_message(before);
            }
        }
        self.note_buffered();
        true
    }

    /// The socket, and the form of what others may send on it while the session sleeps. `None` if anything of the
    /// session's own is queued or half sent, or each compressed message has to pass its own context.
    pub(crate) fn lendable(&self) -> Option<(RawFd, Form)> {
        if self.open_message.is_some() || !self.closing.state().is_open() {
            return None;
        }
        let form = match &self.deflation {
            None => Form::PLAIN,
            Some(deflation) => {
                let (effort, bytes_min) = deflation.without_context()?;
                Form::compressed(effort, bytes_min)
            }
        };
        self.wire.idle_socket().map(|socket| (socket, form))
    }

    /// Whether a message goes compressed whose only or first part has so many bytes.
    fn compresses(&self, may: bool, bytes: usize) -> bool {
        let deflation = self.deflation.as_ref();
        deflation.is_some_and(|deflation| may && deflation.is_worth(bytes))
    }

    /// Queues a part of a message compressed, or as it is if that is no smaller. Answers whether later messages can do
    /// without it.
    fn put_compressed(
        &mut self,
        part: PartPosition,
        opcode: OpCode,
        payload: &[u8],
    ) -> Result<bool, abi::Status> {
        let Some(deflation) = &mut self.deflation else {
            return Ok(false);
        };
        let stands_alone = deflation.without_context().is_some();
        let mut compressed = Buffer::small();
        let is_smaller = deflation.compress(part, payload, &mut compressed);
        let queued = if is_smaller { &compressed[..] } else { payload };
        self.check_limit(queued.len())?;
        if is_smaller {
            self.wire.put_compressed(part.last, opcode, queued);
        } else {
            self.wire.put(part.last, opcode, queued);
        }
        Ok(stands_alone)
    }

    /// The opcode of the next frame of a message of this kind.
    fn opcode_of(&self, kind: ParsedKind, payload: &[u8]) -> Result<OpCode, abi::Status> {
        if kind.is_unproven_text && simdutf8::basic::from_utf8(payload).is_err() {
            return Err(abi::INVALID);
        }
        match self.open_message {
            None => Ok(frame::opcode_of(kind)),
            Some(open) if u32::from(open) == kind.opcode => Ok(frame::CONTINUE),
            Some(_) => Err(abi::INVALID),
        }
    }

    /// Whether a message fits beside what is queued, once the kernel has taken what it takes.
    ///
    /// A queue that is at most half full takes one message of any length. So an answer as long as the message
    /// that was let in always fits, be it longer than the limit.
    fn fits(&mut self, payload_len: usize) -> bool {
        let bytes_max = self.limits.outbound_bytes_max;
        if fits_in(self.wire.buffered(), payload_len, bytes_max) {
            return true;
        }
        // Nothing was sent in this event yet, so the kernel may take some of it.
        self.wire.flush();
        fits_in(self.wire.buffered(), payload_len, bytes_max)
    }

    /// Makes room for a whole message by the policy of the limit. Fails if the message is dropped. With the policy that
    /// closes, [`check_limit`](Self::check_limit) does that.
    fn make_room(&mut self, payload_len: usize) -> Result<(), abi::Status> {
        let policy = self.limits.outbound_policy;
        match policy {
            OutboundPolicy::Close => Ok(()),
            _ if self.fits(payload_len) => Ok(()),
            OutboundPolicy::DropNew | OutboundPolicy::DropOldest => {
                self.drop_messages(policy, payload_len)
            }
        }
    }

    #[cold]
    fn drop_messages(
        &mut self,
        policy: OutboundPolicy,
        payload_len: usize,
    ) -> Result<(), abi::Status> {
        let bytes_max = self.limits.outbound_bytes_max;
        let mut dropped = 0;
        if policy == OutboundPolicy::DropOldest {
            let extras = self.extras.get_or_insert_default();
            let fits = |buffered| fits_in(buffered, payload_len, bytes_max);
            dropped = extras.queued_messages.drop_oldest(&mut self.wire, fits);
            // The end of the queue has moved, so a position says nothing any more.
            extras.waiting_pong = (0, 0);
        }
        let has_room = fits_in(self.wire.buffered(), payload_len, bytes_max);
        let traffic = &self.mailbox.traffic;
        traffic.add_messages_dropped(dropped + u64::from(!has_room));
        has_room.then_some(()).ok_or(abi::DROPPED)
    }

    /// Notes the whole message that was queued last, where the policy may drop it. The queue ended at `before`.
    fn note_message(&mut self, before: u64) {
        if self.limits.outbound_policy == OutboundPolicy::DropOldest {
            let bytes = (self.wire.end() - before) as usize;
            let extras = self.extras.get_or_insert_default();
            extras.queued_messages.note(&self.wire, bytes);
        }
    }

    /// Closes the session for a message that exceeds the outbound limit.
    pub(super) fn check_limit(&mut self, payload_len: usize) -> Result<(), abi::Status> {
        if self.fits(payload_len) {
            return Ok(());
        }
        // The limit's policy: the session of a peer that takes too little ends.
        self.close_for(Cause::OutboundFull);
        Err(abi::TOO_BIG)
    }
}

/// Whether a message fits beside so many bytes that are queued, where the limit is `bytes_max`.
fn fits_in(buffered: usize, payload_len: usize, bytes_max: usize) -> bool {
    let needed = payload_len + frame::HEADER_BYTES_MAX;
    buffered <= bytes_max / 2 || buffered + needed <= bytes_max
}

/// Whether a message of this kind is whole, and its bytes need no check.
#[inline]
fn is_proven(kind: u32) -> bool {
    kind == abi::BINARY || kind == abi::TEXT | abi::TRUSTED_UTF8
}

/// The longest message that can be sent: as long as the longest that `message_bytes_max` lets in.
pub(crate) const PAYLOAD_BYTES_MAX: usize = rules::MESSAGE_BYTES_MAX;
