//! What a peer's bytes mean to the decoder, in any pieces, and to tungstenite, the oracle.
//!
//! For tests and fuzzing only.

use std::io::{self, ErrorKind, Read, Write};

use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::close;
use super::decoder::{Decoder, DecoderLimits, DecoderStep, MessageKind, PayloadLocation};
use super::violation::Violation;
use crate::testing::client_frame::frame;

/// The random inputs that a property is tried with. Miri takes seconds for each.
#[cfg(test)]
pub(crate) const CASES: u32 = if cfg!(miri) { 4 } else { 200 };

/// One message or control frame of a peer, however it was cut into frames and reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A Close with its body. Nothing after it is looked at.
    Close(Vec<u8>),
}

/// Cuts `bytes` into reads of these sizes, over and over.
fn pieces<'a>(bytes: &'a [u8], reads: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let (mut rest, mut reads) = (bytes, reads.iter().cycle());
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = (*reads.next().unwrap_or(&usize::MAX)).clamp(1, rest.len());
        let (piece, later) = rest.split_at(length);
        rest = later;
        Some(piece)
    })
}

/// Decodes `bytes` as a session does: what is not used is kept as unparsed, and the rest of a large frame is
/// received in the decoder.
pub(crate) fn decode(
    mut decoder: Decoder,
    bytes: &[u8],
    reads: &[usize],
) -> (Vec<Said>, Option<Violation>) {
    let (mut said, mut open, mut unparsed) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces(bytes, reads) {
        let mut piece = piece;
        if let Some((target, bytes_max)) = decoder.receive_target() {
            let (placed, rest) = piece.split_at(bytes_max.min(piece.len()));
            target.extend_from_slice(placed);
            decoder.placed(placed.len());
            piece = rest;
        }
        unparsed.extend_from_slice(piece);
        let mut at = 0;
        loop {
            match decoder.step(&mut unparsed, &mut at) {
                Ok(DecoderStep::Starved) => break,
                Ok(DecoderStep::Message { kind, place, last }) => {
                    open.extend_from_slice(match place {
                        PayloadLocation::Input(range) => &unparsed[range],
                        PayloadLocation::Assembly => decoder.assembled(),
                    });
                    let is_text = std::str::from_utf8(&open).is_ok();
                    assert!(
                        kind != MessageKind::Text || is_text,
                        "each part is whole text"
                    );
                    if last {
                        let message = std::mem::take(&mut open);
                        said.push(match kind {
                            MessageKind::Text => Said::Text(message),
                            MessageKind::Binary => Said::Binary(message),
                        });
                    }
                }
                Ok(DecoderStep::Ping(range)) => said.push(Said::Ping(unparsed[range].to_vec())),
                Ok(DecoderStep::Pong(range)) => said.push(Said::Pong(unparsed[range].to_vec())),
                Ok(DecoderStep::Close(range)) => {
                    let body = &unparsed[range];
                    let violation = close::parse(body).err();
                    if violation.is_none() {
                        said.push(Said::Close(body.to_vec()));
                    }
                    return (said, violation);
                }
                Err(violation) => return (said, Some(violation)),
            }
        }
        unparsed.drain(..at);
    }
    (said, None)
}

/// Compares what a stream means to the decoder and to tungstenite. They may differ as [`Allowed`] says, and
/// name different faults of a frame that has several.
///
/// # Panics
///
/// On any other difference.
pub(crate) fn compare(bytes: &[u8], reads: &[usize]) {
    let (ours, violation) = decode(Decoder::new(LIMITS, None), bytes, reads);
    let (theirs, ending) = tungstenite_says(bytes, reads);
    let difference = || format!("ours: {ours:?} {violation:?}\ntheirs: {theirs:?} {ending:?}");

    let Some(violation) = violation else {
        let is_same = theirs == ours || Allowed::is_1014(&ours, &theirs);
        assert!(is_same && ending != Ending::Failed, "{}", difference());
        return;
    };
    let Some(beyond) = theirs.strip_prefix(&ours[..]) else {
        panic!("{}", difference());
    };
    let is_allowed = match Allowed::of(violation) {
        Allowed::Nothing => beyond.is_empty() && ending != Ending::Ended,
        Allowed::GoesOn => true,
        Allowed::GoesOnWithControlFrames => {
            let is_control = |said: &Said| !matches!(said, Said::Text(_) | Said::Binary(_));
            beyond.iter().all(is_control)
        }
        Allowed::NamesAnotherCode => match beyond {
            [] => ending != Ending::Ended,
            [Said::Close(body)] => body.starts_with(&1002u16.to_be_bytes()),
            _ => false,
        },
    };
    assert!(is_allowed, "{}", difference());
}

/// Where tungstenite 0.30 may go on after the decoder has found a fault, each with its reason.
enum Allowed {
    /// Nowhere: it finds the fault as well, at the latest when the frame has come whole.
    Nothing,
    GoesOn,
    GoesOnWithControlFrames,
    NamesAnotherCode,
}

impl Allowed {
    fn of(violation: Violation) -> Allowed {
        match violation {
            // RFC 6455 §5.2, the minimal number of bytes: tungstenite takes a length in any form.
            Violation::LengthForm => Allowed::GoesOn,
            // §10.4, a limit of ours: tungstenite counts bytes, not fragments.
            Violation::TooManyFragments => Allowed::GoesOn,
            // §8.1: tungstenite checks text when the message is complete, the decoder at the first bad byte.
            Violation::Utf8 => Allowed::GoesOnWithControlFrames,
            // §10.4: tungstenite counts a frame that has come, the decoder one that is announced.
            Violation::TooBig => Allowed::GoesOnWithControlFrames,
            // §7.4: tungstenite hands out a Close with a code of its own in the place of a bad one.
            Violation::CloseBody => Allowed::NamesAnotherCode,
            // §5.1, §5.2, §5.4, §5.5.
            Violation::Unmasked
            | Violation::ReservedBit
            | Violation::ReservedOpcode(_)
            | Violation::ControlFrame
            | Violation::NothingToContinue
            | Violation::MessageInsideMessage => Allowed::Nothing,
            Violation::Compression => unreachable!("nothing is compressed here"),
        }
    }

    /// Whether the only difference is the code 1014. By §7.4.2 and IANA's registry it may be sent since 2020;
    /// tungstenite takes it for a bad code.
    fn is_1014(ours: &[Said], theirs: &[Said]) -> bool {
        let code = |said: &Said, code: u16| matches!(said, Said::Close(body) if body.starts_with(&code.to_be_bytes()));
        match (ours.split_last(), theirs.split_last()) {
            (Some((our_last, ours)), Some((their_last, theirs))) => {
                ours == theirs && code(our_last, 1014) && code(their_last, 1002)
            }
            _ => false,
        }
    }
}

/// How far tungstenite has come with a stream.
#[derive(Debug, PartialEq)]
enum Ending {
    /// It waits for more bytes.
    Waiting,
    /// It has found a fault.
    Failed,
    /// It has found a Close.
    Ended,
}

fn tungstenite_says(bytes: &[u8], reads: &[usize]) -> (Vec<Said>, Ending) {
    let peer = PieceSocket {
        pieces: pieces(bytes, reads).map(<[u8]>::to_vec).collect(),
        next: 0,
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(LIMITS.message_bytes_max as usize))
        .max_frame_size(Some(LIMITS.message_bytes_max as usize));
    let mut socket = WebSocket::from_raw_socket(peer, Role::Server, Some(config));
    let mut said = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => said.push(Said::Text(text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => said.push(Said::Binary(bytes.to_vec())),
            Ok(Message::Ping(payload)) => said.push(Said::Ping(payload.to_vec())),
            Ok(Message::Pong(payload)) => said.push(Said::Pong(payload.to_vec())),
            Ok(Message::Close(frame)) => {
                let body = frame.map(|frame| close::body(frame.code.into(), &frame.reason));
                said.push(Said::Close(body.unwrap_or_default()));
                return (said, Ending::Ended);
            }
            Ok(Message::Frame(_)) => unreachable!("reading gives no raw frames"),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                if socket.get_ref().next > socket.get_ref().pieces.len() {
                    return (said, Ending::Waiting);
                }
            }
            Err(_) => return (said, Ending::Failed),
        }
    }
}

/// A socket that gives one piece, then has nothing once, and so on. It takes everything.
struct PieceSocket {
    pieces: Vec<Vec<u8>>,
    /// One more than the pieces that were given.
    next: usize,
}

impl Read for PieceSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let current = self.next.checked_sub(1);
        match current.and_then(|current| self.pieces.get_mut(current)) {
            Some(piece) if !piece.is_empty() => {
                let length = piece.len().min(buffer.len());
                buffer[..length].copy_from_slice(&piece[..length]);
                piece.drain(..length);
                Ok(length)
            }
            _ => {
                self.next += 1;
                Err(ErrorKind::WouldBlock.into())
            }
        }
    }
}

impl Write for PieceSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const LIMITS: DecoderLimits = DecoderLimits {
    message_bytes_max: 1000,
    fragments_max: 20,
    parts: false,
};

/// The stream that a script stands for: frames that are mostly right and sometimes not.
///
/// A frame takes two bytes of the script, its first byte and one for its make-up, and then its payload.
pub(crate) fn stream(mut script: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [first, make_up, rest @ ..] = script {
        let length = usize::from(make_up & 0x3f).min(rest.len());
        let (payload, later) = rest.split_at(length);
        script = later;
        match make_up >> 6 {
            // Any first byte, with reserved bits and opcodes too.
            0 => bytes.extend(frame(*first, payload)),
            // A frame of a message, which may be long, or a control frame.
            1 => {
                let opcode = [0, 1, 2, 0, 8, 9, 10, 2][usize::from(first & 7)];
                let fin = if opcode & 8 != 0 { 0x80 } else { first & 0x80 };
                let times = if opcode & 8 != 0 {
                    1
                } else {
                    usize::from(first >> 3 & 7)
                };
                bytes.extend(frame(fin | opcode, &payload.repeat(times)));
            }
            // A length in a longer form than needed.
            2 => {
                bytes.extend_from_slice(&[*first & 0x8f, 0xfe, 0, length as u8, 0, 0, 0, 0]);
                bytes.extend_from_slice(payload);
            }
            // Not masked, or no frame at all.
            _ => bytes.extend_from_slice(payload),
        }
    }
    bytes
}
