//! A client with permessage-deflate (RFC 7692).

use std::io::{Read, Write};
use std::net::TcpStream;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::client::Raw;
use super::client_frame::frame;
use super::server::Server;

/// The offer of browsers.
pub(crate) const OFFER: &str =
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
/// The offer of a client without contexts, neither its own nor the server's.
pub(crate) const MODEST_OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; \
                           server_no_context_takeover; client_no_context_takeover\r\n";
/// The response to [`MODEST_OFFER`].
pub(crate) const NO_TAKEOVER: &str = "\r\nSec-WebSocket-Extensions: permessage-deflate; \
                           server_no_context_takeover; client_no_context_takeover\r\n";

/// The response to [`OFFER`]: messages may refer to earlier ones.
pub(crate) const TAKEOVER: &str = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";

/// A client that compresses what it sends, with one context for all its messages.
pub(crate) struct Deflating<S = TcpStream> {
    pub(crate) raw: Raw<S>,
    pub(crate) deflater: Compress,
    inflater: Decompress,
    takes_over: bool,
}

impl Deflating {
    #[track_caller]
    pub(crate) fn open(server: &Server, path: &str, agreed: &str) -> Deflating {
        let offer = match agreed {
            NO_TAKEOVER => MODEST_OFFER,
            _ => OFFER,
        };
        let (raw, answer) = Raw::open_with(server, path, offer);
        Deflating::over(raw, &answer, agreed)
    }
}

impl<S: Read + Write> Deflating<S> {
    /// Compresses on a connection whose opening handshake has this answer.
    #[track_caller]
    pub(crate) fn over(raw: Raw<S>, answer: &str, agreed: &str) -> Deflating<S> {
        assert!(answer.contains(agreed), "{answer}");
        Deflating {
            raw,
            deflater: Compress::new(Compression::best(), false),
            inflater: Decompress::new(false),
            takes_over: !agreed.contains("no_context_takeover"),
        }
    }

    /// Sends compressed text. Returns how many bytes the frame had.
    pub(crate) fn send(&mut self, text: &str) -> usize {
        let wire = frame(0xc1, &self.deflate(text));
        self.raw.send(&wire);
        wire.len()
    }

    /// Compresses the next message to the payload of its frame, or of several.
    pub(crate) fn deflate(&mut self, text: &str) -> Vec<u8> {
        let payload = deflate(&mut self.deflater, text.as_bytes());
        if !self.takes_over {
            self.deflater.reset();
        }
        payload
    }

    /// Returns the next message: its first byte, its inflated text, and the length of its payload.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> (u8, String, usize) {
        let (first, mut payload) = self.raw.frame().expect("a frame");
        let length = payload.len();
        if first & 0x40 != 0 {
            let mut inflated = Vec::with_capacity(8 << 20);
            payload.extend_from_slice(b"\x00\x00\xff\xff");
            let inflate = FlushDecompress::Sync;
            let status = self
                .inflater
                .decompress_vec(&payload, &mut inflated, inflate);
            status.expect("a compressed message");
            if !self.takes_over {
                self.inflater.reset(false);
            }
            payload = inflated;
        }
        (first, String::from_utf8(payload).expect("text"), length)
    }
}

/// Compresses one message to the payload of its frame.
pub(crate) fn deflate(deflater: &mut Compress, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(payload.len() + 1024);
    let flush = FlushCompress::Sync;
    deflater
        .compress_vec(payload, &mut wire, flush)
        .expect("compressing");
    wire.truncate(wire.len() - 4);
    wire
}

/// 64 KiB that inflate to 64 MiB: a mebibyte of zeros, then 63 repetitions of one that refers to it.
pub(crate) fn bomb() -> Vec<u8> {
    let mut deflater = Compress::new(Compression::best(), false);
    let mut mebibyte = || {
        let mut wire = Vec::with_capacity(64 * 1024);
        deflater
            .compress_vec(&vec![0; 1 << 20], &mut wire, FlushCompress::Sync)
            .expect("compressing");
        wire
    };
    let bomb = [mebibyte(), mebibyte().repeat(63)].concat();
    assert!((60_000..70_000).contains(&bomb.len()), "{}", bomb.len());
    bomb
}
