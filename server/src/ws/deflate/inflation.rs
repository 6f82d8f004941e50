//! The receiving half of permessage-deflate (RFC 7692 §7.2.2), which inflates while the bytes arrive.

use flate2::{Decompress, FlushDecompress, Status};

use super::budget::BudgetShare;
use super::pool;
use crate::buffers;
use crate::ws::violation::Violation;

/// Inflates the messages of one session, piece by piece.
#[derive(Debug)]
pub(crate) struct Inflation {
    memory: Memory,
    /// Pays for a decompressor that is kept: between two messages if the client takes its context over,
    /// else while a message is incomplete.
    share: BudgetShare,
    /// Whether the client's messages may refer to earlier ones.
    takes_over: bool,
    /// Whether bytes have come since the message began, or since a block that ends the stream.
    is_inside: bool,
    /// The bytes that did not go into the last part of a message, while another part may come of them.
    rest: Option<Box<Uninflated>>,
}

/// Bytes of a message that were not inflated yet.
#[derive(Debug)]
struct Uninflated(Vec<u8>);

/// The memory of a session's receiving half.
#[derive(Debug)]
enum Memory {
    Nothing,
    Inflater(Box<Decompress>),
    /// The message as it came. The budget is spent, so it is inflated when it is complete.
    Pieces(Vec<u8>),
}

impl Inflation {
    /// `share` pays for a decompressor if the client `takes_over` its context, else for nothing.
    pub(super) fn new(share: BudgetShare, takes_over: bool) -> Inflation {
        Inflation {
            memory: Memory::Nothing,
            share,
            takes_over,
            is_inside: false,
            rest: None,
        }
    }

    /// Whether [`inflate_part`](Self::inflate_part) has to be called again before more bytes are given.
    pub(crate) fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// Appends what a piece of a message inflates to, up to `bytes_max` bytes of `output` in all. `last` says
    /// that the message ends with the piece. What is left then [is a rest](Self::has_rest): the next call
    /// brings an empty piece, and inflates that.
    pub(crate) fn inflate_part(
        &mut self,
        piece: &[u8],
        last: bool,
        output: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), Violation> {
        let (mut rest, is_first) = match self.rest.take() {
            Some(rest) => (rest.0, false),
            None => (Vec::new(), matches!(self.memory, Memory::Nothing)),
        };
        if is_first && !last && !piece.is_empty() && !self.takes_over && !self.share.grow(BYTES) {
            self.memory = Memory::Pieces(Vec::new());
        }
        if let Memory::Pieces(pieces) = &mut self.memory {
            pieces.extend_from_slice(piece);
            if !last && !self.share.grow(BYTES) {
                // What waits as it came may have no more bytes than a whole message.
                let is_too_big = pieces.len() > bytes_max;
                return if is_too_big {
                    Err(Violation::TooBig)
                } else {
                    Ok(())
                };
            }
            rest = std::mem::take(pieces);
            self.memory = Memory::Nothing;
        }
        let waits = !rest.is_empty();
        let input = if waits { &rest } else { piece };
        match self.push_up_to(input, output, bytes_max)? {
            Some(read) if waits => {
                rest.drain(..read);
                self.rest = Some(Box::new(Uninflated(rest)));
            }
            Some(read) => self.rest = Some(Box::new(Uninflated(piece[read..].to_vec()))),
            None if last => {
                let mut left = usize::MAX;
                self.finish(output, &mut left)?;
            }
            None => {}
        }
        Ok(())
    }

    /// Inflates until `output` has `bytes_max` bytes, and answers how many bytes of the piece were read; or
    /// until nothing more comes of the piece, and answers `None`.
    fn push_up_to(
        &mut self,
        piece: &[u8],
        output: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<Option<usize>, Violation> {
        if !matches!(self.memory, Memory::Inflater(_)) {
            if piece.is_empty() {
                return Ok(None);
            }
            self.memory = Memory::Inflater(pool::take_inflater());
        }
        let Memory::Inflater(inflater) = &mut self.memory else {
            return Ok(None);
        };
        self.is_inside |= !piece.is_empty();
        let mut at = 0;
        loop {
            let start = output.len();
            let more = bytes_max.saturating_sub(start).min(PART_STEP_BYTES);
            if more == 0 {
                return Ok(Some(at));
            }
            output.resize(start + more, 0);
            let (read, written) = (inflater.total_in(), inflater.total_out());
            let outcome =
                inflater.decompress(&piece[at..], &mut output[start..], FlushDecompress::None);
            let (read, written) = (inflater.total_in() - read, inflater.total_out() - written);
            at += read as usize;
            output.truncate(start + written as usize);
            let status = outcome.map_err(|_| Violation::Compression)?;
            if status == Status::StreamEnd {
                // A block with BFINAL set, as `push` explains.
                inflater.reset(false);
                self.is_inside = at < piece.len();
            }
            if written as usize == more {
                continue; // More may come of what was read.
            }
            if at == piece.len() {
                return Ok(None);
            }
            if read == 0 && written == 0 {
                return Err(Violation::Compression);
            }
        }
    }

    /// Appends what a piece of a message inflates to; `last` says that the message ends with it. `output`
    /// grows with what arrives, and never by more than the bytes that are `left` to the message.
    pub(crate) fn inflate(
        &mut self,
        piece: &[u8],
        last: bool,
        output: &mut Vec<u8>,
        left: &mut usize,
    ) -> Result<(), Violation> {
        let is_first = matches!(self.memory, Memory::Nothing);
        if is_first && !last && !piece.is_empty() && !self.takes_over && !self.share.grow(BYTES) {
            self.memory = Memory::Pieces(Vec::new());
        }
        match &mut self.memory {
            Memory::Pieces(pieces) => {
                pieces.extend_from_slice(piece);
                if last {
                    let pieces = std::mem::take(pieces);
                    self.memory = Memory::Nothing;
                    self.push(&pieces, output, left)?;
                }
            }
            Memory::Nothing | Memory::Inflater(_) => self.push(piece, output, left)?,
        }
        if last {
            self.finish(output, left)?;
        }
        Ok(())
    }

    /// Appends what a piece inflates to.
    fn push(
        &mut self,
        mut piece: &[u8],
        output: &mut Vec<u8>,
        left: &mut usize,
    ) -> Result<(), Violation> {
        if piece.is_empty() {
            return Ok(());
        }
        if !matches!(self.memory, Memory::Inflater(_)) {
            self.memory = Memory::Inflater(pool::take_inflater());
        }
        let Memory::Inflater(inflater) = &mut self.memory else {
            return Ok(());
        };
        self.is_inside = true;
        loop {
            let room = left.saturating_add(1);
            // Fresh pages cost more than what is inflated into them.
            if output.len() == output.capacity()
                && !buffers::pool::grow(output, output.len().saturating_add(room))
            {
                let more = output.len().max(OUTPUT_BYTES_LEAST).min(room);
                // A long message must not end the process, where the system has no memory for it.
                let reserved = output.try_reserve_exact(more);
                reserved.map_err(|_| Violation::TooBig)?;
            }
            let (read, written) = (inflater.total_in(), inflater.total_out());
            let outcome = inflater.decompress_vec(piece, output, FlushDecompress::None);
            let (read, written) = (inflater.total_in() - read, inflater.total_out() - written);
            piece = &piece[read as usize..];
            let written = written as usize;
            if written > *left {
                // Even if it is malformed behind that, so that the fault does not depend on the capacity.
                output.truncate(output.len() - (written - *left));
                return Err(Violation::TooBig);
            }
            *left -= written;
            let status = outcome.map_err(|_| Violation::Compression)?;
            if status == Status::StreamEnd {
                // A block with BFINAL set ends the stream, not the message (RFC 7692 §7.2.3.4). The sender
                // has finished its compressor, so what follows refers to nothing before.
                inflater.reset(false);
                self.is_inside = !piece.is_empty();
            }
            if output.len() == output.capacity() {
                continue; // More may come of what was read.
            }
            if piece.is_empty() {
                return Ok(());
            }
            if read == 0 && written == 0 {
                // There is input and capacity, and zlib does nothing with them. No right stream does that.
                return Err(Violation::Compression);
            }
        }
    }

    /// Ends the message. It fails if the decompressor expects more of it.
    fn finish(&mut self, output: &mut Vec<u8>, left: &mut usize) -> Result<(), Violation> {
        if self.is_inside {
            let before = output.len();
            self.push(TAIL, output, left)?;
            if output.len() != before {
                return Err(Violation::Compression);
            }
            self.is_inside = false;
        }
        if !self.takes_over {
            let memory = std::mem::replace(&mut self.memory, Memory::Nothing);
            if let Memory::Inflater(inflater) = memory {
                pool::put_inflater(inflater);
            }
            self.share.shrink();
        }
        Ok(())
    }
}

/// The end of an empty stored block, which the sender left out (§7.2.1), and then a whole such block. If the
/// message stopped short of its end, the second is read as something else, and does not inflate to nothing.
const TAIL: &[u8] = b"\x00\x00\xff\xff\x00\x00\x00\xff\xff";
/// The least by which the output grows.
const OUTPUT_BYTES_LEAST: usize = 1024;
/// The bytes by which a part of a message grows at a time.
const PART_STEP_BYTES: usize = 16 * 1024;
/// The bytes that a decompressor takes, whatever its window, measured and rounded up.
pub(super) const BYTES: usize = 48 * 1024;
