//! The way of the peer's bytes from the socket to the handler's callbacks.

use std::ops::Range;

use wsh::abi;

use super::Session;
use super::callbacks::FromPeer;
use crate::border::calls::{CallbackOutcome, Delivery};
use crate::buffers::pool::Buffer;
use crate::outbound::controls::Controls;
use crate::sessions::cause::Cause;
use crate::transport::Received;
use crate::ws::closing::ClosingEvent;
use crate::ws::decoder::{Decoder, DecoderStep, MessageKind, PayloadLocation};
use crate::ws::frame;

/// What lies in the bytes that a session has received and not parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unparsed {
    /// Nothing, or less than a control frame.
    PartOfAFrame,
    /// What came while reading was off, or before the session.
    Frames,
    /// What is left of a receive of more frames than one turn may handle. Other sessions have their turn first.
    FramesForLater,
}

impl Unparsed {
    /// Whether there may be a whole frame.
    pub(super) fn has_frames(self) -> bool {
        self != Unparsed::PartOfAFrame
    }
}

impl Session {
    /// Receives once, and handles what came.
    pub(super) fn read_once(&mut self, input: &mut [u8]) {
        // Most receives begin between two messages.
        if self.decoder.is_in_message()
            && self.state().is_parsing()
            && let Some((target, bytes_max)) = self.decoder.receive_target()
            && self.conn.controls.wire.can_receive_into()
        {
            return match self.conn.controls.wire.receive_into(target, bytes_max) {
                Received::Bytes(length) => {
                    self.deadlines.heard();
                    self.decoder.placed(length);
                    let (at, left) = (0, FRAMES_PER_TURN);
                    self.receive_any(&mut [], Progress { at, left });
                }
                Received::Nothing => {}
                Received::End => self.meet(ClosingEvent::ConnectionLost, Cause::ConnectionLost),
            };
        }
        // What is unparsed is less than one control frame. It is copied in front of what comes.
        let before = self.unparsed.len();
        if before > 0 {
            input[..before].copy_from_slice(&self.unparsed);
        }
        match self.controls().wire.receive(&mut input[before..]) {
            Received::Bytes(length) => {
                self.deadlines.heard();
                if before > 0 {
                    self.unparsed = Buffer::default();
                }
                self.receive(&mut input[..before + length]);
            }
            Received::Nothing => {}
            Received::End => self.meet(ClosingEvent::ConnectionLost, Cause::ConnectionLost),
        }
    }

    /// Parses what came while reading was off.
    #[cold]
    pub(super) fn receive_unparsed(&mut self, unparsed: &mut [u8]) {
        self.unparsed_kind = Unparsed::PartOfAFrame;
        self.receive(unparsed);
    }

    /// Handles the whole frames in `buffer`, as many as a turn may, and keeps the rest as unparsed. Nothing else is
    /// unparsed when this is called.
    //
    // Nearly always one plain message comes, whole, so its way is short. What several in a row need is in a function of
    // its own: the one then saves no registers for it, and the loop over the others has all of them.
    #[inline(always)]
    fn receive(&mut self, buffer: &mut [u8]) {
        let (at, left) = (0, FRAMES_PER_TURN);
        let mut progress = Progress { at, left };
        if self.decoder.is_between_messages()
            && let Some((kind, place)) = next_whole(&self.decoder, &self.conn.controls, buffer, at)
        {
            if place.end == buffer.len() {
                self.deliver_one(kind, &buffer[place]);
                return self.deadlines.note_message(false);
            }
            progress = self.deliver_several(buffer, (kind, place), left);
        }
        if progress.at < buffer.len() || self.decoder.has_placed() {
            self.receive_any(buffer, progress);
        } else {
            self.decoder.release();
            self.deadlines.note_message(false);
        }
    }

    /// Handles whole frames in `buffer` from `at`, of whatever kind, at most as many as are `left` of the turn.
    #[inline(never)]
    fn receive_any(&mut self, buffer: &mut [u8], progress: Progress) {
        let Progress { mut at, mut left } = progress;
        let mut pongs = Pongs::default();
        let mut batch = Batch::default();
        let mut has_ended_one = at > 0;
        while self.state().is_parsing() {
            if at == buffer.len() && !self.decoder.has_placed() {
                self.decoder.release();
                break;
            }
            if self.state().is_open() && !self.may_deliver() {
                self.unparsed_kind = Unparsed::Frames;
                break;
            }
            if left == 0 {
                self.unparsed_kind = Unparsed::FramesForLater;
                break;
            }
            left -= 1;
            match self.decoder.step(buffer, &mut at) {
                Ok(DecoderStep::Starved) => break,
                Ok(step) => self.take_step(step, (&*buffer, at, left), &mut pongs, &mut batch),
                Err(violation) => self.take_violation(violation),
            }
            has_ended_one |= !self.decoder.is_in_message();
            Progress { at, left } = self.deliver_more(buffer, at, left);
        }
        if let Some(payload) = pongs.latest {
            // The latest Ping stands for the others (RFC 6455 §5.5.3).
            let _ = self.controls().pong(&buffer[payload]);
        }
        if self.state().is_open() {
            let is_incomplete = at < buffer.len() || self.decoder.is_in_message();
            if is_incomplete {
                self.holding.note();
            }
            if has_ended_one {
                self.deadlines.note_message_end();
            }
            self.deadlines.note_message(is_incomplete);
        }
        if self.state().is_parsing() && at < buffer.len() {
            self.unparsed = Buffer::small();
            self.unparsed.extend_from_slice(&buffer[at..]);
        }
    }

    /// Hands the whole plain messages that begin at `at`, if any do.
    #[inline(never)]
    fn deliver_more(&mut self, buffer: &mut [u8], at: usize, left: u64) -> Progress {
        if left > 0
            && self.decoder.is_between_messages()
            && let Some(first) = next_whole(&self.decoder, &self.conn.controls, buffer, at)
        {
            return self.deliver_several(buffer, first, left);
        }
        Progress { at, left }
    }

    /// Hands a whole plain message to the handler, behind which nothing came.
    //
    // It is `call` written out: the compiler would leave the closure a function of its own.
    #[inline(always)]
    fn deliver_one(&mut self, kind: MessageKind, payload: &[u8]) {
        self.registration.mailbox().traffic.add_messages_in(1);
        if let Some(instance) = self.owner.instance() {
            let outcome = instance.message(&mut self.conn, abi_kind(kind), payload);
            self.follow_answer(outcome);
        }
    }

    /// Hands whole plain messages to the handler, from this one on, which others may follow.
    #[inline(never)]
    fn deliver_several(
        &mut self,
        buffer: &mut [u8],
        first: (MessageKind, Range<usize>),
        left: u64,
    ) -> Progress {
        let instance = self.owner.instance();
        let (progress, outcome) = match instance.and_then(|it| it.deliver(&mut self.conn)) {
            Some(mut delivery) if delivery.takes_batches() => {
                deliver_batches(&self.decoder, &mut delivery, buffer, first, left)
            }
            Some(mut delivery) => {
                deliver_plainly(&self.decoder, &mut delivery, buffer, first, left)
            }
            // Messages are nothing to the handler.
            None => {
                let (at, left) = (first.1.end, left - 1);
                (Progress { at, left }, CallbackOutcome::Continue)
            }
        };
        let messages = left - progress.left;
        self.registration
            .mailbox()
            .traffic
            .add_messages_in(messages);
        self.follow_answer(outcome);
        progress
    }

    /// Hands one step of the decoder to the handler.
    fn take_step(
        &mut self,
        step: DecoderStep,
        (buffer, at, left): (&[u8], usize, u64),
        pongs: &mut Pongs,
        batch: &mut Batch,
    ) {
        if let DecoderStep::Close(body) = step {
            return self.take_close(&buffer[body]);
        }
        if !self.state().is_open() {
            return; // It came too late: one side has closed.
        }
        if self.conn.controls.read_mode.is_counted() && !self.count(&step) {
            return;
        }
        if matches!(step, DecoderStep::Message { last: true, .. }) {
            self.registration.mailbox().traffic.add_messages_in(1);
        }
        self.call(|instance, conn, FromPeer { decoder, .. }| match step {
            DecoderStep::Message { kind, place, last } => {
                let payload = match place {
                    PayloadLocation::Input(range) => &buffer[range],
                    PayloadLocation::Assembly => decoder.assembled(),
                };
                let bits = match last {
                    false => abi::MORE,
                    true if instance.takes_batches() && left > 0 => {
                        let bytes_max = conn.controls.answer_bytes_max().unwrap_or(0);
                        batch.followed(payload.len(), bytes_max, |bytes_left| {
                            decoder.is_followed(buffer, at, bytes_left)
                        })
                    }
                    true => 0,
                };
                instance.message(conn, abi_kind(kind) | bits, payload)
            }
            DecoderStep::Ping(range) => {
                pongs.answer(&mut conn.controls, buffer, range.clone());
                instance.ping(conn, &buffer[range])
            }
            DecoderStep::Pong(range) => instance.pong(conn, &buffer[range]),
            DecoderStep::Close(_) | DecoderStep::Starved => CallbackOutcome::Continue,
        });
    }
}

/// Takes the whole plain message that lies in `buffer` from `at`, if one does and may be handed to the handler now.
#[inline(always)]
fn next_whole(
    decoder: &Decoder,
    controls: &Controls,
    buffer: &mut [u8],
    at: usize,
) -> Option<(MessageKind, Range<usize>)> {
    let bytes_max = controls.answer_bytes_max()?;
    decoder.whole_message(buffer, at, bytes_max)
}

/// Hands whole plain messages to the handler, from `first` on, at most `left`.
#[inline(always)]
fn deliver_plainly(
    decoder: &Decoder,
    delivery: &mut Delivery<'_>,
    buffer: &mut [u8],
    (mut kind, mut place): (MessageKind, Range<usize>),
    mut left: u64,
) -> (Progress, CallbackOutcome) {
    // Of a callback that is timed, only one is in a delivery. The others are delivered after it.
    let last = if delivery.is_timed() { left - 1 } else { 0 };
    loop {
        let at = place.end;
        left -= 1;
        let outcome = delivery.message(abi_kind(kind), &buffer[place]);
        if outcome == CallbackOutcome::Continue
            && left > last
            && at < buffer.len()
            && let Some(next) = next_whole(decoder, &delivery.conn.controls, buffer, at)
        {
            (kind, place) = next;
            delivery.renew();
            continue;
        }
        return (Progress { at, left }, outcome);
    }
}

/// Like `deliver_plainly`, for a handler that takes batches: each message says whether another one follows.
/// A batch is no longer than what a handler can answer at its end without running over the outbound limit, and ends with
/// the turn.
#[inline(never)]
fn deliver_batches(
    decoder: &Decoder,
    delivery: &mut Delivery<'_>,
    buffer: &mut [u8],
    (mut kind, mut place): (MessageKind, Range<usize>),
    mut left: u64,
) -> (Progress, CallbackOutcome) {
    let mut batch = Batch::default();
    loop {
        let at = place.end;
        left -= 1;
        let bytes_max = delivery.conn.controls.answer_bytes_max().unwrap_or(0);
        let followed = match left > 0 {
            true => batch.followed(place.len(), bytes_max, |bytes_left| {
                decoder.is_followed(buffer, at, bytes_left)
            }),
            false => 0,
        };
        let outcome = delivery.message(abi_kind(kind) | followed, &buffer[place]);
        if outcome == CallbackOutcome::Continue
            && left > 0
            && at < buffer.len()
            && let Some(next) = next_whole(decoder, &delivery.conn.controls, buffer, at)
        {
            (kind, place) = next;
            delivery.renew();
            continue;
        }
        return (Progress { at, left }, outcome);
    }
}

/// How far a turn has come: where the next frame begins in what was received, and how many more may be handled.
#[derive(Clone, Copy, Debug)]
struct Progress {
    at: usize,
    left: u64,
}

/// The messages in a row that were each said to be followed by another one.
#[derive(Default)]
struct Batch {
    /// The bytes of answers as long as these messages.
    bytes: usize,
}

impl Batch {
    /// The kind bit of a message of `bytes`, where an answer may have `bytes_max`. `follows` is asked
    /// whether another message follows, and whether it has at most as many bytes as are left.
    #[inline]
    fn followed(
        &mut self,
        bytes: usize,
        bytes_max: usize,
        follows: impl FnOnce(usize) -> bool,
    ) -> u32 {
        self.bytes += bytes + frame::HEADER_BYTES_MAX;
        if self.bytes < bytes_max && follows(bytes_max - self.bytes) {
            return abi::FOLLOWED;
        }
        self.bytes = 0;
        0
    }
}

#[inline]
fn abi_kind(kind: MessageKind) -> u32 {
    match kind {
        MessageKind::Text => abi::TEXT,
        MessageKind::Binary => abi::BINARY,
    }
}

/// The Pongs of one readiness event. The first Pings are answered one by one, the others by one Pong.
#[derive(Default)]
struct Pongs {
    sent: usize,
    /// The place of the latest Ping's payload that is not answered yet.
    latest: Option<Range<usize>>,
}

impl Pongs {
    fn answer(&mut self, controls: &mut Controls, buffer: &[u8], payload: Range<usize>) {
        if self.sent < PONGS_PER_EVENT {
            self.sent += 1;
            let _ = controls.pong(&buffer[payload]);
        } else {
            self.latest = Some(payload);
        }
    }
}

/// The frames that are handled before other sessions have their turn. Bytes are no measure: a receive of 64 KiB has one
/// frame, or ten thousand.
const FRAMES_PER_TURN: u64 = 512;
/// The number of Pings that are answered one by one in a readiness event.
const PONGS_PER_EVENT: usize = 32;
