//! How much of a message has come and is to come, and where the rest of it is received.

use super::{Decoder, LARGE_BYTES, ROOM_BYTES_LEAST};
use crate::ws::frame;

impl Decoder {
    /// Where what is left of a large frame is to be received, behind what is there, and how much at
    /// most; [`placed`](Self::placed) says what came. None if there is no such frame.
    pub(crate) fn room(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let (Some(frame), Some(open)) = (&self.frame, &self.open) else {
            return None;
        };
        let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
        if open.is_compressed || left < LARGE_BYTES || self.taken != 0 || self.placed != 0 {
            return None;
        }
        // As much as has come, at least: what a header promises is only a limit.
        let more = self.assembly.len().max(ROOM_BYTES_LEAST).min(left);
        self.assembly.reserve(more);
        Some((&mut self.assembly, left))
    }

    /// So many bytes of the open frame were received in its [`room`](Self::room).
    pub(crate) fn placed(&mut self, length: usize) {
        self.placed = length;
    }

    /// Whether there is something to look at besides the input.
    pub(crate) fn has_placed(&self) -> bool {
        self.placed != 0
    }

    /// Bytes that have come of the message that is not complete; of a compressed one, on the wire.
    pub(crate) fn message_bytes(&self) -> u64 {
        let left = self.frame.as_ref().map_or(0, |frame| frame.left);
        let announced = self.open.as_ref().map_or(0, |open| open.bytes);
        announced.saturating_sub(left)
    }

    /// How many bytes the message has, as far as its frames have said, that `input` begins with or
    /// goes on with; of a compressed one as many as it may have.
    pub(crate) fn announced(&self, input: &[u8]) -> usize {
        let next = match self.frame {
            Some(_) => None,
            None => frame::parse(input).ok().flatten(),
        };
        let is_compressed = match &self.open {
            Some(open) => open.is_compressed,
            None => next.is_some_and(|header| header.rsv1),
        };
        if is_compressed {
            return self.message_bytes_max();
        }
        let before = self.open.as_ref().map_or(0, |open| open.bytes);
        let bytes = before.saturating_add(next.map_or(0, |header| header.payload_len));
        usize::try_from(bytes).map_or(usize::MAX, |bytes| bytes.min(self.message_bytes_max()))
    }
}
