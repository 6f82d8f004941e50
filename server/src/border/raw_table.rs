//! The functions of the extension `wsh.raw/1`, with which a handler writes bytes that are no frames.

use std::ffi::c_void;

use wsh::abi::raw::Raw;
use wsh::abi::{self, Bytes, Status};
use wsh::rules::{self, RAW_BYTES_MAX, RawThen};

use super::handler_context::HandlerContext;
use super::host_conn::HostConn;
use super::host_table::response::call_on_draft;
use super::host_table::{amount, call_on_conn, call_on_context, context, status};
use super::lent_memory::{borrow, borrow_at_most};
use super::refused_calls::{HostCall, LentBytes, RawCall};
use super::response_draft::Draft;

/// An answer to an opening handshake that the handler gives in bytes of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawAnswer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: RawThen,
}

/// The extension's table; NULL for a handler without `raw = true`, and after its end.
pub(crate) fn table_for(context: &HandlerContext) -> *const c_void {
    if context.check_raw().is_err() || context.has_ended() {
        return std::ptr::null();
    }
    (&raw const TABLE).cast()
}

/// One for all plugins, which get a pointer to it.
static TABLE: Raw = Raw {
    size: size_of::<Raw>() as u32,
    flags: 0,
    write: Some(write),
    write_to: Some(write_to),
    answer: Some(answer),
    accept: Some(accept),
};

unsafe extern "C" fn write(conn: *mut abi::Conn, ptr: *const u8, len: usize) -> i64 {
    // SAFETY: *lent memory* for the bytes, *the Conn* for the Conn. Both are used only in this call.
    let (bytes, conn) = unsafe { (borrow(ptr, len), HostConn::of_another_call(conn)) };
    let call = || {
        HostCall::Raw(RawCall::Write {
            bytes: LentBytes::new(Bytes { ptr, len }, bytes.ok()),
        })
    };
    amount(call_on_conn(conn, call, |conn| {
        conn.context.check_raw()?;
        let buffered = conn.controls.write_raw(bytes?);
        conn.refresh();
        buffered
    }))
}

unsafe extern "C" fn write_to(ctx: *mut c_void, id: u64, ptr: *const u8, len: usize) -> i64 {
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (bytes, context) = unsafe { (borrow(ptr, len), context(ctx)) };
    let call = || {
        HostCall::Raw(RawCall::WriteTo {
            bytes: LentBytes::new(Bytes { ptr, len }, bytes.ok()),
        })
    };
    amount(call_on_context(context, id, call, |context| {
        context.write_to(id, bytes?)
    }))
}

unsafe extern "C" fn answer(
    response: *mut abi::Response,
    bytes: Bytes,
    then: u32,
    linger: u32,
) -> Status {
    // SAFETY: *lent memory*; `draft` is used only in this call.
    let (lent, draft) = unsafe { (borrow_at_most(bytes, RAW_BYTES_MAX), Draft::of(response)) };
    let call = || {
        HostCall::Raw(RawCall::Answer {
            bytes: LentBytes::new(bytes, lent.ok()),
            then,
        })
    };
    status(call_on_draft(draft, call, |draft| {
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
    // SAFETY: `draft` is used only in this call.
    let draft = unsafe { Draft::of(response) };
    let call = || HostCall::Raw(RawCall::Accept);
    status(call_on_draft(draft, call, |draft| {
        draft.check_raw()?;
        if out.is_null() {
            return Err(abi::INVALID);
        }
        let key = draft.accept_key();
        // SAFETY: by the ABI (`Raw::accept`) the plugin gives memory for `RAW_ACCEPT_BYTES`, which a key has.
        unsafe { out.copy_from_nonoverlapping(key.as_ptr(), key.len()) };
        Ok(())
    }))
}
