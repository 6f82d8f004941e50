//! The extension `wsh.raw/1`: what lets a handler write past the framing.

use std::ffi::c_void;

use wsh::abi::raw::{RAW_CLOSE, RAW_CONTINUE, RAW_OPEN, Raw};
use wsh::abi::{self, Bytes, Status};

use super::conn::Conn;
use super::context::Context;
use super::host::{amount, context, status};
use super::response::Draft;
use super::text::{borrow, borrow_at_most};

/// An answer to an opening handshake in bytes of the handler's own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawAnswer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

/// What follows a [`RawAnswer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// No session: the connection is closed when the peer has sent so many bytes.
    Close { linger: usize },
    /// The server's own 101, and the session.
    Continue,
    /// The session.
    Open,
}

/// The table, if the handler may have it, or NULL.
pub(super) fn table_for(context: &Context) -> *const c_void {
    if context.check_raw().is_err() || context.has_ended() {
        return std::ptr::null();
    }
    (&raw const TABLE).cast()
}

static TABLE: Raw = Raw {
    size: size_of::<Raw>() as u32,
    flags: 0,
    write: Some(write),
    write_to: Some(write_to),
    answer: Some(answer),
    accept: Some(accept),
};

unsafe extern "C" fn write(conn: *mut abi::Conn, ptr: *const u8, len: usize) -> i64 {
    // SAFETY: *lent memory* for the bytes, *the Conn* for the Conn; neither outlives this call.
    let (bytes, conn) = unsafe { (borrow(ptr, len), Conn::of_another_call(conn)) };
    amount(conn.and_then(|conn| {
        conn.context.check_raw()?;
        let buffered = conn.controls.write_raw(bytes?);
        conn.refresh();
        buffered
    }))
}

unsafe extern "C" fn write_to(ctx: *mut c_void, id: u64, ptr: *const u8, len: usize) -> i64 {
    // SAFETY: *lent memory*; the context is never freed.
    let (bytes, context) = unsafe { (borrow(ptr, len), context(ctx)) };
    amount(context.and_then(|context| context.write_to(id, bytes?)))
}

unsafe extern "C" fn answer(
    response: *mut abi::Response,
    bytes: Bytes,
    then: u32,
    linger: u32,
) -> Status {
    // SAFETY: *lent memory*; the draft lives until `handshake` returns.
    let (bytes, draft) = unsafe { (borrow_at_most(bytes, ANSWER_BYTES_MAX), Draft::of(response)) };
    status(draft.and_then(|draft| {
        draft.check_raw()?;
        let then = Then::parse(then, linger)?;
        draft.raw = Some(Box::new(RawAnswer {
            bytes: bytes?.to_vec(),
            then,
        }));
        Ok(())
    }))
}

unsafe extern "C" fn accept(response: *mut abi::Response, out: *mut u8) -> Status {
    // SAFETY: the draft lives until `handshake` returns.
    let draft = unsafe { Draft::of(response) };
    status(draft.and_then(|draft| {
        draft.check_raw()?;
        if out.is_null() {
            return Err(abi::INVALID);
        }
        let key = draft.accept_key();
        // SAFETY: by the ABI (`Raw::accept`) there is room for so many bytes.
        unsafe { out.copy_from_nonoverlapping(key.as_ptr(), key.len()) };
        Ok(())
    }))
}

impl Then {
    fn parse(then: u32, linger: u32) -> Result<Then, Status> {
        let then = match then {
            RAW_CLOSE => Then::Close {
                linger: linger as usize,
            },
            RAW_CONTINUE => Then::Continue,
            RAW_OPEN => Then::Open,
            _ => return Err(abi::UNSUPPORTED),
        };
        match then {
            Then::Close { linger } if linger > LINGER_BYTES_MAX => Err(abi::TOO_BIG),
            Then::Continue | Then::Open if linger != 0 => Err(abi::INVALID),
            _ => Ok(then),
        }
    }
}

/// An answer of a handler's own (abi/raw.rs).
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// What is read behind it (abi/raw.rs).
const LINGER_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_an_answer_is_one_of_three_and_only_an_end_lingers() {
        for (then, linger, expected) in [
            (RAW_CLOSE, 0, Ok(Then::Close { linger: 0 })),
            (RAW_CLOSE, 8, Ok(Then::Close { linger: 8 })),
            (RAW_CLOSE, 1 << 20, Ok(Then::Close { linger: 1 << 20 })),
            (RAW_CLOSE, (1 << 20) + 1, Err(abi::TOO_BIG)),
            (RAW_CLOSE, u32::MAX, Err(abi::TOO_BIG)),
            (RAW_CONTINUE, 0, Ok(Then::Continue)),
            (RAW_CONTINUE, 1, Err(abi::INVALID)),
            (RAW_OPEN, 0, Ok(Then::Open)),
            (RAW_OPEN, 1, Err(abi::INVALID)),
            (3, 0, Err(abi::UNSUPPORTED)),
            (u32::MAX, 1, Err(abi::UNSUPPORTED)),
        ] {
            assert_eq!(Then::parse(then, linger), expected, "{then} {linger}");
        }
    }
}
