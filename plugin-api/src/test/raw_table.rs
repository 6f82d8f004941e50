//! The table of the extension `wsh.raw/1` in the host of a test, which keeps the bytes for the test to see.
#![allow(unsafe_code)] // the functions of a C table

use std::ffi::c_void;

use crate::{
    abi::{
        self, Bytes, Status,
        raw::{RAW_ACCEPT_BYTES, Raw},
    },
    border::read,
    rules,
    test::{
        context::Context,
        host_table::{amount, on_running_handshake, status, with},
    },
};

pub(super) fn table() -> *const c_void {
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
    // SAFETY: *lent memory*.
    let bytes = unsafe { read::lent(ptr, len) };
    amount(with(conn, |controls| controls.write_raw(bytes?)))
}

unsafe extern "C" fn write_to(ctx: *mut c_void, id: u64, ptr: *const u8, len: usize) -> i64 {
    // SAFETY: *lent memory*.
    let bytes = unsafe { read::lent(ptr, len) };
    amount(Context::find(ctx).and_then(|context| context.write_to(id, bytes?)))
}

unsafe extern "C" fn answer(
    response: *mut abi::Response,
    bytes: Bytes,
    then: u32,
    linger: u32,
) -> Status {
    // SAFETY: *lent memory*.
    let bytes = unsafe { read::lent(bytes.ptr, bytes.len) };
    status(on_running_handshake(response, |draft| {
        let bytes = bytes?;
        let then = rules::raw_answer(bytes.len(), then, linger)?;
        draft.raw = Some((bytes.to_vec(), then));
        Ok(())
    }))
}

unsafe extern "C" fn accept(response: *mut abi::Response, out: *mut u8) -> Status {
    status(on_running_handshake(response, |_| {
        if out.is_null() {
            return Err(abi::INVALID);
        }
        // SAFETY: by the ABI (`Raw::accept`), so many bytes may be written there.
        unsafe { out.copy_from_nonoverlapping(ACCEPT.as_ptr(), ACCEPT.len()) };
        Ok(())
    }))
}

/// The answer to the key of RFC 6455 §1.3, which every client of a test sends.
const ACCEPT: &[u8; RAW_ACCEPT_BYTES as usize] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
