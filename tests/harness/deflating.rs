//! A client with permessage-deflate (RFC 7692).

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::client::Raw;
use super::client_frame::frame;
use super::server::Server;

/// What browsers offer.
pub(crate) const OFFER: &str =
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
/// What clients offer that keep no context, neither their own nor the server's.
pub(crate) const MODEST_OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; \
                           server_no_context_takeover; client_no_context_takeover\r\n";
/// What is answered to that.
pub(crate) const NO_TAKEOVER: &str = "\r\nSec-WebSocket-Extensions: permessage-deflate; \
                           server_no_context_takeover; client_no_context_takeover\r\n";

/// What is answered to browsers: messages may refer to earlier ones.
pub(crate) const TAKEOVER: &str = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";

/// A client that compresses what it sends; its context lives as long as it does.
pub(crate) struct Deflating {
    pub(crate) raw: Raw,
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
        assert!(answer.contains(agreed), "{answer}");
        Deflating {
            raw,
            deflater: Compress::new(Compression::best(), false),
            inflater: Decompress::new(false),
            takes_over: !agreed.contains("no_context_takeover"),
        }
    }

    /// Sends compressed text; answers how long it was on the wire.
    pub(crate) fn send(&mut self, text: &str) -> usize {
        let wire = frame(0xc1, &self.deflate(text));
        self.raw.send(&wire);
        wire.len()
    }

    /// The next message as it stands in its frame, or in several.
    pub(crate) fn deflate(&mut self, text: &str) -> Vec<u8> {
        let payload = deflate(&mut self.deflater, text.as_bytes());
        if !self.takes_over {
            self.deflater.reset();
        }
        payload
    }

    /// The next message: its first byte, what it inflates to, and its length on the wire.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> (u8, String, usize) {
        let (first, mut payload) = self.raw.frame().expect("a frame");
        let length = payload.len();
        if first & 0x40 != 0 {
            let mut inflated = Vec::with_capacity(1 << 20);
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

/// What stands in the frame of one message.
pub(crate) fn deflate(deflater: &mut Compress, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(payload.len() + 1024);
    let flush = FlushCompress::Sync;
    deflater
        .compress_vec(payload, &mut wire, flush)
        .expect("compressing");
    wire.truncate(wire.len() - 4);
    wire
}

/// 64 KiB that inflate to 64 MiB: a mebibyte of zeros, and 63 times one that follows such.
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
