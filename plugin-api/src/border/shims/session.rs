//! The callbacks of one session, from its first message to `destroy`.

use std::{ffi::c_void, sync::Arc};

use super::{failed, topics::write};
use crate::{
    abi::{self, Status},
    asks::answer::Answer,
    border::{
        answer::with_answer,
        guard::{guard, guard_void},
        read,
    },
    close::{Cause, Close},
    message::Message,
    styles::adapter::{Event, SessionAdapter},
};

/// Passes one event to a session's adapter. Each callback has a closure of its own for it, so that the author's code is
/// inlined into the function of its callback.
///
/// # Safety
/// `session` came from `open` or `restore` of a handler whose sessions are `S`. `destroy` was not called, no other
/// callback of the session runs, and `conn` is its Conn.
#[inline(always)]
unsafe fn dispatch<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    on: impl FnOnce(&mut S) -> Status,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise: the adapter is ours alone while the callback runs.
        let adapter = unsafe { &mut *session.cast::<S>() };
        let host_session = Arc::as_ptr(adapter.session());
        // SAFETY: the adapter keeps its host_session until `destroy`; the guard is dropped at the end of this
        // closure, before the callback returns.
        let _inside = unsafe { &*host_session }.enter(conn);
        on(adapter)
    })
}

/// The message of a callback. `None` if `kind` has a bit that is neither a hint nor in `asked_for`: an unknown bit may
/// change what the bytes mean.
///
/// # Safety
/// `ptr` and `len` are those of a callback, and the answer does not outlive it. Text is UTF-8, also in parts.
#[inline(always)]
unsafe fn message_of<'a>(
    kind: u32,
    asked_for: u32,
    ptr: *const u8,
    len: usize,
) -> Option<Message<'a>> {
    match kind & !(abi::NO_COMPRESS | abi::TRUSTED_UTF8 | asked_for) {
        // SAFETY: the caller's promise.
        abi::TEXT => Some(Message::Text(unsafe { read::text(abi::Str { ptr, len }) })),
        // SAFETY: as above.
        abi::BINARY => Some(Message::Binary(unsafe { read::bytes(ptr, len) })),
        _ => None,
    }
}

pub(super) unsafe extern "C" fn message<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    kind: u32,
    ptr: *const u8,
    len: usize,
) -> Status {
    // SAFETY: the callback's own arguments.
    let Some(message) = (unsafe { message_of(kind, 0, ptr, len) }) else {
        return abi::UNSUPPORTED;
    };
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Message(message))
        })
    }
}

/// The callback `message` of handlers with [`abi::BATCHES`].
pub(super) unsafe extern "C" fn batched<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    kind: u32,
    ptr: *const u8,
    len: usize,
) -> Status {
    // SAFETY: the callback's own arguments.
    let Some(message) = (unsafe { message_of(kind, abi::FOLLOWED, ptr, len) }) else {
        return abi::UNSUPPORTED;
    };
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            if kind & abi::FOLLOWED != 0 {
                adapter.on_followed(message)
            } else {
                adapter.on(Event::Message(message))
            }
        })
    }
}

/// The callback `message` of handlers with [`abi::STREAM`].
pub(super) unsafe extern "C" fn part<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    kind: u32,
    ptr: *const u8,
    len: usize,
) -> Status {
    // SAFETY: the callback's own arguments.
    let Some(part) = (unsafe { message_of(kind, abi::MORE, ptr, len) }) else {
        return abi::UNSUPPORTED;
    };
    let is_last = kind & abi::MORE == 0;
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Part(part, is_last))
        })
    }
}

pub(super) unsafe extern "C" fn ping<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    ptr: *const u8,
    len: usize,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Ping(read::bytes(ptr, len)))
        })
    }
}

pub(super) unsafe extern "C" fn pong<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    ptr: *const u8,
    len: usize,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Pong(read::bytes(ptr, len)))
        })
    }
}

pub(super) unsafe extern "C" fn drain<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe { dispatch(session, conn, |adapter: &mut S| adapter.on(Event::Drain)) }
}

pub(super) unsafe extern "C" fn timer<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    token: u64,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Timer(token))
        })
    }
}

pub(super) unsafe extern "C" fn wake<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe { dispatch(session, conn, |adapter: &mut S| adapter.on(Event::Wake)) }
}

pub(super) unsafe extern "C" fn note<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    note: u64,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Note(note))
        })
    }
}

pub(super) unsafe extern "C" fn answer<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    token: u64,
    answer: *const abi::answer::Answer,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            with_answer(answer, |table| {
                adapter.on(Event::Answer(token, Answer::new(table)))
            })
        })
    }
}

pub(super) unsafe extern "C" fn closing<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    code: u32,
    reason: abi::Bytes,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe {
        let close = close(conn, code, reason);
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Closing(close))
        })
    }
}

pub(super) unsafe extern "C" fn closed<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    code: u32,
    reason: abi::Bytes,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe {
        let close = close(conn, code, reason);
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Closed(close))
        })
    }
}

/// The Close that a callback is told.
///
/// # Safety
/// The arguments are those of the callback that is running.
unsafe fn close(conn: *const abi::Conn, code: u32, reason: abi::Bytes) -> Close {
    // SAFETY: by the ABI, the reason is UTF-8 and can be read until the callback returns.
    let reason = unsafe { read::text(reason) };
    // SAFETY: the callback is running, so the table is there.
    let table = unsafe { read::copy(conn) };
    Close::new(code, reason, Cause::of(table.flags))
}

pub(super) unsafe extern "C" fn destroy<S: SessionAdapter>(session: *mut c_void) {
    guard_void(|| {
        // SAFETY: `open` or `restore` boxed it, and the host passes it here once.
        drop(unsafe { Box::from_raw(session.cast::<S>()) });
    });
}

pub(super) unsafe extern "C" fn snapshot<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    sink: *const abi::Sink,
) -> Status {
    guard(|| {
        // SAFETY: by the ABI, no other callback of the session runs.
        let adapter = unsafe { &mut *session.cast::<S>() };
        let host_session = Arc::as_ptr(adapter.session());
        // SAFETY: the adapter keeps its host_session until `destroy`; dropped at the end of this closure.
        let _inside = unsafe { &*host_session }.enter(conn);
        let state = match adapter.snapshot() {
            Ok(Some(state)) => state,
            Ok(None) => return abi::AGAIN,
            Err(error) => return failed(&error),
        };
        // SAFETY: the callback's own argument.
        unsafe { write(sink, &state) }
    })
}
