//! Puts a message together that does not lie whole in the input: unmasked, inflated, and checked as text
//! while it comes.

use super::measures::part_bytes_max;
use super::{Decoder, DecoderStep, MessageKind, PayloadLocation};
use crate::buffers::pool::Buffer;
use crate::ws::mask::unmask;
use crate::ws::violation::Violation;

/// What became of a piece of a message.
pub(super) enum Filled {
    /// There is more to look at: more of the piece, or the next frame of the message.
    GoOn,
    /// The decoder has its next step.
    Step(DecoderStep),
}

/// What ends with a piece of a message.
#[derive(Clone, Copy)]
struct Ends {
    frame: bool,
    message: bool,
}

impl Decoder {
    /// Moves what has come of the open frame into the assembly.
    pub(super) fn fill(&mut self, input: &mut [u8], at: &mut usize) -> Result<Filled, Violation> {
        let (Some(_), Some(open)) = (&self.frame, &self.open) else {
            return Ok(Filled::GoOn);
        };
        let kind = open.kind;
        self.unmask_placed();
        let piece = self.take_piece(input, at);
        let (appended, ends) = self.append(piece);

        if kind == MessageKind::Text {
            self.check_text()?;
            if appended.is_ok() && ends.message && self.checked != self.assembly.len() {
                return Err(Violation::Utf8);
            }
        } else {
            self.checked = self.assembly.len();
        }
        // After the text: of two faults the first counts, whatever came in one piece with it.
        appended?;
        if ends.frame {
            self.frame = None;
        }
        if ends.message {
            self.open = None;
        }
        if ends.message || (self.limits.parts && self.checked > 0) {
            self.taken = self.checked;
            return Ok(Filled::Step(DecoderStep::Message {
                kind,
                place: PayloadLocation::Assembly,
                last: ends.message,
            }));
        }
        if ends.frame || self.has_rest() {
            return Ok(Filled::GoOn);
        }
        self.keep_what_came();
        Ok(Filled::Step(DecoderStep::Starved))
    }

    /// Unmasks what was received in the assembly itself.
    fn unmask_placed(&mut self) {
        let placed = std::mem::take(&mut self.placed);
        if let (Some(frame), true) = (&mut self.frame, placed > 0) {
            let start = self.assembly.len() - placed;
            frame.mask = unmask(&mut self.assembly[start..], frame.mask);
            frame.left -= placed as u64;
        }
    }

    /// Takes as much of the open frame from the input as may be looked at now, and unmasks it.
    fn take_piece<'a>(&mut self, input: &'a mut [u8], at: &mut usize) -> &'a [u8] {
        let arrived = &mut input[*at..];
        let (Some(frame), Some(open)) = (&mut self.frame, &self.open) else {
            return &[];
        };
        let mut length =
            usize::try_from(frame.left).map_or(arrived.len(), |left| left.min(arrived.len()));
        if self.limits.parts {
            length = length.min(match &self.inflation {
                // The decompressor keeps what it does not inflate at once.
                Some(inflation) if open.is_compressed && inflation.has_rest() => 0,
                Some(_) if open.is_compressed => PIECE_BYTES_MAX,
                _ => part_bytes_max(&self.limits).saturating_sub(self.assembly.len()),
            });
        }
        let piece = &mut arrived[..length];
        frame.mask = unmask(piece, frame.mask);
        frame.left -= length as u64;
        *at += length;
        piece
    }

    /// Appends a piece of the open frame to the assembly, inflated if the message is compressed.
    fn append(&mut self, piece: &[u8]) -> (Result<(), Violation>, Ends) {
        let frame_ends = self.frame.as_ref().is_none_or(|frame| frame.left == 0);
        let mut ends = Ends {
            frame: frame_ends,
            message: frame_ends && self.frame.as_ref().is_none_or(|frame| frame.fin),
        };
        let appended = match (&mut self.inflation, &mut self.open) {
            (Some(inflation), Some(open)) if open.is_compressed && self.limits.parts => {
                let bytes_max = part_bytes_max(&self.limits);
                let inflated =
                    inflation.inflate_part(piece, ends.message, &mut self.assembly, bytes_max);
                if inflation.has_rest() {
                    ends = Ends {
                        frame: false,
                        message: false,
                    };
                }
                inflated
            }
            (Some(inflation), Some(open)) if open.is_compressed => {
                inflation.inflate(piece, ends.message, &mut self.assembly, &mut open.left)
            }
            _ => match self.assembly.try_reserve(piece.len()) {
                Ok(()) => {
                    self.assembly.extend_from_slice(piece);
                    Ok(())
                }
                // A long message must not end the process, where the system has no memory for it.
                Err(_) => Err(Violation::TooBig),
            },
        };
        (appended, ends)
    }

    /// Fails at the first byte that no UTF-8 text can have there. A character may end in a later piece.
    fn check_text(&mut self) -> Result<(), Violation> {
        match simdutf8::compat::from_utf8(&self.assembly[self.checked..]) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Violation::Utf8),
        }
        Ok(())
    }

    /// Drops what the last step gave out.
    pub(super) fn give_back(&mut self) {
        if self.taken == 0 && !self.is_lent {
            return;
        }
        if self.taken == self.assembly.len() {
            // The next message may be small or never come, so that an idle connection keeps nothing.
            self.assembly = Buffer::default();
            self.is_lent = false;
        } else {
            self.assembly.drain(..self.taken);
        }
        self.checked -= self.taken;
        self.taken = 0;
    }

    /// Returns what the thread lent, and keeps a copy of what has come: the input is used up.
    pub(super) fn keep_what_came(&mut self) {
        if std::mem::take(&mut self.is_lent) {
            self.assembly = self.assembly.to_vec().into();
        }
    }
}

/// So much of a compressed message is inflated at a time, if it is given out in parts. No more than this
/// waits in between.
const PIECE_BYTES_MAX: usize = 16 * 1024;
