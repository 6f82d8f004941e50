//! One frame's header, both ways (RFC 6455 §5.2), in tungstenite's vocabulary.

use std::io::Cursor;
use std::ops::Range;

use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use wsh::abi;
use wsh::rules::ParsedKind;

use super::violation::Violation;

/// The header of a frame that a client sent. It keeps every rule that a frame can break by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    /// Whether the frame begins a compressed message. It is never set on a control frame.
    pub(super) rsv1: bool,
    pub(super) opcode: OpCode,
    pub(super) mask: [u8; 4],
    /// The bytes of the header itself.
    pub(super) header_len: usize,
    /// The bytes that are to follow, as the peer says. No memory is reserved for them.
    pub(super) payload_len: u64,
}

/// The opcode of a message that a handler sends.
pub(crate) fn opcode_of(kind: ParsedKind) -> OpCode {
    match kind.opcode {
        abi::TEXT => TEXT,
        _ => BINARY,
    }
}

/// Reads the header at the start of `input`; `None` while it is incomplete.
#[inline]
pub(super) fn parse(input: &[u8]) -> Result<Option<Header>, Violation> {
    match parse_common(input) {
        Some(header) => Ok(Some(header)),
        None => parse_any(input),
    }
}

/// Finds a whole text or binary message in `input` from `at`. Answers whether it is text, its mask, and where
/// its payload lies.
#[inline]
pub(super) fn whole_message(input: &[u8], at: usize) -> Option<(bool, [u8; 4], Range<usize>)> {
    let header = parse_common(input.get(at..)?)?;
    let start = at + header.header_len;
    let end = start + header.payload_len as usize;
    (end <= input.len()).then_some((header.opcode == TEXT, header.mask, start..end))
}

/// The length of a masked payload below 64 KiB, if it lies whole behind the first byte of its frame.
pub(super) fn whole_payload(rest: &[u8]) -> Option<usize> {
    let (len, header_len) = match *rest.first()? {
        short @ 0x80..=0xfd => (usize::from(short & 0x7f), 5),
        0xfe => {
            let length = rest.get(1..3)?.first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), 7)
        }
        _ => return None,
    };
    (header_len + len <= rest.len()).then_some(len)
}

/// Reads the header of a whole message below 64 KiB, masked, without a reserved bit, its length in the
/// shortest form. Nearly every header is so. Any other, right or wrong, is left to [`parse_any`].
#[inline]
fn parse_common(input: &[u8]) -> Option<Header> {
    let (&[first, second], rest) = input.split_first_chunk()?;
    let opcode = match first {
        0x81 => TEXT,
        0x82 => BINARY,
        _ => return None,
    };
    let (payload_len, rest, header_len) = match second {
        0x80..=0xfd => (u64::from(second & 0x7f), rest, 6),
        0xfe => {
            let (length, rest) = rest.split_first_chunk()?;
            let length = u16::from_be_bytes(*length);
            (u64::from(length), rest, 8)
        }
        _ => return None,
    };
    let &mask = rest.first_chunk()?;
    let is_shortest = header_len == 6 || payload_len > 125;
    is_shortest.then_some(Header {
        fin: true,
        rsv1: false,
        opcode,
        mask,
        header_len,
        payload_len,
    })
}

/// Reads any header, and finds the rule that it breaks.
fn parse_any(input: &[u8]) -> Result<Option<Header>, Violation> {
    let mut cursor = Cursor::new(input);
    let (header, payload_len) = match FrameHeader::parse(&mut cursor) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Ok(None),
        Err(Error::Protocol(ProtocolError::InvalidOpcode(opcode))) => {
            return Err(Violation::ReservedOpcode(opcode));
        }
        Err(_) => return Err(Violation::LengthForm),
    };
    let is_control = matches!(header.opcode, OpCode::Control(_));
    if header.rsv2 || header.rsv3 || header.rsv1 && is_control {
        return Err(Violation::ReservedBit);
    }
    let Some(mask) = header.mask else {
        return Err(Violation::Unmasked);
    };
    let header_len = cursor.position() as usize;
    if payload_len > i64::MAX as u64 || header_len != header.len(payload_len) {
        return Err(Violation::LengthForm);
    }
    if is_control && (!header.is_final || payload_len > 125) {
        return Err(Violation::ControlFrame);
    }
    Ok(Some(Header {
        fin: header.is_final,
        rsv1: header.rsv1,
        opcode: header.opcode,
        mask,
        header_len,
        payload_len,
    }))
}

/// Appends a whole uncompressed message as one frame. Nearly every message is sent so.
#[inline(always)]
pub(crate) fn put_whole(output: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_lengths(output, 0x80 | opcode, payload.len());
    output.extend_from_slice(payload);
}

/// Appends a server's frame, which is never masked (RFC 6455 §5.1).
pub(crate) fn put(output: &mut Vec<u8>, fin: bool, opcode: OpCode, payload: &[u8]) {
    output.reserve(HEADER_BYTES_MAX + payload.len());
    put_header(output, fin, opcode, payload.len());
    output.extend_from_slice(payload);
}

/// Appends the header of a server's frame. Exactly `payload_len` bytes have to follow.
pub(crate) fn put_header(output: &mut Vec<u8>, fin: bool, opcode: OpCode, payload_len: usize) {
    put_header_with(output, fin, false, opcode, payload_len);
}

/// Appends the header of a frame with a part of a compressed message; RSV1 marks the first
/// (RFC 7692 §6).
pub(crate) fn put_compressed_header(
    output: &mut Vec<u8>,
    fin: bool,
    opcode: OpCode,
    payload_len: usize,
) {
    put_header_with(output, fin, opcode != CONTINUE, opcode, payload_len);
}

#[inline]
fn put_header_with(
    output: &mut Vec<u8>,
    fin: bool,
    rsv1: bool,
    opcode: OpCode,
    payload_len: usize,
) {
    let first = u8::from(fin) << 7 | u8::from(rsv1) << 6 | u8::from(opcode);
    put_lengths(output, first, payload_len);
}

/// Appends the first byte and the length in its shortest form.
#[inline(always)]
fn put_lengths(output: &mut Vec<u8>, first: u8, payload_len: usize) {
    // All bytes in one call, because every message takes this way.
    match payload_len {
        0..=125 => output.extend_from_slice(&[first, payload_len as u8]),
        126..=0xffff => {
            let [high, low] = (payload_len as u16).to_be_bytes();
            output.extend_from_slice(&[first, 126, high, low]);
        }
        _ => {
            output.extend_from_slice(&[first, 127]);
            output.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
}

/// The most bytes that a server's frame header takes.
pub(crate) const HEADER_BYTES_MAX: usize = 10;
/// The opcode of a text message.
pub(crate) const TEXT: OpCode = OpCode::Data(Data::Text);
/// The opcode of a binary message.
pub(crate) const BINARY: OpCode = OpCode::Data(Data::Binary);
/// The opcode of every frame of a message but the first.
pub(crate) const CONTINUE: OpCode = OpCode::Data(Data::Continue);
/// The opcode of a Ping.
pub(crate) const PING: OpCode = OpCode::Control(Control::Ping);
/// The opcode of a Pong.
pub(crate) const PONG: OpCode = OpCode::Control(Control::Pong);
/// The opcode of a Close.
pub(crate) const CLOSE: OpCode = OpCode::Control(Control::Close);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_of_a_single_frame_is_named_when_broken() {
        let cases: [(&[u8], Violation); 9] = [
            (b"\x81\x00", Violation::Unmasked),
            (b"\xc9\x80\0\0\0\0", Violation::ReservedBit),
            (b"\xa1\x80\0\0\0\0", Violation::ReservedBit),
            (b"\x91\x80\0\0\0\0", Violation::ReservedBit),
            (b"\x83\x80\0\0\0\0", Violation::ReservedOpcode(3)),
            (b"\x81\xfe\x00\x7d\0\0\0\0", Violation::LengthForm),
            (
                b"\x81\xff\x80\0\0\0\0\0\0\x00\0\0\0\0",
                Violation::LengthForm,
            ),
            (b"\x09\x80\0\0\0\0", Violation::ControlFrame),
            (b"\x89\xfe\x00\x7e\0\0\0\0", Violation::ControlFrame),
        ];
        for (bytes, expected) in cases {
            assert_eq!(parse(bytes), Err(expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn the_common_header_is_read_as_any_other_and_written_as_tungstenite_would() {
        for payload_len in [0, 1, 125, 126, 127, 0xffff, 0x1_0000] {
            for (first, opcode) in [(0x81, TEXT), (0x82, BINARY)] {
                let mut written = Vec::new();
                put_header(&mut written, true, opcode, payload_len);
                let mut expected = Vec::new();
                let header = FrameHeader {
                    is_final: true,
                    opcode,
                    ..FrameHeader::default()
                };
                header.format(payload_len as u64, &mut expected).unwrap();
                assert_eq!(written, expected);
                assert_eq!(written[0], first);

                written[1] |= 0x80;
                written.extend_from_slice(&[1, 2, 3, 4]);
                for end in 0..=written.len() {
                    assert_eq!(parse(&written[..end]), parse_any(&written[..end]));
                }
            }
        }
    }

    #[test]
    fn an_incomplete_header_is_waited_for() {
        let whole = b"\x82\xfe\x01\x00\x01\x02\x03\x04";
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), Ok(None));
        }
        let header = parse(whole).unwrap().unwrap();
        assert_eq!((header.header_len, header.payload_len), (8, 256));
    }
}
