//! A message that is written piece by piece, straight into the host's buffer if possible.

use std::{
    fmt, io,
    ptr::{self, NonNull},
};

use crate::{
    abi,
    error::{Refused, rule::Rule},
};

/// Where [`Conn::send_with`](crate::Conn::send_with) writes a message: straight into the server's
/// output buffer. Text goes in with `write!`, bytes through [`io::Write`].
///
/// ```
/// # use wsh::prelude::*;
/// # fn tell(conn: &mut Conn, samples: &[i16]) -> Result {
/// use std::io::Write;
///
/// conn.send_with(Kind::Binary, 2 * samples.len(), |out| {
///     for sample in samples {
///         out.write_all(&sample.to_le_bytes()).map_err(|_| std::fmt::Error)?;
///     }
///     Ok(())
/// })?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    target: WriterTarget<'a>,
    max: usize,
    len: usize,
    /// Only strings were written.
    is_utf8: bool,
}

/// Where the bytes go.
#[derive(Debug)]
pub(super) enum WriterTarget<'a> {
    /// `max` bytes of the host's, of which the first `len` are written.
    Host(NonNull<u8>),
    /// A buffer of this side: the host has reserved none, or no callback runs.
    Own(&'a mut Vec<u8>),
}

impl Writer<'_> {
    /// Lets `write` fill the empty buffer `own`; answers the kind of the message.
    pub(crate) fn fill(
        own: &mut Vec<u8>,
        kind: u32,
        max: usize,
        write: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> Result<u32, Refused> {
        Writer::write(WriterTarget::Own(own), kind, max, write).map(|(kind, _)| kind)
    }

    /// Lets `write` fill `target`; answers the kind and the length of the message.
    pub(super) fn write(
        target: WriterTarget<'_>,
        kind: u32,
        max: usize,
        write: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> Result<(u32, usize), Refused> {
        let mut writer = Writer {
            target,
            max,
            len: 0,
            is_utf8: true,
        };
        if write(&mut writer).is_err() {
            return Err(Refused::TooBig(Rule::room(max)));
        }
        let is_proven = kind == abi::TEXT && writer.is_utf8;
        let trusted = if is_proven { abi::TRUSTED_UTF8 } else { 0 };
        Ok((kind | trusted, writer.len))
    }

    /// How many bytes are written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes. False if they would pass `max`.
    fn push(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.max - self.len {
            return false;
        }
        match &mut self.target {
            // SAFETY: `max` bytes were reserved, and `len` plus these are not more. The memory is the host's, so it does
            // not overlap with `bytes`.
            WriterTarget::Host(reserved) => unsafe {
                ptr::copy_nonoverlapping(
                    bytes.as_ptr(),
                    reserved.as_ptr().add(self.len),
                    bytes.len(),
                );
            },
            WriterTarget::Own(own) => own.extend_from_slice(bytes),
        }
        self.len += bytes.len();
        true
    }
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.push(text.as_bytes()) {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_utf8 = false;
        if self.push(bytes) {
            Ok(bytes.len())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
