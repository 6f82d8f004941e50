//! A whole message as the frame it leaves in, encoded once for all the sessions that get it.

use std::sync::OnceLock;

use bytes::Bytes;
use tungstenite::protocol::frame::coding::OpCode;

use crate::ws::deflate::deflation::compress_alone;
use crate::ws::deflate::pool;
use crate::ws::frame;

/// A message for one session or for ten thousand.
#[derive(Debug)]
pub(crate) struct Encoded {
    opcode: OpCode,
    plain: Bytes,
    payload_len: usize,
    may_compress: bool,
    /// Compressed by itself, for each window from 9 to 15 bits, when the first session asks;
    /// `None` if that makes it no smaller.
    compressed: [OnceLock<Option<Bytes>>; 7],
}

impl Encoded {
    /// `may_compress` is what whoever sends it says; each session has its own say.
    pub(crate) fn new(opcode: OpCode, payload: &[u8], may_compress: bool) -> Encoded {
        let mut plain = Vec::with_capacity(payload.len() + frame::HEADER_BYTES_MAX);
        frame::put(&mut plain, true, opcode, payload);
        Encoded {
            opcode,
            plain: plain.into(),
            payload_len: payload.len(),
            may_compress,
            compressed: Default::default(),
        }
    }

    pub(crate) fn opcode(&self) -> OpCode {
        self.opcode
    }

    pub(crate) fn may_compress(&self) -> bool {
        self.may_compress
    }

    /// The message without its frame.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.plain[self.plain.len() - self.payload_len..]
    }

    /// The frame as it is.
    pub(crate) fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// The frame compressed by itself, or as it is if that is no smaller.
    pub(crate) fn compressed(&self, window_bits: u8) -> &Bytes {
        let Some(once) = self.compressed.get(usize::from(window_bits) - 9) else {
            return &self.plain;
        };
        let compressed = once.get_or_init(|| {
            let mut room = pool::take_room();
            let is_smaller = compress_alone(window_bits, self.payload(), &mut room);
            let compressed = is_smaller.then(|| {
                let mut output = Vec::with_capacity(room.len() + frame::HEADER_BYTES_MAX);
                frame::put_compressed_header(&mut output, true, self.opcode, room.len());
                output.extend_from_slice(&room);
                output.into()
            });
            pool::put_room(room);
            compressed
        });
        compressed.as_ref().unwrap_or(&self.plain)
    }
}
