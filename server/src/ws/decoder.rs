//! From a peer's bytes to messages and control frames, in place.
//!
//! A message that lies whole in the input is unmasked there and never copied. Any other is put together
//! in memory of the decoder's own, the assembly. That grows with what arrived, never with what a header
//! promised, and is given back when the message was taken. A compressed message is inflated into it
//! while it arrives.

mod assembly;
mod measures;
mod skipping;

use std::ops::Range;

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use self::assembly::Filled;
use self::measures::part_bytes_max;
use super::deflate::inflation::Inflation;
use super::frame::{self, Header};
use super::mask::{unmask, unmask_whole};
use super::violation::Violation;
use crate::buffers::pool::Buffer;

/// Turns the bytes of one connection into steps.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: DecoderLimits,
    /// The decompressing half; `None` if no compression was agreed on.
    inflation: Option<Box<Inflation>>,
    /// The message whose first frame has come and whose last has not.
    open: Option<OpenMessage>,
    /// The data frame whose payload has not come whole.
    frame: Option<OpenFrame>,
    assembly: Buffer,
    /// The bytes at the end of `assembly` that were received there and not looked at yet.
    placed: usize,
    /// Whether `assembly` is lent to a compressed message by the thread, until the input is used up.
    is_lent: bool,
    /// The bytes at the start of `assembly` that are whole UTF-8, if it is text; else all of them.
    checked: usize,
    /// The bytes at the start of `assembly` that the last step gave out.
    taken: usize,
    /// Whether data frames are skipped, whatever they carry.
    skips: bool,
}

/// The limits of one message, and whether it is given out whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecoderLimits {
    /// The bytes of a message, inflated; with `parts` the bytes of one part, if that are fewer than a part may
    /// have anyway.
    pub(crate) message_bytes_max: u32,
    /// The frames of a message that is short; with `parts` there is no limit.
    pub(crate) fragments_max: u32,
    /// Whether the parts of a message are given out as they come, instead of the whole.
    pub(crate) parts: bool,
}

/// What came next of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DecoderStep {
    /// Nothing whole. More bytes are needed, behind the unused ones.
    Starved,
    /// A message, or a part of one.
    Message {
        kind: MessageKind,
        place: PayloadLocation,
        last: bool,
    },
    /// A Ping, and where its payload lies in the input.
    Ping(Range<usize>),
    /// A Pong, and where its payload lies in the input.
    Pong(Range<usize>),
    /// A Close, and where its body lies in the input. Nothing after it counts.
    Close(Range<usize>),
}

/// What a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageKind {
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
    kind: MessageKind,
    /// The frames that have begun.
    fragments: u32,
    /// The payload bytes that these frames announced.
    bytes: u64,
    is_compressed: bool,
    /// The bytes that the message may still inflate to.
    left: usize,
}

#[derive(Debug)]
struct OpenFrame {
    fin: bool,
    /// The mask as it stands for the next byte.
    mask: [u8; 4],
    /// The payload bytes that have not come.
    left: u64,
}

impl Decoder {
    pub(crate) fn new(limits: DecoderLimits, inflation: Option<Box<Inflation>>) -> Decoder {
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

    /// Applies other limits from now on.
    pub(crate) fn set_limits(&mut self, limits: DecoderLimits) {
        self.limits = limits;
    }

    /// Drops what has come of a message, and the decompressor. Nothing more is to be decoded.
    pub(crate) fn clear(&mut self) {
        *self = Decoder::new(self.limits, None);
    }

    /// The bytes that have come of a message that is not complete, as they are kept.
    pub(crate) fn assembly_bytes(&self) -> usize {
        self.assembly.len()
    }

    /// Whether a message has begun and is not complete.
    pub(crate) fn is_in_message(&self) -> bool {
        self.open.is_some()
    }

    /// Answers the next step in `input` from `*at`, and moves `*at` past what was used. The payload of a
    /// step is valid until the next call.
    pub(crate) fn step(
        &mut self,
        input: &mut [u8],
        at: &mut usize,
    ) -> Result<DecoderStep, Violation> {
        if self.skips {
            return self.skip(input, at);
        }
        self.give_back();
        loop {
            if self.frame.is_some() {
                match self.fill(input, at)? {
                    Filled::GoOn => continue,
                    Filled::Step(step) => return Ok(step),
                }
            }
            let Some(header) = frame::parse(&input[*at..])? else {
                self.keep_what_came();
                return Ok(DecoderStep::Starved);
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

    /// Takes a message from `input` at `at` that lies there whole, in one plain frame, and has at most
    /// `bytes_max`. Nearly every message is so; anything else, right or wrong, is left to
    /// [`step`](Self::step). To be called between messages only.
    #[inline(always)]
    pub(crate) fn whole_message(
        &self,
        input: &mut [u8],
        at: usize,
        bytes_max: usize,
    ) -> Option<(MessageKind, Range<usize>)> {
        debug_assert!(self.is_between_messages());
        let (is_text, mask, place) = frame::whole_message(input, at)?;
        if place.len() > self.message_bytes_max().min(bytes_max) {
            return None;
        }
        let payload = input.get_mut(place.clone())?;
        unmask_whole(payload, mask);
        if is_text && simdutf8::basic::from_utf8(payload).is_err() {
            // Masked again: `step` says what is wrong with it.
            unmask_whole(payload, mask);
            return None;
        }
        let kind = if is_text {
            MessageKind::Text
        } else {
            MessageKind::Binary
        };
        Some((kind, place))
    }

    /// Whether a whole message of at most `bytes_max` lies in `input` from `at`, in one frame, plain or
    /// compressed. A fault in it shows when it is taken.
    pub(crate) fn is_followed(&self, input: &[u8], at: usize, bytes_max: usize) -> bool {
        let Some((first, rest)) = input.get(at..).and_then(<[u8]>::split_first) else {
            return false;
        };
        // RSV1 marks a compressed message (RFC 7692 §6), and is of no consequence here.
        let is_data = matches!(first & !0x40, 0x81 | 0x82);
        let bytes = frame::whole_payload(rest);
        is_data && bytes.is_some_and(|bytes| bytes <= self.message_bytes_max().min(bytes_max))
    }

    fn message_bytes_max(&self) -> usize {
        self.limits.message_bytes_max as usize
    }

    /// Gives back what the last step gave out, or the thread lent. The input is used up.
    #[inline]
    pub(crate) fn release(&mut self) {
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
    ) -> Result<Option<DecoderStep>, Violation> {
        let kind = match (data, &self.open) {
            (Data::Continue, Some(open)) => open.kind,
            (Data::Continue, None) => return Err(Violation::NothingToContinue),
            (_, Some(_)) => return Err(Violation::MessageInsideMessage),
            (Data::Text, None) => MessageKind::Text,
            (Data::Binary, None) => MessageKind::Binary,
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
        let bytes_max = match self.limits.parts {
            true => part_bytes_max(&self.limits),
            false => message_bytes_max,
        };
        let is_whole = self.open.is_none()
            && header.fin
            && header.payload_len <= arrived.min(bytes_max as u64);
        if is_whole && !is_compressed {
            let payload = start..start + header.payload_len as usize;
            unmask(&mut input[payload.clone()], header.mask);
            if kind == MessageKind::Text
                && simdutf8::basic::from_utf8(&input[payload.clone()]).is_err()
            {
                return Err(Violation::Utf8);
            }
            *at = payload.end;
            let place = PayloadLocation::Input(payload);
            return Ok(Some(DecoderStep::Message {
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
}

/// So many bytes left of a frame are worth a receive of their own. In tests, which cut streams of short
/// frames into any pieces, nearly every frame has as many.
const LARGE_BYTES: usize = if cfg!(any(test, fuzzing)) {
    3
} else {
    16 * 1024
};
/// The assembly has memory for so many bytes more at least when a frame is received in it.
const RECEIVE_BYTES_LEAST: usize = 64 * 1024;

/// Takes a control frame, which is left in the input until it is whole: it is short.
fn take_control(
    header: &Header,
    control: Control,
    input: &mut [u8],
    at: &mut usize,
) -> DecoderStep {
    let start = *at + header.header_len;
    let end = start + header.payload_len as usize;
    let Some(payload) = input.get_mut(start..end) else {
        return DecoderStep::Starved;
    };
    unmask(payload, header.mask);
    *at = end;
    match control {
        Control::Ping => DecoderStep::Ping(start..end),
        Control::Pong => DecoderStep::Pong(start..end),
        // `frame::parse` let no reserved opcode through.
        Control::Close | Control::Reserved(_) => DecoderStep::Close(start..end),
    }
}

#[cfg(test)]
mod tests;
