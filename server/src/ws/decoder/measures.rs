//! How much of a message has come and may come, and where the rest of a large frame is received.

use super::{Decoder, DecoderLimits, LARGE_BYTES, RECEIVE_BYTES_LEAST};
use crate::buffers::pool::Buffer;
use crate::ws::violation::Violation;

impl Decoder {
    /// Where the rest of a large frame is to be received, behind what is there, and how many bytes at most.
    /// [`placed`](Self::placed) says how many came. `None` if no large frame is open.
    pub(crate) fn receive_target(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let (Some(frame), Some(open)) = (&self.frame, &self.open) else {
            return None;
        };
        let mut left = usize::try_from(frame.left).unwrap_or(usize::MAX);
        if self.limits.parts {
            // The bytes of a character that is not whole are part of the next part.
            left = left.min(part_bytes_max(&self.limits).saturating_sub(self.assembly.len()));
        }
        if open.is_compressed || left < LARGE_BYTES || self.taken != 0 || self.placed != 0 {
            return None;
        }
        if self.assembly.capacity() == 0 {
            self.assembly = Buffer::large();
        }
        // Memory grows with what has come; the length in a header is only a limit to it.
        let more = self.assembly.len().max(RECEIVE_BYTES_LEAST).min(left);
        if self.assembly.try_reserve(more).is_err() {
            return None; // What comes then goes through `append`, which tells what is wrong.
        }
        Some((&mut self.assembly, left))
    }

    /// Notes that so many bytes were received in the [`receive_target`](Self::receive_target).
    pub(crate) fn placed(&mut self, length: usize) {
        self.placed = length;
    }

    /// Whether bytes are to be looked at that are not in the input.
    pub(crate) fn has_placed(&self) -> bool {
        self.placed != 0 || self.has_rest()
    }

    /// Whether bytes of a compressed message have come that were not inflated yet.
    pub(super) fn has_rest(&self) -> bool {
        let inflation = self.inflation.as_ref();
        inflation.is_some_and(|inflation| inflation.has_rest())
    }

    /// The bytes that have come of the message that is not complete, as they were on the wire.
    pub(crate) fn message_bytes(&self) -> u64 {
        let left = self.frame.as_ref().map_or(0, |frame| frame.left);
        let announced = self.open.as_ref().map_or(0, |open| open.bytes);
        announced.saturating_sub(left)
    }

    /// Fails if a message that is given out whole may not go on. It has `bytes` with the frame that
    /// begins, and `fragments` before that.
    pub(super) fn check_limits(
        &self,
        bytes: u64,
        fragments: u32,
        is_compressed: bool,
    ) -> Result<(), Violation> {
        let bytes_max = match is_compressed {
            true => compressed_bytes_max(self.message_bytes_max()),
            false => self.message_bytes_max(),
        };
        if bytes > bytes_max as u64 {
            return Err(Violation::TooBig);
        }
        // Of a compressed message, what it has inflated to is the length that counts.
        let length = bytes.max(self.assembly.len() as u64);
        let more = length / FRAGMENT_BYTES;
        if u64::from(fragments) >= u64::from(self.limits.fragments_max) + more {
            return Err(Violation::TooManyFragments);
        }
        Ok(())
    }
}

/// The bytes that a compressed message may have on the wire. What does not compress takes a few more
/// bytes than it has, and empty blocks must not go on for ever.
fn compressed_bytes_max(message_bytes_max: usize) -> usize {
    message_bytes_max.saturating_mul(2).saturating_add(1024)
}

/// The bytes that one part may have. They hold a whole character behind the start of another.
///
/// A limit of long messages does not make parts longer: then a handler that takes messages in parts would
/// need memory after all.
pub(super) fn part_bytes_max(limits: &DecoderLimits) -> usize {
    (limits.message_bytes_max as usize).clamp(8, PART_BYTES_MAX)
}

/// For so many bytes a message may have a frame more than its limit of frames. Browsers send long messages in frames of
/// 128 KB.
const FRAGMENT_BYTES: u64 = 16 * 1024;
/// The longest part, as long as what one receive brings.
const PART_BYTES_MAX: usize = 64 * 1024;
