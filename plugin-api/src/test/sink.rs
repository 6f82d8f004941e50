//! The sink of a callback that writes something: a state, the form of a publication, news of members.
#![allow(unsafe_code)] // the function of a C table

use std::{cell::Cell, ffi::c_void};

use crate::{
    abi::{self, Status},
    border::read,
};

/// What `call` writes into its sink, at most `bytes_max` bytes, and its status.
pub(super) fn collect(
    bytes_max: usize,
    call: impl FnOnce(*const abi::Sink) -> Status,
) -> (Status, Vec<u8>) {
    let mut written = Written {
        bytes: Vec::new(),
        bytes_max,
    };
    let sink = abi::Sink {
        size: size_of::<abi::Sink>() as u32,
        reserved: 0,
        ctx: (&raw mut written).cast(),
        write: Some(write),
    };
    // A callback may run a test of its own, whose callbacks have sinks, too.
    let outer = SINK.replace(sink.ctx);
    let status = call(&raw const sink);
    SINK.set(outer);
    (status, written.bytes)
}

struct Written {
    bytes: Vec<u8>,
    bytes_max: usize,
}

unsafe extern "C" fn write(ctx: *mut c_void, ptr: *const u8, len: usize) -> Status {
    if ctx.is_null() || ctx != SINK.get() {
        return abi::MISUSE;
    }
    // SAFETY: `ctx` is what `collect` keeps, which nothing else uses during the callback.
    let written = unsafe { &mut *ctx.cast::<Written>() };
    // SAFETY: *lent memory*.
    let bytes = match unsafe { read::lent(ptr, len) } {
        Ok(bytes) => bytes,
        Err(status) => return status,
    };
    if bytes.len() > written.bytes_max - written.bytes.len() {
        return abi::TOO_BIG;
    }
    written.bytes.extend_from_slice(bytes);
    abi::OK
}

thread_local! {
    /// The `ctx` of the sink of the callback that runs on this thread, or NULL.
    static SINK: Cell<*mut c_void> = const { Cell::new(std::ptr::null_mut()) };
}
