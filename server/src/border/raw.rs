//! The extension `wsh.raw/1`: what lets a handler write past the framing.

use std::ffi::c_void;

use wsh::abi::raw::Raw;
use wsh::abi::{self, Bytes, Status};
use wsh::rules::{self, RAW_BYTES_MAX, RawThen};

use super::conn::Conn;
use super::context::Context;
use super::host::answer::told_at_handshake;
use super::host::{amount, context, status, told, told_of};
use super::refused_calls::{Call, Lent, RawCall};
use super::response::Draft;
use super::text::{borrow, borrow_at_most};

/// An answer to an opening handshake in bytes of the handler's own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawAnswer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: RawThen,
}

/// The table, if the handler may have it, or NULL.
pub(crate) fn table_for(context: &Context) -> *const c_void {
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
    let bytes_max = conn
        .as_ref()
        .map_or(0, |conn| conn.controls.payload_bytes_max());
    let call = || {
        Call::Raw(RawCall::Write {
            bytes: Lent::new(Bytes { ptr, len }, bytes.ok()),
            bytes_max,
        })
    };
    amount(told(conn, call, |conn| {
        conn.context.check_raw()?;
        let buffered = conn.controls.write_raw(bytes?);
        conn.refresh();
        buffered
    }))
}

unsafe extern "C" fn write_to(ctx: *mut c_void, id: u64, ptr: *const u8, len: usize) -> i64 {
    // SAFETY: *lent memory*; the context is never freed.
    let (bytes, context) = unsafe { (borrow(ptr, len), context(ctx)) };
    let call = || {
        Call::Raw(RawCall::WriteTo {
            bytes: Lent::new(Bytes { ptr, len }, bytes.ok()),
        })
    };
    amount(told_of(context, id, call, |context| {
        context.write_to(id, bytes?)
    }))
}

unsafe extern "C" fn answer(
    response: *mut abi::Response,
    bytes: Bytes,
    then: u32,
    linger: u32,
) -> Status {
    // SAFETY: *lent memory*; the draft lives until `handshake` returns.
    let (lent, draft) = unsafe { (borrow_at_most(bytes, RAW_BYTES_MAX), Draft::of(response)) };
    let call = || {
        Call::Raw(RawCall::Answer {
            bytes: Lent::new(bytes, lent.ok()),
            then,
        })
    };
    status(told_at_handshake(draft, call, |draft| {
        draft.check_raw()?;
        let bytes = lent?;
        let then = rules::raw_answer(bytes.len(), then, linger)?;
        draft.raw = Some(Box::new(RawAnswer {
            bytes: bytes.to_vec(),
            then,
        }));
        Ok(())
    }))
}

unsafe extern "C" fn accept(response: *mut abi::Response, out: *mut u8) -> Status {
    // SAFETY: the draft lives until `handshake` returns.
    let draft = unsafe { Draft::of(response) };
    let call = || Call::Raw(RawCall::Accept);
    status(told_at_handshake(draft, call, |draft| {
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
