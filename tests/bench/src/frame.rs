//! Frames that a client sends, made beforehand, and the frames that come back.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::Result;
use crate::client_frame::frame;

/// Messages that are sent together, and the payload of each.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) messages: u32,
    pub(crate) payload: Vec<u8>,
}

impl Batch {
    /// Makes `messages` binary messages of `payload_bytes` bytes.
    pub(crate) fn binary(payload_bytes: usize, messages: u32) -> Batch {
        let payload: Vec<u8> = (0..payload_bytes).map(|at| (at * 31 % 251) as u8).collect();
        Batch::repeat(&frame(FIN | BINARY, &payload), payload, messages)
    }

    /// Makes `messages` text messages, compressed if `deflated`.
    pub(crate) fn text(text: &str, messages: u32, deflated: bool) -> Result<Batch> {
        let payload = text.as_bytes().to_vec();
        let frame = if deflated {
            frame(FIN | TEXT | RSV1, &deflate(&payload)?)
        } else {
            frame(FIN | TEXT, &payload)
        };
        Ok(Batch::repeat(&frame, payload, messages))
    }

    fn repeat(frame: &[u8], payload: Vec<u8>, messages: u32) -> Batch {
        Batch {
            bytes: frame.repeat(messages as usize),
            messages,
            payload,
        }
    }

    /// Returns a batch of one of its messages.
    pub(crate) fn one(&self) -> Batch {
        let length = self.bytes.len() / self.messages as usize;
        Batch {
            bytes: self.bytes[..length].to_vec(),
            messages: 1,
            payload: self.payload.clone(),
        }
    }
}

/// Compresses a message as RFC 7692 §7.2.1 says, with a context of its own.
fn deflate(payload: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(payload.len() + 64);
    Compress::new(Compression::fast(), false).compress_vec(
        payload,
        &mut out,
        FlushCompress::Sync,
    )?;
    let end = out
        .strip_suffix(&DEFLATE_TAIL)
        .ok_or("the payload does not compress")?;
    Ok(end.to_vec())
}

fn inflate(payload: &[u8], expected_bytes: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(expected_bytes + 64);
    let whole = [payload, &DEFLATE_TAIL].concat();
    Decompress::new(false).decompress_vec(&whole, &mut out, FlushDecompress::Sync)?;
    Ok(out)
}

/// Counts the messages that a server sends. Their payloads are kept only when that is asked for.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    header: [u8; 10],
    header_bytes: usize,
    payload_left: u64,
    /// The payload of the current message, while it is kept.
    kept: Option<Vec<u8>>,
    is_deflated: bool,
}

impl FrameReader {
    /// Keeps payloads from now on.
    pub(crate) fn keep(&mut self) {
        self.kept = Some(Vec::new());
    }

    /// Returns the payload that was kept, inflated if it came compressed, and stops keeping.
    pub(crate) fn take_kept(&mut self, expected_bytes: usize) -> Result<Vec<u8>> {
        let kept = self.kept.take().unwrap_or_default();
        if self.is_deflated {
            inflate(&kept, expected_bytes)
        } else {
            Ok(kept)
        }
    }

    /// Reads bytes of the server. Returns how many messages they complete.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<u32> {
        let mut messages = 0;
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let here = self.payload_left.min(bytes.len() as u64) as usize;
                if let Some(kept) = &mut self.kept
                    && self.header[0] & 0xf <= BINARY
                {
                    kept.extend_from_slice(&bytes[..here]);
                }
                bytes = &bytes[here..];
                self.payload_left -= here as u64;
            } else {
                self.header[self.header_bytes] = bytes[0];
                self.header_bytes += 1;
                bytes = &bytes[1..];
                let Some(length) = self.length()? else {
                    continue;
                };
                self.header_bytes = 0;
                self.payload_left = length;
                if self.header[0] & 0xf != 0 {
                    self.is_deflated = self.header[0] & RSV1 != 0;
                }
            }
            if self.payload_left == 0 {
                messages += self.ends_message()?;
            }
        }
        Ok(messages)
    }

    /// Returns the payload's length once the header is whole.
    fn length(&self) -> Result<Option<u64>> {
        let header = &self.header;
        if self.header_bytes < 2 {
            return Ok(None);
        }
        Ok(match (header[1], self.header_bytes) {
            (MASKED.., _) => return Err("the server masks its frames".into()),
            (length @ 0..126, _) => Some(length.into()),
            (126, 4) => Some(u16::from_be_bytes([header[2], header[3]]).into()),
            (127, 10) => header[2..].try_into().ok().map(u64::from_be_bytes),
            _ => None,
        })
    }

    fn ends_message(&self) -> Result<u32> {
        match self.header[0] & 0xf {
            0..=BINARY => Ok(u32::from(self.header[0] & FIN != 0)),
            CLOSE => Err("the server has closed the connection".into()),
            // A Ping is not answered, because no measurement lasts long enough.
            _ => Ok(0),
        }
    }
}

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const MASKED: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
/// The bytes that RFC 7692 leaves out at the end of a message.
const DEFLATE_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_and_kept_however_they_are_split() {
        let long = [7; 300];
        // A Ping, a message in two frames, and one with a longer length.
        let mut bytes = vec![0x89, 1, b'?', 0x02, 2, 1, 2, 0x80, 1, 3];
        bytes.extend_from_slice(&[0x82, 126, 1, 44]);
        bytes.extend_from_slice(&long);

        let mut reader = FrameReader::default();
        reader.keep();
        let counts = bytes.chunks(1).map(|byte| reader.take(byte).unwrap());

        assert_eq!(counts.sum::<u32>(), 2);
        let kept = reader.take_kept(0).unwrap();
        assert_eq!(kept, [&[1, 2, 3][..], &long].concat());
        assert_eq!(FrameReader::default().take(&bytes).unwrap(), 2);
    }

    #[test]
    fn a_close_and_a_masked_frame_are_errors() {
        let error = |bytes: &[u8]| FrameReader::default().take(bytes).unwrap_err().to_string();

        assert_eq!(error(&[0x88, 0]), "the server has closed the connection");
        assert_eq!(error(&[0x82, 0x81]), "the server masks its frames");
    }

    #[test]
    fn what_is_deflated_is_inflated_again() {
        let payload = b"round and round and round".repeat(40);

        let deflated = deflate(&payload).unwrap();

        assert!(deflated.len() < payload.len() / 4);
        assert_eq!(inflate(&deflated, payload.len()).unwrap(), payload);
    }
}
