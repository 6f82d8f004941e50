//! The client's side of RFC 6455: frames that are sent, and messages that come of a server's frames.

use std::io::Cursor;

use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::compression::{Compressor, Decompressor};
use crate::ws::close;
use crate::ws::violation::Violation;

/// What comes from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A Close frame. Its code is 1005 where it has none.
    Close {
        code: u16,
        reason: String,
    },
}

/// A rule of the protocol that a server breaks, or the client's own limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ServerFault {
    #[error("a frame is masked, and a server masks none (RFC 6455 §5.1)")]
    Masked,
    #[error("a reserved bit is set that nothing was agreed on for (RFC 6455 §5.2)")]
    ReservedBit,
    #[error("a frame has the reserved opcode {0} (RFC 6455 §5.2)")]
    ReservedOpcode(u8),
    #[error("a control frame is fragmented or has more than 125 bytes (RFC 6455 §5.5)")]
    ControlFrame,
    #[error("a frame continues no message (RFC 6455 §5.4)")]
    Continuation,
    #[error("a message begins within another one (RFC 6455 §5.4)")]
    Interleaved,
    #[error("a length has no valid form (RFC 6455 §5.2)")]
    Length,
    #[error("a text message is not UTF-8 (RFC 6455 §8.1)")]
    Utf8,
    #[error("a Close frame has a body that is not allowed (RFC 6455 §5.5.1)")]
    CloseBody,
    #[error("a compressed message cannot be inflated (RFC 7692 §7.2.2)")]
    Compression,
    #[error(
        "a message of the server has more than {MESSAGE_BYTES_MAX} bytes, the most that `wshd connect` takes"
    )]
    TooBig,
}

impl ServerFault {
    /// The code of the Close frame that the server gets for it (RFC 6455 §7.4.1).
    pub(super) fn close_code(self) -> u16 {
        match self {
            ServerFault::Utf8 | ServerFault::Compression => 1007,
            ServerFault::TooBig => 1009,
            _ => 1002,
        }
    }
}

/// Makes messages of a server's bytes.
#[derive(Debug)]
pub(super) struct Decoder {
    input: Vec<u8>,
    /// The bytes at the start of `input` that are used.
    used: usize,
    open: Option<OpenMessage>,
    decompressor: Option<Decompressor>,
}

/// A message whose last frame has not come.
#[derive(Debug)]
struct OpenMessage {
    is_text: bool,
    is_compressed: bool,
    payload: Vec<u8>,
}

impl Decoder {
    /// Begins with bytes that came behind the head of the 101.
    pub(super) fn new(input: Vec<u8>, decompressor: Option<Decompressor>) -> Decoder {
        Decoder {
            input,
            used: 0,
            open: None,
            decompressor,
        }
    }

    /// Where more bytes are to be appended.
    pub(super) fn input(&mut self) -> &mut Vec<u8> {
        self.input.drain(..self.used);
        self.used = 0;
        // Where no room is left, tokio would read a few bytes at a time.
        self.input.reserve(READ_BYTES);
        &mut self.input
    }

    /// Answers what has come next; `None` while it has not come whole.
    pub(super) fn next(&mut self) -> Result<Option<Received>, ServerFault> {
        loop {
            let mut cursor = Cursor::new(&self.input[self.used..]);
            let (header, length) = match FrameHeader::parse(&mut cursor) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => return Ok(None),
                Err(Error::Protocol(ProtocolError::InvalidOpcode(opcode))) => {
                    return Err(ServerFault::ReservedOpcode(opcode));
                }
                Err(_) => return Err(ServerFault::Length),
            };
            self.judge(&header, length)?;
            let start = self.used + cursor.position() as usize;
            let end = start + length as usize;
            if end > self.input.len() {
                return Ok(None);
            }
            let payload = self.input[start..end].to_vec();
            self.used = end;
            match header.opcode {
                OpCode::Control(control) => return control_frame(control, payload).map(Some),
                OpCode::Data(data) => {
                    if let Some(message) = self.data_frame(&header, data, payload)? {
                        return Ok(Some(message));
                    }
                }
            }
        }
    }

    /// Checks all that a header alone can break.
    fn judge(&self, header: &FrameHeader, length: u64) -> Result<(), ServerFault> {
        let is_control = matches!(header.opcode, OpCode::Control(_));
        let begins = matches!(header.opcode, OpCode::Data(Data::Text | Data::Binary));
        let may_be_compressed = begins && self.decompressor.is_some();
        if header.rsv2 || header.rsv3 || header.rsv1 && !may_be_compressed {
            return Err(ServerFault::ReservedBit);
        }
        if header.mask.is_some() {
            return Err(ServerFault::Masked);
        }
        if is_control && (!header.is_final || length > 125) {
            return Err(ServerFault::ControlFrame);
        }
        let before = self.open.as_ref().map_or(0, |open| open.payload.len());
        if length > (MESSAGE_BYTES_MAX - before.min(MESSAGE_BYTES_MAX)) as u64 {
            return Err(ServerFault::TooBig);
        }
        Ok(())
    }

    fn data_frame(
        &mut self,
        header: &FrameHeader,
        data: Data,
        payload: Vec<u8>,
    ) -> Result<Option<Received>, ServerFault> {
        let open = match (self.open.take(), data) {
            (Some(mut open), Data::Continue) => {
                open.payload.extend_from_slice(&payload);
                open
            }
            (None, Data::Continue) => return Err(ServerFault::Continuation),
            (Some(_), _) => return Err(ServerFault::Interleaved),
            (None, data) => OpenMessage {
                is_text: data == Data::Text,
                is_compressed: header.rsv1,
                payload,
            },
        };
        if !header.is_final {
            self.open = Some(open);
            return Ok(None);
        }
        let payload = match &mut self.decompressor {
            Some(decompressor) if open.is_compressed => {
                decompressor.inflate(open.payload, MESSAGE_BYTES_MAX)?
            }
            _ => open.payload,
        };
        if !open.is_text {
            return Ok(Some(Received::Binary(payload)));
        }
        let text = String::from_utf8(payload).map_err(|_| ServerFault::Utf8)?;
        Ok(Some(Received::Text(text)))
    }
}

fn control_frame(control: Control, payload: Vec<u8>) -> Result<Received, ServerFault> {
    match control {
        Control::Ping => Ok(Received::Ping(payload)),
        Control::Pong => Ok(Received::Pong(payload)),
        Control::Close => match close::parse(&payload) {
            Ok((code, reason)) => Ok(Received::Close {
                code,
                reason: reason.to_owned(),
            }),
            Err(Violation::Utf8) => Err(ServerFault::Utf8),
            Err(_) => Err(ServerFault::CloseBody),
        },
        Control::Reserved(opcode) => Err(ServerFault::ReservedOpcode(opcode)),
    }
}

/// Appends a whole message as one frame, compressed where that was agreed on.
pub(super) fn put_message(
    output: &mut Vec<u8>,
    is_text: bool,
    payload: &[u8],
    compressor: Option<&mut Compressor>,
) {
    let data = if is_text { Data::Text } else { Data::Binary };
    let opcode = OpCode::Data(data);
    match compressor {
        Some(compressor) => put(output, opcode, true, &compressor.deflate(payload)),
        None => put(output, opcode, false, payload),
    }
}

/// Appends a control frame.
pub(super) fn put_control(output: &mut Vec<u8>, control: Control, payload: &[u8]) {
    put(output, OpCode::Control(control), false, payload);
}

/// Appends a masked frame (RFC 6455 §5.3).
fn put(output: &mut Vec<u8>, opcode: OpCode, is_compressed: bool, payload: &[u8]) {
    let mut mask = [0; 4];
    super::fill_random(&mut mask);
    let header = FrameHeader {
        is_final: true,
        rsv1: is_compressed,
        opcode,
        mask: Some(mask),
        ..FrameHeader::default()
    };
    header
        .format(payload.len() as u64, output)
        .expect("writing into memory does not fail");
    let masked = payload.iter().zip(mask.iter().cycle());
    output.extend(masked.map(|(byte, key)| byte ^ key));
}

/// How many bytes are read at a time, at least.
const READ_BYTES: usize = 16 * 1024;
/// The most bytes of one message, inflated. The `message_bytes_max` of a server goes as far.
pub(super) const MESSAGE_BYTES_MAX: usize = wsh::rules::MESSAGE_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_of_frames_however_the_bytes_are_cut() {
        let bytes = b"\x81\x02hi\x01\x01a\x89\x01p\x80\x01b\x82\x01\xff\x8a\x00\x88\x05\x03\xe8bye";
        let close = Received::Close {
            code: 1000,
            reason: "bye".to_owned(),
        };
        let expected = [
            Received::Text("hi".to_owned()),
            Received::Ping(b"p".to_vec()),
            Received::Text("ab".to_owned()),
            Received::Binary(vec![0xff]),
            Received::Pong(Vec::new()),
            close,
        ];
        for step in 1..=bytes.len() {
            let mut decoder = Decoder::new(Vec::new(), None);
            let mut received = Vec::new();
            for part in bytes.chunks(step) {
                decoder.input().extend_from_slice(part);
                while let Some(next) = decoder.next().unwrap() {
                    received.push(next);
                }
            }
            assert_eq!(received, expected, "parts of {step} bytes");
        }
    }

    #[test]
    fn each_rule_that_a_server_breaks_is_named_and_has_its_code() {
        let cases: [(&[u8], ServerFault, u16); 12] = [
            (b"\x81\x80abcd", ServerFault::Masked, 1002),
            (b"\xc1\x00", ServerFault::ReservedBit, 1002),
            (b"\x91\x00", ServerFault::ReservedBit, 1002),
            (b"\x83\x00", ServerFault::ReservedOpcode(3), 1002),
            (b"\x09\x00", ServerFault::ControlFrame, 1002),
            (b"\x89\x7e\x00\x7e", ServerFault::ControlFrame, 1002),
            (b"\x80\x00", ServerFault::Continuation, 1002),
            (b"\x01\x00\x81\x00", ServerFault::Interleaved, 1002),
            (b"\x81\x01\xff", ServerFault::Utf8, 1007),
            (b"\x88\x01\x03", ServerFault::CloseBody, 1002),
            (b"\x88\x02\x03\xed", ServerFault::CloseBody, 1002),
            (
                b"\x82\x7f\x00\x00\x00\x00\x40\x00\x00\x01",
                ServerFault::TooBig,
                1009,
            ),
        ];
        for (bytes, fault, code) in cases {
            let mut decoder = Decoder::new(bytes.to_vec(), None);
            assert_eq!(decoder.next(), Err(fault), "{bytes:02x?}");
            assert_eq!(fault.close_code(), code);
        }
    }

    #[test]
    fn a_frame_that_is_sent_is_masked() {
        let mut output = Vec::new();

        put_message(&mut output, true, b"hello", None);

        let (head, rest) = output.split_at(2);
        assert_eq!(head, b"\x81\x85");
        let (mask, payload) = rest.split_at(4);
        let payload = payload.iter().zip(mask.iter().cycle());
        assert_eq!(payload.map(|(a, b)| a ^ b).collect::<Vec<_>>(), b"hello");
    }
}
