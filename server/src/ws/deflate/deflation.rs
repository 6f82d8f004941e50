//! The sending half of permessage-deflate (RFC 7692 §7.2.1).

use std::sync::Arc;

use flate2::{Compress, FlushCompress, Status};

use super::budget::{Budget, BudgetShare};
use super::pool;

/// Compresses the messages of one session.
///
/// A sender may begin each message anew, whatever was agreed. So a context of the session's own is a
/// matter of the budget: it is made for the first message, and given up when the budget shrinks.
#[derive(Debug)]
pub(crate) struct Deflation {
    effort: Effort,
    bytes_min: usize,
    /// Pays for a context of the session's own; `None` without context takeover.
    budget: Option<Arc<Budget>>,
    /// The context of the session's own, and what it takes of the budget.
    own: Option<(Box<Compress>, BudgetShare)>,
}

/// The longest message that is compressed, or first part of one, in bytes.
///
/// A worker compresses it in the handler's call, at some 150 MB/s. Other sessions of the worker wait meanwhile: 30 ms for
/// this many bytes.
pub(crate) const COMPRESSED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How hard to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    /// How far back a message may refer: 9 to 15, for as many powers of 2 in bytes.
    pub(crate) window_bits: u8,
    /// zlib's levels, 1 to 9.
    pub(crate) level: u8,
}

/// Where a part stands in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartPosition {
    pub(crate) first: bool,
    pub(crate) last: bool,
}

impl PartPosition {
    pub(crate) const WHOLE: PartPosition = PartPosition {
        first: true,
        last: true,
    };
}

impl Deflation {
    pub(super) fn new(effort: Effort, bytes_min: usize, budget: Option<Arc<Budget>>) -> Deflation {
        Deflation {
            effort,
            bytes_min,
            budget,
            own: None,
        }
    }

    /// Whether a message is worth compressing whose only or first part has so many bytes.
    pub(crate) fn is_worth(&self, bytes: usize) -> bool {
        (self.bytes_min..=COMPRESSED_BYTES_MAX).contains(&bytes)
    }

    /// The effort with which a message may be compressed once for this and other sessions. `None` while the
    /// session has a context of its own, which has to see every compressed message.
    pub(crate) fn shared_effort(&mut self) -> Option<Effort> {
        self.settle_own();
        self.own.is_none().then_some(self.effort)
    }

    /// The effort, and the bytes from which on a message is compressed, of a session that never has a context of its
    /// own. `None` for any other.
    pub(crate) fn without_context(&self) -> Option<(Effort, usize)> {
        self.budget
            .is_none()
            .then_some((self.effort, self.bytes_min))
    }

    /// Appends a part's compressed bytes to `output`, which is empty. False if the message became no
    /// smaller, and is to go as it is. With a `deflate_bytes_min` of 0 it goes compressed even so. A message that is
    /// compressed once for several sessions, by [`compress_alone`], does not.
    pub(crate) fn compress(
        &mut self,
        part: PartPosition,
        payload: &[u8],
        output: &mut Vec<u8>,
    ) -> bool {
        if part.first {
            self.settle_own();
        }
        if let Some((own, _)) = &mut self.own {
            deflate(own, payload, part.last, output);
            // Later messages may refer to this one, so the peer has to get it compressed.
            return true;
        }
        // Each part is compressed by itself, with a compressor of the thread's. One that were kept from part
        // to part would be one more for each client that stops reading in between.
        let mut lent = pool::take_deflater(self.effort);
        deflate(&mut lent, payload, part.last, output);
        pool::put_deflater(self.effort, lent);
        let is_whole = part.first && part.last;
        !is_whole || output.len() < payload.len() || self.bytes_min == 0
    }

    /// Makes the context of the session's own, or gives it up. To be called between two messages.
    fn settle_own(&mut self) {
        let Some(budget) = &self.budget else { return };
        if self.own.is_none() {
            let share = budget.take(deflater_bytes(self.effort.window_bits));
            self.own = share.map(|share| (pool::new_deflater(self.effort), share));
        } else if budget.is_overdrawn() {
            self.own = None;
        }
    }
}

/// Compresses a whole message by itself into `output`, which is empty. False if it became no smaller.
pub(crate) fn compress_alone(effort: Effort, payload: &[u8], output: &mut Vec<u8>) -> bool {
    let mut deflater = pool::take_deflater(effort);
    deflate(&mut deflater, payload, true, output);
    pool::put_deflater(effort, deflater);
    output.len() < payload.len()
}

/// Compresses a part of a message, up to a flush. Behind the `last` part the flush loses its tail.
fn deflate(deflater: &mut Compress, mut payload: &[u8], last: bool, output: &mut Vec<u8>) {
    let start = output.len();
    loop {
        output.reserve(payload.len() / 2 + FLUSH_BYTES);
        let read = deflater.total_in();
        let status = deflater
            .compress_vec(payload, output, FlushCompress::Sync)
            .expect("a compressor that is never finished takes everything");
        payload = &payload[(deflater.total_in() - read) as usize..];
        // A buffer that is full may have been filled exactly.
        let is_flushed = output.len() < output.capacity() || status == Status::BufError;
        if payload.is_empty() && is_flushed {
            break;
        }
    }
    if last {
        if output.len() > start {
            debug_assert!(output.ends_with(FLUSH_TAIL));
            output.truncate(output.len() - FLUSH_TAIL.len());
        } else {
            // Nothing came since the last flush: an empty stored block, without its tail (§7.2.3.6).
            output.push(0);
        }
    }
}

/// The bytes that a compressor takes, measured and rounded up.
fn deflater_bytes(window_bits: u8) -> usize {
    (4 << window_bits) + 248 * 1024
}

/// The bytes that end every flush, and that every message leaves out (§7.2.1).
const FLUSH_TAIL: &[u8] = b"\x00\x00\xff\xff";
/// Bytes that a flush may add.
const FLUSH_BYTES: usize = 64;
