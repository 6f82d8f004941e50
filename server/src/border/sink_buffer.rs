//! What `snapshot`, `envelope` and `presence` write into: a buffer that is lent to one call, and the ABI's `Sink` of it.

use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr;
use std::time::Instant;

use wsh::abi::{self, Sink, Status};

use super::lent_memory::borrow;

/// The bytes that a plugin writes in one call.
#[derive(Debug)]
pub(super) struct SinkBuffer {
    bytes: Vec<u8>,
    bytes_max: usize,
    /// Nothing is taken after this time. `None` is no limit.
    until: Option<Instant>,
    has_overflowed: bool,
}

/// The plugin wrote more than the buffer takes, or for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflowed;

impl SinkBuffer {
    /// An empty buffer that takes `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> SinkBuffer {
        SinkBuffer {
            bytes: Vec::new(),
            bytes_max,
            until: None,
            has_overflowed: false,
        }
    }

    /// An empty buffer that takes `bytes_max` bytes until `until`.
    pub(super) fn with_deadline(bytes_max: usize, until: Instant) -> SinkBuffer {
        SinkBuffer {
            until: Some(until),
            ..SinkBuffer::new(bytes_max)
        }
    }

    /// Lends the buffer to a call on this thread, until the loan is dropped.
    pub(super) fn lend(&mut self) -> SinkLoan<'_> {
        let ctx = (&raw mut *self).cast();
        LENT_BUFFER.set(ctx);
        let sink = Sink {
            size: size_of::<Sink>() as u32,
            reserved: 0,
            ctx,
            write: Some(write),
        };
        SinkLoan {
            sink,
            buffer: PhantomData,
        }
    }

    /// The most bytes that it takes.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// What was written. A plugin that ignores what the sink answers has written a part.
    pub(super) fn written(self) -> Result<Vec<u8>, Overflowed> {
        match self.has_overflowed {
            true => Err(Overflowed),
            false => Ok(self.bytes),
        }
    }

    /// The buffer behind a pointer that a plugin gave, if it is lent on this thread. MISUSE for any other pointer, behind
    /// which nothing is read.
    ///
    /// # Safety
    ///
    /// The caller uses the answer only before it returns into the plugin.
    unsafe fn of<'a>(ctx: *mut c_void) -> Result<&'a mut SinkBuffer, Status> {
        if ctx.is_null() || ctx != LENT_BUFFER.get() {
            return Err(abi::MISUSE);
        }
        // SAFETY: `lend` made the pointer of a `&mut SinkBuffer`, which the loan borrows until `LENT_BUFFER` is NULL again.
        Ok(unsafe { &mut *ctx.cast::<SinkBuffer>() })
    }
}

/// The loan of a buffer to one call.
pub(super) struct SinkLoan<'a> {
    sink: Sink,
    buffer: PhantomData<&'a mut SinkBuffer>,
}

impl SinkLoan<'_> {
    /// The sink that the plugin gets. It is valid as long as the loan.
    pub(super) fn sink(&self) -> *const Sink {
        &raw const self.sink
    }
}

impl Drop for SinkLoan<'_> {
    fn drop(&mut self) {
        LENT_BUFFER.set(ptr::null_mut());
    }
}

thread_local! {
    /// The buffer that is lent to the call on this thread, or NULL. Per thread, because the sink's `write` gets a bare
    /// pointer, and only this says whether it is good here.
    static LENT_BUFFER: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
}

/// `write` of the sink: appends to the buffer.
unsafe extern "C" fn write(ctx: *mut c_void, ptr: *const u8, len: usize) -> Status {
    // SAFETY: by the ABI (`Sink::write`) the bytes are lent for the call. The buffer is used only in it.
    let (buffer, bytes) = match unsafe { (SinkBuffer::of(ctx), borrow(ptr, len)) } {
        (Ok(buffer), Ok(bytes)) => (buffer, bytes),
        (Err(status), _) | (_, Err(status)) => return status,
    };
    // A call that writes without end is stopped in time too, if it heeds the answer.
    let is_late = buffer.until.is_some_and(|until| Instant::now() > until);
    if is_late || bytes.len() > buffer.bytes_max - buffer.bytes.len() {
        buffer.has_overflowed = true;
        return abi::TOO_BIG;
    }
    buffer.bytes.extend_from_slice(bytes);
    abi::OK
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes as a plugin does.
    fn put(ctx: *mut c_void, bytes: &[u8]) -> Status {
        // SAFETY: the bytes can be read during the call.
        unsafe { write(ctx, bytes.as_ptr(), bytes.len()) }
    }

    #[test]
    fn a_buffer_takes_what_fits_while_it_is_lent_and_says_so_if_more_came() {
        let mut buffer = SinkBuffer::new(5);
        let loan = buffer.lend();
        let ctx = loan.sink.ctx;
        assert_eq!((put(ctx, b"hel"), put(ctx, b"lo")), (abi::OK, abi::OK));
        assert_eq!(put(ptr::null_mut(), b""), abi::MISUSE);
        assert_eq!(put((&raw const loan).cast_mut().cast(), b""), abi::MISUSE);
        drop(loan);
        assert_eq!(put(ctx, b""), abi::MISUSE, "after the call");
        assert_eq!(buffer.written(), Ok(b"hello".to_vec()));

        let mut buffer = SinkBuffer::new(5);
        let loan = buffer.lend();
        assert_eq!(put(loan.sink.ctx, b"hello!"), abi::TOO_BIG);
        assert_eq!(put(loan.sink.ctx, b"hello"), abi::OK);
        // SAFETY: no byte is read at a length that no memory has.
        let vast = unsafe { write(loan.sink.ctx, b"x".as_ptr(), usize::MAX) };
        assert_eq!(vast, abi::TOO_BIG);
        drop(loan);
        assert_eq!(buffer.written(), Err(Overflowed));

        let mut buffer = SinkBuffer::with_deadline(5, Instant::now());
        let loan = buffer.lend();
        while put(loan.sink.ctx, b"") == abi::OK {}
        drop(loan);
        assert_eq!(buffer.written(), Err(Overflowed));
    }
}
