//! The client's side of permessage-deflate (RFC 7692): what is offered, what a server may answer, and both halves.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::frames::ServerFault;
use crate::ws::extension::{self, Parameter};

/// Compresses what is sent.
#[derive(Debug)]
pub(super) struct Compressor {
    compress: Compress,
    /// Whether a message may refer to earlier ones.
    takes_over: bool,
}

/// Inflates what comes.
#[derive(Debug)]
pub(super) struct Decompressor(Decompress);

/// What a server has agreed to. `compressor` is `None` where messages can only be sent as they are.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) compressor: Option<Compressor>,
    pub(super) decompressor: Decompressor,
}

/// Reads the value of `Sec-WebSocket-Extensions` in a 101, which answers [`OFFER`].
///
/// `None` is an answer that the offer does not allow (RFC 7692 §5.1).
pub(super) fn agree(answer: &str) -> Option<Agreed> {
    let extensions = extension::parse(std::iter::once(answer.as_bytes())).ok()?;
    let [agreed] = &extensions[..] else {
        return None;
    };
    if agreed.name != "permessage-deflate" {
        return None;
    }
    let mut takes_over = true;
    let mut window_bits = WINDOW_BITS_MOST;
    for Parameter { name, value } in &agreed.parameters {
        match (*name, value.as_deref()) {
            ("client_no_context_takeover", None) => takes_over = false,
            ("client_max_window_bits", Some(bits)) => window_bits = bits_in(bits)?,
            // What the server limits of its own costs the client less than it has.
            ("server_no_context_takeover", None) => {}
            ("server_max_window_bits", Some(bits)) => {
                bits_in(bits)?;
            }
            _ => return None,
        }
    }
    // zlib cannot keep to a window of 256 bytes; messages may always be sent uncompressed.
    let can_compress = window_bits >= WINDOW_BITS_LEAST;
    Some(Agreed {
        compressor: can_compress.then(|| Compressor {
            compress: Compress::new_with_window_bits(Compression::default(), false, window_bits),
            takes_over,
        }),
        decompressor: Decompressor(Decompress::new(false)),
    })
}

fn bits_in(text: &str) -> Option<u8> {
    let bits = text.parse().ok()?;
    (8..=WINDOW_BITS_MOST).contains(&bits).then_some(bits)
}

impl Compressor {
    /// Compresses a message to the payload of its frame (RFC 7692 §7.2.1).
    pub(super) fn deflate(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        let start = self.compress.total_in();
        loop {
            output.reserve(STEP_BYTES);
            let at = (self.compress.total_in() - start) as usize;
            self.compress
                .compress_vec(&payload[at..], &mut output, FlushCompress::Sync)
                .expect("memory is no reason to fail here");
            let is_read = (self.compress.total_in() - start) as usize == payload.len();
            if is_read && output.len() < output.capacity() {
                break;
            }
        }
        output.truncate(output.len().saturating_sub(TAIL.len()));
        if output.is_empty() {
            // zlib flushes nothing twice; an empty message is an empty block without its tail (RFC 7692 §7.2.3.6).
            output.push(0);
        }
        if !self.takes_over {
            self.compress.reset();
        }
        output
    }
}

impl Decompressor {
    /// Inflates the payload of a message to at most `bytes_max` bytes (RFC 7692 §7.2.2).
    pub(super) fn inflate(
        &mut self,
        mut payload: Vec<u8>,
        bytes_max: usize,
    ) -> Result<Vec<u8>, ServerFault> {
        payload.extend_from_slice(TAIL);
        let mut output = Vec::new();
        let mut rest = &payload[..];
        loop {
            output.reserve(STEP_BYTES);
            let before = self.0.total_in();
            let status = self
                .0
                .decompress_vec(rest, &mut output, FlushDecompress::Sync);
            let status = status.map_err(|_| ServerFault::Compression)?;
            rest = &rest[(self.0.total_in() - before) as usize..];
            if output.len() > bytes_max {
                return Err(ServerFault::TooBig);
            }
            if status == flate2::Status::StreamEnd {
                // A block may end the stream; the next message begins another one.
                self.0.reset(false);
                return Ok(output);
            }
            if rest.is_empty() && output.len() < output.capacity() {
                return Ok(output);
            }
        }
    }
}

/// What is offered.
pub(super) const OFFER: &str = "permessage-deflate; client_max_window_bits";
/// The empty block that ends each message and is not sent.
const TAIL: &[u8] = &[0, 0, 0xff, 0xff];
const WINDOW_BITS_MOST: u8 = 15;
const WINDOW_BITS_LEAST: u8 = 9;
/// How far the output grows at a time.
const STEP_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Text that compresses a little.
    fn text(length: usize) -> Vec<u8> {
        let numbers = (0_u64..).flat_map(|n| (n * n).to_string().into_bytes());
        numbers.take(length).collect()
    }

    #[test]
    fn messages_of_all_lengths_come_out_as_they_went_in() {
        for answer in [
            "permessage-deflate",
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=\"10\"",
        ] {
            let agreed = agree(answer).unwrap();
            let (mut compressor, mut decompressor) =
                (agreed.compressor.unwrap(), agreed.decompressor);
            for length in [0, 0, 1, 100, 65_535, 65_536, 1_000_000, 100] {
                let message = text(length);
                let payload = compressor.deflate(&message);
                let inflated = decompressor.inflate(payload, length.max(1));
                assert_eq!(inflated, Ok(message), "{answer}, {length} bytes");
            }
        }
    }

    #[test]
    fn a_message_that_inflates_too_far_is_too_big() {
        let agreed = agree("permessage-deflate").unwrap();
        let (mut compressor, mut decompressor) = (agreed.compressor.unwrap(), agreed.decompressor);
        let payload = compressor.deflate(&vec![0; 1_000_000]);
        assert!(payload.len() < 2_000);
        assert_eq!(
            decompressor.inflate(payload, 100_000),
            Err(ServerFault::TooBig)
        );
    }

    #[test]
    fn a_window_that_zlib_cannot_keep_to_lets_messages_go_uncompressed() {
        let agreed = agree("permessage-deflate; client_max_window_bits=8").unwrap();
        assert!(agreed.compressor.is_none());
    }

    #[test]
    fn an_answer_that_the_offer_does_not_allow_is_none() {
        for answer in [
            "",
            "x-other",
            "permessage-deflate, permessage-deflate",
            "permessage-deflate; unknown",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
        ] {
            assert!(agree(answer).is_none(), "{answer}");
        }
    }
}
