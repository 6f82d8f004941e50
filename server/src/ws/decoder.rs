//! From a peer's bytes to messages and control frames, in place.
//!
//! A message that lies whole in the input is unmasked there and never copied. Any other is put
//! together in memory of the decoder's own, which grows with what arrived, never with what a
//! header promised, and is given back when the message was taken. A compressed message is inflated
//! into it while it arrives.

mod measures;
mod skipping;

use std::ops::Range;

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use self::measures::part_bytes_max;
use super::deflate::inflation::Inflation;
use super::frame::{self, Header};
use super::mask::{unmask, unmask_whole};
use super::violation::Violation;
use crate::buffers::pool::Buffer;

/// Turns the bytes of one connection into steps.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: Limits,
    /// There if compression was agreed on.
    inflation: Option<Box<Inflation>>,
    /// The message that is open: its first frame came, its last did not.
    open: Option<OpenMessage>,
    /// The data frame whose payload has not come whole.
    frame: Option<OpenFrame>,
    assembly: Buffer,
    /// How much at the end of `assembly` was received there and not looked at yet.
    placed: usize,
    /// `assembly` is the thread's, lent to a compressed message until the input is used up.
    is_lent: bool,
    /// How much of `assembly` is whole UTF-8, if it is text.
    checked: usize,
    /// How much of `assembly` the last step gave out.
    taken: usize,
    /// Data frames are skipped, whatever they carry.
    skips: bool,
}

/// What one message may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Its bytes, inflated; with `parts` those of one part.
    pub(crate) message_bytes_max: u32,
    /// Its frames; with `parts` any number.
    pub(crate) fragments_max: u32,
    /// Give out the parts of a message as they come instead of the whole.
    pub(crate) parts: bool,
}

/// What came next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing whole: give more bytes, the unused ones first.
    Starved,
    /// A message, or a part of one.
    Message {
        kind: Kind,
        place: PayloadLocation,
        last: bool,
    },
    /// A Ping, with its payload's place in the input.
    Ping(Range<usize>),
    /// A Pong, with its payload's place in the input.
    Pong(Range<usize>),
    /// A Close, with its body's place in the input. Nothing after it counts.
    Close(Range<usize>),
}

/// What a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Binary,
}

/// Where the payload of a message lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PayloadLocation {
    /// In the input.
    Input(Range<usize>),
    /// In the decoder: see [`Decoder::assembled`].
    Assembly,
}

#[derive(Debug)]
struct OpenMessage {
    kind: Kind,
    fragments: u32,
    /// Payload bytes that its frames announced so far.
    bytes: u64,
    is_compressed: bool,
    /// Bytes that it may still inflate to.
    left: usize,
}

#[derive(Debug)]
struct OpenFrame {
    fin: bool,
    mask: [u8; 4],
    left: u64,
}

impl Decoder {
    pub(crate) fn new(limits: Limits, inflation: Option<Box<Inflation>>) -> Decoder {
        Decoder {
            limits,
            inflation,
            open: None,
            frame: None,
            assembly: Buffer::default(),
            placed: 0,
            is_lent: false,
            checked: 0,
            taken: 0,
            skips: false,
        }
    }

    /// Other limits hold from now on.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Drops what has come of a message; nothing more is decoded.
    pub(crate) fn clear(&mut self) {
        *self = Decoder::new(self.limits, None);
    }

    /// Whether a message has begun and is not complete.
    pub(crate) fn is_in_message(&self) -> bool {
        self.open.is_some()
    }

    /// The next step in `input` from `*at`, which moves past what was used. The payload of a step
    /// is valid until the next call.
    pub(crate) fn step(&mut self, input: &mut [u8], at: &mut usize) -> Result<Step, Violation> {
        if self.skips {
            return self.skip(input, at);
        }
        self.give_back();
        loop {
            if self.frame.is_some() {
                match self.fill(input, at)? {
                    Filled::Frame => continue,
                    Filled::Step(step) => return Ok(step),
                }
            }
            let Some(header) = frame::parse(&input[*at..])? else {
                self.keep_what_came();
                return Ok(Step::Starved);
            };
            match header.opcode {
                OpCode::Control(control) => return Ok(take_control(&header, control, input, at)),
                OpCode::Data(data) => {
                    if let Some(step) = self.begin_frame(&header, data, input, at)? {
                        return Ok(step);
                    }
                }
            }
        }
    }

    /// Whether the next frame begins a message, and nothing is to be given back before it.
    #[inline]
    pub(crate) fn is_between_messages(&self) -> bool {
        self.open.is_none() && self.taken == 0 && !self.is_lent
    }

    /// The message in `input` from `*at`, between messages, if it lies there whole, in one plain
    /// frame, and has at most `bytes_max`: what nearly all of them are. Anything else, right or
    /// wrong, is left to [`step`](Self::step).
    #[inline(always)]
    pub(crate) fn whole_message(
        &self,
        input: &mut [u8],
        at: &mut usize,
        bytes_max: usize,
    ) -> Option<(Kind, Range<usize>)> {
        debug_assert!(self.is_between_messages());
        let (is_text, mask, place) = frame::whole_message(input, *at)?;
        if place.len() > self.message_bytes_max().min(bytes_max) {
            return None;
        }
        let payload = input.get_mut(place.clone())?;
        unmask_whole(payload, mask);
        if is_text && simdutf8::basic::from_utf8(payload).is_err() {
            // As it was: `step` says what is wrong with it.
            unmask_whole(payload, mask);
            return None;
        }
        *at = place.end;
        let kind = if is_text { Kind::Text } else { Kind::Binary };
        Some((kind, place))
    }

    /// Whether a whole message of at most `bytes_max` lies in `input` from `at`, in one frame, be it
    /// compressed. What is wrong with it shows when it is taken.
    pub(crate) fn is_followed(&self, input: &[u8], at: usize, bytes_max: usize) -> bool {
        let Some((first, rest)) = input.get(at..).and_then(<[u8]>::split_first) else {
            return false;
        };
        // RSV1 is a compressed message's (RFC 7692 §6), and of no consequence here.
        let is_data = matches!(first & !0x40, 0x81 | 0x82);
        let bytes = frame::whole_payload(rest);
        is_data && bytes.is_some_and(|bytes| bytes <= self.message_bytes_max().min(bytes_max))
    }

    fn message_bytes_max(&self) -> usize {
        self.limits.message_bytes_max as usize
    }

    /// Everything that came was used: what the last step gave out, or the thread lent, goes back.
    #[inline]
    pub(crate) fn rest(&mut self) {
        if self.taken != 0 || self.is_lent {
            self.give_back();
            self.keep_what_came();
        }
    }

    /// The payload of the last step, if its place is [`PayloadLocation::Assembly`].
    pub(crate) fn assembled(&self) -> &[u8] {
        &self.assembly[..self.taken]
    }

    /// Takes a data frame's header; answers at once if its whole message lies in the input.
    fn begin_frame(
        &mut self,
        header: &Header,
        data: Data,
        input: &mut [u8],
        at: &mut usize,
    ) -> Result<Option<Step>, Violation> {
        let kind = match (data, &self.open) {
            (Data::Continue, Some(open)) => open.kind,
            (Data::Continue, None) => return Err(Violation::NothingToContinue),
            (_, Some(_)) => return Err(Violation::MessageInsideMessage),
            (Data::Text, None) => Kind::Text,
            (Data::Binary, None) => Kind::Binary,
            (Data::Reserved(opcode), None) => return Err(Violation::ReservedOpcode(opcode)),
        };
        if header.rsv1 && (self.inflation.is_none() || data == Data::Continue) {
            return Err(Violation::ReservedBit);
        }
        let (before, fragments, is_compressed) =
            self.open.as_ref().map_or((0, 0, header.rsv1), |open| {
                (open.bytes, open.fragments, open.is_compressed)
            });
        let bytes = before.saturating_add(header.payload_len);
        let message_bytes_max = self.message_bytes_max();
        if !self.limits.parts {
            self.check_limits(bytes, fragments, is_compressed)?;
        }

        let start = *at + header.header_len;
        let arrived = (input.len() - start) as u64;
        let is_whole = self.open.is_none()
            && header.fin
            && header.payload_len <= arrived.min(message_bytes_max as u64);
        if is_whole && !is_compressed {
            let payload = start..start + header.payload_len as usize;
            unmask(&mut input[payload.clone()], header.mask);
            if kind == Kind::Text && simdutf8::basic::from_utf8(&input[payload.clone()]).is_err() {
                return Err(Violation::Utf8);
            }
            *at = payload.end;
            let place = PayloadLocation::Input(payload);
            return Ok(Some(Step::Message {
                kind,
                place,
                last: true,
            }));
        }

        *at = start;
        if is_compressed && self.open.is_none() {
            self.assembly = Buffer::small();
            self.is_lent = true;
        } else if self.open.is_none() {
            self.assembly = if header.payload_len >= LARGE_BYTES as u64 {
                Buffer::large()
            } else {
                Buffer::small()
            };
        }
        self.open = Some(OpenMessage {
            kind,
            fragments: fragments.saturating_add(1),
            bytes,
            is_compressed,
            left: self
                .open
                .as_ref()
                .map_or(message_bytes_max, |open| open.left),
        });
        self.frame = Some(OpenFrame {
            fin: header.fin,
            mask: header.mask,
            left: header.payload_len,
        });
        Ok(None)
    }

    /// Moves what has come of the open frame into the assembly.
    fn fill(&mut self, input: &mut [u8], at: &mut usize) -> Result<Filled, Violation> {
        let (Some(frame), Some(open)) = (&mut self.frame, &mut self.open) else {
            return Ok(Filled::Frame);
        };
        let kind = open.kind;
        let placed = std::mem::take(&mut self.placed);
        if placed > 0 {
            let start = self.assembly.len() - placed;
            frame.mask = unmask(&mut self.assembly[start..], frame.mask);
            frame.left -= placed as u64;
        }
        let arrived = &mut input[*at..];
        let mut length =
            usize::try_from(frame.left).map_or(arrived.len(), |left| left.min(arrived.len()));
        let part_bytes_max = part_bytes_max(&self.limits);
        if self.limits.parts {
            length = length.min(match &self.inflation {
                // What it does not inflate at once it keeps.
                Some(inflation) if open.is_compressed && inflation.has_rest() => 0,
                Some(_) if open.is_compressed => PIECE_BYTES_MAX,
                _ => part_bytes_max.saturating_sub(self.assembly.len()),
            });
        }
        let payload = &mut arrived[..length];
        frame.mask = unmask(payload, frame.mask);
        frame.left -= length as u64;
        *at += length;
        let mut frame_is_whole = frame.left == 0;
        let mut last = frame_is_whole && frame.fin;
        let inflated = match &mut self.inflation {
            Some(inflation) if open.is_compressed && self.limits.parts => {
                let inflated =
                    inflation.inflate_part(payload, last, &mut self.assembly, part_bytes_max);
                if inflation.has_rest() {
                    (frame_is_whole, last) = (false, false);
                }
                inflated
            }
            Some(inflation) if open.is_compressed => {
                inflation.inflate(payload, last, &mut self.assembly, &mut open.left)
            }
            _ => {
                self.assembly.extend_from_slice(payload);
                Ok(())
            }
        };

        if kind == Kind::Text {
            self.check_text()?;
            if inflated.is_ok() && last && self.checked != self.assembly.len() {
                return Err(Violation::Utf8);
            }
        } else {
            self.checked = self.assembly.len();
        }
        // After the text: of two faults the first counts, whatever came in one piece with it.
        inflated?;
        if frame_is_whole {
            self.frame = None;
        }
        if last {
            self.open = None;
        }
        if last || (self.limits.parts && self.checked > 0) {
            self.taken = self.checked;
            let place = PayloadLocation::Assembly;
            return Ok(Filled::Step(Step::Message { kind, place, last }));
        }
        if frame_is_whole || self.has_rest() {
            return Ok(Filled::Frame);
        }
        self.keep_what_came();
        Ok(Filled::Step(Step::Starved))
    }

    /// Fails at the first byte that no UTF-8 text can have there; a character may end later.
    fn check_text(&mut self) -> Result<(), Violation> {
        match simdutf8::compat::from_utf8(&self.assembly[self.checked..]) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Violation::Utf8),
        }
        Ok(())
    }

    /// Drops what the last step gave out.
    fn give_back(&mut self) {
        if self.taken == 0 && !self.is_lent {
            return;
        }
        if self.taken == self.assembly.len() {
            // The next message may be small or never come: an idle connection holds nothing.
            self.assembly = Buffer::default();
            self.is_lent = false;
        } else {
            self.assembly.drain(..self.taken);
        }
        self.checked -= self.taken;
        self.taken = 0;
    }

    /// Nothing more comes in this event, so what the thread lent goes back.
    fn keep_what_came(&mut self) {
        if std::mem::take(&mut self.is_lent) {
            self.assembly = self.assembly.to_vec().into();
        }
    }
}

/// So much of a compressed message is inflated at a time where it is given out in parts: the bytes that
/// wait in between are no more.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// What is left of a frame that is worth a receive of its own; to tests, which cut streams of short
/// frames into any pieces, nearly every one is.
const LARGE_BYTES: usize = if cfg!(any(test, fuzzing)) {
    3
} else {
    16 * 1024
};
const RECEIVE_BYTES_LEAST: usize = 64 * 1024;

enum Filled {
    /// The frame is whole and its message is not: the next frame follows.
    Frame,
    Step(Step),
}

/// A control frame is short, so it is left in the input until it is whole.
fn take_control(header: &Header, control: Control, input: &mut [u8], at: &mut usize) -> Step {
    let start = *at + header.header_len;
    let end = start + header.payload_len as usize;
    let Some(payload) = input.get_mut(start..end) else {
        return Step::Starved;
    };
    unmask(payload, header.mask);
    *at = end;
    match control {
        Control::Ping => Step::Ping(start..end),
        Control::Pong => Step::Pong(start..end),
        // `frame::parse` let no reserved opcode through.
        Control::Close | Control::Reserved(_) => Step::Close(start..end),
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
