//! The decoder after the peer broke a rule: frames are told apart and not decoded, until its Close comes.

use tungstenite::protocol::frame::coding::OpCode;

use super::{Decoder, DecoderStep, OpenFrame, take_control};
use crate::ws::frame;
use crate::ws::violation::Violation;

impl Decoder {
    /// Skips data frames from now on, first the rest of the open one. Control frames are still steps.
    pub(crate) fn skip_messages(&mut self) {
        *self = Decoder {
            frame: self.frame.take(),
            skips: true,
            ..Decoder::new(self.limits, None)
        };
    }

    /// Answers the next control frame, and uses up the data frames before it.
    #[cold]
    pub(super) fn skip(
        &mut self,
        input: &mut [u8],
        at: &mut usize,
    ) -> Result<DecoderStep, Violation> {
        loop {
            let left = self.frame.as_ref().map_or(0, |frame| frame.left);
            let arrived = (input.len() - *at) as u64;
            let skipped = left.min(arrived);
            *at += skipped as usize;
            if let Some(frame) = &mut self.frame
                && skipped < left
            {
                frame.left -= skipped;
                return Ok(DecoderStep::Starved);
            }
            self.frame = None;
            let Some(header) = frame::parse(&input[*at..])? else {
                return Ok(DecoderStep::Starved);
            };
            if let OpCode::Control(control) = header.opcode {
                return Ok(take_control(&header, control, input, at));
            }
            *at += header.header_len;
            self.frame = Some(OpenFrame {
                fin: header.fin,
                mask: header.mask,
                left: header.payload_len,
            });
        }
    }
}
